//! Conversion from a put to the Parquet object and the failed records beside it.

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use super::{around, call, create, objects, open_with};
use crate::clock::Clock;
use crate::firehose::Surroundings;

pub(super) async fn make_table(around: &Surroundings, operation: &str, columns: Value) {
    let table = json!({ "Name": "t", "StorageDescriptor": { "Columns": columns } });
    let request = json!({ "DatabaseName": "d", "TableInput": table }).to_string();
    around.glue.call(operation, request.as_bytes()).await.unwrap();
}

pub(super) async fn make_database(around: &Surroundings) {
    let request = json!({ "DatabaseInput": { "Name": "d" } }).to_string();
    around.glue.call("CreateDatabase", request.as_bytes()).await.unwrap();
}

pub(super) fn converting(version: &str) -> Value {
    json!({
        "Prefix": "data/", "ErrorOutputPrefix": "failed-",
        "DataFormatConversionConfiguration": {
            "InputFormatConfiguration": { "Deserializer": { "OpenXJsonSerDe": {} } },
            "OutputFormatConfiguration": { "Serializer": { "ParquetSerDe": {} } },
            "SchemaConfiguration": {
                "RoleARN": "arn:aws:iam::000000000000:role/r", "DatabaseName": "d", "TableName": "t", "VersionId": version,
            },
        },
    })
}

#[tokio::test]
async fn records_become_parquet_and_failures_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::standing_at(1_767_312_000_000)).await;
    let firehose = open_with(dir.path(), &around).await;
    make_database(&around).await;
    let made = call(&firehose, "CreateDeliveryStream", create(converting("LATEST"))).await;
    assert_eq!(made.unwrap_err(), "InvalidArgumentException", "there is no table");
    make_table(&around, "CreateTable", json!([{ "Name": "a", "Type": "int" }])).await;
    call(&firehose, "CreateDeliveryStream", create(converting("LATEST"))).await.unwrap();
    let described = call(&firehose, "DescribeDeliveryStream", json!({ "DeliveryStreamName": "failed" })).await.unwrap();
    let hints = "/DeliveryStreamDescription/Destinations/0/ExtendedS3DestinationDescription/BufferingHints";
    assert_eq!(described.pointer(hints).unwrap()["SizeInMBs"], 128);

    let records: [&[u8]; 3] = [b"{\"a\":1}", b"no", b"{\"a\":2}{\"a\":3}"];
    firehose.put("failed", records.map(Bytes::from_static).to_vec()).await.unwrap();
    firehose.flush_all().await.unwrap();
    let [(data_key, data), (failed_key, failed)] = objects(&around.s3).await.try_into().unwrap();
    assert!(data_key.starts_with("data/2026/01/02/00/failed-1-") && data_key.ends_with(".parquet"), "{data_key}");
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(data)).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 3);
    assert!(failed_key.starts_with("failed-format-conversion-failed/2026/01/02/00/failed-1-"), "{failed_key}");
    let line: Value = serde_json::from_slice(&failed).unwrap();
    assert_eq!(line["lastErrorCode"], "DataFormatConversion.ParseError");
    assert_eq!((&line["rawData"], &line["arrivalTimestamp"]), (&json!("bm8="), &json!(1_767_312_000_000_i64)));
    let table = json!({
        "catalogId": "000000000000", "databaseName": "d", "tableName": "t", "region": "us-east-1", "versionId": "LATEST",
    });
    assert_eq!(line["dataCatalogTable"], table);
}

#[tokio::test]
async fn a_table_that_is_gone_fails_records_and_one_that_grew_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    make_database(&around).await;
    make_table(&around, "CreateTable", json!([{ "Name": "a", "Type": "int" }])).await;
    call(&firehose, "CreateDeliveryStream", create(converting("LATEST"))).await.unwrap();
    let mut fixed = create(converting("0"));
    fixed["DeliveryStreamName"] = json!("fixed");
    call(&firehose, "CreateDeliveryStream", fixed).await.unwrap();
    make_table(&around, "UpdateTable", json!([{ "Name": "a", "Type": "int" }, { "Name": "b", "Type": "string" }]))
        .await;
    for stream in ["failed", "fixed"] {
        firehose.put(stream, vec![Bytes::from_static(b"{\"a\":1,\"b\":\"x\"}")]).await.unwrap();
    }
    firehose.flush_all().await.unwrap();
    for (key, body) in objects(&around.s3).await {
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(body)).unwrap();
        let columns = reader.schema().fields().len();
        assert_eq!(columns, if key.contains("/fixed-1-") { 1 } else { 2 }, "{key}");
    }
    let request = json!({ "DatabaseName": "d", "Name": "t" }).to_string();
    around.glue.call("DeleteTable", request.as_bytes()).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"{\"a\":1}")]).await.unwrap();
    firehose.flush_all().await.unwrap();
    let found = objects(&around.s3).await;
    let (_, failed) = found.iter().find(|(key, _)| key.starts_with("failed-format-conversion-failed/")).unwrap();
    let line: Value = serde_json::from_slice(failed).unwrap();
    assert_eq!(line["lastErrorCode"], "DataFormatConversion.EntityNotFoundException");
}
