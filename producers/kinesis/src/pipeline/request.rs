//! Collects batches of many lanes into one `PutRecords` request, within the limits of the request.

use std::{sync::Arc, time::Instant};

use kinesis_record::UnsealedAggregate;

use crate::pipeline::batch::Entry;

/// The service takes at most this many records in a request.
const REQUEST_RECORDS_MAX: usize = 500;

/// A request is closed at this size although the service takes 10 MiB: beyond it nothing is gained, the body (a third larger)
/// is memory outside the buffer, and more lanes wait for one answer. A single record may be larger.
const REQUEST_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(crate) u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RequestId(pub(crate) u64);

/// A request to be made now.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    pub(crate) entries: Vec<Entry>,
}

/// A request on its way: its batches, each with the shard where it should land.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) sent_at: Instant,
    pub(crate) batches: Vec<(BatchId, Arc<str>)>,
}

/// A request that is being collected.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) batches: Vec<BatchId>,
    /// Those among them that were cut just now: their digests are taken side by side.
    pub(crate) unsealed: Vec<(BatchId, UnsealedAggregate)>,
    bytes: usize,
    is_closed: bool,
    /// Closes with the first record.
    is_of_one: bool,
}

impl Draft {
    /// A request that takes one record only.
    pub(crate) fn of_one() -> Self {
        Draft { is_of_one: true, ..Draft::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether an entry of this size may join. The first one always may.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        let fits = self.batches.len() < REQUEST_RECORDS_MAX && self.bytes + bytes <= REQUEST_BYTES_MAX;
        !self.is_closed && (fits || self.is_empty())
    }

    pub(crate) fn push(&mut self, id: BatchId, bytes: usize) {
        self.batches.push(id);
        self.bytes += bytes;
        self.is_closed |= self.is_of_one;
    }

    /// Nothing may join any more.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::{BatchId, Draft};

    fn fill(entry_bytes: usize) -> usize {
        let mut draft = Draft::default();
        while draft.has_room(entry_bytes) {
            draft.push(BatchId(1), entry_bytes);
        }
        draft.batches.len()
    }

    #[test]
    fn a_request_is_bounded_in_records_and_bytes() {
        for (entry_bytes, records) in [(1, 500), (2097, 500), (2098, 499), (51_220, 20), (1 << 20, 1), (10 << 20, 1)] {
            assert_eq!(fill(entry_bytes), records, "{entry_bytes}");
        }
    }

    #[test]
    fn a_closed_request_takes_nothing() {
        let mut draft = Draft::default();
        draft.push(BatchId(1), 1);
        draft.close();
        assert!(!draft.has_room(1));
    }
}
