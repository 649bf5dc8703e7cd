//! Metrics from a put, a log line and the services to an answer, in both protocols.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request as HttpRequest;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use super::*;
use crate::cloud::{Cloud, CloudConfig};

const NOW_MS: i64 = 1_700_000_040_000;

async fn open(dir: &std::path::Path) -> CloudWatch {
    CloudWatch::open(dir.join("cloudwatch"), Clock::standing_at(NOW_MS), Faults::default()).await.unwrap()
}

async fn call(cloudwatch: &CloudWatch, operation: &str, request: Value) -> Result<Value, String> {
    let body = request.to_string();
    match cloudwatch.call(operation, Request::json(body.as_bytes())).await {
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
        Err(error) => Err(error.code.to_owned()),
    }
}

fn statistics(name: &str) -> Value {
    json!({
        "Namespace": "Ours", "MetricName": name, "StartTime": 1_700_000_000, "EndTime": 1_700_000_100, "Period": 60,
        "Statistics": ["Sum", "SampleCount", "Maximum"],
    })
}

#[tokio::test]
async fn what_was_put_is_answered_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let cloudwatch = open(dir.path()).await;
    let put = json!({ "Namespace": "Ours", "MetricData": [
        { "MetricName": "Events", "Value": 3, "Unit": "Count" },
        { "MetricName": "Events", "Values": [1, 5], "Counts": [2, 1], "Unit": "Count" },
        { "MetricName": "Took", "Timestamp": 1_700_000_041.5, "Dimensions": [{ "Name": "Stage", "Value": "enrich" }],
          "StatisticValues": { "SampleCount": 2, "Sum": 9, "Minimum": 4, "Maximum": 5 } },
    ] });
    call(&cloudwatch, "PutMetricData", put).await.unwrap();
    let check = async |cloudwatch: &CloudWatch| {
        let answer = call(cloudwatch, "GetMetricStatistics", statistics("Events")).await.unwrap();
        let point =
            json!({ "Timestamp": 1_700_000_040, "Sum": 10.0, "SampleCount": 4.0, "Maximum": 5.0, "Unit": "Count" });
        assert_eq!(answer, json!({ "Label": "Events", "Datapoints": [point] }));
        let query = json!({ "MetricDataQueries": [{ "Id": "took", "MetricStat": { "Period": 60, "Stat": "Average",
            "Metric": { "Namespace": "Ours", "MetricName": "Took", "Dimensions": [{ "Name": "Stage", "Value": "enrich" }] },
        } }], "StartTime": 1_700_000_000, "EndTime": 1_700_000_100 });
        let answer = call(cloudwatch, "GetMetricData", query).await.unwrap();
        let result = json!({ "Id": "took", "Label": "Took", "Timestamps": [1_700_000_040], "Values": [4.5],
            "StatusCode": "Complete" });
        assert_eq!(answer["MetricDataResults"], json!([result]));
        let listed = call(cloudwatch, "ListMetrics", json!({ "Dimensions": [{ "Name": "Stage" }] })).await.unwrap();
        assert_eq!(listed["Metrics"].as_array().unwrap().len(), 1);
    };
    check(&cloudwatch).await;
    drop(cloudwatch);
    check(&open(dir.path()).await).await;
}

#[tokio::test]
async fn log_lines_become_metrics_and_a_full_disk_refuses_puts() {
    let dir = tempfile::tempdir().unwrap();
    let cloudwatch = open(dir.path()).await;
    cloudwatch.record_line("not metrics");
    let line = json!({ "_aws": { "Timestamp": NOW_MS, "CloudWatchMetrics": [
        { "Namespace": "Ours", "Dimensions": [[]], "Metrics": [{ "Name": "Events" }] }] }, "Events": 7 });
    cloudwatch.record_line(&line.to_string());
    cloudwatch.flush().await.unwrap();
    let rule = crate::faults::FaultRule::new(crate::faults::FaultKind::DiskFull);
    cloudwatch.inner.faults.set(vec![rule], NOW_MS).unwrap();
    let put = json!({ "Namespace": "Ours", "MetricData": [{ "MetricName": "Events", "Value": 3 }] });
    assert_eq!(call(&cloudwatch, "PutMetricData", put).await.unwrap_err(), "InternalServiceFault");
    cloudwatch.record_line(&line.to_string());
    assert!(cloudwatch.flush().await.is_err());
    cloudwatch.inner.faults.set(Vec::new(), NOW_MS).unwrap();
    cloudwatch.flush().await.unwrap();
    drop(cloudwatch);
    let answer = call(&open(dir.path()).await, "GetMetricStatistics", statistics("Events")).await.unwrap();
    assert_eq!(answer["Datapoints"][0]["Sum"], 14.0, "both lines, and nothing of what was refused: {answer}");
}

#[tokio::test]
async fn what_is_wrong_or_not_here_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cloudwatch = open(dir.path()).await;
    let check = async |operation: &str, request: Value, expected: &str| {
        assert_eq!(call(&cloudwatch, operation, request).await.unwrap_err(), expected, "{operation}");
    };
    let put = |datum: Value| json!({ "Namespace": "Ours", "MetricData": [datum] });
    let invalid = "InvalidParameterValueException";
    check("PutMetricData", json!({ "Namespace": "AWS/Lambda", "MetricData": [] }), invalid).await;
    check("PutMetricData", put(json!({ "MetricName": "m" })), invalid).await;
    check("PutMetricData", put(json!({ "MetricName": "m", "Value": 1, "Values": [1] })), invalid).await;
    check("PutMetricData", put(json!({ "MetricName": "m", "Values": [1, 2], "Counts": [1] })), invalid).await;
    check("PutMetricData", put(json!({ "MetricName": "m", "Value": 1, "Timestamp": -1 })), invalid).await;
    check("PutMetricData", put(json!({ "MetricName": "m", "Value": 1, "Dimensions": [{ "Name": "d" }] })), invalid)
        .await;
    let mut fine = statistics("m");
    fine["Period"] = json!(10);
    check("GetMetricStatistics", fine, invalid).await;
    let expression = json!({ "MetricDataQueries": [{ "Id": "e", "Expression": "1" }], "StartTime": 0, "EndTime": 1 });
    check("GetMetricData", expression, invalid).await;
    check("ListMetrics", json!({ "NextToken": "x" }), invalid).await;
    check("PutMetricAlarm", json!({}), "UnknownOperationException").await;
}

#[tokio::test]
async fn services_count_themselves_and_botocore_s_protocol_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let (clock, stream_transition) = (Clock::standing_at(NOW_MS), Duration::ZERO);
    let config = CloudConfig { clock, stream_transition, ..CloudConfig::new(dir.path().join("data"), listen) };
    let cloud = Cloud::start(config).await.unwrap();
    let kinesis = async |operation: &str, request: Value| {
        cloud.kinesis().call(operation, request.to_string().as_bytes()).await.unwrap();
    };
    kinesis("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })).await;
    for _ in 0..3 {
        kinesis("PutRecord", json!({ "StreamName": "s", "PartitionKey": "key", "Data": "AAAA" })).await;
    }
    let request = json!({ "Namespace": "AWS/Kinesis", "MetricName": "IncomingBytes", "StartTime": 1_700_000_000,
        "EndTime": 1_700_000_100, "Period": 60, "Statistics": ["Sum"],
        "Dimensions": [{ "Name": "StreamName", "Value": "s" }] });
    let path = "service/GraniteServiceVersion20100801/operation/GetMetricStatistics";
    let request = HttpRequest::post(format!("{}/{path}", cloud.endpoint()))
        .header("smithy-protocol", "rpc-v2-cbor")
        .header("content-type", "application/cbor")
        .body(Full::new(Bytes::from(crate::cbor::to_vec(&request).unwrap())));
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = client.request(request.unwrap()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["smithy-protocol"]),
        (200, &"rpc-v2-cbor".parse().unwrap())
    );
    assert_eq!(answer.headers()["content-type"], "application/cbor");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = crate::cbor::from_slice(&body).unwrap();
    let point = json!({ "Timestamp": 1_700_000_040, "Sum": 18.0, "Unit": "Bytes" });
    assert_eq!(answer["Datapoints"], json!([point]), "three records of three bytes with a key of three");
    cloud.shutdown().await;
}
