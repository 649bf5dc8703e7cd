//! A lane: the records of some partition keys of a shard, in order, one batch of them under way.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Instant;

use crate::kinesis::Record;

use super::super::batch::{Backlog, BatchLimits};
use super::{Condition, Policy};

/// The lane of a partition key. It need not stay the same over restarts: those begin again before all that waits.
pub(super) fn of_key(partition_key: &str, lanes: usize) -> usize {
    if lanes <= 1 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    partition_key.hash(&mut hasher);
    let lanes = u64::try_from(lanes).unwrap_or(1);
    usize::try_from(hasher.finish() % lanes).unwrap_or(0)
}

#[derive(Debug)]
pub(super) struct Lane {
    /// Read, and not yet in a batch.
    pub(super) backlog: Backlog,
    /// When a batch that is not full closes.
    pub(super) closes_at: Option<Instant>,
    /// The batch under way, in the pieces it was cut into; the first one is handled now.
    pub(super) work: VecDeque<Piece>,
    pub(super) is_busy: bool,
    /// The step under way is the final call of a window.
    pub(super) is_final: bool,
    pub(super) not_before: Option<Instant>,
    /// Ends without success in a row; decides the pause before the next.
    pub(super) failures: u32,
}

/// A part of a batch that is invoked as one.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) records: Vec<Record>,
    /// Attempts that failed and that count.
    pub(super) failures: u32,
    /// Times that the function was called with it, or with what it was cut from.
    pub(super) invocations: u32,
    /// It is to be given up.
    pub(super) condemned: Option<Condition>,
}

impl Lane {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self {
            backlog: Backlog::new(limits),
            closes_at: None,
            work: VecDeque::new(),
            is_busy: false,
            is_final: false,
            not_before: None,
            failures: 0,
        }
    }

    pub(super) fn push(&mut self, record: Record, closes_at: Instant) {
        self.closes_at.get_or_insert(closes_at);
        self.backlog.push(record);
    }

    /// The records of the step under way.
    pub(super) fn batch(&self) -> &[Record] {
        let piece = self.work.front().filter(|_| !self.is_final);
        piece.map_or(&[], |piece| &piece.records)
    }

    /// The first record that is not handled.
    pub(super) fn first(&self) -> Option<&Record> {
        let in_work = self.work.front().and_then(|piece| piece.records.first());
        in_work.or_else(|| self.backlog.first())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work.is_empty() && self.backlog.is_empty()
    }

    /// When something is to be done: after a pause, or at the end of the batching window.
    pub(super) fn due_at(&self) -> Option<Instant> {
        match self.not_before {
            Some(at) => Some(at),
            None if self.backlog.is_empty() => None,
            None => self.closes_at,
        }
    }

    /// Cuts the records that arrived before `horizon_ms` off the first piece, to be given up. Arrivals never go back
    /// within a shard, so they are the first ones.
    pub(super) fn expire(&mut self, horizon_ms: Option<i64>) {
        let (Some(horizon_ms), Some(piece)) = (horizon_ms, self.work.front_mut()) else { return };
        if piece.condemned.is_some() {
            return;
        }
        let expired = piece.records.partition_point(|record| record.arrival_ms < horizon_ms);
        if expired == 0 {
            return;
        }
        let rest = piece.records.split_off(expired);
        piece.condemned = Some(Condition::RecordAgeExceeded);
        let (failures, invocations) = (piece.failures, piece.invocations);
        if !rest.is_empty() {
            self.work.insert(1, Piece { records: rest, failures, invocations, condemned: None });
        }
    }
}

impl Piece {
    /// Counts a failure. A whole batch that can be bisected is cut instead, which uses up no attempt; the rest of a
    /// partly handled batch has failed once.
    pub(super) fn fail(&mut self, is_whole: bool, policy: &Policy) {
        if !is_whole {
            self.failures = 1;
        } else if !(policy.is_bisecting && self.records.len() > 1) {
            self.failures = self.failures.saturating_add(1);
        }
        if policy.retries_max.is_some_and(|retries| self.failures > retries) {
            self.condemned = Some(Condition::RetryAttemptsExhausted);
        }
    }
}

/// Cuts the first piece in two, if it has two records.
pub(super) fn bisect(work: &mut VecDeque<Piece>) {
    let Some(piece) = work.front_mut().filter(|piece| piece.records.len() > 1) else { return };
    let second = piece.records.split_off(piece.records.len() / 2);
    let (failures, invocations) = (piece.failures, piece.invocations);
    work.insert(1, Piece { records: second, failures, invocations, condemned: None });
}
