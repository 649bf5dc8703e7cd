//! From Kinesis records to user records: an aggregate gives each of its records, compressed or not; any other record gives
//! itself.
//!
//! This is the plain rule: what is in the stream is delivered. The rule of the KCL, which drops aggregates that do not belong
//! to the shard, is [`user_records_in_range`]; a Lambda function cannot apply it, since it is not told the shard's range.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEventRecord, KinesisRecord};
use bytes::Bytes;
use kinesis_record::{
    Aggregate, CONTENT_BYTES_MAX, HashRange, Origin, SubRecord, SubRecords, UnpackError, unpack_aggregate,
};

use crate::{dedupe::Repeats, position::Position};

/// One record as a producer put it. Its identity in a shard is `sequence_number` and `sub_sequence` together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The partition key that the record was put with.
    pub partition_key: Arc<str>,
    /// The explicit hash key that the aggregate holds for this record. A plain record's is not told to readers.
    pub explicit_hash_key: Option<u128>,
    /// The payload. Records of one aggregate share one allocation.
    pub data: Bytes,
    /// The sequence number of the Kinesis record, shared by all records of an aggregate.
    pub sequence_number: Arc<str>,
    /// The position in the aggregate, 0 for a plain record.
    pub sub_sequence: u32,
    /// When the Kinesis record arrived, in milliseconds since the epoch, if the source says so.
    pub arrival_ms: Option<i64>,
}

impl UserRecord {
    /// Where the record stands in its shard.
    pub fn position(&self) -> Position {
        Position { sequence_number: Arc::clone(&self.sequence_number), sub_sequence: self.sub_sequence }
    }
}

/// An aggregate that contradicts itself or is damaged. It will be the same at every retry: keep its bytes and go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("deaggregate record {sequence_number}")]
pub struct DeaggregateError {
    /// Which Kinesis record.
    pub sequence_number: Arc<str>,
    /// What is wrong inside.
    #[source]
    pub source: UnpackError,
}

/// The user records of one Kinesis record, in their order. All of them are sound: nothing can fail any more.
#[derive(Debug, Clone)]
pub struct UserRecords {
    content: Content,
    sequence_number: Arc<str>,
    arrival_ms: Option<i64>,
    sub_sequence: u32,
    /// Sub-sequence numbers that are left out, the next one last.
    left_out: Vec<u32>,
}

#[derive(Debug, Clone)]
enum Content {
    /// `None` once it was handed out.
    Plain(Option<SubRecord>),
    Aggregate(Box<SubRecords>),
}

/// What the rule of the KCL makes of a Kinesis record.
#[derive(Debug, Clone)]
pub enum InRange {
    /// All its user records belong to the shard, or it is a plain record, which the rule does not look at.
    All(UserRecords),
    /// One of them does not: the KCL hands out none.
    Dropped {
        /// How many there are.
        records: usize,
        /// The sub-sequence number of the first that does not belong to the shard.
        first_outside: usize,
    },
}

/// The user records of one record of a Lambda event. Copies the payload once; see [`into_user_records`].
///
/// # Errors
/// When the record is an aggregate that contradicts itself or is damaged. Never for data that is merely no aggregate.
pub fn user_records(record: &KinesisEventRecord) -> Result<UserRecords, DeaggregateError> {
    let data = Bytes::copy_from_slice(&record.kinesis.data);
    read(&record.kinesis, &data, unpack_aggregate(&data, CONTENT_BYTES_MAX))
}

/// As [`user_records`], without copying the payload.
///
/// # Errors
/// As [`user_records`].
pub fn into_user_records(mut record: KinesisEventRecord) -> Result<UserRecords, DeaggregateError> {
    let data = Bytes::from(std::mem::take(&mut record.kinesis.data.0));
    read(&record.kinesis, &data, unpack_aggregate(&data, CONTENT_BYTES_MAX))
}

/// The user records of one record as `GetRecords` or `SubscribeToShard` returns it.
///
/// # Errors
/// As [`user_records`].
pub fn user_records_of(
    partition_key: &str,
    sequence_number: &str,
    data: &Bytes,
) -> Result<UserRecords, DeaggregateError> {
    split((partition_key, data), sequence_number, None, unpack_aggregate(data, CONTENT_BYTES_MAX))
}

/// As [`user_records_of`], by the rule of the Kinesis Client Library: an aggregate of which any record does not belong to
/// `range`, the hash range of the shard that is read, is dropped as a whole. Other producers than `kinesis-producer` may rely
/// on it: they send such records again, to the right shard. Costs an MD5 per record without an explicit hash key.
///
/// # Errors
/// As [`user_records`].
pub fn user_records_in_range(
    range: HashRange,
    partition_key: &str,
    sequence_number: &str,
    data: &Bytes,
) -> Result<InRange, DeaggregateError> {
    let records = user_records_of(partition_key, sequence_number, data)?;
    let first_outside = match &records.content {
        Content::Plain(_) => None,
        Content::Aggregate(records) => records.aggregate().first_outside(range),
    };
    Ok(match first_outside {
        Some(first_outside) => InRange::Dropped { records: records.len(), first_outside },
        None => InRange::All(records),
    })
}

/// What unpacking came to.
type Unpacked = Result<Option<Aggregate>, UnpackError>;

pub(crate) fn read(record: &KinesisRecord, data: &Bytes, unpacked: Unpacked) -> Result<UserRecords, DeaggregateError> {
    let arrival_ms = record.approximate_arrival_timestamp.timestamp_millis();
    split((&record.partition_key, data), &record.sequence_number, Some(arrival_ms), unpacked)
}

fn split(
    (partition_key, data): (&str, &Bytes),
    sequence_number: &str,
    arrival_ms: Option<i64>,
    unpacked: Unpacked,
) -> Result<UserRecords, DeaggregateError> {
    let sequence_number: Arc<str> = sequence_number.into();
    let content = match unpacked {
        Err(source) => return Err(DeaggregateError { sequence_number, source }),
        Ok(Some(aggregate)) => Content::Aggregate(Box::new(aggregate.into_iter())),
        Ok(None) => Content::Plain(Some(SubRecord {
            partition_key: partition_key.into(),
            explicit_hash_key: None,
            data: data.clone(),
        })),
    };
    Ok(UserRecords { content, sequence_number, arrival_ms, sub_sequence: 0, left_out: Vec::new() })
}

impl UserRecords {
    /// The mark of the aggregate, if its producer made one: what a [`DedupeWindow`](crate::DedupeWindow) looks at.
    pub fn origin(&self) -> Option<Origin> {
        self.aggregate().and_then(Aggregate::origin)
    }

    /// The aggregate, if it is one: what [`DedupeWindow::repeats`](crate::DedupeWindow::repeats) looks at.
    pub fn aggregate(&self) -> Option<&Aggregate> {
        match &self.content {
            Content::Plain(_) => None,
            Content::Aggregate(records) => Some(records.aggregate()),
        }
    }

    /// Leaves out what a window found to be repeats; the others keep their sub-sequence numbers.
    #[must_use]
    pub fn without(mut self, repeats: Repeats) -> Self {
        match repeats {
            Repeats::All => self.leave_out((0..=u32::MAX).take(self.len()).collect()),
            Repeats::Records(records) => self.leave_out(records),
        }
        self
    }

    /// Leaves out the records with these sub-sequence numbers, which are in order and not handed out yet.
    pub(crate) fn leave_out(&mut self, mut sub_sequences: Vec<u32>) {
        sub_sequences.reverse();
        self.left_out = sub_sequences;
    }

    /// The sequence number of the Kinesis record.
    pub fn sequence_number(&self) -> &Arc<str> {
        &self.sequence_number
    }

    /// Leaves out what lies at `checkpoint` or before: a reader that keeps its position within aggregates goes on in the
    /// middle of one so.
    pub fn after(self, checkpoint: &Position) -> impl Iterator<Item = UserRecord> + use<> {
        let checkpoint = checkpoint.clone();
        self.skip_while(move |record| record.position() <= checkpoint)
    }
}

impl Iterator for UserRecords {
    type Item = UserRecord;

    fn next(&mut self) -> Option<UserRecord> {
        let (record, sub_sequence) = loop {
            let record = match &mut self.content {
                Content::Plain(record) => record.take()?,
                Content::Aggregate(records) => records.next()?,
            };
            let sub_sequence = self.sub_sequence;
            // A record takes 6 bytes of a message of less than 4 GiB.
            self.sub_sequence = sub_sequence.saturating_add(1);
            if self.left_out.pop_if(|left_out| *left_out == sub_sequence).is_none() {
                break (record, sub_sequence);
            }
        };
        Some(UserRecord {
            partition_key: record.partition_key,
            explicit_hash_key: record.explicit_hash_key,
            data: record.data,
            sequence_number: Arc::clone(&self.sequence_number),
            sub_sequence,
            arrival_ms: self.arrival_ms,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match &self.content {
            Content::Plain(record) => usize::from(record.is_some()),
            Content::Aggregate(records) => records.len(),
        };
        let left = left.saturating_sub(self.left_out.len());
        (left, Some(left))
    }
}

impl ExactSizeIterator for UserRecords {}

#[cfg(test)]
mod tests;
