//! Any bytes as a call of the collection API, before a stream that takes everything.

#![no_main]

use std::cell::OnceCell;
use std::time::Duration;

use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use axum::Router;
use axum::body::Bytes;
use http::HeaderMap;
use ingest::{Ingest, Settings, app};
use kinesis_producer::Producer;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::ServiceExt;

#[path = "../../tests/it/fuzz_call.rs"]
mod fuzz_call;

thread_local! {
    static API: OnceCell<(Runtime, Router)> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    let Some(call) = fuzz_call::call_of(bytes) else { return };
    API.with(|api| {
        let (runtime, router) = api.get_or_init(start);
        let answer = runtime.block_on(router.clone().oneshot(call)).expect("a router always answers");
        assert!(answer.status().as_u16() < 500, "{}", answer.status());
    });
});

fn start() -> (Runtime, Router) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let router = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(take)).await });
        let sdk = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "fuzz"))
            .endpoint_url(format!("http://{address}"))
            .build();
        let mut config = kinesis_producer::Config::new("ad-events");
        config.linger = Duration::ZERO;
        let client = aws_sdk_kinesis::Client::from_conf(sdk);
        let producer = Producer::start(config, client).await.expect("the stream is there");
        app(Ingest::new(producer, Settings::default()))
    });
    (runtime, router)
}

/// The stream: one shard that takes everything.
async fn take(headers: HeaderMap, body: Bytes) -> String {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    if target.ends_with("ListShards") {
        let range = json!({"StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string()});
        let numbers = json!({"StartingSequenceNumber": "1"});
        let shard = json!({"ShardId": "shardId-000000000000", "HashKeyRange": range, "SequenceNumberRange": numbers});
        return json!({"Shards": [shard]}).to_string();
    }
    let request: Value = serde_json::from_slice(&body).expect("the producer writes JSON");
    let records = request.get("Records").and_then(Value::as_array).map_or(0, Vec::len);
    let stored = json!({"ShardId": "shardId-000000000000", "SequenceNumber": "1"});
    json!({"FailedRecordCount": 0, "Records": vec![stored; records]}).to_string()
}
