//! From a body to an event or a refusal: reads, validates and stamps. Pure; time comes in as arguments.

use std::borrow::Cow;

use bytes::Bytes;
use events::ad_request::AdRequest;
use events::envelope::{Envelope, EventType, SCHEMA_VERSION};
use events::event_id::EventId;
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
    let json = match Json::parse(body) {
        Ok(json) => json,
        Err(error) => return Err(refused(None, vec![syntax(syntax_message(text, &error), error.offset(body))])),
    };
    let violations = validate::ad_request(&json, door.policy);
    if validate::refuses(&violations) {
        return Err(refused(AdRequest::new(&json).id(), violations));
    }
    Ok(Valid { json, text, warnings: violations })
}

impl Valid<'_> {
    /// Fixes the event's identity and writes it as it will travel.
    ///
    /// `received_ts` is in milliseconds since the epoch, `handler_us` the time since then in microseconds.
    pub(crate) fn stamp(
        self,
        door: &Door<'_>,
        received_ts: i64,
        handler_us: u64,
    ) -> Result<Stamped, serde_json::Error> {
        let request = AdRequest::new(&self.json);
        let request_id = request.id();
        let event_id = event_id(door, request_id, self.text.as_bytes());
        let envelope = Envelope {
            event_id,
            event_type: EventType::AdRequest,
            schema_version: SCHEMA_VERSION,
            tenant_id: Cow::Borrowed(door.tenant_id),
            auction_id: Cow::Borrowed(request_id.unwrap_or_default()),
            received_ts,
            endpoint: Cow::Borrowed(door.endpoint),
            handler_us,
            warnings: self.warnings.iter().map(|warning| Cow::Borrowed(warning.code)).collect(),
            enrichment: None,
        };
        let data = Bytes::from(envelope.write(self.text)?);
        let record = Record { partition_key: partition_key(request), explicit_hash_key: None, data };
        Ok(Stamped { event_id, warnings: self.warnings, record })
    }
}

fn event_id(door: &Door<'_>, request_id: Option<&str>, body: &[u8]) -> EventId {
    EventId::of_content(door.tenant_id, EventType::AdRequest.name(), request_id.unwrap_or_default(), body)
}

/// The ad unit of the first imp, so that the events of one screen keep their order; else the request's own id.
fn partition_key(request: AdRequest<'_, '_>) -> String {
    let adunit_id = request.imps().next().and_then(|imp| request.adunit_id(imp));
    let key = adunit_id.or(request.id()).unwrap_or("-");
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
