//! What a stream is, as it is kept in its `stream.json`: settings and shards.

use serde::{Deserialize, Serialize};

use super::hash_key::HashKeyRange;
use super::sequence::SequenceNumber;
use super::settings::Settings;

/// How a stream's capacity is managed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamMode {
    /// The owner says how many shards.
    Provisioned,
    /// The service says how many shards: 4 at first, more when they are hot.
    OnDemand,
}

/// One shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardDescription {
    /// The number in the shard's id; never used again within its stream.
    pub number: u64,
    /// The hash keys it takes.
    pub range: HashKeyRange,
    /// The shards it came from: none, one after a split, two after a merge.
    pub parents: Vec<u64>,
    /// The seconds in its sequence numbers.
    pub epoch_s: u64,
    /// When it was made, in milliseconds since the epoch.
    pub created_ms: i64,
    /// Set once it takes no records any more.
    pub closed: Option<ClosedShard>,
}

/// The end of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedShard {
    /// The counter after its last record's.
    pub next_counter: u64,
    /// When it was closed, in milliseconds since the epoch.
    pub at_ms: i64,
}

/// The content of `stream.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamFile {
    pub(super) name: String,
    pub(super) created_ms: i64,
    pub(super) settings: Settings,
    pub(super) next_shard: u64,
    pub(super) shards: Vec<ShardDescription>,
}

impl ShardDescription {
    /// A new shard without parents.
    pub(super) fn new(number: u64, range: HashKeyRange, now_ms: i64) -> Self {
        let epoch_s = u64::try_from(now_ms / 1_000).unwrap_or(0);
        Self { number, range, parents: Vec::new(), epoch_s, created_ms: now_ms, closed: None }
    }

    /// A new shard that follows `parents`: its sequence numbers are above all of theirs.
    pub(super) fn child(number: u64, range: HashKeyRange, parents: &[&Self], now_ms: i64) -> Self {
        let mut child = Self::new(number, range, now_ms);
        child.parents = parents.iter().map(|parent| parent.number).collect();
        let above_parents = parents.iter().map(|parent| parent.epoch_s + 1).max().unwrap_or(0);
        child.epoch_s = child.epoch_s.max(above_parents);
        child
    }

    /// The shard's id, such as `shardId-000000000007`.
    pub fn id(&self) -> String {
        shard_id(self.number)
    }

    /// The sequence number of its record with this counter.
    pub fn sequence_number(&self, counter: u64) -> SequenceNumber {
        SequenceNumber::new(self.epoch_s, self.number, counter)
    }

    /// Whether this sequence number belongs to this shard.
    pub fn owns(&self, sequence_number: SequenceNumber) -> bool {
        sequence_number == self.sequence_number(sequence_number.counter())
    }
}

/// The id of a stream's n-th shard.
pub fn shard_id(number: u64) -> String {
    format!("shardId-{number:012}")
}

/// The number in a shard id; `None` for any other text.
pub fn parse_shard_id(id: &str) -> Option<u64> {
    let digits = id.strip_prefix("shardId-")?;
    let is_number = digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_above_their_parents_even_within_one_second() {
        let parent = ShardDescription::new(0, HashKeyRange::new(0, 9), 5_000);
        let child = ShardDescription::child(1, HashKeyRange::new(0, 4), &[&parent], 5_001);
        assert!(child.sequence_number(0) > parent.sequence_number(u64::MAX));
        assert!(child.owns(child.sequence_number(3)) && !child.owns(parent.sequence_number(3)));
    }

    #[test]
    fn shard_ids() {
        assert_eq!(shard_id(7), "shardId-000000000007");
        assert_eq!(parse_shard_id("shardId-000000000007"), Some(7));
        for text in ["", "shardId-7", "shardId-0000000000007", "shardId-00000000000x", "shard-000000000007"] {
            assert_eq!(parse_shard_id(text), None, "{text}");
        }
    }
}
