//! The records that were read back and are not known to be drained, in order: what memory they take, and which is the first that
//! the stream has not stored.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

#[derive(Debug)]
struct Slot {
    number: u64,
    cost: usize,
    read_at: Instant,
    is_done: bool,
}

#[derive(Debug, Default)]
pub(super) struct Window {
    /// In the order of their numbers; the first one is not done.
    slots: VecDeque<Slot>,
    slot_bytes: usize,
    /// Of records that are done, but whose progress is not noted on disk.
    unnoted_bytes: usize,
    /// The part of these that the note being written covers.
    noting_bytes: usize,
    /// When the youngest record that is done was read.
    last_done_read_at: Option<Instant>,
}

impl Window {
    pub(super) fn push(&mut self, number: u64, cost: usize, now: Instant, is_done: bool) {
        self.slots.push_back(Slot { number, cost, read_at: now, is_done });
        self.slot_bytes += cost;
        self.advance();
    }

    /// Notes that a record is done.
    pub(super) fn settle(&mut self, number: u64) {
        let Ok(at) = self.slots.binary_search_by_key(&number, |slot| slot.number) else { return };
        if let Some(slot) = self.slots.get_mut(at) {
            slot.is_done = true;
            self.last_done_read_at = self.last_done_read_at.max(Some(slot.read_at));
        }
        self.advance();
    }

    /// The first record that is not done.
    pub(super) fn first(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.number)
    }

    /// All that would be read again after a crash now.
    pub(super) fn bytes(&self) -> usize {
        self.slot_bytes + self.unnoted_bytes + self.noting_bytes
    }

    /// What the next note covers.
    pub(super) fn unnoted(&self) -> usize {
        self.unnoted_bytes
    }

    pub(super) fn begin_note(&mut self) {
        self.noting_bytes = std::mem::take(&mut self.unnoted_bytes);
    }

    pub(super) fn end_note(&mut self, is_written: bool) {
        let noting = std::mem::take(&mut self.noting_bytes);
        if !is_written {
            self.unnoted_bytes += noting;
        }
    }

    /// Whether nothing is open, or what is open is young, and something as young was done.
    pub(super) fn keeps_pace(&self, now: Instant, after: Duration) -> bool {
        let is_young = |at: Instant| now.saturating_duration_since(at) < after;
        let Some(first) = self.slots.front() else { return true };
        is_young(first.read_at) && self.last_done_read_at.is_some_and(is_young)
    }

    fn advance(&mut self) {
        while let Some(done) = self.slots.pop_front_if(|slot| slot.is_done) {
            self.slot_bytes -= done.cost;
            self.unnoted_bytes += done.cost;
        }
    }
}
