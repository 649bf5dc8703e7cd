//! Batches and the events that carry them.

use proptest::prelude::*;

use crate::kinesis::SequenceNumber;

use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/ad-events";

fn record(counter: u64, data: Vec<u8>) -> Record {
    let sequence_number = SequenceNumber::new(1_700_000_000, 3, counter);
    Record {
        sequence_number,
        arrival_ms: 1_700_000_000_123,
        partition_key: "screen-7 \"é\"".to_owned(),
        data: data.into(),
    }
}

#[test]
fn the_event_is_the_service_s() {
    let json: serde_json::Value = serde_json::from_slice(&payload(&[record(9, b"hello".to_vec())], ARN, None)).unwrap();
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
                "approximateArrivalTimestamp": 1700000000.123,
                "data": "aGVsbG8=",
                "kinesisSchemaVersion": "1.0",
                "partitionKey": "screen-7 \"é\"",
                "sequenceNumber": "49170000000000000000000000000000000000000009000000000003"
              }
            }
          ]
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn the_payload_reads_as_the_event() {
    let batch = [record(1, Vec::new()), record(2, vec![0, 255, 10]), record(3, b"{}".to_vec())];
    let read: KinesisEvent = serde_json::from_slice(&payload(&batch, ARN, None)).unwrap();
    assert_eq!(read, event(&batch, ARN));
    assert_eq!(payload(&[], ARN, None), &b"{\"Records\":[]}"[..]);
}

proptest! {
    #[test]
    fn batches_keep_order_and_limits(
        sizes in proptest::collection::vec(0_usize..5_000, 1..60),
        size_max in 1_usize..20,
        payload_bytes_max in 1_000_usize..20_000,
    ) {
        let limits = BatchLimits { records: size_max, payload_bytes: payload_bytes_max, arn_bytes: ARN.len() };
        let mut backlog = Backlog::new(limits);
        (1..).zip(&sizes).for_each(|(counter, size)| backlog.push(record(counter, vec![7; *size])));
        let mut counters = Vec::new();
        while !backlog.is_empty() {
            let taken = backlog.take(|_| true);
            let batch = taken.records;
            prop_assert!((1..=size_max).contains(&batch.len()));
            let json = payload(&batch, ARN, None);
            prop_assert!(taken.is_too_large || json.len() <= payload_bytes_max, "{} bytes", json.len());
            prop_assert!(!taken.is_too_large || batch.len() == 1);
            counters.extend(batch.iter().map(|record| record.sequence_number.counter()));
        }
        prop_assert_eq!(backlog.payload_bytes, 0);
        prop_assert_eq!(counters, (1..=u64::try_from(sizes.len()).unwrap()).collect::<Vec<_>>());
    }
}
