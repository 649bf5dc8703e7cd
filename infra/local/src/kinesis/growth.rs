//! When an on-demand stream grows: which of its shards are split, by what they took. Pure.
//!
//! The service splits a shard that takes more than 500 KB/s, evenly and within a quarter of an hour. So a stream holds up
//! to twice of what it was seen to take, and one whose load more than doubles within a quarter of an hour is throttled
//! until it has grown. Here a shard is split once it took more than half of one of its limits for a minute and is a
//! quarter of an hour old: no sooner than the service would at its latest. It is split in its middle, whatever
//! keys are hot, and as often as it stays hot.
//!
//! What was taken is known since the start: after a restart the minutes and the last hour begin anew.

use std::collections::{HashMap, VecDeque};

use super::limiter::{WRITE_BYTES_PER_S, WRITE_RECORDS_PER_S};

/// Over this time a shard's load is averaged.
const WINDOW_MS: i64 = 60_000;
/// A window that is longer had a jump of the clock in it, or a machine that slept: it says nothing.
const WINDOW_MS_MAX: i64 = 2 * WINDOW_MS;
/// A shard is as old as this before it is split.
const SHARD_AGE_MS_MIN: i64 = 15 * 60_000;
/// Windows that [`Growth::hour_peak`] looks back on.
const WINDOWS_KEPT: usize = 60;
const HOUR_MS: i64 = 60 * 60_000;

/// What one shard has taken since it, or this process, began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) shard: u64,
    pub(super) created_ms: i64,
    pub(super) is_open: bool,
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// How much came in over some time, a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    bytes_per_s: u64,
    records_per_s: u64,
}

/// What a stream's growth is decided by.
#[derive(Debug, Default)]
pub(super) struct Growth {
    window: Option<Window>,
    /// The stream's load in the windows of the last hour, with their ends.
    windows: VecDeque<(i64, Load)>,
}

#[derive(Debug)]
struct Window {
    since_ms: i64,
    /// Bytes and records of each shard at its beginning.
    before: HashMap<u64, (u64, u64)>,
}

impl Load {
    /// Shards that take this much.
    pub(super) fn shards(self) -> u32 {
        let of = |load: u64, limit: i64| load.div_ceil(u64::try_from(limit).unwrap_or(1));
        let shards = of(self.bytes_per_s, WRITE_BYTES_PER_S).max(of(self.records_per_s, WRITE_RECORDS_PER_S));
        u32::try_from(shards).unwrap_or(u32::MAX)
    }

    /// Whether it is more than half of what a shard takes.
    fn is_hot(self) -> bool {
        let is_over = |load: u64, limit: i64| load > u64::try_from(limit / 2).unwrap_or(u64::MAX);
        is_over(self.bytes_per_s, WRITE_BYTES_PER_S) || is_over(self.records_per_s, WRITE_RECORDS_PER_S)
    }

    fn or_higher(self, other: Self) -> Self {
        Self {
            bytes_per_s: self.bytes_per_s.max(other.bytes_per_s),
            records_per_s: self.records_per_s.max(other.records_per_s),
        }
    }
}

impl Growth {
    /// Whether [`Growth::look`] has something to decide, or to begin with.
    pub(super) fn is_due(&self, now_ms: i64) -> bool {
        self.window.as_ref().is_none_or(|window| !(0..WINDOW_MS).contains(&(now_ms - window.since_ms)))
    }

    /// Ends the window that is over and begins the next one. Returns the open shards that are to be split.
    pub(super) fn look(&mut self, now_ms: i64, shards: &[Taken]) -> Vec<u64> {
        let before = shards.iter().map(|taken| (taken.shard, (taken.bytes, taken.records))).collect();
        let Some(ended) = self.window.replace(Window { since_ms: now_ms, before }) else { return Vec::new() };
        let elapsed_ms = now_ms.saturating_sub(ended.since_ms);
        if !(WINDOW_MS..=WINDOW_MS_MAX).contains(&elapsed_ms) {
            return Vec::new();
        }
        self.windows.push_back((now_ms, ended.load(shards, elapsed_ms)));
        if self.windows.len() > WINDOWS_KEPT {
            self.windows.pop_front();
        }
        let is_old = |taken: &&Taken| now_ms.saturating_sub(taken.created_ms) >= SHARD_AGE_MS_MIN;
        let is_hot = |taken: &&Taken| ended.load(std::slice::from_ref(*taken), elapsed_ms).is_hot();
        let hot = shards.iter().filter(|taken| taken.is_open).filter(is_old).filter(is_hot);
        hot.map(|taken| taken.shard).collect()
    }

    /// The stream's highest load in the last hour, the running window included.
    pub(super) fn hour_peak(&self, now_ms: i64, shards: &[Taken]) -> Load {
        let is_recent = |(end_ms, _): &&(i64, Load)| (0..=HOUR_MS).contains(&now_ms.saturating_sub(*end_ms));
        let running = self.window.as_ref().map_or_else(Load::default, |window| {
            window.load(shards, now_ms.saturating_sub(window.since_ms).clamp(1_000, WINDOW_MS_MAX))
        });
        self.windows.iter().filter(is_recent).fold(running, |peak, (_, load)| peak.or_higher(*load))
    }
}

impl Window {
    /// What these shards took from its beginning on, a second.
    fn load(&self, shards: &[Taken], elapsed_ms: i64) -> Load {
        let (mut bytes, mut records) = (0_u64, 0_u64);
        for taken in shards {
            let (bytes_before, records_before) = self.before.get(&taken.shard).copied().unwrap_or_default();
            bytes = bytes.saturating_add(taken.bytes.saturating_sub(bytes_before));
            records = records.saturating_add(taken.records.saturating_sub(records_before));
        }
        let elapsed_ms = u64::try_from(elapsed_ms).unwrap_or(1).max(1);
        let a_second = |total: u64| total.saturating_mul(1_000) / elapsed_ms;
        Load { bytes_per_s: a_second(bytes), records_per_s: a_second(records) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shards of one stream, each with a load of its own, looked at every five seconds.
    struct Model {
        growth: Growth,
        now_ms: i64,
        shards: Vec<Taken>,
    }

    impl Model {
        fn new(shards: u64) -> Self {
            let taken = |shard| Taken { shard, created_ms: 0, is_open: true, bytes: 0, records: 0 };
            Self { growth: Growth::default(), now_ms: 0, shards: (0..shards).map(taken).collect() }
        }

        /// Runs for a time, each shard with (bytes/s, records/s). Returns when which shards were to be split.
        fn run(&mut self, length_ms: i64, loads: &[(u64, u64)]) -> Vec<(i64, Vec<u64>)> {
            let end_ms = self.now_ms + length_ms;
            let mut splits = Vec::new();
            while self.now_ms < end_ms {
                self.now_ms += 5_000;
                for (taken, (bytes, records)) in self.shards.iter_mut().zip(loads) {
                    taken.bytes += bytes * 5;
                    taken.records += records * 5;
                }
                if self.growth.is_due(self.now_ms) {
                    let hot = self.growth.look(self.now_ms, &self.shards);
                    splits.extend((!hot.is_empty()).then_some((self.now_ms, hot)));
                }
            }
            splits
        }
    }

    #[test]
    fn a_shard_above_half_its_limits_is_split_when_it_is_old_enough() {
        let mut model = Model::new(4);
        let loads = [(600_000, 10), (500_000, 500), (10, 501), (10, 10)];
        let splits = model.run(14 * 60_000, &loads);
        assert_eq!(splits, [], "within a quarter of an hour");
        let splits = model.run(2 * 60_000, &loads);
        assert_eq!(splits.first().map(|(_, hot)| hot.clone()), Some(vec![0, 2]));
        assert!(splits[0].0 >= SHARD_AGE_MS_MIN && splits[0].0 <= SHARD_AGE_MS_MIN + WINDOW_MS, "{splits:?}");
    }

    #[test]
    fn a_short_burst_splits_nothing_and_a_jump_of_the_clock_says_nothing() {
        let mut model = Model::new(1);
        model.run(20 * 60_000, &[(1_000, 1)]);
        assert_eq!(model.run(25_000, &[(1_000_000, 1)]), []);
        assert_eq!(model.run(60_000, &[(1_000, 1)]), [], "25 of 60 seconds are below half");
        model.run(5_000, &[(30_000_000, 1)]);
        model.now_ms += 20 * 60_000;
        assert_eq!(model.run(5_000, &[(1_000, 1)]), []);
        assert_eq!(model.run(65_000, &[(600_000, 1)]).len(), 1);
        model.now_ms -= HOUR_MS;
        assert_eq!(model.run(5_000, &[(600_000, 1)]), [], "a clock that was set back");
    }

    #[test]
    fn the_peak_is_of_the_last_hour() {
        let mut model = Model::new(2);
        model.run(5 * 60_000, &[(3_000_000, 100), (3_000_000, 100)]);
        model.run(50 * 60_000, &[(100_000, 100), (100_000, 4_500)]);
        let peak = model.growth.hour_peak(model.now_ms, &model.shards);
        assert_eq!(peak.shards(), 6, "{peak:?}");
        model.run(20 * 60_000, &[(100_000, 100), (100_000, 4_500)]);
        let peak = model.growth.hour_peak(model.now_ms, &model.shards);
        assert_eq!(peak, Load { bytes_per_s: 200_000, records_per_s: 4_600 });
        assert_eq!(peak.shards(), 5);
    }
}
