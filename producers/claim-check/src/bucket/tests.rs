//! Events that are stored and found again, and pointers that lead nowhere.

use events::envelope::{Envelope, EventType, SCHEMA_VERSION};
use events::event_id::EventId;
use futures::TryStreamExt;
use object_store::memory::InMemory;

use super::*;

fn event(tenant_id: &str, body: &str, received_ts: i64) -> Bytes {
    let envelope = Envelope {
        event_id: EventId::of_content(tenant_id, "ad_request", "a", body.as_bytes()),
        event_type: EventType::AdRequest,
        schema_version: SCHEMA_VERSION,
        tenant_id: tenant_id.to_owned().into(),
        auction_id: "a".into(),
        received_ts,
        endpoint: "/v1/ad_requests".into(),
        handler_us: 17,
        warnings: vec![],
        enrichment: None,
    };
    Bytes::from(envelope.write(body).unwrap())
}

const TS: i64 = 1_795_000_000_123;

fn claim_checks() -> (ClaimChecks, Arc<InMemory>) {
    let store = Arc::new(InMemory::new());
    (ClaimChecks::new(Arc::clone(&store) as Arc<dyn ObjectStore>, "bucket", 1_000), store)
}

async fn keys(store: &InMemory) -> Vec<String> {
    let mut keys: Vec<_> = store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn what_is_stored_comes_back_and_repeats_are_one_object() {
    let (claim_checks, store) = claim_checks();
    assert!(claim_checks.fits(1_000) && !claim_checks.fits(1_001));
    let first = event("t/../x", r#"{"id":"a","text":"ü\n"}"#, TS);
    let pointer = claim_checks.check_in(Stream::Raw, first.clone()).await.unwrap();
    assert!(pointer::is_pointer(&pointer) && pointer.len() < 600);
    assert_eq!(claim_checks.redeem(&pointer).await.unwrap(), first);
    // The sender's retry: the same event, received a second later.
    let again = claim_checks.check_in(Stream::Raw, event("t/../x", r#"{"id":"a","text":"ü\n"}"#, TS + 1_000)).await;
    assert_eq!(claim_checks.redeem(&again.unwrap()).await.unwrap(), first);
    claim_checks.check_in(Stream::Enriched, first).await.unwrap();
    assert_eq!(
        keys(&store).await,
        ["enriched", "raw"].map(|stream| format!(
            "claim_checks/{stream}/tenant_id=t%2F..%2Fx/event_date=2026-11-18/{}.json",
            EventId::of_content("t/../x", "ad_request", "a", r#"{"id":"a","text":"ü\n"}"#.as_bytes())
        ))
    );
}

#[tokio::test]
async fn pointers_that_lead_nowhere_say_why() {
    let (claim_checks, store) = claim_checks();
    let pointer = claim_checks.check_in(Stream::Raw, event("t", "{}", TS)).await.unwrap();
    let text = String::from_utf8(pointer.to_vec()).unwrap();
    let code = async |pointer: &str| {
        let error = claim_checks.redeem(pointer.as_bytes()).await.unwrap_err();
        assert!(!error.is_temporary());
        error.code()
    };
    for (from, to, expect) in [
        (r#""bucket":"bucket""#, r#""bucket":"other""#, "claim_check.elsewhere"),
        ("claim_checks/raw", "reference/raw", "claim_check.elsewhere"),
        ("claim_checks/raw", "claim_checks/../raw", "claim_check.elsewhere"),
        ("claim_checks/raw", "claim_checks_other/raw", "claim_check.elsewhere"),
        ("claim_checks/raw", "claim_checks/other", "claim_check.missing"),
        (r#""tenant_id":"t""#, r#""tenant_id":"u""#, "claim_check.other"),
        (r#""event_type":"ad_request""#, r#""event_type":"auction""#, "claim_check.other"),
        (r#""body":{}"#, r#""body":{"#, "claim_check.pointer"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{from}");
        assert_eq!(code(&changed).await, expect, "{changed}");
    }
    for content in ["not an event".to_owned(), text.clone(), String::new()] {
        let path = Path::parse(&keys(&store).await[0]).unwrap();
        store.put(&path, content.into()).await.unwrap();
        assert_eq!(code(&text).await, "claim_check.other");
    }
}

#[tokio::test]
async fn memory_for_storing_is_bounded() {
    let (claim_checks, _store) = claim_checks();
    let half = claim_checks.reserve(STORING_BYTES_MAX / 2).unwrap();
    let other_half = claim_checks.reserve(STORING_BYTES_MAX / 2);
    assert!(other_half.is_some() && claim_checks.reserve(1).is_none());
    drop(half);
    assert!(claim_checks.reserve(1).is_some());
}
