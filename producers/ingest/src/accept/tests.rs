//! Bodies that become events, and bodies that do not.

use events::envelope::Event;
use events::validate::Response;
use expect_test::{Expect, expect};

use super::*;

const DOOR: Door<'static> = Door {
    tenant_id: "demo",
    policy: Policy {
        channel_required: true,
        dooh_id_or_venuetype_required: true,
        dooh_position: Response::Mark,
        tolerated_faults: Response::Mark,
    },
    endpoint: "/v1/ad_requests",
    event_type: EventType::AdRequest,
    received_ts: 1_795_000_000_123,
};

const GOOD: &str = r#"{"id":"r-1","imp":[{"id":"1","tagid":"unit-7","video":{"mimes":["video/mp4"]}}],"dooh":{"id":"s"},"device":{"geo":{"lat":1,"lon":2}}}"#;

fn stamp(body: &str) -> Stamped {
    validate(body.as_bytes(), &DOOR).unwrap().stamp(&DOOR, 17).unwrap()
}

fn check_refused(body: &[u8], expect: &Expect) {
    let refused = validate(body, &DOOR).unwrap_err();
    let findings: Vec<_> =
        refused.violations.iter().map(|found| format!("{} {}: {}", found.code, found.path, found.message)).collect();
    expect.assert_eq(&findings.join("\n"));
}

#[test]
fn an_event_carries_the_body_byte_for_byte() {
    for body in [GOOD.to_owned(), GOOD.replace(',', ",\n  "), format!("{GOOD}\n"), GOOD.replace("r-1", "r-é\\u00e9")] {
        let stamped = stamp(&body);
        let event = Event::read(&stamped.record.data).unwrap();
        assert_eq!(event.original_body().unwrap(), body);
        assert_eq!(event.envelope.event_id, stamped.event_id);
        assert_eq!(event.envelope.received_ts, 1_795_000_000_123);
        assert_eq!(event.envelope.handler_us, 17);
        assert_eq!(event.envelope.tenant_id, "demo");
    }
}

#[test]
fn the_same_bytes_are_the_same_event() {
    assert_eq!(stamp(GOOD).event_id, stamp(GOOD).event_id);
    assert_ne!(stamp(GOOD).event_id, stamp(&format!("{GOOD} ")).event_id);
    assert_ne!(stamp(GOOD).event_id, stamp(&GOOD.replace("r-1", "r-2")).event_id);
}

#[test]
fn one_screen_is_one_partition_key() {
    let key = |body: &str| stamp(body).record.partition_key;
    assert_eq!(key(GOOD), "unit-7");
    assert_eq!(key(&GOOD.replace(r#""tagid":"unit-7","#, "")), "s");
    assert_eq!(key(&GOOD.replace(r#""tagid":"unit-7","#, "").replace("dooh", "site")), "r-1");
    let long = "é".repeat(200);
    assert_eq!(key(&GOOD.replace("unit-7", &long)), "é".repeat(128));
}

#[test]
fn warnings_travel_with_the_event() {
    let stamped = stamp(&GOOD.replace(r#""id":"r-1""#, r#""id":"r-1","at":3"#));
    assert_eq!(stamped.warnings.len(), 1);
    assert_eq!(Event::read(&stamped.record.data).unwrap().envelope.warnings, ["at"]);
}

#[test]
fn what_is_no_document_is_refused_with_a_reason() {
    check_refused(b"", &expect!["json.syntax : must not be empty"]);
    check_refused(b" \n", &expect!["json.syntax : must not be empty"]);
    check_refused(b"{\"id\":\"\xff\"}", &expect!["json.syntax : must be UTF-8"]);
    check_refused(br#"{"id":"1""#, &expect!["json.syntax : must be one whole JSON document; it ends too early"]);
    check_refused(b"{}{}", &expect!["json.syntax : must be one JSON document"]);
    check_refused(br#"{"id":1e999}"#, &expect!["json.syntax : must have numbers within 64-bit floats only"]);
    check_refused("[".repeat(1_000_000).as_bytes(), &expect!["json.syntax : must be nested at most 40 levels deep"]);
    check_refused(b"[]", &expect!["json.syntax : must be one JSON object"]);
}

#[test]
fn every_finding_is_reported_and_the_request_is_named() {
    let body = br#"{"id":"r-1","imp":[{"id":"1"}],"tmax":0}"#;
    let refused = validate(body, &DOOR).unwrap_err();
    assert_eq!(refused.request_id.as_deref(), Some("r-1"));
    let codes: Vec<_> = refused.violations.iter().map(|found| found.code).collect();
    assert_eq!(codes, ["imp.media_type.required", "channel.missing", "tmax"]);
}

#[test]
fn the_largest_body_fits_a_record_of_the_stream() {
    const RECORD_BYTES_MAX: usize = 1024 * 1024;
    // The worst there is: an id as long as the body, and line ends that make the body travel as an escaped string.
    let body = GOOD.replace("r-1", &"\\\"".repeat(crate::config::travelling_body_bytes(1 << 20) / 2 - GOOD.len()));
    let stamped = stamp(&format!("{body}\n"));
    assert!(stamped.record.data.len() + stamped.record.partition_key.len() < RECORD_BYTES_MAX);
}

#[test]
fn a_refusal_travels_with_its_bytes_and_reason() {
    for body in [&b"{\"id\":\"\xff\"}"[..], b"", b"{\"id\":\"r-1\",\"imp\":[]}"] {
        let refused = validate(body, &DOOR).unwrap_err();
        let record = refused.record(body, body.len(), &DOOR).unwrap();
        let event = Event::read(&record.data).unwrap();
        assert_eq!(event.envelope.event_type, EventType::FailedEvent);
        assert_eq!(event.envelope.event_id, refused.event_id);
        let text = event.original_body().unwrap();
        let refusal: Refusal<'_> = serde_json::from_str(&text).unwrap();
        assert_eq!(base64_simd::STANDARD.decode_to_vec(refusal.payload.as_bytes()).unwrap(), body);
        assert_eq!((&*refusal.event_type, &*refusal.error_code), ("ad_request", refused.violations[0].code));
    }
}

#[test]
fn the_largest_refusal_fits_a_record_of_the_stream() {
    let body = vec![0xff; crate::config::travelling_body_bytes(1 << 20)];
    let refused = validate(&body, &DOOR).unwrap_err();
    assert!(refused.record(&body, body.len(), &DOOR).unwrap().data.len() < 1_000_000);
}

#[test]
fn events_around_a_request_have_their_keys() {
    let check = |event_type: EventType, body: &str, key: &str| {
        let door = Door { event_type, ..DOOR };
        let stamped = validate(body.as_bytes(), &door).unwrap().stamp(&door, 1).unwrap();
        assert_eq!(stamped.record.partition_key, key);
        assert_eq!(Event::read(&stamped.record.data).unwrap().envelope.event_type, event_type);
    };
    check(EventType::BidRequest, r#"{"auction_id":"a","dsp_id":"d","event_type":"bid_request"}"#, "a");
    check(EventType::WinNotice, r#"{"auction_id":"a"}"#, "a");
    check(EventType::ProofOfPlay, r#"{"adunit_id":"u","imp_ts":1795000000000,"play_status":"completed"}"#, "u");
    let door = Door { event_type: EventType::Auction, ..DOOR };
    let other = br#"{"auction_id":"a","imp_id":"1","status":"no_fill","event_type":"win_notice"}"#;
    assert_eq!(validate(other, &door).unwrap_err().violations[0].code, "event_type");
}
