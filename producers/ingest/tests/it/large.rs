//! Events larger than a record of the stream, with a bucket beside it and without.

use std::sync::Arc;
use std::time::Duration;

use claim_check::{ClaimChecks, is_pointer};
use events::envelope::{Event, EventType};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde_json::json;

use crate::rig::{Rig, good};
use crate::stream::Mode;

const PATH: &str = "/v1/ad_requests";

/// A bucket that is not there: a store of files in a folder whose place a file has taken.
fn broken() -> (Arc<dyn ObjectStore>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap();
    std::fs::write(folder.path().join("claim_checks"), "").unwrap();
    (Arc::new(store), folder)
}

async fn rig(store: Arc<dyn ObjectStore>) -> (Rig, ClaimChecks) {
    let claim_checks = ClaimChecks::new(store, "bucket", 1 << 20);
    let bucket = claim_checks.clone();
    let change = |settings: &mut ingest::Settings| {
        settings.body_bytes_max = 10 << 20;
        settings.claim_checks = Some(bucket);
    };
    (Rig::start_with(Mode::Take, |_| {}, change).await, claim_checks)
}

fn large(id: &str, bytes: usize) -> String {
    let body = good(id);
    let filling = "x".repeat(bytes - body.len() - r#""ext":{"x":""},"#.len());
    body.replace(r#""imp""#, &format!(r#""ext":{{"x":"{filling}"}},"imp""#))
}

#[tokio::test]
async fn a_large_event_is_stored_whole_and_a_pointer_travels() {
    let (rig, claim_checks) = rig(Arc::new(InMemory::new())).await;
    let body = large("r-large", 3 << 20);
    let answer = rig.post(PATH, body.clone()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let records = rig.stream.records();
    assert_eq!(records.len(), 1);
    assert!(is_pointer(&records[0]) && records[0].len() < 1_000);
    let event = claim_checks.redeem(&records[0]).await.unwrap();
    let event = Event::read(&event).unwrap();
    assert_eq!(event.original_body().unwrap(), body);
    assert_eq!(answer.json()["event_id"], event.envelope.event_id.to_string());
    assert_eq!(rig.ingest.counters().accepted, 1);
}

#[tokio::test]
async fn what_fits_a_record_travels_by_itself() {
    let (rig, _) = rig(Arc::new(InMemory::new())).await;
    for (bytes, is_stored) in [(1_000_000, false), (1 << 20, true)] {
        rig.post(PATH, large(&bytes.to_string(), bytes)).await;
        assert_eq!(is_pointer(rig.stream.records().last().unwrap()), is_stored, "{bytes}");
    }
}

#[tokio::test]
async fn large_lines_and_refusals_are_stored_too() {
    let (rig, claim_checks) = rig(Arc::new(InMemory::new())).await;
    let refused = large("", 1_500_000);
    let lines = [good("small"), large("a", 1_200_000), refused.clone()].join("\n");
    let answer = rig.post("/v1/events", lines).await.json();
    assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(2), &json!(1)));
    let mut seen = Vec::new();
    for record in rig.stream.records() {
        let event = if is_pointer(&record) { claim_checks.redeem(&record).await.unwrap() } else { record };
        let event = Event::read(&event).unwrap();
        seen.push((event.envelope.event_type, event.original_body().unwrap().len()));
    }
    seen.sort();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1], (EventType::AdRequest, 1_200_000));
    assert!(seen[2].0 == EventType::FailedEvent && seen[2].1 > refused.len() / 3 * 4);
    assert_eq!(rig.ingest.counters().refused_kept, 1);
}

#[tokio::test]
async fn a_bucket_that_is_down_is_503_and_nothing_travels() {
    let (store, _folder) = broken();
    let (rig, _) = rig(store).await;
    rig.post(PATH, large("r-large", 2 << 20)).await.check_problem(503, "stream-unavailable");
    assert!(rig.stream.records().is_empty());
    assert_eq!(rig.post(PATH, good("small")).await.status, 200);
    let counts = rig.ingest.counters();
    assert_eq!((counts.accepted, counts.unavailable), (1, 1));
}

#[tokio::test]
async fn too_many_large_events_at_once_are_refused_and_without_a_bucket_they_are_too_large() {
    let (rig, claim_checks) = rig(Arc::new(InMemory::new())).await;
    let all = claim_checks.reserve(63 << 20).unwrap();
    rig.post(PATH, large("r-large", 2 << 20)).await.check_problem(503, "queue-full");
    drop(all);
    assert_eq!(rig.post(PATH, large("r-large", 2 << 20)).await.status, 200);
    let none = Rig::start_with(
        Mode::Take,
        |config| config.linger = Duration::ZERO,
        |settings| settings.body_bytes_max = 4 << 20,
    );
    none.await.post(PATH, large("r-large", 2 << 20)).await.check_problem(413, "too-large");
}
