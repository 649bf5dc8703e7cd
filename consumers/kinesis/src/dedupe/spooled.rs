//! What a window knows of the records of one log on disk: a producer that is started again after a crash sends some of them once
//! more, cut into other aggregates.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::position::cmp_sequence_numbers;

/// The records of one series of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Series {
    /// Where the first copy of each record lies. What was in the shards before this one lies at the empty sequence number, which
    /// is below all others.
    pub(super) first_copies: BTreeMap<u64, Arc<str>>,
    /// What the producer said was done, in the order of the shard; positions and numbers both grow.
    floors: VecDeque<Floor>,
    /// The highest sequence number that was seen.
    pub(super) last: Arc<str>,
    pub(super) seen_in_call: u64,
}

#[derive(Debug, Clone)]
struct Floor {
    sequence_number: Arc<str>,
    done_below: u64,
}

impl Series {
    /// A series of which nothing is known but from the shards before this one, or from a snapshot at a sequence number.
    pub(super) fn begun(last: &Arc<str>, done_below: u64, numbers: impl Iterator<Item = u64>) -> Self {
        Series {
            first_copies: numbers.map(|number| (number, Arc::clone(last))).collect(),
            floors: VecDeque::from([Floor { sequence_number: Arc::clone(last), done_below }]),
            last: Arc::clone(last),
            seen_in_call: 0,
        }
    }

    /// Below this number every record is done, wherever one reads on.
    pub(super) fn done_below(&self) -> u64 {
        self.floors.back().map_or(0, |floor| floor.done_below)
    }

    /// Whether the record with this number, at this sequence number, is there for the second time. Notes it if it is the first.
    pub(super) fn is_repeat(&mut self, number: u64, sequence_number: &Arc<str>) -> bool {
        let before = self.floors_before(sequence_number).checked_sub(1).and_then(|index| self.floors.get(index));
        if before.is_some_and(|floor| number < floor.done_below) {
            return true;
        }
        match self.first_copies.get(&number).map(|first| cmp_sequence_numbers(first, sequence_number)) {
            Some(order) if order.is_lt() => return true,
            Some(order) if order.is_eq() => return false,
            Some(_) | None => {}
        }
        self.first_copies.insert(number, Arc::clone(sequence_number));
        false
    }

    /// Takes in what an aggregate at this sequence number says is done. Of what lies below the oldest floor that is kept no
    /// first copy need be known, unless somebody goes back beyond it.
    pub(super) fn note(&mut self, done_below: u64, sequence_number: &Arc<str>, history_max: usize) {
        if cmp_sequence_numbers(&self.last, sequence_number).is_lt() {
            self.last = Arc::clone(sequence_number);
        }
        let index = self.floors_before(sequence_number);
        let before = index.checked_sub(1).and_then(|index| self.floors.get(index));
        if before.is_some_and(|floor| done_below <= floor.done_below) {
            return;
        }
        while self.floors.get(index).is_some_and(|floor| floor.done_below <= done_below) {
            self.floors.remove(index);
        }
        self.floors.insert(index, Floor { sequence_number: Arc::clone(sequence_number), done_below });
        if self.floors.len() > history_max {
            self.floors.pop_front();
            if let Some(oldest) = self.floors.front() {
                self.first_copies = self.first_copies.split_off(&oldest.done_below);
            }
        }
    }

    /// How many floors lie before this sequence number.
    fn floors_before(&self, sequence_number: &str) -> usize {
        self.floors.partition_point(|floor| cmp_sequence_numbers(&floor.sequence_number, sequence_number).is_lt())
    }
}
