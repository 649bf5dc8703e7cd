//! Changes of delivery streams: the destination, encryption, tags.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{around, call, create, objects, open_with};
use crate::clock::Clock;

fn update(version: &str, changes: Value) -> Value {
    let mut request = json!({
        "DeliveryStreamName": "failed", "CurrentDeliveryStreamVersionId": version,
        "DestinationId": "destinationId-000000000001",
    });
    request["ExtendedS3DestinationUpdate"] = changes;
    request
}

#[tokio::test]
async fn a_destination_is_updated_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    call(&firehose, "CreateDeliveryStream", create(json!({ "Prefix": "before/" }))).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"one")]).await.unwrap();
    let change = json!({ "Prefix": "after/", "CompressionFormat": "ZIP" });
    call(&firehose, "UpdateDestination", update("1", change)).await.unwrap();
    firehose.put("failed", vec![Bytes::from_static(b"two")]).await.unwrap();
    firehose.flush_all().await.unwrap();
    let found = objects(&around.s3).await;
    let keys: Vec<&String> = found.iter().map(|(key, _)| key).collect();
    assert!(keys.iter().all(|key| key.contains("/failed-2-") && key.ends_with(".zip")) && keys.len() == 2, "{keys:?}");
    let described = call(&firehose, "DescribeDeliveryStream", json!({ "DeliveryStreamName": "failed" })).await.unwrap();
    let description = &described["DeliveryStreamDescription"];
    assert_eq!((&description["VersionId"], description["LastUpdateTimestamp"].is_i64()), (&json!("2"), true));
    let destination = &description["Destinations"][0]["ExtendedS3DestinationDescription"];
    assert_eq!(
        (&destination["Prefix"], &destination["RoleARN"]),
        (&json!("after/"), &json!("arn:aws:iam::000000000000:role/r"))
    );
    // The counters go on.
    let (counted, _) = firehose.metrics();
    assert!(
        counted
            .iter()
            .any(|counted| format!("{:?}", counted.key).contains("DeliveryToS3.Records") && counted.total == 2)
    );
}

#[tokio::test]
async fn updates_that_cannot_be_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    call(&firehose, "CreateDeliveryStream", create(json!({}))).await.unwrap();
    let check = async |request: Value, expected: &str| {
        assert_eq!(call(&firehose, "UpdateDestination", request.clone()).await.unwrap_err(), expected, "{request}");
    };
    check(update("7", json!({})), "ConcurrentModificationException").await;
    check(update("1", json!({ "CompressionFormat": "LZ4" })), "ValidationException").await;
    check(update("1", json!({ "DynamicPartitioningConfiguration": { "Enabled": true } })), "InvalidArgumentException")
        .await;
    // A stream whose buffer has 5 MiB cannot be switched to conversion.
    let conversion = super::conversion::converting("LATEST")["DataFormatConversionConfiguration"].clone();
    check(update("1", json!({ "DataFormatConversionConfiguration": conversion })), "InvalidArgumentException").await;
    let mut elsewhere = update("1", json!({}));
    elsewhere["DestinationId"] = json!("destinationId-000000000002");
    check(elsewhere, "InvalidArgumentException").await;
    call(&firehose, "UpdateDestination", update("1", json!({ "Prefix": "p/" }))).await.unwrap();
}

#[tokio::test]
async fn encryption_and_tags_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let around = around(dir.path(), &Clock::default()).await;
    let firehose = open_with(dir.path(), &around).await;
    let mut request = create(json!({}));
    request["Tags"] = json!([{ "Key": "team", "Value": "ads" }]);
    call(&firehose, "CreateDeliveryStream", request).await.unwrap();
    let named = json!({ "DeliveryStreamName": "failed" });
    call(&firehose, "StartDeliveryStreamEncryption", named.clone()).await.unwrap();
    let record = json!({ "DeliveryStreamName": "failed", "Record": { "Data": "eA==" } });
    assert_eq!(call(&firehose, "PutRecord", record).await.unwrap()["Encrypted"], true);
    let add = json!({ "DeliveryStreamName": "failed", "Tags": [{ "Key": "a" }] });
    call(&firehose, "TagDeliveryStream", add).await.unwrap();
    let drop_one = json!({ "DeliveryStreamName": "failed", "TagKeys": ["team"] });

    let firehose = open_with(dir.path(), &around).await;
    let described = call(&firehose, "DescribeDeliveryStream", named.clone()).await.unwrap();
    let encryption = &described["DeliveryStreamDescription"]["DeliveryStreamEncryptionConfiguration"];
    assert_eq!(encryption, &json!({ "KeyType": "AWS_OWNED_CMK", "Status": "ENABLED" }));
    let tags = call(&firehose, "ListTagsForDeliveryStream", named.clone()).await.unwrap();
    assert_eq!(tags["Tags"], json!([{ "Key": "a", "Value": "" }, { "Key": "team", "Value": "ads" }]));
    call(&firehose, "UntagDeliveryStream", drop_one).await.unwrap();
    let tags = call(&firehose, "ListTagsForDeliveryStream", named.clone()).await.unwrap();
    assert_eq!(tags, json!({ "Tags": [{ "Key": "a", "Value": "" }], "HasMoreTags": false }));
    call(&firehose, "StopDeliveryStreamEncryption", named).await.unwrap();
    let many: Vec<Value> = (0..50).map(|number| json!({ "Key": format!("t{number}") })).collect();
    let too_many = json!({ "DeliveryStreamName": "failed", "Tags": many });
    assert_eq!(call(&firehose, "TagDeliveryStream", too_many).await.unwrap_err(), "LimitExceededException");
}
