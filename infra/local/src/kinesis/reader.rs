//! Reading a shard from within the process: no limits, no base64, and waiting in place of polling.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::description::ShardDescription;
use super::log::{LogError, Position, ReadLimit, ShardLog, Tail};
use super::sequence::SequenceNumber;

/// A record as readers get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the stream.
    pub sequence_number: SequenceNumber,
    /// When it was written, in milliseconds since the epoch. Never before an earlier record of its shard.
    pub arrival_ms: i64,
    /// As it was put.
    pub partition_key: String,
    /// As it was put. A slice of what one read brought: holding one record holds the memory of that read.
    pub data: Bytes,
}

/// What one read gave.
#[derive(Debug, Clone)]
pub struct Batch {
    /// In order, without gaps; empty at the end of what is written.
    pub records: Vec<Record>,
    /// Where the next read goes on.
    pub next: Position,
}

/// One shard, for reading within the process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ShardReader {
    description: Arc<ShardDescription>,
    log: ShardLog,
}

impl ShardReader {
    pub(super) fn new(description: Arc<ShardDescription>, log: ShardLog) -> Self {
        Self { description, log }
    }

    /// The shard as it was when this reader was taken.
    pub fn description(&self) -> &ShardDescription {
        &self.description
    }

    /// The oldest record kept.
    pub fn horizon(&self) -> Position {
        Position::at(self.log.horizon())
    }

    /// The record that comes next.
    pub fn latest(&self) -> Position {
        Position::at(self.tail().next_counter)
    }

    /// The first record that arrived at `arrival_ms` or later, or the one that comes next.
    ///
    /// # Errors
    /// When the disk refuses, or a record's checksum is wrong.
    pub async fn position_at(&self, arrival_ms: i64) -> Result<Position, LogError> {
        let log = self.log.clone();
        match tokio::task::spawn_blocking(move || log.counter_at(arrival_ms)).await {
            Ok(counter) => counter.map(Position::at),
            Err(error) => Err(self.log.io_error(std::io::Error::other(error))),
        }
    }

    /// Where the shard ends now, and whether it has ended for good.
    pub fn tail(&self) -> Tail {
        self.log.tail()
    }

    /// Reads what is durable from `from` on; nothing there yet is an empty batch.
    ///
    /// # Errors
    /// When the disk refuses, or a record's checksum is wrong.
    pub async fn read(&self, from: Position, limit: ReadLimit) -> Result<Batch, LogError> {
        let run = super::stream::read(&self.log, from.counter(), limit).await?;
        let mut records = Vec::with_capacity(run.len());
        records.extend(run.records().map(|record| Record {
            sequence_number: self.description.sequence_number(record.counter),
            arrival_ms: record.arrival_ms,
            partition_key: record.partition_key().into_owned(),
            data: record.shared_data(),
        }));
        Ok(Batch { records, next: Position::at(run.next()) })
    }

    /// Follows the end of the shard: how to wait for records without asking again and again.
    pub fn watch(&self) -> watch::Receiver<Tail> {
        self.log.watch()
    }
}
