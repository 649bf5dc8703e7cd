//! What an owner can change about a stream, as it is kept in its `stream.json`.
//!
//! Members that came after the first version have defaults, so that older files are read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::description::StreamMode;

/// A stream's retention when it is created, and the least it can have.
pub(super) const RETENTION_HOURS_MIN: u32 = 24;
/// The most a stream can have: 365 days.
pub(super) const RETENTION_HOURS_MAX: u32 = 8_760;
/// The largest record of a stream, data and partition key, unless its owner says otherwise.
pub(super) const RECORD_KIB_DEFAULT: u32 = 1_024;
/// The largest that an owner can allow.
pub(super) const RECORD_KIB_MAX: u32 = 10_240;
/// Changes of capacity, mode and encryption are counted over this time.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What an owner can change about a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) retention_hours: u32,
    pub(super) mode: StreamMode,
    pub(super) tags: BTreeMap<String, String>,
    /// What had expired before a longer retention was asked for does not come back.
    #[serde(default)]
    pub(super) horizon_floor_ms: i64,
    #[serde(default = "record_kib_default")]
    pub(super) record_kib_max: u32,
    /// Set while the stream says that it is encrypted. What is on this disk never is.
    #[serde(default)]
    pub(super) encryption_key: Option<String>,
    #[serde(default)]
    pub(super) metrics: BTreeSet<ShardMetric>,
    #[serde(default)]
    pub(super) policy: Option<String>,
    #[serde(default)]
    pub(super) warm_mibps: Option<u32>,
    #[serde(default)]
    pub(super) distribution: Distribution,
    /// By name.
    #[serde(default)]
    pub(super) consumers: BTreeMap<String, Consumer>,
    #[serde(default)]
    pub(super) recent: RecentChanges,
}

/// How records find their shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Distribution {
    /// By the hash of the partition key, or the explicit hash key.
    #[default]
    UserPartitionKey,
    /// Evenly, whatever their keys.
    Auto,
}

/// A metric per shard. Asked for and listed; no metrics leave this store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum ShardMetric {
    IncomingBytes,
    IncomingRecords,
    OutgoingBytes,
    OutgoingRecords,
    WriteProvisionedThroughputExceeded,
    ReadProvisionedThroughputExceeded,
    IteratorAgeMilliseconds,
}

/// A consumer with enhanced fan-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Consumer {
    pub(super) created_ms: i64,
    #[serde(default)]
    pub(super) tags: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) policy: Option<String>,
}

impl Consumer {
    /// Whether it is too young to be subscribed with.
    pub(super) fn is_creating(&self, now_ms: i64, transition_ms: i64) -> bool {
        now_ms.saturating_sub(self.created_ms) < transition_ms
    }
}

/// When things were changed within the last 24 hours, for the limits on that.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RecentChanges {
    pub(super) shard_counts: Vec<i64>,
    pub(super) modes: Vec<i64>,
    pub(super) encryption_starts: Vec<i64>,
    pub(super) encryption_stops: Vec<i64>,
}

impl Settings {
    /// A new stream's.
    pub(super) fn new(mode: StreamMode) -> Self {
        Self {
            retention_hours: RETENTION_HOURS_MIN,
            mode,
            tags: BTreeMap::new(),
            horizon_floor_ms: 0,
            record_kib_max: RECORD_KIB_DEFAULT,
            encryption_key: None,
            metrics: BTreeSet::new(),
            policy: None,
            warm_mibps: None,
            distribution: Distribution::default(),
            consumers: BTreeMap::new(),
            recent: RecentChanges::default(),
        }
    }

    /// The most that data and partition key of one record may have.
    pub(super) fn record_bytes_max(&self) -> usize {
        usize::try_from(self.record_kib_max).unwrap_or(usize::MAX).saturating_mul(1_024)
    }

    /// The oldest arrival that readers may see.
    pub(super) fn horizon_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(i64::from(self.retention_hours) * 3_600_000).max(self.horizon_floor_ms)
    }
}

fn record_kib_default() -> u32 {
    RECORD_KIB_DEFAULT
}

/// Notes a change at `now_ms` if fewer than `max` lie within the 24 hours before; returns whether it may be made.
pub(super) fn admit_change(times: &mut Vec<i64>, max: usize, now_ms: i64) -> bool {
    times.retain(|at_ms| now_ms.saturating_sub(*at_ms) < DAY_MS);
    let is_admitted = times.len() < max;
    if is_admitted {
        times.push(now_ms);
    }
    is_admitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_first_version_are_read() {
        let old = r#"{"retention_hours":48,"mode":"PROVISIONED","tags":{"a":"b"}}"#;
        let settings: Settings = serde_json::from_str(old).unwrap();
        let mut expected = Settings::new(StreamMode::Provisioned);
        expected.retention_hours = 48;
        expected.tags.insert("a".to_owned(), "b".to_owned());
        assert_eq!(settings, expected);
    }

    #[test]
    fn changes_are_counted_over_a_rolling_day() {
        let mut times = Vec::new();
        assert!((0..3).all(|hour| admit_change(&mut times, 3, hour * 3_600_000)));
        assert!(!admit_change(&mut times, 3, DAY_MS - 1));
        assert!(admit_change(&mut times, 3, DAY_MS));
        assert!(!admit_change(&mut times, 3, DAY_MS + 1));
    }

    #[test]
    fn a_longer_retention_brings_nothing_back() {
        let mut settings = Settings::new(StreamMode::Provisioned);
        let now_ms = 100 * 3_600_000;
        let before_ms = settings.horizon_ms(now_ms);
        settings.horizon_floor_ms = before_ms;
        settings.retention_hours = 48;
        assert_eq!(settings.horizon_ms(now_ms), before_ms);
        assert_eq!(settings.horizon_ms(now_ms + 48 * 3_600_000), now_ms);
    }
}
