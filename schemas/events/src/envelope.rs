//! An event as it travels: one JSON object on one line, with the received body inside it byte for byte.
//!
//! The body stands as JSON in the object, so that stream readers, filters and SQL can look into it. A body that is
//! not on one line, or has white space around it, stands as a JSON string instead: either way
//! [`Event::original_body`] gives back exactly the bytes that were received.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::enriched::Enrichment;
use crate::event_id::EventId;
use crate::json::Json;

/// Version of the envelope. Readers accept this version and older ones; members are only ever added.
pub const SCHEMA_VERSION: u32 = 1;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventType {
    /// A screen (or site, or app) asked for an ad.
    AdRequest,
    /// An exchange asked a bidder.
    BidRequest,
    /// A bidder answered, or did not.
    BidResponse,
    /// An imp was sold, or was not.
    Auction,
    /// A bidder was told that it won (`nurl`).
    WinNotice,
    /// A bidder was told that it lost (`lurl`).
    LossNotice,
    /// A bidder was told that it is billed (`burl`).
    BillingNotice,
    /// An ad was shown on a screen, or was not.
    ProofOfPlay,
    /// A sender's event was refused at the door. Written by the collector only; it becomes a failed event.
    FailedEvent,
}

impl EventType {
    /// The types that senders send.
    pub const COLLECTED: [EventType; 8] = [
        EventType::AdRequest,
        EventType::BidRequest,
        EventType::BidResponse,
        EventType::Auction,
        EventType::WinNotice,
        EventType::LossNotice,
        EventType::BillingNotice,
        EventType::ProofOfPlay,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            EventType::AdRequest => "ad_request",
            EventType::BidRequest => "bid_request",
            EventType::BidResponse => "bid_response",
            EventType::Auction => "auction",
            EventType::WinNotice => "win_notice",
            EventType::LossNotice => "loss_notice",
            EventType::BillingNotice => "billing_notice",
            EventType::ProofOfPlay => "proof_of_play",
            EventType::FailedEvent => "failed_event",
        }
    }

    /// The type that senders name so.
    pub fn collected(name: &str) -> Option<Self> {
        Self::COLLECTED.into_iter().find(|event_type| event_type.name() == name)
    }

    /// The auction that a body of this type belongs to: `BidRequest.id`, or `auction_id` in the events around it.
    pub fn auction_id<'b>(self, body: &'b Json<'_>) -> Option<&'b str> {
        let key = match self {
            EventType::AdRequest => "id",
            EventType::BidRequest
            | EventType::BidResponse
            | EventType::Auction
            | EventType::WinNotice
            | EventType::LossNotice
            | EventType::BillingNotice
            | EventType::ProofOfPlay
            | EventType::FailedEvent => "auction_id",
        };
        body.get(key)?.as_str().filter(|id| !id.is_empty())
    }
}

/// What the collector says of an event, and later the enrichment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// Identity, fixed at the door.
    pub event_id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Whose event it is.
    #[serde(borrow)]
    pub tenant_id: Cow<'a, str>,
    /// `BidRequest.id`; empty for an event that belongs to no auction.
    #[serde(borrow)]
    pub auction_id: Cow<'a, str>,
    /// When the collector had the whole request: milliseconds since the epoch, UTC.
    pub received_ts: i64,
    /// The path it came in by.
    #[serde(borrow)]
    pub endpoint: Cow<'a, str>,
    /// Time from the whole request to the put, in microseconds: reading and validation.
    pub handler_us: u64,
    /// Rules that marked the event without refusing it, or say how its columns were normalised.
    #[serde(default, skip_serializing_if = "Vec::is_empty", borrow)]
    pub warnings: Vec<Cow<'a, str>>,
    /// What the enrichment added; absent on the raw stream.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub enrichment: Option<Enrichment<'a>>,
}

/// An event as read from a stream.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// All but the body.
    pub envelope: Envelope<'a>,
    body: &'a RawValue,
}

/// Why a record of a stream is no event.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Not JSON of an envelope.
    #[error("not an event envelope")]
    Envelope(#[source] serde_json::Error),
    /// There is no body.
    #[error("the event has no body")]
    NoBody,
    /// Written by a newer version of the pipeline.
    #[error("schema version {0} is newer than {SCHEMA_VERSION}, the newest this reader knows")]
    Newer(u32),
}

#[derive(Deserialize)]
struct BodyOnly<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

impl Envelope<'_> {
    /// Writes the event with its body.
    ///
    /// `body` is the text of one JSON document, as [`crate::json::Json::parse`] accepted it.
    ///
    /// # Errors
    /// Only if an envelope could not be written as JSON, which no value of it causes.
    pub fn write(&self, body: &str) -> Result<Vec<u8>, serde_json::Error> {
        const HEAD_BYTES_TYPICAL: usize = 512;
        let mut event = Vec::with_capacity(body.len() + HEAD_BYTES_TYPICAL);
        serde_json::to_writer(&mut event, self)?;
        event.pop();
        event.extend_from_slice(br#","body":"#);
        // Bytes, which are searched many at a time; a search for two characters goes one by one.
        let is_one_line = !body.as_bytes().contains(&b'\n') && !body.as_bytes().contains(&b'\r');
        let stands_as_json = is_one_line && body.trim_ascii().len() == body.len();
        if stands_as_json && !body.starts_with('"') {
            event.extend_from_slice(body.as_bytes());
        } else {
            serde_json::to_writer(&mut event, body)?;
        }
        event.push(b'}');
        Ok(event)
    }
}

impl<'a> Event<'a> {
    /// Reads one record of a stream.
    ///
    /// # Errors
    /// Anything that is not an event of a known version.
    pub fn read(record: &'a [u8]) -> Result<Self, EventError> {
        let envelope: Envelope<'a> = serde_json::from_slice(record).map_err(EventError::Envelope)?;
        if envelope.schema_version > SCHEMA_VERSION {
            return Err(EventError::Newer(envelope.schema_version));
        }
        let BodyOnly { body } = serde_json::from_slice(record).map_err(EventError::Envelope)?;
        let body = body.ok_or(EventError::NoBody)?;
        Ok(Self { envelope, body })
    }

    /// The bytes that were received, exactly.
    ///
    /// # Errors
    /// A body that stands as a string and is none.
    pub fn original_body(&self) -> Result<Cow<'a, str>, EventError> {
        let text = self.body.get();
        if text.starts_with('"') {
            return serde_json::from_str(text).map(Cow::Owned).map_err(EventError::Envelope);
        }
        Ok(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_one_name_everywhere() {
        for event_type in EventType::COLLECTED {
            assert_eq!(serde_json::to_value(event_type).unwrap(), event_type.name());
            assert_eq!(EventType::collected(event_type.name()), Some(event_type));
        }
        assert_eq!(EventType::collected("failed_event"), None);
        let json = Json::parse(br#"{"id":"a","auction_id":"b"}"#).unwrap();
        assert_eq!(EventType::AdRequest.auction_id(&json), Some("a"));
        assert_eq!(EventType::Auction.auction_id(&json), Some("b"));
    }

    fn envelope() -> Envelope<'static> {
        Envelope {
            event_id: EventId::of_content("demo", "ad_request", "a", b"{}"),
            event_type: EventType::AdRequest,
            schema_version: SCHEMA_VERSION,
            tenant_id: "demo".into(),
            auction_id: "a\"quoted\"".into(),
            received_ts: 1_795_000_000_123,
            endpoint: "/v1/ad_requests".into(),
            handler_us: 17,
            warnings: vec!["at".into()],
            enrichment: None,
        }
    }

    fn check_round_trip(body: &str) {
        let written = envelope().write(body).unwrap();
        let text = std::str::from_utf8(&written).unwrap();
        assert!(!text.contains('\n'), "one line: {text}");
        let event = Event::read(&written).unwrap();
        assert_eq!(event.envelope, envelope());
        assert_eq!(event.original_body().unwrap(), body);
    }

    #[test]
    fn the_body_comes_back_byte_for_byte() {
        for body in [
            "{}",
            r#"{"id" : "a",  "n":1.50,"s":"\u00e9 é \n"}"#,
            " {} ",
            "{}\n",
            "{\n  \"id\": 1\r\n}",
            "\t{}",
            "\"a string\"",
            "{\"a\":\"\u{2028}\"}",
        ] {
            check_round_trip(body);
        }
    }

    #[test]
    fn golden_bytes() {
        let written = envelope().write(r#"{"id":"a"}"#).unwrap();
        expect_test::expect![[r#"{"event_id":"12260b9d-90b5-8142-9562-fa6358c6915e","event_type":"ad_request","schema_version":1,"tenant_id":"demo","auction_id":"a\"quoted\"","received_ts":1795000000123,"endpoint":"/v1/ad_requests","handler_us":17,"warnings":["at"],"body":{"id":"a"}}"#]]
            .assert_eq(std::str::from_utf8(&written).unwrap());
    }

    #[test]
    fn members_of_later_versions_are_ignored_and_later_schemas_are_refused() {
        let written = String::from_utf8(envelope().write("{}").unwrap()).unwrap();
        let with_more = written.replacen('{', r#"{"new_member":{"a":[1]},"#, 1);
        assert!(Event::read(with_more.as_bytes()).is_ok());
        let newer = written.replace(r#""schema_version":1"#, r#""schema_version":2"#);
        assert!(matches!(Event::read(newer.as_bytes()), Err(EventError::Newer(2))));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for record in ["", "{}", "[]", "null", "\u{0}", r#"{"event_id":"x"}"#] {
            assert!(Event::read(record.as_bytes()).is_err(), "{record}");
        }
        let written = String::from_utf8(envelope().write("{}").unwrap()).unwrap();
        let without_body = written.replace(r#","body":{}"#, "");
        assert!(matches!(Event::read(without_body.as_bytes()), Err(EventError::NoBody)));
        assert!(Event::read(b"\xff\xfe").is_err());
    }
}
