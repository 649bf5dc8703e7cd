//! Counters: written by the owning task, read by anybody.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a producer has done since it was started. All but the last three only grow. `offered` is always
/// `acknowledged` plus `spooled` plus `failed` plus what is still in the buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// User records accepted by `send` and `try_send` and taken up by the pipeline.
    pub offered: u64,
    /// User records that the stream has stored, and whose senders waited for that.
    pub acknowledged: u64,
    /// User records that were given up: refused for good or expired.
    pub failed: u64,
    /// Aggregated records made.
    pub aggregates: u64,
    /// Kinesis records, aggregated or plain, that the stream has stored.
    pub kinesis_records: u64,
    /// `PutRecords` requests made.
    pub requests: u64,
    /// Attempts of Kinesis records that the stream throttled.
    pub throttled: u64,
    /// Attempts of Kinesis records after their first.
    pub retried: u64,
    /// Bytes (data and partition key) of Kinesis records that the stream has stored.
    pub bytes: u64,
    /// Times that the shard map changed.
    pub shard_map_changes: u64,
    /// User records that were made durable on disk instead of waiting for the stream.
    pub spooled: u64,
    /// User records that the log on disk did not take; they are among `failed`.
    pub spool_refused: u64,
    /// User records that were read back from the log on disk and stored by the stream.
    pub spool_drained: u64,
    /// User records in the log on disk that the stream is not known to have stored, now.
    pub spool_backlog: u64,
    /// Bytes that the log on disk takes now.
    pub spool_disk_bytes: u64,
    /// Bytes that are charged against the buffer now.
    pub buffered_bytes: u64,
}

/// The counters behind [`Stats`]. One writer, so plain relaxed additions are exact.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) offered: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Among `failed`.
    pub(crate) expired: AtomicU64,
    /// User records in `aggregates`.
    pub(crate) aggregated: AtomicU64,
    pub(crate) aggregates: AtomicU64,
    pub(crate) kinesis_records: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) throttled: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) shard_map_changes: AtomicU64,
    pub(crate) spooled: AtomicU64,
    pub(crate) spool_refused: AtomicU64,
    pub(crate) spool_drained: AtomicU64,
    pub(crate) spool_backlog: AtomicU64,
    pub(crate) spool_disk_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self, buffered_bytes: u64) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            offered: read(&self.offered),
            acknowledged: read(&self.acknowledged),
            failed: read(&self.failed),
            aggregates: read(&self.aggregates),
            kinesis_records: read(&self.kinesis_records),
            requests: read(&self.requests),
            throttled: read(&self.throttled),
            retried: read(&self.retried),
            bytes: read(&self.bytes),
            shard_map_changes: read(&self.shard_map_changes),
            spooled: read(&self.spooled),
            spool_refused: read(&self.spool_refused),
            spool_drained: read(&self.spool_drained),
            spool_backlog: read(&self.spool_backlog),
            spool_disk_bytes: read(&self.spool_disk_bytes),
            buffered_bytes,
        }
    }
}

/// Adds to a counter.
pub(crate) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(u64::try_from(by).unwrap_or(u64::MAX), Ordering::Relaxed);
}
