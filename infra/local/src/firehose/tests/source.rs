//! A Kinesis stream as the source, with resharding and crashes between.

use std::collections::BTreeSet;
use std::time::Duration;

use kinesis_record::AggregateBuilder;
use serde_json::{Value, json};

use super::{around, call, create, objects, open_with};
use crate::clock::Clock;
use crate::firehose::{Firehose, Surroundings};
use crate::kinesis::{Kinesis, StreamMode, stream_arn};

async fn kinesis(around: &Surroundings, operation: &str, request: Value) {
    let service = Kinesis::new(around.kinesis.clone());
    let body = request.to_string();
    service.call(operation, body.as_bytes()).await.unwrap();
}

async fn put(around: &Surroundings, key: &str, data: &[u8]) {
    let data = base64_simd::STANDARD.encode_to_string(data);
    kinesis(around, "PutRecord", json!({ "StreamName": "s", "PartitionKey": key, "Data": data })).await;
}

fn sourced() -> Value {
    let mut request = create(json!({ "BufferingHints": { "SizeInMBs": 1, "IntervalInSeconds": 900 } }));
    request["DeliveryStreamType"] = json!("KinesisStreamAsSource");
    request["KinesisStreamSourceConfiguration"] =
        json!({ "KinesisStreamARN": stream_arn("s"), "RoleARN": "arn:aws:iam::000000000000:role/r" });
    request
}

/// Delivers until there are this many different lines in the objects. A record may come again after a crash.
async fn delivered(around: &Surroundings, firehose: &Firehose, count: usize) -> Vec<String> {
    for _ in 0..200 {
        firehose.flush_all().await.unwrap();
        let all: Vec<u8> = objects(&around.s3).await.into_iter().flat_map(|(_, body)| body).collect();
        let lines: BTreeSet<String> = String::from_utf8(all).unwrap().lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines.into_iter().collect();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{count} lines were not delivered");
}

#[tokio::test]
async fn records_from_the_latest_on_are_delivered_over_crashes_and_splits() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    around.kinesis.set_transition_time(Duration::ZERO);
    around.kinesis.create("s", StreamMode::Provisioned, 1).await.unwrap();
    put(&around, "k", b"before\n").await;
    let firehose = open_with(dir.path(), &around).await;
    call(&firehose, "CreateDeliveryStream", sourced()).await.unwrap();
    let mut aggregate = AggregateBuilder::new();
    aggregate.push("a", None, "one\n".into());
    aggregate.push("b", None, "two\n".into());
    put(&around, "k", &aggregate.encode()).await;
    put(&around, "k", b"three\n").await;
    assert_eq!(delivered(&around, &firehose, 3).await, ["one", "three", "two"]);

    // A kill, and a split while nobody reads: the parent's rest comes, then the children's.
    drop(firehose);
    put(&around, "k", b"four\n").await;
    let half = (u128::MAX / 2 + 1).to_string();
    let split = json!({ "StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": half });
    kinesis(&around, "SplitShard", split).await;
    put(&around, "k", b"five\n").await;
    put(&around, "other", b"six\n").await;
    let firehose = open_with(dir.path(), &around).await;
    let lines = delivered(&around, &firehose, 6).await;
    assert_eq!(lines, ["five", "four", "one", "six", "three", "two"]);
    let (counted, _) = firehose.metrics();
    let read =
        counted.iter().find(|counted| format!("{:?}", counted.key).contains("DataReadFromKinesisStream.Records"));
    assert!(read.unwrap().total >= 3);
    firehose.shutdown().await;
}

#[tokio::test]
async fn such_a_stream_takes_no_puts_and_needs_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    let made = call(&firehose, "CreateDeliveryStream", sourced()).await;
    assert_eq!(made.unwrap_err(), "InvalidArgumentException", "there is no stream");
    around.kinesis.create("s", StreamMode::Provisioned, 1).await.unwrap();
    for (member, value, expected) in [
        ("KinesisStreamSourceConfiguration", Value::Null, "InvalidArgumentException"),
        ("KinesisStreamSourceConfiguration", json!({ "RoleARN": "r" }), "ValidationException"),
        (
            "KinesisStreamSourceConfiguration",
            json!({ "RoleARN": "r", "KinesisStreamARN": "s" }),
            "InvalidArgumentException",
        ),
        ("DeliveryStreamType", json!("DirectPut"), "InvalidArgumentException"),
        ("DeliveryStreamType", json!("MSKAsSource"), "InvalidArgumentException"),
    ] {
        let mut request = sourced();
        request[member] = value;
        assert_eq!(call(&firehose, "CreateDeliveryStream", request).await.unwrap_err(), expected, "{member}");
    }
    call(&firehose, "CreateDeliveryStream", sourced()).await.unwrap();
    let record = json!({ "DeliveryStreamName": "failed", "Record": { "Data": "eA==" } });
    assert_eq!(call(&firehose, "PutRecord", record).await.unwrap_err(), "InvalidArgumentException");
    let described = call(&firehose, "DescribeDeliveryStream", json!({ "DeliveryStreamName": "failed" })).await.unwrap();
    let description = &described["DeliveryStreamDescription"];
    assert_eq!(description["DeliveryStreamType"], "KinesisStreamAsSource");
    let arn = &description["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"];
    assert_eq!(arn, &json!(stream_arn("s")));
}
