//! From Kinesis records to user records: an aggregate gives each of its records, any other record gives itself.
//!
//! This is the plain rule: what is in the stream is delivered. The rule by which the KCL drops aggregates is
//! [`kinesis_record::first_outside`]; a Lambda function cannot apply it, since it is not told the shard's range.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEventRecord, KinesisRecord};
use bytes::Bytes;
use kinesis_record::{SubRecord, UnpackError, Unpacked, unpack};

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

/// A genuine aggregate that contradicts itself. It will be the same at every retry: keep its bytes and go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("deaggregate record {sequence_number}")]
pub struct DeaggregateError {
    /// Which Kinesis record.
    pub sequence_number: Arc<str>,
    /// What is wrong inside.
    #[source]
    pub source: UnpackError,
}

/// The user records of one record of a Lambda event. Copies the payload once; see [`into_user_records`].
///
/// # Errors
/// When the record is a genuine aggregate that contradicts itself. Never for data that is merely no aggregate.
pub fn user_records(
    record: &KinesisEventRecord,
) -> Result<impl ExactSizeIterator<Item = UserRecord> + use<>, DeaggregateError> {
    let data = Bytes::copy_from_slice(&record.kinesis.data);
    read(&record.kinesis, &data)
}

/// As [`user_records`], without copying the payload.
///
/// # Errors
/// As [`user_records`].
pub fn into_user_records(
    mut record: KinesisEventRecord,
) -> Result<impl ExactSizeIterator<Item = UserRecord> + use<>, DeaggregateError> {
    let data = Bytes::from(std::mem::take(&mut record.kinesis.data.0));
    read(&record.kinesis, &data)
}

/// The user records of one record as `GetRecords` or `SubscribeToShard` returns it.
///
/// # Errors
/// As [`user_records`].
pub fn user_records_of(
    partition_key: &str,
    sequence_number: &str,
    data: &Bytes,
) -> Result<impl ExactSizeIterator<Item = UserRecord> + use<>, DeaggregateError> {
    split(partition_key, sequence_number, None, data)
}

fn read(
    record: &KinesisRecord,
    data: &Bytes,
) -> Result<impl ExactSizeIterator<Item = UserRecord> + use<>, DeaggregateError> {
    let arrival_ms = record.approximate_arrival_timestamp.timestamp_millis();
    split(&record.partition_key, &record.sequence_number, Some(arrival_ms), data)
}

fn split(
    partition_key: &str,
    sequence_number: &str,
    arrival_ms: Option<i64>,
    data: &Bytes,
) -> Result<impl ExactSizeIterator<Item = UserRecord> + use<>, DeaggregateError> {
    let sequence_number: Arc<str> = sequence_number.into();
    let records = match unpack(data) {
        Err(source) => return Err(DeaggregateError { sequence_number, source }),
        Ok(Unpacked::Plain) => {
            vec![SubRecord { partition_key: partition_key.into(), explicit_hash_key: None, data: data.clone() }]
        }
        Ok(Unpacked::Aggregate(records)) => records,
    };
    Ok(records.into_iter().enumerate().map(move |(position, record)| UserRecord {
        partition_key: record.partition_key,
        explicit_hash_key: record.explicit_hash_key,
        data: record.data,
        sequence_number: Arc::clone(&sequence_number),
        sub_sequence: u32::try_from(position).expect("a record takes 6 bytes: 2^32 of them fit in no Kinesis record"),
        arrival_ms,
    }))
}

#[cfg(test)]
mod tests;
