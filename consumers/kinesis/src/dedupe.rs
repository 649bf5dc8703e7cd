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
//! **How far it reaches.** Reading on, any distance: one counter per lane is enough. Going back, as far as the history of the
//! lane (256 aggregates by default): what lies before it is handed out, repeats too. A window that begins in the middle of a
//! shard, or has forgotten a lane, hands out the first copy that it sees. It forgets the lane that was silent longest once
//! there are more than it may keep (1,024 by default). So whatever it does not know costs a repeat at most, never a record.
//!
//! **Across shards.** After a split or merge the copy may be in the child and the first in the parent:
//! [`DedupeWindow::after`] begins a child's window with what its parents' have seen. A retry that raced the reshard is found
//! so, as long as the parents are read to their ends first, as the order per key demands anyway.
//!
//! **Restarts.** A reader that starts anew begins with an empty window, or with the one that it kept beside its checkpoint:
//! [`DedupeWindow::snapshot`] holds the last aggregate of each lane, so reading on is exact, and going back hands out. A producer
//! that starts anew has a new epoch, and what it sends again is not recognised.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use kinesis_record::Origin;

use crate::position::cmp_sequence_numbers;

mod shards;
mod snapshot;

pub use shards::ShardWindows;
pub use snapshot::SnapshotError;

/// Bounds of a [`DedupeWindow`]. An entry of the history costs about 120 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimits {
    /// Lanes (of all producers and epochs) that are remembered; at least 1. One more makes the one forgotten that was silent
    /// longest.
    pub lanes_max: usize,
    /// Aggregates per lane that are remembered, for going back; at least 1.
    pub history_max: usize,
}

impl Default for WindowLimits {
    /// At worst 30 MB, when 1,024 lanes have sent 256 aggregates each.
    fn default() -> Self {
        WindowLimits { lanes_max: 1_024, history_max: 256 }
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
        DedupeWindow { limits, lanes: HashMap::new(), calls: 0 }
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
}

impl Lane {
    fn highest(&self) -> Option<u64> {
        self.history.back().map(|seen| seen.counter).max(self.inherited)
    }

    fn is_repeat(&mut self, counter: u64, sequence_number: &str, history_max: usize) -> bool {
        let is_before = |seen: &Seen| cmp_sequence_numbers(&seen.sequence_number, sequence_number).is_lt();
        let index = self.history.partition_point(is_before);
        let before = index.checked_sub(1).and_then(|index| self.history.get(index)).map(|seen| seen.counter);
        if before.max(self.inherited).is_some_and(|highest| counter <= highest) {
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
