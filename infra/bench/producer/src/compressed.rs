//! How much JSON a shard of 1 MB/s carries in compressed aggregates, and what that costs: the full path, signed, with the shards'
//! limits on.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use kinesis_producer::Record;
use shard_limits::WriteModel;
use tokio::runtime::Runtime;

use crate::{
    child::Endpoint,
    command::runtime,
    cpu,
    endpoint::EndpointOptions,
    figure::{Better, Figure},
    offer::{Records, flood_with, pace, producer},
};

const SHARDS: u32 = 8;
/// A usual round trip within a region.
const ROUND_TRIP_MS: u64 = 10;
const LINGER: Duration = Duration::from_millis(100);
const LEVEL: i32 = 1;
/// Until tanks that were full at the start are empty, and the producer knows how far its records are compressed.
const WARM_UP: Duration = Duration::from_secs(4);
const GOAL_MB_PER_SHARD: f64 = 4.0;
const GOAL_CORES: f64 = 1.0;
/// The second goal is one of so many shards.
const GOAL_SHARDS: f64 = 100.0;

/// What was sent, and what it cost.
struct Run {
    json_mb_per_shard_s: f64,
    wire_mb_per_shard_s: f64,
    cores_per_100_shards: f64,
    records_per_aggregate: f64,
    throttled: u64,
}

/// JSON lines to send, and where they come from.
struct Lines {
    lines: Vec<Bytes>,
    next: usize,
    keys: Records,
    source: String,
}

pub(crate) fn measure(length: Duration, corpus: &Path) -> anyhow::Result<Vec<Figure>> {
    let mut lines = Lines::load(corpus)?;
    let runtime = runtime()?;
    let saturated = run(&runtime, &mut lines, length, None)?;
    // What the promise says a shard carries, and no more.
    let promised = run(&runtime, &mut lines, length, Some(GOAL_MB_PER_SHARD * 1e6 * f64::from(SHARDS)))?;
    let note = |run: &Run| {
        format!(
            "{} on {SHARDS} shards with limits, zstd level {LEVEL}, round trip {ROUND_TRIP_MS} ms; {:.2} MB/s a shard on the wire, {:.1} MB/s of JSON, {:.0} records an aggregate, {} throttled",
            lines.source, run.wire_mb_per_shard_s, run.json_mb_per_shard_s, run.records_per_aggregate, run.throttled,
        )
    };
    let figure = |name, value, unit, goal, better, note| Figure {
        name,
        value,
        unit,
        goal: Some(goal),
        better,
        peer: None,
        peer_value: None,
        note,
    };
    let cores = "cores for 100 shards";
    Ok(vec![
        figure(
            "producer.compressed",
            saturated.json_mb_per_shard_s,
            "MB/s of JSON a shard",
            GOAL_MB_PER_SHARD,
            Better::Higher,
            note(&saturated),
        ),
        figure(
            "producer.compressed_cpu",
            promised.cores_per_100_shards,
            cores,
            GOAL_CORES,
            Better::Lower,
            format!("at the {GOAL_MB_PER_SHARD} MB/s of the goal; {}", note(&promised)),
        ),
        figure(
            "producer.compressed_cpu_full",
            saturated.cores_per_100_shards,
            cores,
            GOAL_CORES,
            Better::Lower,
            format!("with the shards full; {}", note(&saturated)),
        ),
    ])
}

/// Offers as much as the shards take, or so many bytes of JSON a second.
fn run(runtime: &Runtime, lines: &mut Lines, length: Duration, bytes_per_s: Option<f64>) -> anyhow::Result<Run> {
    let model = Some(WriteModel::Smooth);
    let options = EndpointOptions { shards: SHARDS, model, round_trip_ms: ROUND_TRIP_MS, reads_payloads: false };
    let endpoint = Endpoint::start(&options)?;
    let mean = lines.mean_bytes()?;
    runtime.block_on(async {
        let producer = producer(&endpoint, |config| {
            config.linger = LINGER;
            config.compression_level = Some(LEVEL);
        })
        .await?;
        let mut offer = async |length| match bytes_per_s {
            None => flood_with(&producer, || lines.next(), length).await.map(drop),
            Some(bytes_per_s) => {
                pace(&producer, bytes_per_s / mean, length, || lines.next()).await?;
                producer.flush().await;
                Ok(())
            }
        };
        offer(WARM_UP).await?;
        endpoint.reset()?;
        let (cpu_before, started) = (cpu::of_process()?, Instant::now());
        offer(length).await?;
        let elapsed = started.elapsed().as_secs_f64();
        let spent = cpu::of_process()?.saturating_sub(cpu_before).as_secs_f64();
        let tally = endpoint.tally()?;
        ensure!(tally.malformed == 0 && tally.records > 0, "the endpoint could not read what was sent: {tally}");
        producer.close().await;
        let count = |count: u64| u32::try_from(count).map(f64::from).context("too many");
        let per_shard = |bytes: f64| bytes / elapsed / f64::from(SHARDS) / 1e6;
        Ok(Run {
            json_mb_per_shard_s: per_shard(count(tally.user_records)? * mean),
            wire_mb_per_shard_s: per_shard(count(tally.bytes)?),
            cores_per_100_shards: spent / elapsed / f64::from(SHARDS) * GOAL_SHARDS,
            records_per_aggregate: count(tally.user_records)? / count(tally.records)?,
            throttled: tally.throttled,
        })
    })
}

impl Lines {
    /// The valid bid requests of a corpus, or made ones where there is none.
    fn load(corpus: &Path) -> anyhow::Result<Self> {
        let path = corpus.join("valid_bid_requests.ndjson");
        let (text, source) = match std::fs::read(&path) {
            Ok(text) => (text, "the corpus' bid requests".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                (made().into_bytes(), format!("made bid requests (there is no {})", path.display()))
            }
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let lines: Vec<Bytes> =
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Bytes::copy_from_slice).collect();
        ensure!(!lines.is_empty(), "{} holds no lines", path.display());
        Ok(Lines { lines, next: 0, keys: Records::new(0), source })
    }

    fn mean_bytes(&self) -> anyhow::Result<f64> {
        let number = |value: usize| u32::try_from(value).map(f64::from).context("a small corpus");
        Ok(number(self.lines.iter().map(Bytes::len).sum())? / number(self.lines.len())?)
    }

    fn next(&mut self) -> Record {
        self.next = (self.next + 1) % self.lines.len();
        let line = self.lines.get(self.next).cloned().unwrap_or_default();
        self.keys.with(line)
    }
}

/// Requests of screens, as many as differ enough; the numbers in them are those of a simple generator.
fn made() -> String {
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let line = |_| {
        format!(
            r#"{{"id":"{:08x}-{:08x}","imp":[{{"id":"1","banner":{{"w":1920,"h":1080}},"bidfloor":{}.{},"qty":{{"multiplier":{}.{}}}}}],"dooh":{{"id":"screen-{}","venuetype":["{}"]}},"device":{{"ua":"player/{}.{}","ip":"10.{}.{}.{}","geo":{{"lat":{}.{},"lon":{}.{}}}}},"tmax":{}}}"#,
            random(1 << 32),
            random(1 << 32),
            random(9),
            random(99),
            random(40),
            random(9),
            random(40_000),
            random(12),
            random(4),
            random(9),
            random(256),
            random(256),
            random(256),
            random(60),
            random(99_999),
            random(20),
            random(99_999),
            random(500),
        ) + "\n"
    };
    (0..20_000).map(line).collect()
}
