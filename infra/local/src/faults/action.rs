//! What happens by itself: shards are split and merged, the clock jumps.

use std::time::Duration;

use serde_json::json;

use crate::kinesis::{HashKeyRange, Kinesis, ShardDescription, Stream};

use super::{FaultKind, FaultRule};

/// How often rules with a duration have their dice thrown.
const INTERVAL: Duration = Duration::from_secs(1);

/// Something that happens to the cloud itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// The widest shard of each of these streams is split; of all streams, when none is named.
    Split {
        /// Their names.
        streams: Vec<String>,
    },
    /// The neighbouring shards of each of these streams that are narrowest together are merged.
    Merge {
        /// Their names.
        streams: Vec<String>,
    },
    /// The clock jumps.
    ClockJump {
        /// By so many milliseconds; back, when it is negative.
        by_ms: i64,
    },
}

impl Action {
    /// The action of a rule that is about one.
    pub(super) fn of(rule: &FaultRule) -> Option<Self> {
        match rule.kind {
            FaultKind::Split => Some(Self::Split { streams: rule.names.clone() }),
            FaultKind::Merge => Some(Self::Merge { streams: rule.names.clone() }),
            FaultKind::ClockJump => Some(Self::ClockJump { by_ms: rule.jump_ms }),
            FaultKind::Throttle
            | FaultKind::InternalError
            | FaultKind::Record
            | FaultKind::Slow
            | FaultKind::Hang
            | FaultKind::CutAfterCommit
            | FaultKind::Duplicate
            | FaultKind::Kill
            | FaultKind::Freeze
            | FaultKind::DiskFull => None,
        }
    }
}

/// Does what is due once a second. Never returns.
pub(crate) async fn keep_acting(kinesis: Kinesis) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        act(&kinesis).await;
    }
}

/// Does what is due now. What cannot be done, such as a split of a stream that has all its shards, is logged.
pub(crate) async fn act(kinesis: &Kinesis) {
    for action in kinesis.faults().due_actions(kinesis.store().clock().now_ms()) {
        match action {
            Action::Split { streams } => {
                for stream in meant(kinesis, &streams) {
                    split(kinesis, &stream).await;
                }
            }
            Action::Merge { streams } => {
                for stream in meant(kinesis, &streams) {
                    merge(kinesis, &stream).await;
                }
            }
            Action::ClockJump { by_ms } => kinesis.store().clock().jump(by_ms),
        }
    }
}

fn meant(kinesis: &Kinesis, names: &[String]) -> Vec<Stream> {
    let all = kinesis.store().list().into_iter();
    all.filter(|stream| names.is_empty() || names.iter().any(|name| name == stream.name())).collect()
}

async fn split(kinesis: &Kinesis, stream: &Stream) {
    let Some((shard, at)) = widest(&open_shards(stream)) else { return };
    let request = json!({ "StreamName": stream.name(), "ShardToSplit": shard, "NewStartingHashKey": at });
    call(kinesis, "SplitShard", &request).await;
}

async fn merge(kinesis: &Kinesis, stream: &Stream) {
    let Some((one, other)) = narrowest_pair(&open_shards(stream)) else { return };
    let request = json!({ "StreamName": stream.name(), "ShardToMerge": one, "AdjacentShardToMerge": other });
    call(kinesis, "MergeShards", &request).await;
}

async fn call(kinesis: &Kinesis, operation: &'static str, request: &serde_json::Value) {
    if let Err(error) = kinesis.call(operation, request.to_string().as_bytes()).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            operation,
            "a fault that was asked for did not happen"
        );
    }
}

/// The shards that take records, by their hash keys.
fn open_shards(stream: &Stream) -> Vec<ShardDescription> {
    let shards = stream.shards().into_iter().map(|shard| shard.description().clone());
    let mut open: Vec<ShardDescription> = shards.filter(|shard| shard.closed.is_none()).collect();
    open.sort_by_key(|shard| shard.range.starting_hash_key);
    open
}

/// The widest shard's id, and the hash key in its middle; none when there is none with two keys.
fn widest(open: &[ShardDescription]) -> Option<(String, String)> {
    let shard = open.iter().max_by_key(|shard| width(&shard.range))?;
    let half = width(&shard.range).div_ceil(2);
    (half > 0).then(|| (shard.id(), (shard.range.starting_hash_key.0 + half).to_string()))
}

/// The ids of the two neighbours that are narrowest together.
fn narrowest_pair(open: &[ShardDescription]) -> Option<(String, String)> {
    let pairs = open.iter().zip(open.iter().skip(1));
    let pair = pairs.min_by_key(|(one, other)| width(&one.range).saturating_add(width(&other.range)))?;
    Some((pair.0.id(), pair.1.id()))
}

/// How many keys a range has beyond its first.
fn width(range: &HashKeyRange) -> u128 {
    range.ending_hash_key.0.saturating_sub(range.starting_hash_key.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(number: u64, first: u128, last: u128) -> ShardDescription {
        ShardDescription {
            number,
            range: HashKeyRange::new(first, last),
            parents: Vec::new(),
            epoch_s: 0,
            created_ms: 0,
            closed: None,
        }
    }

    #[test]
    fn the_widest_is_split_in_its_middle() {
        let open = [shard(3, 0, 9), shard(1, 10, 109), shard(2, 110, 110)];
        assert_eq!(widest(&open), Some(("shardId-000000000001".to_owned(), "60".to_owned())));
        assert_eq!(widest(&[shard(2, 7, 7)]), None, "a shard of one key has no middle");
        assert_eq!(widest(&[]), None);
    }

    #[test]
    fn the_narrowest_neighbours_are_merged() {
        let open = [shard(3, 0, 9), shard(1, 10, 109), shard(2, 110, 110)];
        let ids = |one: u64, other: u64| Some((crate::kinesis::shard_id(one), crate::kinesis::shard_id(other)));
        assert_eq!(narrowest_pair(&open), ids(1, 2));
        assert_eq!(narrowest_pair(&open[..2]), ids(3, 1));
        assert_eq!(narrowest_pair(&open[..1]), None);
    }
}
