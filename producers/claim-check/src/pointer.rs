//! The pointer: a record that says which event it stands for, and where that lies.
//!
//! It is the event's envelope with `claim_check` as its first member and an empty body. So a reader who knows
//! nothing of claim checks still learns whose event it is and of which type; and whether a record is a pointer is told by
//! its first bytes, which no event begins with.

use std::borrow::Cow;

use events::envelope::Envelope;
use serde::{Deserialize, Serialize};

const START: &[u8] = br#"{"claim_check":{"#;

/// Longest id of an auction that a pointer repeats, in bytes; real ones are 36 to 64.
const ID_BYTES_MAX: usize = 256;

/// Where an event lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim<'c> {
    /// Its bucket.
    #[serde(borrow)]
    pub bucket: Cow<'c, str>,
    /// Its key.
    #[serde(borrow)]
    pub key: Cow<'c, str>,
}

/// A pointer as it is read.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pointer<'p> {
    #[serde(borrow)]
    pub(crate) claim_check: Claim<'p>,
    #[serde(borrow, flatten)]
    pub(crate) identity: Identity<'p>,
}

/// What must be the same in a pointer and in its event.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Identity<'i> {
    #[serde(borrow)]
    event_id: Cow<'i, str>,
    #[serde(borrow)]
    event_type: Cow<'i, str>,
    #[serde(borrow)]
    tenant_id: Cow<'i, str>,
}

/// Whether a record stands for an event that lies elsewhere.
pub fn is_pointer(record: &[u8]) -> bool {
    record.starts_with(START)
}

/// Writes the pointer of an event.
pub(crate) fn write(envelope: &Envelope<'_>, claim: &Claim<'_>) -> Result<Vec<u8>, serde_json::Error> {
    let mut pointer = br#"{"claim_check":"#.to_vec();
    serde_json::to_writer(&mut pointer, claim)?;
    pointer.push(b',');
    // What can be as large as the event stands in there only.
    let auction_id = if envelope.auction_id.len() <= ID_BYTES_MAX { envelope.auction_id.as_ref() } else { "" };
    let envelope = Envelope {
        auction_id: auction_id.into(),
        tenant_id: envelope.tenant_id.as_ref().into(),
        endpoint: envelope.endpoint.as_ref().into(),
        warnings: Vec::new(),
        enrichment: None,
        ..*envelope
    };
    let event = envelope.write("{}")?;
    pointer.extend_from_slice(event.strip_prefix(b"{").unwrap_or(&event));
    Ok(pointer)
}

#[cfg(test)]
mod tests {
    use events::envelope::{Event, EventType, SCHEMA_VERSION};
    use events::event_id::EventId;

    use super::*;

    fn envelope() -> Envelope<'static> {
        Envelope {
            event_id: EventId::of_content("demo", "ad_request", "a", b"{}"),
            event_type: EventType::AdRequest,
            schema_version: SCHEMA_VERSION,
            tenant_id: "demo".into(),
            auction_id: "a\"".into(),
            received_ts: 1_795_000_000_123,
            endpoint: "/v1/ad_requests".into(),
            handler_us: 17,
            warnings: vec!["at".into()],
            enrichment: None,
        }
    }

    #[test]
    fn golden_bytes() {
        let claim = Claim { bucket: "b".into(), key: "k\"".into() };
        let written = write(&envelope(), &claim).unwrap();
        expect_test::expect![[r#"{"claim_check":{"bucket":"b","key":"k\""},"event_id":"12260b9d-90b5-8142-9562-fa6358c6915e","event_type":"ad_request","schema_version":1,"tenant_id":"demo","auction_id":"a\"","received_ts":1795000000123,"endpoint":"/v1/ad_requests","handler_us":17,"body":{}}"#]]
            .assert_eq(std::str::from_utf8(&written).unwrap());
        assert!(is_pointer(&written));
        let read: Pointer<'_> = serde_json::from_slice(&written).unwrap();
        assert_eq!(read.claim_check, claim);
        // To who does not know pointers it is an event without a body.
        let event = Event::read(&written).unwrap();
        let expect = Envelope { warnings: vec![], ..envelope() };
        assert_eq!((event.envelope.clone(), &*event.original_body().unwrap()), (expect, "{}"));
    }

    #[test]
    fn a_pointer_is_small_whatever_its_event_is() {
        let long =
            Envelope { auction_id: "x".repeat(1 << 20).into(), warnings: vec!["at".into(); 100_000], ..envelope() };
        assert!(write(&long, &Claim { bucket: "b".into(), key: "k".into() }).unwrap().len() < 512);
    }

    #[test]
    fn no_event_is_a_pointer_whatever_its_sender_says() {
        let body = r#"{"claim_check":{"bucket":"b","key":"k"}}"#;
        assert!(!is_pointer(&envelope().write(body).unwrap()));
        assert!(!is_pointer(b"") && !is_pointer(b"{\"claim_check\":"));
    }
}
