//! `millrace limits`, as a person meets it.

use std::process::Output;

use serde_json::Value;
use tokio::process::Command;

use crate::running::Running;

async fn limits(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("limits").args(arguments).output().await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_listed_with_its_use() {
    let running = Running::start().await;
    for number in 0..20 {
        let body = format!(r#"{{"id":"{number}","imp":[{{"id":"1","banner":{{}}}}],"dooh":{{"id":"berlin-1"}}}}"#);
        assert_eq!(running.post(&body).await, 200);
    }
    running.drain().await;
    assert_eq!(running.number("SELECT count(*) FROM ad_requests").await, 20);
    let endpoint = running.pipeline.cloud().endpoint();
    let output = limits(&["--endpoint", &endpoint, "--format", "json"]).await;
    assert!(output.status.success(), "{output:?}");
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    let used: Vec<f64> = rows.iter().filter_map(|row| row["used_percent"].as_f64()).collect();
    assert!(used.len() == rows.len() && used.is_sorted_by(|one, next| one >= next), "the nearest first: {used:?}");
    let find = |limit: &str, at: &str| {
        let found =
            rows.iter().find(|row| row["limit"] == limit && row["at"].as_str().is_some_and(|a| a.starts_with(at)));
        found.unwrap_or_else(|| panic!("{limit} of {at} in {rows:#?}"))
    };
    let is_used = |limit: &str, at: &str, allowed: u64| {
        let row = find(limit, at);
        assert_eq!(row["allowed"], allowed, "{row}");
        assert!(row["peak"].as_u64().expect("a count") > 0, "{row}");
    };
    is_used("write bytes of a shard", "ad-events/shardId-", 1_000_000);
    is_used("write records of a shard", "ad-events/shardId-", 1_000);
    is_used("records of a request", "ad-events", 500);
    is_used("bytes of a record", "ad-events", 1_048_576);
    is_used("shards", "account", 20_000);
    is_used("concurrency", "account", 1_000);
    is_used("unreserved concurrency", "account", 1_000);
    is_used("duration", "enrich", 60_000);
    is_used("partitions of a BatchCreatePartition", "account", 100);
    is_used("queries queued or running", "account", 200);
    is_used("bytes of a query", "account", 262_144);
    for (limit, at) in [
        ("GetRecords calls on a shard", "ad-events/"),
        ("read bytes of a shard", "ad-events/"),
        ("consumers of a stream", "ad-events"),
        ("shard counts of a stream", "ad-events"),
        ("iterator age", "enrich"),
        ("reservable concurrency", "account"),
        ("requests a second", "failed-events"),
        ("buffer's bytes", "failed-events"),
    ] {
        find(limit, at);
    }
    let table = limits(&["--endpoint", &endpoint]).await;
    let text = String::from_utf8(table.stdout).expect("text");
    assert!(text.contains("used_percent") && text.contains("write bytes of a shard"), "{text}");
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test]
async fn without_a_local_cloud_it_says_what_is_missing() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let output = limits(&["--endpoint", &format!("http://{free}")]).await;
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains(&free.to_string()) && said.contains("is `millrace up` running there?"), "{said}");
}
