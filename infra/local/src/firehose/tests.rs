//! Delivery streams from a put to the object, with and without a crash between.

use std::io::Read as _;
use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Firehose;
use crate::s3::{ListEntry, ListRequest, S3};

async fn open(dir: &Path) -> (S3, Firehose) {
    let s3 = S3::open(dir.join("s3")).await.unwrap();
    s3.create_bucket("lake").await.unwrap();
    let firehose = Firehose::open(dir.join("firehose"), s3.clone()).await.unwrap();
    (s3, firehose)
}

async fn call(firehose: &Firehose, operation: &str, request: Value) -> Result<Value, String> {
    match firehose.call(operation, request.to_string().as_bytes()).await {
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
        Err(error) => Err(error.code.to_owned()),
    }
}

fn create(destination: Value) -> Value {
    let mut destination = destination;
    destination["BucketARN"] = json!("arn:aws:s3:::lake");
    json!({ "DeliveryStreamName": "failed", "ExtendedS3DestinationConfiguration": destination })
}

async fn objects(s3: &S3) -> Vec<(String, Vec<u8>)> {
    let request = ListRequest { max_keys: 1000, ..ListRequest::default() };
    let mut found = Vec::new();
    for entry in s3.list("lake", request).await.unwrap().entries {
        let ListEntry::Object { key, .. } = entry else { unreachable!("no delimiter was given") };
        let body = s3.get("lake", &key, 8 << 20).await.unwrap();
        found.push((key, body.to_vec()));
    }
    found
}

fn record(text: &str) -> Value {
    json!({ "Data": base64_simd::STANDARD.encode_to_string(text) })
}

#[tokio::test]
async fn a_buffer_becomes_one_object() {
    let dir = tempfile::tempdir().unwrap();
    let (s3, firehose) = open(dir.path()).await;
    let destination = json!({
        "Prefix": "f/dt=!{timestamp:yyyy-MM-dd}/", "CompressionFormat": "GZIP",
        "BufferingHints": { "SizeInMBs": 64, "IntervalInSeconds": 900 },
    });
    call(&firehose, "CreateDeliveryStream", create(destination)).await.unwrap();
    let request = json!({ "DeliveryStreamName": "failed", "Record": record("one\n") });
    call(&firehose, "PutRecord", request).await.unwrap();
    let batch = json!({ "DeliveryStreamName": "failed", "Records": [record("two\n"), record("three\n")] });
    let answer = call(&firehose, "PutRecordBatch", batch).await.unwrap();
    assert_eq!((&answer["FailedPutCount"], answer["RequestResponses"].as_array().unwrap().len()), (&json!(0), 2));
    assert_eq!(objects(&s3).await, []);

    firehose.flush_all().await.unwrap();
    let found = objects(&s3).await;
    let [(key, body)] = found.as_slice() else { panic!("one object, not {found:?}") };
    assert!(key.starts_with("f/dt=20") && key.contains("/failed-1-20") && key.ends_with(".gz"), "{key}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "one\ntwo\nthree\n");
    firehose.flush_all().await.unwrap();
    assert_eq!(objects(&s3).await.len(), 1);
}

#[tokio::test]
async fn acknowledged_records_survive_and_a_repeat_overwrites_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (s3, firehose) = open(dir.path()).await;
    call(&firehose, "CreateDeliveryStream", create(json!({}))).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"kept\n")]).await.unwrap();
    // Dropping without a shutdown is what a kill leaves: the log, and no object.
    drop(firehose);
    assert_eq!(objects(&s3).await, []);
    let stream = dir.path().join("firehose/failed");
    let log = std::fs::read_dir(&stream).unwrap().map(|entry| entry.unwrap().path());
    let log = log.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "log")).unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend_from_slice(b"torn");
    std::fs::write(&log, &bytes).unwrap();

    for _ in 0..2 {
        let firehose = Firehose::open(dir.path().join("firehose"), s3.clone()).await.unwrap();
        firehose.flush_all().await.unwrap();
        firehose.shutdown().await;
        let found = objects(&s3).await;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].1, b"kept\n");
        assert!(!log.exists());
        // As if the process had been killed between the put and the removal of the log.
        std::fs::write(&log, &bytes).unwrap();
    }
}

#[tokio::test]
async fn a_full_buffer_is_delivered_without_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (s3, firehose) = open(dir.path()).await;
    let hints = json!({ "BufferingHints": { "SizeInMBs": 1, "IntervalInSeconds": 900 } });
    call(&firehose, "CreateDeliveryStream", create(hints)).await.unwrap();
    for _ in 0..3 {
        firehose.put("failed", vec![Bytes::from(vec![b'x'; 600_000])]).await.unwrap();
    }
    // The flush delivers only the third; the first two were sealed by their size.
    firehose.flush_all().await.unwrap();
    let mut sizes: Vec<usize> = objects(&s3).await.iter().map(|(_, body)| body.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [600_000, 1_200_000]);
}

#[tokio::test]
async fn limits_and_unknown_things_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_s3, firehose) = open(dir.path()).await;
    call(&firehose, "CreateDeliveryStream", create(json!({}))).await.unwrap();
    let check = async |operation: &str, request: Value, expected: &str| {
        assert_eq!(call(&firehose, operation, request).await.unwrap_err(), expected, "{operation}");
    };
    let batch = |records: Vec<Value>| json!({ "DeliveryStreamName": "failed", "Records": records });
    check("CreateDeliveryStream", create(json!({})), "ResourceInUseException").await;
    check("PutRecordBatch", batch(vec![record("x"); 501]), "ValidationException").await;
    check("PutRecordBatch", batch(vec![]), "ValidationException").await;
    check("PutRecordBatch", batch(vec![record(&"x".repeat(1_024_001))]), "ValidationException").await;
    check("PutRecordBatch", batch(vec![record(&"x".repeat(1_000_000)); 5]), "InvalidArgumentException").await;
    check("PutRecordBatch", batch(vec![json!({ "Data": "?" })]), "SerializationException").await;
    check("PutRecord", json!({ "DeliveryStreamName": "none", "Record": record("x") }), "ResourceNotFoundException")
        .await;
    check("UpdateDestination", json!({}), "UnknownOperationException").await;
    for destination in [
        json!({ "BufferingHints": { "SizeInMBs": 129, "IntervalInSeconds": 1 } }),
        json!({ "BufferingHints": { "SizeInMBs": 5 } }),
        json!({ "CompressionFormat": "Snappy" }),
        json!({ "Prefix": "!{timestamp:QQ}" }),
        json!({ "DataFormatConversionConfiguration": { "Enabled": true } }),
    ] {
        check("CreateDeliveryStream", create(destination), "InvalidArgumentException").await;
    }
    let described = call(&firehose, "DescribeDeliveryStream", json!({ "DeliveryStreamName": "failed" })).await.unwrap();
    let described = &described["DeliveryStreamDescription"];
    assert_eq!(described["DeliveryStreamStatus"], "ACTIVE");
    let hints = &described["Destinations"][0]["ExtendedS3DestinationDescription"]["BufferingHints"];
    assert_eq!(hints, &json!({ "SizeInMBs": 5, "IntervalInSeconds": 300 }));
    call(&firehose, "DeleteDeliveryStream", json!({ "DeliveryStreamName": "failed" })).await.unwrap();
    let listed = call(&firehose, "ListDeliveryStreams", json!({})).await.unwrap();
    assert_eq!(listed, json!({ "DeliveryStreamNames": [], "HasMoreDeliveryStreams": false }));
}
