//! Dynamic partitioning from a put to an object for each partition.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{around, call, create, objects, open_with};
use crate::clock::Clock;

fn partitioned() -> Value {
    let parameter = |name: &str, value: &str| json!({ "ParameterName": name, "ParameterValue": value });
    json!({
        "Prefix": "c=!{partitionKeyFromQuery:c}/!{firehose:random-string}/",
        "ErrorOutputPrefix": "e/!{firehose:error-output-type}/",
        "BufferingHints": { "SizeInMBs": 64, "IntervalInSeconds": 60 },
        "DynamicPartitioningConfiguration": { "Enabled": true },
        "ProcessingConfiguration": { "Enabled": true, "Processors": [
            { "Type": "RecordDeAggregation", "Parameters": [parameter("SubRecordType", "JSON")] },
            { "Type": "MetadataExtraction", "Parameters": [
                parameter("MetadataExtractionQuery", "{c: .c}"), parameter("JsonParsingEngine", "JQ-1.6"),
            ] },
            { "Type": "AppendDelimiterToRecord", "Parameters": [parameter("Delimiter", "\\n")] },
        ] },
    })
}

#[tokio::test]
async fn each_partition_has_an_object_and_failures_too() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    call(&firehose, "CreateDeliveryStream", create(partitioned())).await.unwrap();
    let records: [&[u8]; 3] = [b"{\"c\":\"x\",\"n\":1}{\"c\":\"y\"}", b"{\"c\":\"x\",\"n\":2}", b"{\"d\":1}"];
    firehose.put("failed", records.map(Bytes::from_static).to_vec()).await.unwrap();
    let active = firehose.limits().into_iter().find(|limit| limit.limit == "active partitions").unwrap();
    assert_eq!((active.now, active.allowed), (2, 500));
    // Killed and started again: what was acknowledged is in its partition.
    drop(firehose);
    let firehose = open_with(dir.path(), &around).await;
    firehose.flush_all().await.unwrap();
    let [(x_key, x), (y_key, y), (failed_key, failed)] = objects(&around.s3).await.try_into().unwrap();
    assert!(x_key.starts_with("c=x/") && y_key.starts_with("c=y/"), "{x_key} {y_key}");
    assert_eq!((x_key.split('/').nth(1).unwrap().len(), y), (11, b"{\"c\":\"y\"}\n".to_vec()));
    assert_eq!(x, b"{\"c\":\"x\",\"n\":1}\n{\"c\":\"x\",\"n\":2}\n");
    assert!(failed_key.starts_with("e/metadata-extraction-failed/failed-1-"), "{failed_key}");
    let line: Value = serde_json::from_slice(&failed).unwrap();
    assert_eq!(line["errorCode"], "DynamicPartitioning.MetadataExtractionFailed");
    assert_eq!(line["errorMessage"], "partitionKeys values must not be null or empty: c");
}

#[tokio::test]
async fn what_partitioning_needs_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    let check = async |member: &str, value: Value, expected: &str| {
        let mut destination = partitioned();
        destination[member] = value;
        let request = create(destination).to_string();
        let error = firehose.call("CreateDeliveryStream", request.as_bytes()).await.unwrap_err();
        assert_eq!(error.code, "InvalidArgumentException");
        assert!(error.message.contains(expected), "{member}: {}", error.message);
    };
    let hints = |size_mb: u64, interval_s: u64| json!({ "SizeInMBs": size_mb, "IntervalInSeconds": interval_s });
    check("BufferingHints", hints(63, 60), "SizeInMBs must be at least 64 when Dynamic Partitioning").await;
    check("BufferingHints", hints(64, 0), "Zero buffering is not available").await;
    check("Prefix", json!("p/"), "S3 Prefix should contain Dynamic Partitioning namespaces").await;
    check("ErrorOutputPrefix", json!(""), "ErrorOutputPrefix can't be null").await;
    check("ProcessingConfiguration", json!({ "Enabled": false }), "Processing Configuration is not enabled").await;
    check("DynamicPartitioningConfiguration", json!({ "Enabled": false }), "when Dynamic Partitioning is enabled")
        .await;
    let query = |query: &str| {
        let mut processing = partitioned()["ProcessingConfiguration"].clone();
        processing["Processors"][1]["Parameters"][0]["ParameterValue"] = json!(query);
        processing
    };
    check("ProcessingConfiguration", query("{c: "), "is not a JQ expression").await;
    check("ProcessingConfiguration", query(""), "requires the parameter MetadataExtractionQuery").await;
}

#[tokio::test]
async fn partitions_are_converted_too() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    super::conversion::make_database(&around).await;
    super::conversion::make_table(&around, "CreateTable", json!([{ "Name": "c", "Type": "string" }])).await;
    let mut destination = partitioned();
    let converting = super::conversion::converting("LATEST");
    destination["DataFormatConversionConfiguration"] = converting["DataFormatConversionConfiguration"].clone();
    call(&firehose, "CreateDeliveryStream", create(destination)).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"{\"c\":\"x\"}{\"c\":\"y\"}")]).await.unwrap();
    firehose.flush_all().await.unwrap();
    let keys: Vec<String> = objects(&around.s3).await.into_iter().map(|(key, _)| key).collect();
    assert!(keys.len() == 2 && keys.iter().all(|key| key.ends_with(".parquet")), "{keys:?}");
}
