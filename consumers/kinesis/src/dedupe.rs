//! Removes what a producer stored twice: after a request without an answer it sends the same aggregate again, under the same
//! mark.
//!
//! **The rule.** An aggregate is a repeat if the window has seen, at a *lower* sequence number of the shard, one of the same
//! producer, epoch and lane with the same or a *higher* counter. That is sound because a lane sends its next aggregate only
//! when the one before is stored or given up: what comes later with a lower counter was there before, or its sender was told
//! that it was not acknowledged.
//!
//! **Giving a batch again is no repeat.** The rule looks at positions, not at how often something was read: the same record
//! at the same sequence number gets the same verdict each time. So nothing has to be taken back when a batch fails.
//!
//! **Records of a log on disk.** A producer that is started again after a crash sends what it is not sure of from its log, in
//! other aggregates. These tell the number of each record in the log: a record is a repeat if its number was seen at a lower
//! sequence number, or if an aggregate at a lower one said that everything below some higher number is done. What was on its
//! way when the log was taken into use went without a number; sent again, it tells the mark of the aggregate that it was in.
//!
//! **How far it reaches.** Reading on, any distance: one counter per lane is enough. Going back, as far as the history of the
//! lane (256 aggregates by default): what lies before it is handed out, repeats too. A window that begins in the middle of a
//! shard, or has forgotten a lane, hands out the first copy that it sees. It forgets the lane that was silent longest once
//! there are more than it may keep (1,024 by default). So whatever it does not know costs a repeat at most, never a
//! record. Of a spool it takes the word that what is below a number was stored: a reader that began behind the first copy leaves out the second.
//!
//! **Across shards.** After a split or merge the copy may be in the child and the first in the parent:
//! [`DedupeWindow::after`] begins a child's window with what its parents' have seen. A retry that raced the reshard is found
//! so, as long as the parents are read to their ends first, as the order per key demands anyway.
//!
//! **Restarts.** A reader that starts anew begins with an empty window, or with the one that it kept beside its checkpoint:
//! [`DedupeWindow::snapshot`] holds the last aggregate of each lane and the numbers that may come again, so reading on is exact,
//! and going back hands out.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use kinesis_record::{Aggregate, Origin};

use self::spooled::Series;
use crate::position::cmp_sequence_numbers;

mod shards;
mod snapshot;
mod spooled;

pub use shards::ShardWindows;
pub use snapshot::SnapshotError;

/// Bounds of a [`DedupeWindow`]. An entry of the history costs about 120 bytes, a number about 60.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Lanes (of all producers and epochs) that are remembered; at least 1. One more makes the one forgotten that was silent
    /// longest.
    pub lanes_max: usize,
    /// Aggregates per lane that are remembered, for going back; at least 1.
    pub history_max: usize,
    /// Numbers of records in logs on disk that are remembered; at least 1. A producer with the default buffer may send up to
    /// 130,000 records again after a crash. One more makes the lowest one forgotten of the log that was silent longest.
    pub numbers_max: usize,
}

impl Default for WindowLimits {
    /// At worst 46 MB, when 1,024 lanes have sent 256 aggregates each, and logs the smallest of records.
    fn default() -> Self {
        WindowLimits { lanes_max: 1_024, history_max: 256, numbers_max: 262_144 }
    }
}

/// What one shard has stored so far, as far as it takes to tell repeats.
///
/// ```
/// use kinesis_consumer::{DedupeWindow, Origin, WindowLimits};
///
/// let mut window = DedupeWindow::new(WindowLimits::default());
/// let origin = |counter| Origin { producer: 17, epoch: 1, lane: 0, counter };
/// assert!(!window.is_repeat(&origin(1), "1001"));
/// assert!(!window.is_repeat(&origin(2), "1002"));
/// assert!(window.is_repeat(&origin(1), "1003"));    // sent again after a timeout
/// assert!(!window.is_repeat(&origin(2), "1002"));   // given again after a failed batch
/// ```
#[derive(Debug, Clone)]
pub struct DedupeWindow {
    limits: WindowLimits,
    lanes: HashMap<LaneKey, Lane>,
    /// Logs on disk, or parts of them; as many at most as lanes.
    series: HashMap<u64, Series>,
    /// Numbers in all of them.
    numbers: usize,
    /// Counts the calls, to tell which lane was silent longest.
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct LaneKey {
    producer: u64,
    epoch: u64,
    lane: u64,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    /// The highest counter in the shards before this one.
    inherited: Option<u64>,
    /// First copies, in the order of the shard; counters and positions both grow.
    history: VecDeque<Seen>,
    seen_in_call: u64,
}

#[derive(Debug, Clone)]
struct Seen {
    sequence_number: Arc<str>,
    counter: u64,
}

impl DedupeWindow {
    /// A window that has seen nothing.
    pub fn new(limits: WindowLimits) -> Self {
        DedupeWindow { limits, lanes: HashMap::new(), series: HashMap::new(), numbers: 0, calls: 0 }
    }

    /// The window of a shard whose parents were read to their ends with the windows `parents`.
    pub fn after<'a>(limits: WindowLimits, parents: impl IntoIterator<Item = &'a DedupeWindow>) -> Self {
        let mut window = DedupeWindow::new(limits);
        for parent in parents {
            // Oldest first, so that the lanes that spoke last are the ones that are kept.
            let mut lanes: Vec<(&LaneKey, &Lane)> = parent.lanes.iter().collect();
            lanes.sort_by_key(|(_, lane)| lane.seen_in_call);
            for (key, lane) in lanes {
                let highest = lane.highest();
                let inherited = &mut window.lane(*key).inherited;
                *inherited = (*inherited).max(highest);
            }
            let mut series: Vec<(&u64, &Series)> = parent.series.iter().collect();
            series.sort_by_key(|(_, series)| series.seen_in_call);
            for (id, series) in series {
                let numbers = series.first_copies.keys().copied();
                window.inherit(*id, series.done_below(), numbers);
            }
        }
        window
    }

    /// Whether the aggregate with this mark, at this sequence number of the shard, is there for the second time. Notes it if it
    /// is the first. Costs a hash look-up and a search in the lane's history.
    pub fn is_repeat(&mut self, origin: &Origin, sequence_number: &str) -> bool {
        let history_max = self.limits.history_max.max(1);
        let key = LaneKey { producer: origin.producer, epoch: origin.epoch, lane: origin.lane };
        self.lane(key).is_repeat(origin.counter, sequence_number, history_max)
    }

    /// What of an aggregate at this sequence number of the shard is there for the second time: all of it, or single records that a
    /// producer sent once more from its log on disk. Notes what is there for the first.
    pub fn repeats(&mut self, aggregate: &Aggregate, sequence_number: &str) -> Repeats {
        if aggregate.origin().is_some_and(|origin| self.is_repeat(&origin, sequence_number)) {
            return Repeats::All;
        }
        let Some(mark) = aggregate.spool_mark() else { return Repeats::Records(Vec::new()) };
        if mark.sent_as.is_some_and(|origin| self.has_seen(&origin, sequence_number)) {
            return Repeats::All;
        }
        let mut repeats = Vec::new();
        let (history_max, sequence_number) = (self.limits.history_max.max(1), Arc::from(sequence_number));
        let series = self.series(mark.series);
        let before = series.first_copies.len();
        for (sub_sequence, number) in (0..).zip(aggregate.spool_numbers()) {
            if number.is_some_and(|number| series.is_repeat(number, &sequence_number)) {
                repeats.push(sub_sequence);
            }
        }
        series.note(mark.done_below, &sequence_number, history_max);
        let after = series.first_copies.len();
        self.numbers = self.numbers + after - before;
        self.forget_numbers(mark.series);
        Repeats::Records(repeats)
    }

    /// How many lanes are remembered.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    fn lane(&mut self, key: LaneKey) -> &mut Lane {
        self.calls += 1;
        let is_full = self.lanes.len() >= self.limits.lanes_max.max(1);
        if is_full && !self.lanes.contains_key(&key) {
            let silent_longest = self.lanes.iter().min_by_key(|(_, lane)| lane.seen_in_call).map(|(key, _)| *key);
            silent_longest.and_then(|key| self.lanes.remove(&key));
        }
        let lane = self.lanes.entry(key).or_default();
        lane.seen_in_call = self.calls;
        lane
    }

    /// Whether an aggregate with this mark, or a later one of its lane, lies at a lower sequence number.
    fn has_seen(&self, origin: &Origin, sequence_number: &str) -> bool {
        let key = LaneKey { producer: origin.producer, epoch: origin.epoch, lane: origin.lane };
        let before = self.lanes.get(&key).and_then(|lane| lane.highest_before(sequence_number).1);
        before.is_some_and(|highest| origin.counter <= highest)
    }

    fn series(&mut self, id: u64) -> &mut Series {
        self.calls += 1;
        let is_full = self.series.len() >= self.limits.lanes_max.max(1);
        if is_full && !self.series.contains_key(&id) {
            let silent_longest = self.series.iter().min_by_key(|(_, series)| series.seen_in_call).map(|(id, _)| *id);
            let forgotten = silent_longest.and_then(|id| self.series.remove(&id));
            self.numbers -= forgotten.map_or(0, |series| series.first_copies.len());
        }
        let series = self.series.entry(id).or_insert_with(|| Series::begun(&Arc::from(""), 0, std::iter::empty()));
        series.seen_in_call = self.calls;
        series
    }

    /// Takes over what is known of a series in a shard before.
    fn inherit(&mut self, id: u64, done_below: u64, numbers: impl Iterator<Item = u64>) {
        let before = self.series(id);
        let known = before.first_copies.len();
        let done_below = done_below.max(before.done_below());
        let numbers = numbers.chain(before.first_copies.keys().copied()).filter(|number| *number >= done_below);
        let mut inherited = Series::begun(&Arc::from(""), done_below, numbers.collect::<Vec<_>>().into_iter());
        let after = inherited.first_copies.len();
        inherited.seen_in_call = before.seen_in_call;
        *before = inherited;
        self.numbers = self.numbers + after - known;
        self.forget_numbers(id);
    }

    /// Keeps to the bound, at the cost of the logs that were silent longest, and of `current` last.
    fn forget_numbers(&mut self, current: u64) {
        while self.numbers > self.limits.numbers_max.max(1) {
            let others = self.series.iter().filter(|(id, series)| **id != current && !series.first_copies.is_empty());
            let silent_longest = others.min_by_key(|(_, series)| series.seen_in_call).map_or(current, |(id, _)| *id);
            let Some(series) = self.series.get_mut(&silent_longest) else { return };
            let excess = self.numbers - self.limits.numbers_max.max(1);
            for _ in 0..excess {
                self.numbers -= usize::from(series.first_copies.pop_first().is_some());
            }
        }
    }
}

/// What of an aggregate is there for the second time. See [`DedupeWindow::repeats`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeats {
    /// All of its records.
    All,
    /// The records with these sub-sequence numbers, in their order; often none.
    Records(Vec<u32>),
}

impl Lane {
    fn highest(&self) -> Option<u64> {
        self.history.back().map(|seen| seen.counter).max(self.inherited)
    }

    /// How much of the history lies before this sequence number, and the highest counter there.
    fn highest_before(&self, sequence_number: &str) -> (usize, Option<u64>) {
        let is_before = |seen: &Seen| cmp_sequence_numbers(&seen.sequence_number, sequence_number).is_lt();
        let index = self.history.partition_point(is_before);
        let before = index.checked_sub(1).and_then(|index| self.history.get(index)).map(|seen| seen.counter);
        (index, before.max(self.inherited))
    }

    fn is_repeat(&mut self, counter: u64, sequence_number: &str, history_max: usize) -> bool {
        let (index, before) = self.highest_before(sequence_number);
        if before.is_some_and(|highest| counter <= highest) {
            return true;
        }
        if self.history.get(index).is_some_and(|seen| *seen.sequence_number == *sequence_number) {
            return false;
        }
        // Reading went back to before the history begins: what was taken for a first copy may turn out to be a second.
        while self.history.get(index).is_some_and(|seen| seen.counter <= counter) {
            self.history.remove(index);
        }
        self.history.insert(index, Seen { sequence_number: sequence_number.into(), counter });
        if self.history.len() > history_max {
            self.history.pop_front();
        }
        false
    }
}

#[cfg(test)]
mod tests;
