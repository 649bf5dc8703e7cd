//! Records that wait for their invocation, and the event that carries a batch of them.

use std::collections::VecDeque;

use aws_lambda_events::encodings::{Base64Data, SecondTimestamp};
use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord, KinesisRecord};
use chrono::DateTime;

use crate::kinesis::{ACCOUNT, REGION, ReadLimit, Record, shard_id};

/// What a record weighs in an event beside its data, its partition key and the stream's ARN: names, the sequence
/// number twice, the shard's id, the role. Rounded up from what a test measures.
const RECORD_OVERHEAD_BYTES: usize = 520;

/// Records that were read and not yet handed to the function, with what they weigh in an event.
#[derive(Debug)]
pub(super) struct Backlog {
    records: VecDeque<(Record, usize)>,
    payload_bytes: usize,
    size_max: usize,
    payload_bytes_max: usize,
    arn_bytes: usize,
}

impl Backlog {
    /// An empty one for batches of these limits.
    pub(super) fn new(size_max: usize, payload_bytes_max: usize, stream_arn: &str) -> Self {
        let arn_bytes = stream_arn.len();
        Self { records: VecDeque::new(), payload_bytes: 0, size_max, payload_bytes_max, arn_bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether a batch is ready without waiting.
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.size_max || self.payload_bytes >= self.payload_bytes_max
    }

    /// What to read to fill a batch. Data grows by a third in base64.
    pub(super) fn room(&self) -> ReadLimit {
        let bytes = self.payload_bytes_max.saturating_sub(self.payload_bytes) / 4 * 3;
        ReadLimit { records: self.size_max.saturating_sub(self.records.len()).max(1), bytes: bytes.max(1) }
    }

    pub(super) fn extend(&mut self, records: Vec<Record>) {
        for record in records {
            let bytes = self.weigh(&record);
            self.payload_bytes += bytes;
            self.records.push_back((record, bytes));
        }
    }

    /// Takes the next batch: as many as both limits allow, and at least one.
    pub(super) fn take(&mut self) -> Vec<Record> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while let Some((_, bytes)) = self.records.front() {
            let fits = batch.len() < self.size_max && batch_bytes + bytes <= self.payload_bytes_max;
            if !fits && !batch.is_empty() {
                break;
            }
            let Some((record, bytes)) = self.records.pop_front() else { break };
            batch_bytes += bytes;
            self.payload_bytes -= bytes;
            batch.push(record);
        }
        batch
    }

    fn weigh(&self, record: &Record) -> usize {
        record.data.len().div_ceil(3) * 4 + record.partition_key.len() + self.arn_bytes + RECORD_OVERHEAD_BYTES
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
    event.event_id = Some(format!("{}:{}", shard_id(record.sequence_number.shard()), record.sequence_number));
    event.aws_region = Some(REGION.to_owned());
    event.event_name = Some("aws:kinesis:record".to_owned());
    event.event_source = Some("aws:kinesis".to_owned());
    event.event_source_arn = Some(stream_arn.to_owned());
    event.event_version = Some("1.0".to_owned());
    event.invoke_identity_arn = Some(format!("arn:aws:iam::{ACCOUNT}:role/millrace-local"));
    event.kinesis = kinesis;
    event
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::kinesis::SequenceNumber;

    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/ad-events";

    fn record(counter: u64, data: Vec<u8>) -> Record {
        let sequence_number = SequenceNumber::new(1_700_000_000, 3, counter);
        Record {
            sequence_number,
            arrival_ms: 1_700_000_000_123,
            partition_key: "screen-7".to_owned(),
            data: data.into(),
        }
    }

    #[test]
    fn the_event_is_the_service_s() {
        // The crate writes the timestamp as a text where the service writes a number, and reads both.
        let json = serde_json::to_value(event(&[record(9, b"hello".to_vec())], ARN)).unwrap();
        expect_test::expect![[r#"
            {
              "Records": [
                {
                  "awsRegion": "us-east-1",
                  "eventID": "shardId-000000000003:49170000000000000000000000000000000000000009000000000003",
                  "eventName": "aws:kinesis:record",
                  "eventSource": "aws:kinesis",
                  "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/ad-events",
                  "eventVersion": "1.0",
                  "invokeIdentityArn": "arn:aws:iam::000000000000:role/millrace-local",
                  "kinesis": {
                    "approximateArrivalTimestamp": "1700000000.123",
                    "data": "aGVsbG8=",
                    "encryptionType": "NONE",
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "screen-7",
                    "sequenceNumber": "49170000000000000000000000000000000000000009000000000003"
                  }
                }
              ]
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&json).unwrap());
    }

    proptest! {
        #[test]
        fn batches_keep_order_and_limits(
            sizes in proptest::collection::vec(0_usize..5_000, 1..60),
            size_max in 1_usize..20,
            payload_bytes_max in 1_000_usize..20_000,
        ) {
            let mut backlog = Backlog::new(size_max, payload_bytes_max, ARN);
            backlog.extend((1..).zip(&sizes).map(|(counter, size)| record(counter, vec![7; *size])).collect());
            let mut counters = Vec::new();
            while !backlog.is_empty() {
                let batch = backlog.take();
                prop_assert!((1..=size_max).contains(&batch.len()));
                let json = serde_json::to_vec(&event(&batch, ARN)).unwrap();
                prop_assert!(batch.len() == 1 || json.len() <= payload_bytes_max, "{} bytes", json.len());
                counters.extend(batch.iter().map(|record| record.sequence_number.counter()));
            }
            prop_assert_eq!(backlog.payload_bytes, 0);
            prop_assert_eq!(counters, (1..=u64::try_from(sizes.len()).unwrap()).collect::<Vec<_>>());
        }
    }
}
