//! What the service limits, and how much of it is used.

use shard_limits::{READ_BYTES_PER_S, READ_CALLS_PER_S, WRITE_BYTES_PER_S, WRITE_RECORDS_PER_S};

use crate::kinesis::description::StreamMode;
use crate::kinesis::store::{ACCOUNT_SHARDS_MAX, SHARDS_MAX, Store};
use crate::kinesis::stream::{ShardUse, Stream};
use crate::limits::{LimitUse, fullest};
use crate::meter::{Reading, count};

use super::capacity::{MODE_CHANGES_MAX, SCALINGS_MAX};
use super::consumer::{CONSUMERS_ADVANTAGE_MAX, CONSUMERS_MAX};
use super::stream::ON_DEMAND_STREAMS_MAX;
use super::{RECORDS_MAX, REQUEST_BYTES_MAX};

const QUOTAS: &str = "streams/latest/dev/service-sizes-and-limits.html";
const PUT_RECORDS: &str = "kinesis/latest/APIReference/API_PutRecords.html";
const UPDATE_SHARD_COUNT: &str = "kinesis/latest/APIReference/API_UpdateShardCount.html";
const LARGE_RECORDS: &str = "streams/latest/dev/large-records.html";
/// A limit that AWS does not have.
const OURS: &str = "(of this local cloud: what it keeps in memory)";
const DAY_MS: i64 = 86_400_000;

/// The account's limits, then those of each stream.
pub(super) fn limits(store: &Store) -> Vec<LimitUse> {
    let now_ms = store.clock().now_ms();
    let is_advantage = store.account().is_advantage(now_ms);
    let streams = store.list();
    let shards: usize = streams.iter().map(|stream| stream.state().open().len()).sum();
    let on_demand = streams.iter().filter(|stream| stream.state().settings.mode == StreamMode::OnDemand).count();
    let mut limits = vec![
        row("shards", "account", (count(ACCOUNT_SHARDS_MAX), "shards"), still(shards), QUOTAS),
        row("on-demand streams", "account", (count(ON_DEMAND_STREAMS_MAX), "streams"), still(on_demand), QUOTAS),
    ];
    for stream in &streams {
        limits.extend(of_shards(stream, now_ms));
        limits.extend(of_requests(stream, now_ms));
        limits.extend(of_settings(stream, is_advantage, now_ms));
    }
    limits
}

fn row(limit: &str, at: impl Into<String>, allowed: (u64, &str), used: Reading, source: &str) -> LimitUse {
    LimitUse::new(("kinesis", limit), at, allowed, used, source)
}

/// A number that has no peak of its own.
fn still(value: usize) -> Reading {
    Reading { now: count(value), peak: count(value) }
}

fn per_s(rate: i64) -> u64 {
    u64::try_from(rate).unwrap_or(0)
}

/// A shard's use of one limit, and what was refused for it.
type Get = fn(&ShardUse) -> (Reading, u64);

/// What a stream's shards take and give a second: the fullest shard of each.
fn of_shards(stream: &Stream, now_ms: i64) -> Vec<LimitUse> {
    let state = stream.state();
    let uses: Vec<(String, ShardUse)> =
        state.shards.iter().map(|shard| (shard.description.id(), shard.usage(now_ms))).collect();
    let one = |limit: &str, allowed: (u64, &str), get: Get| {
        let uses = uses.iter().map(|(id, used)| {
            let (reading, refused) = get(used);
            (id.as_str(), reading, refused)
        });
        let (id, used, refused) = fullest(uses, || "no shard");
        row(limit, format!("{}/{id}", stream.name()), allowed, used, QUOTAS).refused(refused)
    };
    vec![
        one("write bytes of a shard", (per_s(WRITE_BYTES_PER_S), "bytes/s"), |used| {
            (used.write_bytes, used.writes_throttled)
        }),
        one("write records of a shard", (per_s(WRITE_RECORDS_PER_S), "records/s"), |used| {
            (used.write_records, used.writes_throttled)
        }),
        one("GetRecords calls on a shard", (per_s(READ_CALLS_PER_S), "calls/s"), |used| {
            (used.read_calls, used.reads_throttled)
        }),
        one("read bytes of a shard", (per_s(READ_BYTES_PER_S), "bytes/s"), |used| {
            (used.read_bytes, used.reads_throttled)
        }),
    ]
}

/// The sizes of put requests: the last and the largest.
fn of_requests(stream: &Stream, now_ms: i64) -> Vec<LimitUse> {
    let (sizes, settings) = (stream.sizes(), stream.state().settings.clone());
    let one = |limit: &str, allowed: (usize, &str), sizes: crate::meter::Sizes, source: &str| {
        let allowed = (count(allowed.0), allowed.1);
        row(limit, stream.name(), allowed, sizes.read(now_ms), source).refused(sizes.over())
    };
    vec![
        one("records of a request", (RECORDS_MAX, "records"), sizes.records, PUT_RECORDS),
        one("bytes of a request", (REQUEST_BYTES_MAX, "bytes"), sizes.bytes, PUT_RECORDS),
        one("bytes of a record", (settings.record_bytes_max(), "bytes"), sizes.record, LARGE_RECORDS),
    ]
}

/// What a stream may have, and how often it may be changed in a day.
fn of_settings(stream: &Stream, is_advantage: bool, now_ms: i64) -> Vec<LimitUse> {
    let state = stream.state();
    let is_wide = is_advantage && state.settings.mode == StreamMode::OnDemand;
    let consumers_max = if is_wide { CONSUMERS_ADVANTAGE_MAX } else { CONSUMERS_MAX };
    let recent = &state.settings.recent;
    let today = |times: &[i64]| still(times.iter().filter(|at_ms| now_ms.saturating_sub(**at_ms) < DAY_MS).count());
    let name = stream.name();
    vec![
        row("open shards of a stream", name, (count(SHARDS_MAX), "shards"), still(state.open().len()), OURS),
        row(
            "consumers of a stream",
            name,
            (count(consumers_max), "consumers"),
            still(state.settings.consumers.len()),
            QUOTAS,
        ),
        row(
            "shard counts of a stream",
            name,
            (count(SCALINGS_MAX), "a day"),
            today(&recent.shard_counts),
            UPDATE_SHARD_COUNT,
        ),
        row("mode changes of a stream", name, (count(MODE_CHANGES_MAX), "a day"), today(&recent.modes), QUOTAS),
    ]
}
