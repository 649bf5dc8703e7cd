//! How much of its limits a shard uses, beside the limiters that hold it to them.

use crate::meter::{Rate, Reading, Sizes, count};

/// What one shard has taken and given.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kinesis) struct WriteUse {
    bytes: Rate,
    records: Rate,
    throttled: u64,
}

/// What one shard was asked for and gave.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kinesis) struct ReadUse {
    calls: Rate,
    bytes: Rate,
    throttled: u64,
}

/// A shard's use at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ShardUse {
    pub(crate) write_bytes: Reading,
    pub(crate) write_records: Reading,
    pub(crate) writes_throttled: u64,
    pub(crate) read_calls: Reading,
    pub(crate) read_bytes: Reading,
    pub(crate) reads_throttled: u64,
}

/// The sizes of a stream's put requests.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::kinesis) struct PutSizes {
    /// Records in a request.
    pub(in crate::kinesis) records: Sizes,
    /// Bytes of a request.
    pub(in crate::kinesis) bytes: Sizes,
    /// Bytes of a record.
    pub(in crate::kinesis) record: Sizes,
}

impl WriteUse {
    /// Notes a record that was admitted, or throttled.
    pub(super) fn note(&mut self, bytes: usize, is_admitted: bool, now_ms: i64) {
        if is_admitted {
            self.bytes.add(count(bytes), now_ms);
            self.records.add(1, now_ms);
        } else {
            self.throttled += 1;
        }
    }

    /// Bytes and records that were admitted since the start.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.bytes.total(), self.records.total())
    }
}

impl ReadUse {
    /// Notes a call that was admitted, or throttled.
    pub(super) fn note(&mut self, is_admitted: bool, now_ms: i64) {
        if is_admitted { self.calls.add(1, now_ms) } else { self.throttled += 1 }
    }

    /// Notes what a call gave.
    pub(super) fn gave(&mut self, bytes: usize, now_ms: i64) {
        self.bytes.add(count(bytes), now_ms);
    }
}

impl ShardUse {
    /// What went through since the start, by the names and units of the metrics.
    pub(super) fn totals(writes: &WriteUse, reads: &ReadUse) -> [(&'static str, &'static str, u64); 5] {
        [
            ("IncomingBytes", "Bytes", writes.bytes.total()),
            ("IncomingRecords", "Count", writes.records.total()),
            ("WriteProvisionedThroughputExceeded", "Count", writes.throttled),
            ("GetRecords.Bytes", "Bytes", reads.bytes.total()),
            ("ReadProvisionedThroughputExceeded", "Count", reads.throttled),
        ]
    }

    /// Both sides together.
    pub(super) fn of(writes: &WriteUse, reads: &ReadUse, now_ms: i64) -> Self {
        Self {
            write_bytes: writes.bytes.read(now_ms),
            write_records: writes.records.read(now_ms),
            writes_throttled: writes.throttled,
            read_calls: reads.calls.read(now_ms),
            read_bytes: reads.bytes.read(now_ms),
            reads_throttled: reads.throttled,
        }
    }
}
