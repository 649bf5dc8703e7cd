//! What one read of a shard gives: whole blocks, and which of their records were asked for.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::kinesis::block::{self, Block};

use super::ReadLimit;

/// Records in order and without gaps, still in their blocks.
#[derive(Debug, Clone, Default)]
pub(in crate::kinesis) struct Run {
    blocks: Vec<Block>,
    from: u64,
    next: u64,
}

/// A record as its log keeps it.
#[derive(Debug, Clone)]
pub(in crate::kinesis) struct LogRecord<'a> {
    pub(in crate::kinesis) counter: u64,
    pub(in crate::kinesis) arrival_ms: i64,
    body: &'a Bytes,
    key: Range<usize>,
    data: Range<usize>,
}

impl Run {
    /// No records; the next one wanted is `next`.
    pub(super) fn empty(next: u64) -> Self {
        Self { blocks: Vec::new(), from: next, next }
    }

    /// The records from `from` on that a limit allows, of blocks of which the first holds `from`. At least one.
    pub(super) fn of(blocks: Vec<Block>, from: u64, limit: ReadLimit) -> Self {
        let mut run = Self { blocks, from, next: u64::MAX };
        let (mut records, mut bytes, mut next) = (0_usize, 0_usize, from);
        for record in run.records() {
            bytes = bytes.saturating_add(record.bytes());
            if records > 0 && (records >= limit.records || bytes > limit.bytes) {
                break;
            }
            records += 1;
            next = record.counter + 1;
        }
        run.next = next;
        while run.blocks.last().is_some_and(|last| last.head.counter >= next) {
            run.blocks.pop();
        }
        run
    }

    /// The counter after the last record's.
    pub(in crate::kinesis) fn next(&self) -> u64 {
        self.next
    }

    /// How many records there are.
    pub(in crate::kinesis) fn len(&self) -> usize {
        usize::try_from(self.next.saturating_sub(self.from)).unwrap_or(usize::MAX)
    }

    /// When the first record arrived; `None` when there is none.
    pub(in crate::kinesis) fn first_arrival_ms(&self) -> Option<i64> {
        self.blocks.first().map(|block| block.head.arrival_ms)
    }

    /// When the last record arrived; `None` when there is none.
    pub(in crate::kinesis) fn last_arrival_ms(&self) -> Option<i64> {
        self.blocks.last().map(|block| block.head.arrival_ms)
    }

    /// The records, in order.
    pub(in crate::kinesis) fn records(&self) -> impl Iterator<Item = LogRecord<'_>> {
        let wanted = self.from..self.next;
        let records = self.blocks.iter().flat_map(|block| {
            (block.head.counter..).zip(block::records(&block.body)).map(|(counter, (key, data))| LogRecord {
                counter,
                arrival_ms: block.head.arrival_ms,
                body: &block.body,
                key,
                data,
            })
        });
        records.filter(move |record| wanted.contains(&record.counter))
    }
}

impl<'a> LogRecord<'a> {
    /// Bytes of data and partition key.
    pub(in crate::kinesis) fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }

    /// The partition key; keys are text when they are put.
    pub(in crate::kinesis) fn partition_key(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.body.get(self.key.clone()).unwrap_or_default())
    }

    /// The data.
    pub(in crate::kinesis) fn data(&self) -> &'a [u8] {
        self.body.get(self.data.clone()).unwrap_or_default()
    }

    /// The data, which holds the memory of the read it came with.
    pub(in crate::kinesis) fn shared_data(&self) -> Bytes {
        self.body.slice(self.data.clone())
    }
}
