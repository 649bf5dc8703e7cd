//! The pipeline while the cloud below it breaks on purpose: whatever was accepted is a row, a duplicate or a failed event.

use std::borrow::Borrow;
use std::collections::BTreeSet;

use bytes::Bytes;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::http::Http;
use crate::running::Running;

/// Events that each case sends, and how often one is sent again before the case fails.
const EVENTS: usize = 60;
const ATTEMPTS_MAX: usize = 20;

/// Sets the rules over the admin route, as anybody can.
async fn set(running: &Running, rules: &Value) {
    let request = http::Request::put(format!("{}/_millrace/faults", running.pipeline.cloud().endpoint()));
    let request = request.body(Full::new(Bytes::from(rules.to_string()))).expect("a request");
    let door =
        Http::new(running.pipeline.cloud().endpoint().trim_start_matches("http://").parse().expect("an address"));
    let answer = door.send(request).await.expect("the cloud answers");
    assert_eq!(answer.status, 200, "{rules}: {answer:?}");
}

async fn struck(running: &Running) -> u64 {
    let door =
        Http::new(running.pipeline.cloud().endpoint().trim_start_matches("http://").parse().expect("an address"));
    let rules = door.get("/_millrace/faults").await.json();
    rules["rules"].as_array().expect("rules").iter().filter_map(|rule| rule["struck"].as_u64()).sum()
}

fn event(number: usize) -> String {
    format!(r#"{{"id":"e{number}","imp":[{{"id":"1","banner":{{}}}}],"dooh":{{"id":"berlin-1"}}}}"#)
}

/// Sends an event until it is accepted, as a client does: what is refused is not accepted, and comes again.
async fn send(running: &Running, number: usize) -> String {
    for _ in 0..ATTEMPTS_MAX {
        let answer = running.http.post("/v1/ad_requests", "application/json", event(number)).await;
        if answer.status == 200 {
            return answer.json()["event_id"].as_str().expect("an id").to_owned();
        }
        assert!(answer.status >= 500, "{answer:?}");
    }
    panic!("event {number} was not accepted in {ATTEMPTS_MAX} attempts");
}

/// Sends events and works them off while the rules hold, takes the rules away, and asks the audit.
async fn survives(name: &str, rules: impl Borrow<Value>) {
    // Boxed: the whole pipeline is in this future.
    Box::pin(break_and_audit(name, rules.borrow())).await;
}

async fn break_and_audit(name: &str, rules: &Value) {
    let running = Running::start().await;
    set(&running, rules).await;
    let sending = (0..EVENTS).map(|number| send(&running, number));
    let accepted: BTreeSet<String> = futures::future::join_all(sending).await.into_iter().collect();
    assert_eq!(accepted.len(), EVENTS, "{name}");
    // What is no event becomes a failed one, by way of Firehose.
    let kinesis = aws_sdk_kinesis::Client::new(running.pipeline.aws());
    let junk = kinesis.put_record().stream_name("ad-events").partition_key("k");
    let junk = junk.data(aws_sdk_kinesis::primitives::Blob::new("not an event")).send().await;
    // A stage may give up a run while the rules hold. The next run is to go on where it was.
    if let Err(error) = running.pipeline.drain().await {
        println!("{name}: not worked off while it breaks: {error:#}");
    }
    assert!(struck(&running).await > 0, "{name}: nothing was struck");
    set(&running, &json!([])).await;
    running.drain().await;
    let rows = running.sql("SELECT event_id FROM ad_requests").await;
    let ids: BTreeSet<String> = rows.iter().filter_map(|row| row[0].clone()).collect();
    assert_eq!(ids.len(), rows.len(), "{name}: an event is there twice");
    assert_eq!(ids, accepted, "{name}");
    let audit = running.audit().await;
    assert!(audit.balances, "{name}: {audit:?}");
    if junk.is_ok() {
        // Not the audit's number: after a jump back the record arrived before its stream was made.
        assert!(running.number("SELECT count(*) FROM failed_events").await >= 1, "{name}");
    }
    running.pipeline.stop().await.expect("it stops");
}

fn often(kind: &str, services: &Value) -> Value {
    json!([{ "kind": kind, "services": services, "probability": 0.2, "seed": 3 }])
}

#[tokio::test(flavor = "multi_thread")]
async fn kinesis_throttles_fails_and_loses_answers() {
    for kind in ["throttle", "internal_error", "record", "cut_after_commit"] {
        survives(kind, often(kind, &json!(["kinesis"]))).await;
    }
    survives("slow", json!([{ "kind": "slow", "delay_ms": 50, "probability": 0.3 }])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_throttles_fails_and_loses_answers() {
    for kind in ["throttle", "internal_error", "cut_after_commit"] {
        survives(&format!("s3 {kind}"), often(kind, &json!(["s3"]))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn firehose_and_glue_throttle_fail_and_lose_answers() {
    for kind in ["throttle", "internal_error", "cut_after_commit"] {
        let rules =
            json!([{ "kind": kind, "services": ["firehose", "glue", "athena"], "probability": 0.5, "seed": 3 }]);
        survives(&format!("firehose and glue {kind}"), rules).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_repeated_killed_and_frozen() {
    for kind in ["duplicate", "kill", "freeze"] {
        survives(kind, json!([{ "kind": kind, "probability": 0.5, "seed": 2 }])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_move_clocks_jump_and_disks_are_full() {
    let reshard = json!([
        { "kind": "split", "names": ["ad-events"], "duration_ms": 60_000, "probability": 0.5 },
        { "kind": "split", "names": ["ad-events-enriched"] },
        { "kind": "merge", "duration_ms": 60_000, "probability": 0.3 },
    ]);
    survives("reshard", reshard).await;
    survives("forward", json!([{ "kind": "clock_jump", "jump_ms": 3_600_000 }])).await;
    survives("back", json!([{ "kind": "clock_jump", "jump_ms": -3_600_000 }])).await;
    survives("full disk", json!([{ "kind": "disk_full", "probability": 0.2, "seed": 1 }])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_never_acknowledges() {
    let running = Running::start().await;
    assert_eq!(running.post(&event(0)).await, 200);
    set(&running, &json!([{ "kind": "disk_full" }])).await;
    assert_eq!(running.post(&event(1)).await, 503);
    set(&running, &json!([])).await;
    running.drain().await;
    let rows = running.number("SELECT count(*) FROM ad_requests").await;
    assert_eq!(rows, 1, "what was refused is not there");
    assert!(running.audit().await.balances);
    running.pipeline.stop().await.expect("it stops");
}
