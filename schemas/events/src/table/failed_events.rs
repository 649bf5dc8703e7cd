//! The table of failed events.

use super::ColumnType::{Int64, Text, Timestamp};
use super::{Column, Storage, Table, optional, required};

/// One row a record that could not be processed; a repeated attempt repeats the row with the same id.
pub static FAILED_EVENTS: Table = Table {
    name: "failed_events",
    grain: "one failure of one record (count distinct failed_event_id)",
    storage: Storage::JsonLines,
    columns: COLUMNS,
    key: &["failed_event_id"],
    sort: &[],
};

const COLUMNS: &[Column] = &[
    required("failed_event_id", Text, "identity of the failure, the same for every attempt"),
    optional("event_id", Text, "the event's id, where it could be read"),
    optional("tenant_id", Text, "whose event it is, where it could be read"),
    required("received_ts", Timestamp, "when the collector or else the stream received it"),
    required("failed_ts", Timestamp, "when it failed"),
    required("failure_type", Text, "json_syntax, schema_violation, size_violation, loader_error, enrichment_failure"),
    required("error_code", Text, "the rule or error"),
    optional("error_path", Text, "JSON pointer to the place"),
    required("error_message", Text, "one sentence for a person"),
    required("payload", Text, "the record's bytes in base64"),
    required("payload_bytes", Int64, "size of the record"),
    required("processor", Text, "who gave up"),
    required("processor_version", Text, "and its version"),
    required("shard_id", Text, "where the record stands: shard"),
    required("sequence_number", Text, "where the record stands: sequence number"),
    required("sub_sequence", Int64, "where the record stands: index in an aggregated record"),
];
