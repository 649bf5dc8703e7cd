//! Faults on demand, as clients meet them.

use std::time::Duration;

use aws_sdk_kinesis::error::SdkError;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::operations::code;
use super::*;

/// Sets or reads the rules over the admin route.
async fn faults(fixture: &Fixture, method: Method, body: &Value) -> (u16, Value) {
    let client = Http::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let body = if method == Method::GET { Bytes::new() } else { body.to_string().into() };
    let request = Request::builder().method(method).uri(format!("{}/_millrace/faults", fixture.cloud.endpoint()));
    let answer = client.request(request.body(Full::new(body)).unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn set(fixture: &Fixture, rules: Value) {
    let (status, body) = faults(fixture, Method::PUT, &rules).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test]
async fn calls_fail_as_asked() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = async || {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new("d"));
        put.send().await
    };
    set(&fixture, json!([{"kind": "throttle", "operations": ["PutRecord"], "duration_ms": 1_000}])).await;
    assert_eq!(code(&put().await.unwrap_err()), "ProvisionedThroughputExceededException");
    fixture.client.describe_limits().send().await.unwrap();
    fixture.clock.jump(1_000);
    put().await.unwrap();
    set(&fixture, json!([{"kind": "internal_error"}])).await;
    let error = put().await.unwrap_err();
    assert_eq!(
        (code(&error).as_str(), error.raw_response().unwrap().status().as_u16()),
        ("InternalFailureException", 500)
    );
    set(&fixture, json!([{"kind": "cut_after_commit", "operations": ["PutRecord"]}])).await;
    assert!(matches!(put().await.unwrap_err(), SdkError::DispatchFailure(_)));
    set(&fixture, json!([{"kind": "slow", "delay_ms": 20, "operations": ["PutRecord"]}])).await;
    put().await.unwrap();
    set(&fixture, json!([{"kind": "hang", "operations": ["PutRecord"]}])).await;
    assert!(tokio::time::timeout(Duration::from_millis(100), put()).await.is_err(), "no answer comes");
    let (_, shown) = faults(&fixture, Method::GET, &Value::Null).await;
    assert_eq!((shown["rules"][0]["kind"].as_str(), shown["rules"][0]["struck"].as_u64()), (Some("hang"), Some(1)));
    set(&fixture, json!([])).await;
    let (records, _) = read_shard(&fixture, "shardId-000000000000").await;
    assert_eq!(records.len(), 3, "what was cut off is there, and what was refused is not");
}

#[tokio::test]
async fn single_records_fail_as_asked() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    set(&fixture, json!([{"kind": "record", "probability": 0.3, "seed": 5}])).await;
    let entries: Vec<_> = (0..100).map(|index| entry(&format!("k{index}"), b"d")).collect();
    let answer = fixture.client.put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap();
    let failed = answer.records.iter().filter(|record| record.error_code.is_some()).count();
    assert!((15..45).contains(&failed), "{failed} of 100 at 0.3");
    assert_eq!(answer.failed_record_count, i32::try_from(failed).ok());
    let mut kept = Vec::new();
    for shard in ["shardId-000000000000", "shardId-000000000001"] {
        kept.extend(read_shard(&fixture, shard).await.0);
    }
    assert_eq!(kept.len(), 100 - failed);
    for (sequence_number, key, _) in kept {
        let index: usize = key.trim_start_matches('k').parse().unwrap();
        assert_eq!(answer.records[index].sequence_number.as_deref(), Some(sequence_number.as_str()));
    }
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_keeps_nothing() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = async |data: &[u8]| {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new(data));
        put.send().await
    };
    put(b"before").await.unwrap();
    set(&fixture, json!([{"kind": "disk_full"}])).await;
    let error = put(b"refused").await.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    assert_eq!((code(&error).as_str(), status), ("InternalFailureException", 500));
    let answer = fixture.client.put_records().stream_name("s").records(entry("k", b"refused")).send().await.unwrap();
    assert_eq!(answer.records[0].error_code.as_deref(), Some("InternalFailure"));
    set(&fixture, json!([])).await;
    put(b"after").await.unwrap();
    let (records, _) = read_shard(&fixture, "shardId-000000000000").await;
    let data: Vec<&[u8]> = records.iter().map(|(_, _, data)| data.as_slice()).collect();
    assert_eq!(data, [&b"before"[..], b"after"]);
}

#[tokio::test]
async fn a_clock_that_jumps_keeps_the_order_and_ends_iterators() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = async |data: &[u8]| {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new(data));
        put.send().await.unwrap().sequence_number
    };
    let jump = async |jump_ms: i64| set(&fixture, json!([{"kind": "clock_jump", "jump_ms": jump_ms}])).await;
    let iterator = async || {
        let request = fixture.client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
        request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap().shard_iterator.unwrap()
    };
    let start_ms = fixture.clock.now_ms();
    let mut numbers = vec![put(b"one").await];
    let before = iterator().await;
    jump(-3_600_000).await;
    assert_eq!(fixture.clock.now_ms(), start_ms - 3_600_000);
    numbers.push(put(b"two").await);
    let answer = fixture.client.get_records().shard_iterator(before).send().await.unwrap();
    let arrivals: Vec<_> = answer.records.iter().map(|record| record.approximate_arrival_timestamp).collect();
    assert!(arrivals.len() == 2 && arrivals[0] <= arrivals[1], "no record arrived before the one ahead: {arrivals:?}");
    jump(2 * 3_600_000).await;
    numbers.push(put(b"three").await);
    assert!(numbers.is_sorted() && numbers[0] < numbers[2], "{numbers:?}");
    let old = iterator().await;
    jump(301_000).await;
    let error = fixture.client.get_records().shard_iterator(old).send().await.unwrap_err();
    assert_eq!(code(&error), "ExpiredIteratorException");
    assert_eq!(read_shard(&fixture, "shardId-000000000000").await.0.len(), 3);
    // Past the retention of a day.
    jump(86_400_000).await;
    assert_eq!(read_shard(&fixture, "shardId-000000000000").await.0.len(), 0);
}

#[tokio::test]
async fn shards_are_split_and_merged_as_asked() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    let open = async || {
        let answer = fixture.client.list_shards().stream_name("s").send().await.unwrap();
        let shards = answer.shards.unwrap().into_iter();
        let is_open = |shard: &aws_sdk_kinesis::types::Shard| {
            shard.sequence_number_range.as_ref().unwrap().ending_sequence_number.is_none()
        };
        shards.filter(is_open).count()
    };
    set(&fixture, json!([{"kind": "split"}])).await;
    assert_eq!(open().await, 3);
    set(&fixture, json!([{"kind": "split", "names": ["other"]}, {"kind": "merge", "names": ["s"]}])).await;
    assert_eq!(open().await, 2);
    set(&fixture, json!([{"kind": "merge"}])).await;
    set(&fixture, json!([{"kind": "merge"}])).await;
    assert_eq!(open().await, 1, "the last shard has no neighbour");
}

#[tokio::test]
async fn bad_rules_are_refused() {
    let fixture = Fixture::new().await;
    for rules in [json!({}), json!([{"kind": "explode"}]), json!([{"kind": "slow", "probability": 2}]), Value::Null] {
        let (status, body) = faults(&fixture, Method::PUT, &rules).await;
        assert_eq!(status, 400, "{rules}: {body}");
        assert!(body["error"].is_string());
    }
    assert_eq!(faults(&fixture, Method::POST, &json!([])).await.0, 405);
}
