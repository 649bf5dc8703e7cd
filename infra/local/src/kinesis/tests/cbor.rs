//! CBOR beside JSON: the same requests on two stores with one clock have the same answers, whichever way they are
//! written.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde_json::{Value, json};

use crate::cbor;
use crate::kinesis::Answer;
use crate::wire::{Protocol, Request};

use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const CONSUMER: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1700000000";
/// Members that are times.
const TIMES: [&str; 5] = [
    "StreamCreationTimestamp",
    "ConsumerCreationTimestamp",
    "ApproximateArrivalTimestamp",
    "StartedAt",
    "EarliestAllowedEndAt",
];

/// A CBOR item as JSON: bytes in base64.
struct Item(Value);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor).map(Item)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(base64_simd::STANDARD.encode_to_string(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Item(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some((key, Item(item))) = items.next_entry::<String, Item>()? {
            map.insert(key, item);
        }
        Ok(map.into())
    }
}

/// A request as a Java SDK would write it: times in milliseconds, data in bytes.
struct Java<'a>(&'a Value);

impl serde::Serialize for Java<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(Java)),
            // Jackson writes maps without their lengths.
            Value::Object(map) => {
                use serde::ser::SerializeMap;
                let mut items = serializer.serialize_map(None)?;
                for (key, value) in map {
                    items.serialize_key(key)?;
                    match (key.as_str(), value) {
                        ("Data", Value::String(text)) => {
                            let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
                            items.serialize_value(&Raw(&bytes))?;
                        }
                        ("Timestamp" | "StreamCreationTimestamp", Value::Number(seconds)) => {
                            items.serialize_value(&Time(seconds.as_i64().unwrap() * 1_000))?;
                        }
                        _ => items.serialize_value(&Java(value))?,
                    }
                }
                items.end()
            }
            leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => leaf.serialize(serializer),
        }
    }
}

struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

struct Time(i64);

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(cbor::TIMESTAMP, &self.0)
    }
}

/// Makes the times of a JSON answer milliseconds, as CBOR has them, and whole numbers of all numbers.
fn in_milliseconds(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(in_milliseconds),
        Value::Object(map) => {
            for (key, value) in map {
                if TIMES.contains(&key.as_str()) {
                    let seconds = value.as_f64().unwrap();
                    *value = Value::from(format!("{:.0}", seconds * 1_000.0).parse::<u64>().unwrap());
                } else {
                    in_milliseconds(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One store for each protocol, with one clock.
struct Pair {
    json: Fixture,
    cbor: Fixture,
    called: BTreeSet<String>,
}

impl Pair {
    async fn call(&mut self, operation: &str, body: Value) -> Value {
        self.called.insert(operation.to_owned());
        let json = self.json.cloud.kinesis().call(operation, body.to_string().as_bytes()).await;
        let bytes = cbor::to_vec(&Java(&body)).unwrap();
        let request = Request { protocol: Protocol::Cbor, body: &bytes };
        let cbor = self.cbor.cloud.kinesis().answer(operation, request).await;
        match (json, cbor) {
            (Ok(json), Ok(Answer::Whole(cbor))) if json.is_empty() => {
                assert!(cbor.is_empty(), "{operation}");
                Value::Null
            }
            (Ok(json), Ok(Answer::Whole(cbor))) => {
                let mut json: Value = serde_json::from_slice(&json).unwrap();
                in_milliseconds(&mut json);
                let Item(cbor) = cbor::from_slice(&cbor).unwrap();
                assert_eq!(json, cbor, "{operation}");
                json
            }
            (json, cbor) => panic!("{operation}: {json:?} {cbor:?}"),
        }
    }
}

#[tokio::test]
async fn every_operation_answers_alike_in_json_and_cbor() {
    let mut pair = Pair { json: Fixture::new().await, cbor: Fixture::new().await, called: BTreeSet::new() };
    let half = (1_u128 << 127).to_string();
    pair.call("CreateStream", json!({"StreamName": "s", "ShardCount": 1, "Tags": {"a": "b"}})).await;
    pair.call("PutRecord", json!({"StreamName": "s", "Data": "aGVs/A==", "PartitionKey": "ké"})).await;
    let records =
        json!([{"Data": "", "PartitionKey": "1", "ExplicitHashKey": "0"}, {"Data": "eA==", "PartitionKey": "2"}]);
    let put = pair.call("PutRecords", json!({"StreamARN": ARN, "Records": records})).await;
    assert_eq!(put["FailedRecordCount"], 0);
    let at = json!({"StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1_600_000_000});
    let iterator = pair.call("GetShardIterator", at).await;
    let got = pair.call("GetRecords", json!({"ShardIterator": iterator["ShardIterator"], "Limit": 2})).await;
    assert_eq!((got["Records"][0]["Data"].as_str(), got["Records"].as_array().unwrap().len()), (Some("aGVs/A=="), 2));
    let split = json!({"StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": half});
    pair.call("SplitShard", split).await;
    let merge = json!({"StreamName": "s", "ShardToMerge": "shardId-000000000001", "AdjacentShardToMerge": "shardId-000000000002"});
    pair.call("MergeShards", merge).await;
    let scaling = json!({"StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"});
    pair.call("UpdateShardCount", scaling).await;
    let filter = json!({"Type": "FROM_TIMESTAMP", "Timestamp": 1_600_000_000});
    let listed = pair
        .call("ListShards", json!({"StreamName": "s", "StreamCreationTimestamp": 1_700_000_000, "ShardFilter": filter}))
        .await;
    assert_eq!(listed["Shards"].as_array().unwrap().len(), 6);
    pair.call("ListStreams", json!({"Limit": 10})).await;
    pair.call("RegisterStreamConsumer", json!({"StreamARN": ARN, "ConsumerName": "c"})).await;
    pair.call("DescribeStreamConsumer", json!({"ConsumerARN": CONSUMER})).await;
    pair.call("ListStreamConsumers", json!({"StreamARN": ARN})).await;
    pair.call("TagResource", json!({"ResourceARN": CONSUMER, "Tags": {"c": "d"}})).await;
    pair.call("ListTagsForResource", json!({"ResourceARN": CONSUMER})).await;
    pair.call("UntagResource", json!({"ResourceARN": CONSUMER, "TagKeys": ["c"]})).await;
    pair.call("PutResourcePolicy", json!({"ResourceARN": ARN, "Policy": "{\"Statement\":[]}"})).await;
    pair.call("GetResourcePolicy", json!({"ResourceARN": ARN})).await;
    pair.call("DeleteResourcePolicy", json!({"ResourceARN": ARN})).await;
    pair.call("DeregisterStreamConsumer", json!({"StreamARN": ARN, "ConsumerName": "c"})).await;
    for metrics in ["EnableEnhancedMonitoring", "DisableEnhancedMonitoring"] {
        pair.call(metrics, json!({"StreamName": "s", "ShardLevelMetrics": ["ALL"]})).await;
    }
    for encryption in ["StartStreamEncryption", "StopStreamEncryption"] {
        pair.call(encryption, json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": "k"})).await;
    }
    for (retention, hours) in [("IncreaseStreamRetentionPeriod", 48), ("DecreaseStreamRetentionPeriod", 24)] {
        pair.call(retention, json!({"StreamName": "s", "RetentionPeriodHours": hours})).await;
    }
    pair.call("AddTagsToStream", json!({"StreamName": "s", "Tags": {"x": "y"}})).await;
    pair.call("ListTagsForStream", json!({"StreamName": "s"})).await;
    pair.call("RemoveTagsFromStream", json!({"StreamName": "s", "TagKeys": ["x"]})).await;
    pair.call("UpdateMaxRecordSize", json!({"StreamARN": ARN, "MaxRecordSizeInKiB": 2_048})).await;
    let commitment = json!({"MinimumThroughputBillingCommitment": {"Status": "ENABLED"}});
    pair.call("UpdateAccountSettings", commitment).await;
    pair.call("DescribeAccountSettings", json!({})).await;
    pair.call("UpdateStreamMode", json!({"StreamARN": ARN, "StreamModeDetails": {"StreamMode": "ON_DEMAND"}})).await;
    pair.call("UpdateStreamWarmThroughput", json!({"StreamARN": ARN, "WarmThroughputMiBps": 3})).await;
    let strategy = json!({"StreamARN": ARN, "RecordDistributionStrategy": "AUTO"});
    pair.call("UpdateStreamRecordDistributionStrategy", strategy).await;
    pair.call("DescribeStream", json!({"StreamName": "s"})).await;
    pair.call("DescribeStreamSummary", json!({"StreamName": "s"})).await;
    pair.call("DescribeLimits", json!({})).await;
    pair.call("DeleteStream", json!({"StreamName": "s"})).await;
    assert_eq!(pair.called.len(), 39, "all but SubscribeToShard, which has a test of its own");
}

#[tokio::test]
async fn errors_are_in_cbor_too() {
    let fixture = Fixture::new().await;
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Full<bytes::Bytes>>();
    let request = http::Request::post(fixture.cloud.endpoint())
        .header("x-amz-target", "Kinesis_20131202.DescribeStream")
        .header("content-type", "application/x-amz-cbor-1.1")
        .body(http_body_util::Full::new(cbor::to_vec(&json!({"StreamName": "none"})).unwrap().into()));
    let answer = client.request(request.unwrap()).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-amzn-errortype"], "ResourceNotFoundException");
    assert_eq!(answer.headers()["content-type"], "application/x-amz-cbor-1.1");
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    let error: Value = cbor::from_slice(&body).unwrap();
    assert_eq!(error["__type"], "ResourceNotFoundException");
    assert_eq!(error["message"], "Stream none under account 000000000000 not found.");
}
