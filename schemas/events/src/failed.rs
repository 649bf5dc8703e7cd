//! A failed event: what could not be processed, with its reason and its original bytes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::event_id::EventId;

/// Why processing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureType {
    /// Not JSON, or not an event.
    JsonSyntax,
    /// An event whose body breaks the rules.
    SchemaViolation,
    /// A record too large for the next stage.
    SizeViolation,
    /// The record's frame is damaged.
    LoaderError,
    /// A calculation had no result.
    EnrichmentFailure,
}

/// The body of an event of type `failed_event` on the raw stream: what the door refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal<'a> {
    /// What kind of fault.
    pub failure_type: FailureType,
    /// The type of event that it was sent as.
    #[serde(borrow)]
    pub event_type: Cow<'a, str>,
    /// The first rule that refuses it.
    #[serde(borrow)]
    pub error_code: Cow<'a, str>,
    /// JSON pointer to the place, where there is one.
    #[serde(borrow)]
    pub error_path: Option<Cow<'a, str>>,
    /// One sentence for a person; never a value of the event.
    #[serde(borrow)]
    pub error_message: Cow<'a, str>,
    /// How many rules refuse it.
    pub errors: usize,
    /// The bytes received, in base64; the first ones of what is above the limit of size.
    #[serde(borrow)]
    pub payload: Cow<'a, str>,
    /// How many bytes were received.
    pub payload_bytes: i64,
}

/// The `processor` of failed events that were refused at the door, and so were never accepted.
pub const PROCESSOR_INGEST: &str = "ingest";

/// One line of the `failed_events` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedEvent<'a> {
    /// The same for every attempt at the same record, so that a repeat can be told.
    pub failed_event_id: EventId,
    /// The event's id, where it could be read.
    pub event_id: Option<EventId>,
    /// Whose event it is, where it could be read.
    pub tenant_id: Option<Cow<'a, str>>,
    /// When the collector or else the stream received it, as `2026-11-22 17:00:00.123`, UTC.
    pub received_ts: String,
    /// When it failed, likewise.
    pub failed_ts: String,
    /// Why.
    pub failure_type: FailureType,
    /// The rule or error, such as `imp.qty.multiplier`.
    pub error_code: Cow<'a, str>,
    /// JSON pointer to the place, where there is one.
    pub error_path: Option<Cow<'a, str>>,
    /// One sentence for a person; never a value of the event.
    pub error_message: Cow<'a, str>,
    /// The record's bytes in base64.
    pub payload: String,
    /// How many bytes the record has.
    pub payload_bytes: i64,
    /// Who gave up.
    pub processor: Cow<'a, str>,
    /// And its version.
    pub processor_version: Cow<'a, str>,
    /// Where the record stands: the stream's shard.
    pub shard_id: Cow<'a, str>,
    /// Where the record stands: its sequence number.
    pub sequence_number: Cow<'a, str>,
    /// Where the record stands: its index in an aggregated record.
    pub sub_sequence: i64,
}
