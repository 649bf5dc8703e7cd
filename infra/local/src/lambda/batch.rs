//! Records that wait for their invocation, and the event that carries a batch of them.

use std::collections::VecDeque;
use std::io::Write as _;

use aws_lambda_events::encodings::{Base64Data, SecondTimestamp};
use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord, KinesisRecord};
use bytes::Bytes;
use chrono::DateTime;

use crate::kinesis::{ACCOUNT, REGION, ReadLimit, Record, shard_id};

use super::window::WindowCall;

/// What a record weighs in an event beside its data, its partition key and the stream's ARN: names, the sequence
/// number twice, the shard's id, the role. Rounded up from what a test measures.
const RECORD_OVERHEAD_BYTES: usize = 520;

/// Records that were read and not yet handed to the function, with what they weigh in an event.
#[derive(Debug)]
pub(super) struct Backlog {
    records: VecDeque<(Record, usize)>,
    payload_bytes: usize,
    limits: BatchLimits,
}

/// What a batch may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchLimits {
    pub(super) records: usize,
    pub(super) payload_bytes: usize,
    /// Length of the stream's ARN, which each record carries.
    pub(super) arn_bytes: usize,
}

/// A batch that was taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) records: Vec<Record>,
    /// It is a single record that does not fit into an event.
    pub(super) is_too_large: bool,
}

impl Backlog {
    /// An empty one for batches of these limits.
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self { records: VecDeque::new(), payload_bytes: 0, limits }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn first(&self) -> Option<&Record> {
        self.records.front().map(|(record, _)| record)
    }

    pub(super) fn last(&self) -> Option<&Record> {
        self.records.back().map(|(record, _)| record)
    }

    /// Whether a batch is ready without waiting.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.limits.records || self.payload_bytes >= self.limits.payload_bytes
    }

    /// What to read to fill a batch. Data grows by a third in base64.
    pub(super) fn room(&self) -> ReadLimit {
        let bytes = self.limits.payload_bytes.saturating_sub(self.payload_bytes) / 4 * 3;
        ReadLimit { records: self.limits.records.saturating_sub(self.records.len()).max(1), bytes: bytes.max(1) }
    }

    pub(super) fn push(&mut self, record: Record) {
        let bytes = self.weigh(&record);
        self.payload_bytes += bytes;
        self.records.push_back((record, bytes));
    }

    /// Takes the next batch: as many as both limits allow and `belongs` admits, and at least one.
    pub(super) fn take(&mut self, belongs: impl Fn(&Record) -> bool) -> Taken {
        let mut records = Vec::new();
        let mut batch_bytes = 0;
        while let Some((record, bytes)) = self.records.front() {
            let fits = records.len() < self.limits.records && batch_bytes + bytes <= self.limits.payload_bytes;
            if !(records.is_empty() || fits && belongs(record)) {
                break;
            }
            let Some((record, bytes)) = self.records.pop_front() else { break };
            batch_bytes += bytes;
            self.payload_bytes -= bytes;
            records.push(record);
        }
        Taken { records, is_too_large: batch_bytes > self.limits.payload_bytes }
    }

    fn weigh(&self, record: &Record) -> usize {
        let data_bytes = record.data.len().div_ceil(3) * 4;
        data_bytes + record.partition_key.len() + self.limits.arn_bytes + RECORD_OVERHEAD_BYTES
    }
}

/// The event for a batch, as the service makes it.
pub(super) fn event(batch: &[Record], stream_arn: &str) -> KinesisEvent {
    let mut event = KinesisEvent::default();
    event.records = batch.iter().map(|record| event_record(record, stream_arn)).collect();
    event
}

fn event_record(record: &Record, stream_arn: &str) -> KinesisEventRecord {
    let mut data = Base64Data::default();
    data.0 = record.data.to_vec();
    let mut kinesis = KinesisRecord::default();
    kinesis.approximate_arrival_timestamp =
        SecondTimestamp(DateTime::from_timestamp_millis(record.arrival_ms).unwrap_or_default());
    kinesis.data = data;
    kinesis.partition_key.clone_from(&record.partition_key);
    kinesis.sequence_number = record.sequence_number.to_string();
    kinesis.kinesis_schema_version = Some("1.0".to_owned());
    let mut event = KinesisEventRecord::default();
    event.event_id = Some(event_id(record));
    event.aws_region = Some(REGION.to_owned());
    event.event_name = Some("aws:kinesis:record".to_owned());
    event.event_source = Some("aws:kinesis".to_owned());
    event.event_source_arn = Some(stream_arn.to_owned());
    event.event_version = Some("1.0".to_owned());
    event.invoke_identity_arn = Some(identity_arn());
    event.kinesis = kinesis;
    event
}

/// The same event as JSON, byte for byte what the service sends: the arrival is a number of seconds.
pub(super) fn payload(batch: &[Record], stream_arn: &str, window: Option<&WindowCall>) -> Bytes {
    let data_bytes: usize = batch.iter().map(|record| record.data.len().div_ceil(3) * 4).sum();
    let mut json = Vec::with_capacity(data_bytes + batch.len() * (RECORD_OVERHEAD_BYTES + stream_arn.len()) + 256);
    let identity = identity_arn();
    json.extend_from_slice(b"{\"Records\":[");
    for (index, record) in batch.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let key = serde_json::Value::from(record.partition_key.as_str());
        let (seconds, millis) = (record.arrival_ms.div_euclid(1_000), record.arrival_ms.rem_euclid(1_000));
        let (event_id, number) = (event_id(record), record.sequence_number);
        write!(
            json,
            "{comma}{{\"kinesis\":{{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":{key},\
             \"sequenceNumber\":\"{number}\",\"data\":\""
        )
        .expect("writing to a Vec cannot fail");
        base64_simd::STANDARD.encode_append(&record.data, &mut json);
        write!(
            json,
            "\",\"approximateArrivalTimestamp\":{seconds}.{millis:03}}},\"eventSource\":\"aws:kinesis\",\
             \"eventVersion\":\"1.0\",\"eventID\":\"{event_id}\",\"eventName\":\"aws:kinesis:record\",\
             \"invokeIdentityArn\":\"{identity}\",\"awsRegion\":\"{REGION}\",\"eventSourceARN\":\"{stream_arn}\"}}"
        )
        .expect("writing to a Vec cannot fail");
    }
    json.push(b']');
    if let Some(window) = window {
        window.append(&mut json, stream_arn);
    }
    json.push(b'}');
    Bytes::from(json)
}

fn event_id(record: &Record) -> String {
    format!("{}:{}", shard_id(record.sequence_number.shard()), record.sequence_number)
}

fn identity_arn() -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/millrace-local")
}

#[cfg(test)]
mod tests;
