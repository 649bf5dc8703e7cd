//! The records of a lane in the order of their keys. With aggregation off, records whose key is on its way step aside, so that
//! they do not hold up other keys; each moves aside at most once and back once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use crate::pipeline::batch::Pending;

/// Bytes that a record adds to an aggregate beside key and data, at most while indices fit two bytes.
const RECORD_FRAME_BYTES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Queue {
    line: VecDeque<Pending>,
    line_bytes: usize,
    /// Hash keys on their way.
    busy: HashSet<u128>,
    /// Records that stepped aside, by hash key. They are older than any of that key in the line, but for one at its head.
    aside: HashMap<u128, VecDeque<Pending>>,
}

impl Queue {
    pub(super) fn push(&mut self, pending: Pending) {
        self.line_bytes += line_bytes(&pending);
        self.line.push_back(pending);
    }

    /// Puts a record before all others.
    pub(super) fn push_front(&mut self, pending: Pending) {
        self.line_bytes += line_bytes(&pending);
        self.line.push_front(pending);
    }

    pub(super) fn front(&self) -> Option<&Pending> {
        self.line.front()
    }

    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.line.pop_front()?;
        self.line_bytes -= line_bytes(&pending);
        Some(pending)
    }

    /// Bytes of keys, data and framing in the line.
    pub(super) fn bytes(&self) -> usize {
        self.line_bytes
    }

    pub(super) fn front_bytes(&self) -> usize {
        self.front().map_or(0, line_bytes)
    }

    /// Takes the head if it has waited beyond its deadline.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Pending> {
        if self.front()?.ticket.deadline > now {
            return None;
        }
        let pending = self.pop()?;
        self.call_back(pending.ticket.hash_key);
        Some(pending)
    }

    /// Those that stepped aside, which are older, then the line.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.aside.values().flatten().chain(&self.line)
    }

    /// Everything, in no order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Pending> + use<> {
        self.line_bytes = 0;
        let aside = std::mem::take(&mut self.aside).into_values().flatten();
        std::mem::take(&mut self.line).into_iter().chain(aside)
    }

    /// Marks a hash key as on its way.
    pub(super) fn begin(&mut self, hash_key: u128) {
        self.busy.insert(hash_key);
    }

    /// The hash key is free again: its next record returns to the head of the line.
    pub(super) fn end(&mut self, hash_key: u128) {
        if self.busy.remove(&hash_key) {
            self.call_back(hash_key);
        }
    }

    /// Lets records at the head whose key is on its way step aside.
    pub(super) fn step_aside(&mut self) {
        while let Some(pending) = self.line.pop_front_if(|pending| self.busy.contains(&pending.ticket.hash_key)) {
            self.line_bytes -= line_bytes(&pending);
            self.aside.entry(pending.ticket.hash_key).or_default().push_back(pending);
        }
    }

    fn call_back(&mut self, hash_key: u128) {
        let Some(waiting) = self.aside.get_mut(&hash_key) else { return };
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.aside.remove(&hash_key);
        }
        if let Some(next) = next {
            self.push_front(next);
        }
    }
}

fn line_bytes(pending: &Pending) -> usize {
    pending.partition_key.len() + pending.data.len() + RECORD_FRAME_BYTES
}
