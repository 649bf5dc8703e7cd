//! Reads a batch as Lambda gives it: every user record once, repeats left out, and what cannot be read handed out as such.
//!
//! One Kinesis record is unpacked at a time, so a batch costs the memory of its largest aggregate beside its own bytes. Digests
//! are looked at ahead, four records at once, which is twice as fast as one by one.

use std::{collections::VecDeque, sync::Arc, vec};

use aws_lambda_events::event::{
    kinesis::{KinesisEvent, KinesisEventRecord},
    streams::KinesisEventResponse,
};
use bytes::Bytes;
use kinesis_record::{CONTENT_BYTES_MAX, CheckedData, UnpackError, check_digests};

use crate::{
    batch::BatchFailures,
    dedupe::{Repeats, ShardWindows},
    user_record::{UserRecord, UserRecords, read},
};

/// Records whose digests are looked at together.
const DIGESTS_AT_ONCE: usize = 4;

/// What a batch holds, in the order of its shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchItem {
    /// A record as its producer put it.
    Record(UserRecord),
    /// A Kinesis record that is a damaged or contradictory aggregate. It is the same at every retry: keep it and go on.
    Unreadable(Unreadable),
}

/// A Kinesis record that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The partition key of the Kinesis record.
    pub partition_key: Arc<str>,
    /// Its sequence number.
    pub sequence_number: Arc<str>,
    /// When it arrived, in milliseconds since the epoch.
    pub arrival_ms: i64,
    /// All its bytes.
    pub data: Bytes,
    /// What is wrong with them.
    pub error: UnpackError,
}

/// What became of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum ItemOutcome {
    /// It is dealt with, well or as a kept failure.
    Done,
    /// A fault of our own: the stream is to give it again, and with it everything after.
    Again,
}

/// How much a batch held, as far as it was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Kinesis records that were taken up.
    pub kinesis_records: usize,
    /// User records that were handed out.
    pub user_records: usize,
    /// Kinesis records that were left out as a whole, as repeats.
    pub repeats: usize,
    /// User records that were left out as repeats, in those and by themselves.
    pub repeated_user_records: usize,
    /// Kinesis records that could not be read.
    pub unreadable: usize,
}

/// The items of one batch. An iterator: what is not asked for is not unpacked.
#[derive(Debug)]
pub struct BatchReader<'a> {
    records: vec::IntoIter<KinesisEventRecord>,
    /// Records whose digest was looked at.
    checked: VecDeque<(KinesisEventRecord, CheckedData)>,
    current: Option<UserRecords>,
    windows: Option<&'a mut ShardWindows>,
    counts: BatchCounts,
}

impl<'a> BatchReader<'a> {
    /// Reads everything that the batch holds.
    pub fn new(event: KinesisEvent) -> Self {
        BatchReader {
            records: event.records.into_iter(),
            checked: VecDeque::new(),
            current: None,
            windows: None,
            counts: BatchCounts::default(),
        }
    }

    /// Leaves out what is there for the second time, as far as `windows` knows. They live longer than a batch: one
    /// value per execution environment.
    pub fn without_repeats(event: KinesisEvent, windows: &'a mut ShardWindows) -> Self {
        BatchReader { windows: Some(windows), ..BatchReader::new(event) }
    }

    /// What was read so far.
    pub fn counts(&self) -> BatchCounts {
        self.counts
    }

    /// Gives the items to `handle` one after the other, and makes Lambda's answer of the outcomes. Ends at the first item that
    /// is to come again, for Lambda gives everything from its Kinesis record on again.
    ///
    /// A handler that works on many records at a time takes the items itself, and notes what failed in [`BatchFailures`].
    pub async fn handle_each(&mut self, mut handle: impl AsyncFnMut(BatchItem) -> ItemOutcome) -> KinesisEventResponse {
        let mut failures = BatchFailures::new();
        for item in self.by_ref() {
            let sequence_number = Arc::clone(item.sequence_number());
            match handle(item).await {
                ItemOutcome::Done => {}
                ItemOutcome::Again => {
                    failures.add(&sequence_number);
                    break;
                }
            }
        }
        failures.into_response()
    }

    /// The next Kinesis record and its bytes.
    fn next_checked(&mut self) -> Option<(KinesisEventRecord, CheckedData)> {
        if self.checked.is_empty() {
            let mut group: Vec<KinesisEventRecord> = self.records.by_ref().take(DIGESTS_AT_ONCE).collect();
            let data = group.iter_mut().map(|record| Bytes::from(std::mem::take(&mut record.kinesis.data.0)));
            let checked = check_digests(data);
            self.checked.extend(group.into_iter().zip(checked));
        }
        self.checked.pop_front()
    }

    /// Takes up a Kinesis record: its user records, nothing if it is a repeat, or the fault.
    fn open(&mut self, record: KinesisEventRecord, checked: &CheckedData) -> Result<Option<UserRecords>, Unreadable> {
        self.counts.kinesis_records += 1;
        let data = checked.data();
        let mut records = match read(&record.kinesis, data, checked.unpack(CONTENT_BYTES_MAX)) {
            Ok(records) => records,
            Err(error) => {
                self.counts.unreadable += 1;
                return Err(Unreadable {
                    partition_key: record.kinesis.partition_key.into(),
                    sequence_number: error.sequence_number,
                    arrival_ms: record.kinesis.approximate_arrival_timestamp.timestamp_millis(),
                    data: data.clone(),
                    error: error.source,
                });
            }
        };
        if let (Some(windows), Some(aggregate)) = (&mut self.windows, records.aggregate()) {
            match windows.repeats(&shard_of(&record), aggregate, records.sequence_number()) {
                Repeats::All => {
                    self.counts.repeats += 1;
                    self.counts.repeated_user_records += records.len();
                    return Ok(None);
                }
                Repeats::Records(repeats) => {
                    self.counts.repeated_user_records += repeats.len();
                    records.leave_out(repeats);
                }
            }
        }
        Ok(Some(records))
    }
}

impl Iterator for BatchReader<'_> {
    type Item = BatchItem;

    fn next(&mut self) -> Option<BatchItem> {
        loop {
            if let Some(record) = self.current.as_mut().and_then(Iterator::next) {
                self.counts.user_records += 1;
                return Some(BatchItem::Record(record));
            }
            self.current = None;
            let (record, checked) = self.next_checked()?;
            match self.open(record, &checked) {
                Ok(records) => self.current = records,
                Err(unreadable) => return Some(BatchItem::Unreadable(unreadable)),
            }
        }
    }
}

impl BatchItem {
    /// The sequence number of the Kinesis record that holds the item.
    pub fn sequence_number(&self) -> &Arc<str> {
        match self {
            BatchItem::Record(record) => &record.sequence_number,
            BatchItem::Unreadable(unreadable) => &unreadable.sequence_number,
        }
    }
}

/// Names the shard among all streams of a function: the stream's ARN, and the shard in `eventID`, which is
/// `shardId-000000000000:4959…`.
fn shard_of(record: &KinesisEventRecord) -> String {
    let event_id = record.event_id.as_deref().unwrap_or_default();
    let shard_id = event_id.split_once(':').map_or(event_id, |(shard_id, _)| shard_id);
    format!("{}/{shard_id}", record.event_source_arn.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
