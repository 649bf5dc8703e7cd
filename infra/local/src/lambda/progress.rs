//! How far a mapping has come.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

use crate::kinesis::ShardReader;
use crate::meter::{Level, Reading};

/// A mapping's figures at one moment. Counts are since the mapping was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingProgress {
    /// The mapping's name.
    pub name: String,
    /// The stream's name.
    pub stream: String,
    /// Records on the stream that are not handled.
    pub waiting_records: u64,
    /// The age of the oldest record that was read and is not handled; 0 when nothing waits.
    pub lag_ms: u64,
    /// Invocations that have ended.
    pub invocations: u64,
    /// Those that failed: an error, a panic, a timeout, or a report of failed items.
    pub errors: u64,
    /// Records handled.
    pub records: u64,
    /// Records given up: their attempts were used up, or they were too old or too large.
    pub records_discarded: u64,
    /// Records that no filter let through.
    pub records_filtered: u64,
    /// Invocations that were put off for want of concurrency.
    pub throttles: u64,
    /// Invocations under way now.
    pub in_flight: u64,
}

/// What the pollers of a mapping count.
#[derive(Debug)]
pub(super) struct Progress {
    pub(super) invocations: AtomicU64,
    pub(super) errors: AtomicU64,
    pub(super) records: AtomicU64,
    pub(super) records_discarded: AtomicU64,
    pub(super) records_filtered: AtomicU64,
    pub(super) throttles: AtomicU64,
    pub(super) in_flight: AtomicU64,
    /// By shard number. Held for look-ups and additions only.
    shards: Mutex<BTreeMap<u64, Arc<ShardProgress>>>,
    /// Counts the moves of any shard's position.
    moves: watch::Sender<u64>,
    /// The age of the oldest record when batches were begun, in milliseconds. Held for an addition.
    age: Mutex<Level>,
}

/// How far a mapping has come in one shard.
#[derive(Debug)]
pub(super) struct ShardProgress {
    next_counter: AtomicU64,
    /// The arrival of the first record that was read and is not handled; 0 for none.
    waiting_since_ms: AtomicI64,
}

impl Progress {
    pub(super) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            invocations: zero(),
            errors: zero(),
            records: zero(),
            records_discarded: zero(),
            records_filtered: zero(),
            throttles: zero(),
            in_flight: zero(),
            shards: Mutex::new(BTreeMap::new()),
            moves: watch::channel(0).0,
            age: Mutex::default(),
        }
    }

    /// The shard's progress, which starts at `next_counter` when it is new.
    pub(super) fn shard(&self, number: u64, next_counter: u64) -> Arc<ShardProgress> {
        let new = || ShardProgress { next_counter: AtomicU64::new(next_counter), waiting_since_ms: AtomicI64::new(0) };
        Arc::clone(self.shards().entry(number).or_insert_with(|| Arc::new(new())))
    }

    /// Moves a shard's position on.
    pub(super) fn moved(&self, shard: &ShardProgress, next_counter: u64) {
        shard.next_counter.store(next_counter, Ordering::Release);
        self.moves.send_modify(|moves| *moves += 1);
    }

    /// Wakes after each move.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.moves.subscribe()
    }

    /// Records before `until` (by shard number and counter) that are not handled.
    pub(super) fn lag(&self, until: &[(ShardReader, u64)]) -> u64 {
        let shards = self.shards();
        let lag = |(shard, end): &(ShardReader, u64)| {
            let next = shards.get(&shard.description().number).map_or(0, |shard| shard.next());
            end.saturating_sub(next.max(shard.horizon().counter()))
        };
        until.iter().map(lag).sum()
    }

    /// The oldest arrival that is being handled.
    pub(super) fn waiting_since_ms(&self) -> Option<i64> {
        let shards = self.shards();
        let since = shards.values().map(|shard| shard.waiting_since_ms.load(Ordering::Relaxed));
        since.filter(|since_ms| *since_ms > 0).min()
    }

    /// Notes the age of a record whose invocation begins.
    pub(super) fn begins(&self, arrival_ms: i64, now_ms: i64) {
        let age_ms = usize::try_from(now_ms.saturating_sub(arrival_ms)).unwrap_or(0);
        self.age.lock().unwrap_or_else(std::sync::PoisonError::into_inner).set(age_ms, now_ms);
    }

    /// The age of the oldest record that waits, now and at most today. In milliseconds.
    pub(super) fn age(&self, now_ms: i64) -> Reading {
        let since_ms = self.waiting_since_ms();
        let now = since_ms.map_or(0, |since_ms| u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0));
        let noted = self.age.lock().unwrap_or_else(std::sync::PoisonError::into_inner).read(now_ms);
        Reading { now, peak: noted.peak.max(now) }
    }

    fn shards(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<ShardProgress>>> {
        self.shards.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ShardProgress {
    /// The counter before which all records are handled.
    pub(super) fn next(&self) -> u64 {
        self.next_counter.load(Ordering::Acquire)
    }

    /// Notes the arrival of the first record that was read and is not handled; 0 for none.
    pub(super) fn waits_since(&self, arrival_ms: i64) {
        self.waiting_since_ms.store(arrival_ms, Ordering::Relaxed);
    }
}
