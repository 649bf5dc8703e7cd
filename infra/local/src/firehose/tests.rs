//! Delivery streams from a put to the object, with and without a crash between.

mod change;
mod conversion;
mod partition;
mod source;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Firehose, Surroundings};
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::faults::Faults;
use crate::glue::Glue;
use crate::kinesis::Store;
use crate::s3::{ListEntry, ListRequest, S3};

/// Everything that delivery streams work with, in a directory.
async fn around(dir: &Path, clock: &Clock) -> Surroundings {
    let (clock, faults) = (clock.clone(), Faults::default());
    let s3 = S3::open(dir.join("s3")).await.unwrap();
    s3.create_bucket("lake").await.unwrap();
    let glue = Glue::open_with(dir.join("glue"), faults.clone(), clock.clone()).await.unwrap();
    let kinesis = Store::open(Arc::new(DataDir::open(&dir.join("kinesis")).unwrap()), clock.clone(), true).unwrap();
    Surroundings { s3, glue, kinesis, faults, clock }
}

async fn open_with(dir: &Path, around: &Surroundings) -> Firehose {
    Firehose::open(dir.join("firehose"), around.clone()).await.unwrap()
}

async fn open(dir: &Path) -> (S3, Firehose) {
    let around = around(dir, &Clock::default()).await;
    let firehose = open_with(dir, &around).await;
    (around.s3, firehose)
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
    destination["RoleARN"] = json!("arn:aws:iam::000000000000:role/r");
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
        "ErrorOutputPrefix": "e/!{firehose:error-output-type}/",
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
    let around = around(dir.path(), &Clock::default()).await;
    let (s3, firehose) = (around.s3.clone(), open_with(dir.path(), &around).await);
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
        let firehose = open_with(dir.path(), &around).await;
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
    check("Nonsense", json!({}), "UnknownOperationException").await;
    for destination in [
        json!({ "BufferingHints": { "SizeInMBs": 129, "IntervalInSeconds": 1 } }),
        json!({ "BufferingHints": { "SizeInMBs": 5 } }),
        json!({ "Prefix": "!{timestamp:BB}", "ErrorOutputPrefix": "e!{firehose:error-output-type}" }),
        json!({ "Prefix": "!{timestamp:HH}" }),
        json!({ "Prefix": "!{partitionKeyFromQuery:a}", "ErrorOutputPrefix": "e" }),
        json!({ "CustomTimeZone": "Mars/Olympus" }),
        json!({ "S3BackupMode": "Enabled" }),
        json!({ "DataFormatConversionConfiguration": { "Enabled": true } }),
        json!({ "ProcessingConfiguration": { "Enabled": true, "Processors": [{ "Type": "Lambda" }] } }),
    ] {
        check("CreateDeliveryStream", create(destination), "InvalidArgumentException").await;
    }
    for destination in [json!({ "CompressionFormat": "SNAPPY" }), json!({ "FileExtension": "csv" })] {
        check("CreateDeliveryStream", create(destination), "ValidationException").await;
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

#[tokio::test]
async fn names_have_the_zone_and_the_extension_that_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::standing_at(1_767_312_000_000)).await;
    let firehose = open_with(dir.path(), &around).await;
    let append = json!({ "Type": "AppendDelimiterToRecord" });
    let destination = json!({
        "Prefix": "p/!{timestamp:yyyy-MM-dd-HH}/", "ErrorOutputPrefix": "e!{firehose:error-output-type}",
        "CustomTimeZone": "Asia/Tokyo", "FileExtension": ".jsonl",
        "ProcessingConfiguration": { "Enabled": true, "Processors": [append] },
    });
    call(&firehose, "CreateDeliveryStream", create(destination)).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"{}"), Bytes::from_static(b"[]")]).await.unwrap();
    firehose.flush_all().await.unwrap();
    let [(key, body)] = objects(&around.s3).await.try_into().unwrap();
    assert!(key.starts_with("p/2026-01-02-09/failed-1-2026-01-02-09-00-00-") && key.ends_with(".jsonl"), "{key}");
    assert_eq!(body, b"{}\n[]\n");
}

#[tokio::test]
async fn a_clock_that_jumps_delivers() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(1_767_312_000_000);
    let around = around(dir.path(), &clock).await;
    let firehose = open_with(dir.path(), &around).await;
    let hints = json!({ "BufferingHints": { "SizeInMBs": 1, "IntervalInSeconds": 900 } });
    call(&firehose, "CreateDeliveryStream", create(hints)).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"x")]).await.unwrap();
    clock.jump(900_000);
    let mut found = Vec::new();
    for _ in 0..200 {
        found = objects(&around.s3).await;
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let [(key, _)] = found.try_into().unwrap();
    assert!(key.starts_with("2026/01/02/00/failed-1-2026-01-02-00-00-00-"), "{key}");
}
