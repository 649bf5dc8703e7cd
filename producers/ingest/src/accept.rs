//! From a body to an event or a refusal: reads, validates and stamps. Pure; time comes in as arguments.

use std::borrow::Cow;

use bytes::Bytes;
use events::ad_request::AdRequest;
use events::envelope::{Envelope, EventType, SCHEMA_VERSION};
use events::event_id::EventId;
use events::failed::{FailureType, Refusal};
use events::json::{Json, JsonError};
use events::validate::{self, Policy};
use events::violation::{Severity, Violation};
use kinesis_producer::Record;

/// Longest partition key in bytes. Kinesis takes 256 characters, so 256 bytes are always within.
const PARTITION_KEY_BYTES_MAX: usize = 256;

/// What the door knows of a body before it reads it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door<'d> {
    pub(crate) tenant_id: &'d str,
    pub(crate) policy: Policy,
    /// The path it came in by.
    pub(crate) endpoint: &'static str,
    pub(crate) event_type: EventType,
    /// When the body was whole, in milliseconds since the epoch.
    pub(crate) received_ts: i64,
}

/// A body that may become an event.
#[derive(Debug)]
pub(crate) struct Valid<'b> {
    json: Json<'b>,
    text: &'b str,
    warnings: Vec<Violation>,
}

/// An event, ready for the stream.
#[derive(Debug)]
pub(crate) struct Stamped {
    pub(crate) event_id: EventId,
    pub(crate) warnings: Vec<Violation>,
    pub(crate) record: Record,
}

/// A body that becomes no event.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Names the refused content: the same bytes again get the same id.
    pub(crate) event_id: EventId,
    /// `BidRequest.id`, where it could be read.
    pub(crate) request_id: Option<String>,
    pub(crate) violations: Vec<Violation>,
}

/// Reads a body and checks it against every rule.
pub(crate) fn validate<'b>(body: &'b [u8], door: &Door<'_>) -> Result<Valid<'b>, Refused> {
    let refused = |request_id: Option<&str>, violations| Refused {
        event_id: event_id(door, request_id, body),
        request_id: request_id.map(str::to_owned),
        violations,
    };
    let text = match std::str::from_utf8(body) {
        Ok(text) => text,
        Err(error) => return Err(refused(None, vec![syntax("must be UTF-8", error.valid_up_to())])),
    };
    let json = match Json::parse_text(text) {
        Ok(json) => json,
        Err(error) => return Err(refused(None, vec![syntax(syntax_message(text, &error), error.offset(body))])),
    };
    let mut violations = validate::event(door.event_type, &json, door.policy, door.received_ts);
    if names_another_type(&json, door.event_type) {
        violations.push(another_type());
    }
    if validate::refuses(&violations) {
        return Err(refused(door.event_type.auction_id(&json), violations));
    }
    Ok(Valid { json, text, warnings: violations })
}

/// Whether an event says of itself that it is of another type than it was sent as. An ad request is an OpenRTB
/// document, whose unknown members mean nothing here.
fn names_another_type(json: &Json<'_>, event_type: EventType) -> bool {
    let named = json.get("event_type").and_then(Json::as_str);
    event_type != EventType::AdRequest && named.is_some_and(|named| named != event_type.name())
}

fn another_type() -> Violation {
    Violation {
        code: "event_type",
        severity: Severity::Error,
        path: "/event_type".to_owned(),
        section: "",
        message: "must be the type that the event is sent as",
        offset: None,
    }
}

impl Valid<'_> {
    /// Fixes the event's identity and writes it as it will travel.
    ///
    /// `handler_us` is the time since the body was whole, in microseconds.
    pub(crate) fn stamp(self, door: &Door<'_>, handler_us: u64) -> Result<Stamped, serde_json::Error> {
        let auction_id = door.event_type.auction_id(&self.json);
        let event_id = event_id(door, auction_id, self.text.as_bytes());
        let warnings = self.warnings.iter().map(|warning| Cow::Borrowed(warning.code)).collect();
        let envelope = Envelope { warnings, ..envelope(door, event_id, auction_id, handler_us) };
        let data = Bytes::from(envelope.write(self.text)?);
        let partition_key = partition_key(door.event_type, &self.json);
        Ok(Stamped {
            event_id,
            warnings: self.warnings,
            record: Record { partition_key, explicit_hash_key: None, data },
        })
    }
}

impl Refused {
    /// The refusal as a record of the stream, with the body's bytes in it: the enrichment files it as a failed event.
    /// `None` if nothing refuses it, or if it could not be written, which no value causes.
    pub(crate) fn record(&self, body: &[u8], body_bytes: usize, door: &Door<'_>) -> Option<Record> {
        let mut errors = self.violations.iter().filter(|found| found.severity == Severity::Error);
        let first = errors.next()?;
        let failure_type = match first.code {
            "json.syntax" => FailureType::JsonSyntax,
            SIZE => FailureType::SizeViolation,
            _ => FailureType::SchemaViolation,
        };
        let refusal = Refusal {
            failure_type,
            event_type: door.event_type.name().into(),
            error_code: first.code.into(),
            error_path: (!first.path.is_empty()).then(|| first.path.as_str().into()),
            error_message: first.message.into(),
            errors: 1 + errors.count(),
            payload: base64_simd::STANDARD.encode_to_string(body).into(),
            payload_bytes: i64::try_from(body_bytes).unwrap_or(i64::MAX),
        };
        let door = Door { event_type: EventType::FailedEvent, ..*door };
        let envelope = envelope(&door, self.event_id, self.request_id.as_deref(), 0);
        let written = serde_json::to_string(&refusal).and_then(|refusal| envelope.write(&refusal));
        // By their content, so that a flood of one sender's faults does not fall on one shard.
        let partition_key = self.event_id.to_string();
        Some(Record { partition_key, explicit_hash_key: None, data: Bytes::from(written.ok()?) })
    }

    /// A body that is refused before it is read as an event.
    pub(crate) fn for_violation(body: &[u8], violation: Violation, door: &Door<'_>) -> Self {
        Self { event_id: event_id(door, None, body), request_id: None, violations: vec![violation] }
    }

    /// A body above the limit of size.
    pub(crate) fn of_size(kept: &[u8], door: &Door<'_>) -> Self {
        let message = "must be within the limit of size";
        let (severity, path) = (Severity::Error, String::new());
        Self::for_violation(kept, Violation { code: SIZE, severity, path, section: "", message, offset: None }, door)
    }

    /// A body that is not what its encoding says.
    pub(crate) fn of_encoding(kept: &[u8], door: &Door<'_>) -> Self {
        let message = "must be what its Content-Encoding says";
        let (code, severity, path) = ("body.encoding", Severity::Error, String::new());
        Self::for_violation(kept, Violation { code, severity, path, section: "", message, offset: None }, door)
    }
}

/// The rule of a body above the limit of size.
const SIZE: &str = "body.size";

fn envelope<'a>(door: &Door<'a>, event_id: EventId, auction_id: Option<&'a str>, handler_us: u64) -> Envelope<'a> {
    Envelope {
        event_id,
        event_type: door.event_type,
        schema_version: SCHEMA_VERSION,
        tenant_id: Cow::Borrowed(door.tenant_id),
        auction_id: Cow::Borrowed(auction_id.unwrap_or_default()),
        received_ts: door.received_ts,
        endpoint: Cow::Borrowed(door.endpoint),
        handler_us,
        warnings: Vec::new(),
        enrichment: None,
    }
}

fn event_id(door: &Door<'_>, sender_id: Option<&str>, body: &[u8]) -> EventId {
    EventId::of_content(door.tenant_id, door.event_type.name(), sender_id.unwrap_or_default(), body)
}

/// The ad unit of a request or play, so that the events of one screen keep their order; the auction for what is said of
/// one.
fn partition_key(event_type: EventType, json: &Json<'_>) -> String {
    let adunit_id = match event_type {
        EventType::AdRequest => {
            let request = AdRequest::new(json);
            request.imps().next().and_then(|imp| request.adunit_id(imp))
        }
        EventType::ProofOfPlay => json.get("adunit_id").and_then(Json::as_str).filter(|id| !id.is_empty()),
        EventType::BidRequest
        | EventType::BidResponse
        | EventType::Auction
        | EventType::WinNotice
        | EventType::LossNotice
        | EventType::BillingNotice
        | EventType::FailedEvent => None,
    };
    let key = adunit_id.or(event_type.auction_id(json)).unwrap_or("-");
    let end = key.floor_char_boundary(PARTITION_KEY_BYTES_MAX);
    key.get(..end).unwrap_or(key).to_owned()
}

fn syntax(message: &'static str, offset: usize) -> Violation {
    let (code, severity, path) = ("json.syntax", Severity::Error, String::new());
    Violation { code, severity, path, section: "2.3", message, offset: Some(offset) }
}

fn syntax_message(text: &str, error: &JsonError) -> &'static str {
    match error {
        JsonError::Utf8(_) => "must be UTF-8",
        JsonError::Depth(_) => "must be nested at most 40 levels deep",
        JsonError::NumberRange(_) => "must have numbers within 64-bit floats only",
        JsonError::Syntax(_) if text.trim_ascii().is_empty() => "must not be empty",
        JsonError::Syntax(error) if error.is_eof() => "must be one whole JSON document; it ends too early",
        JsonError::Syntax(_) => "must be one JSON document",
    }
}

#[cfg(test)]
mod tests;
