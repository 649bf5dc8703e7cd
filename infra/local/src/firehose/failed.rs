//! Records that could not be delivered, as they are described below the prefix of failed records: a JSON document each,
//! with the record's bytes in base64.

use std::io;

use serde::Serialize;
use serde_json::Value;

use super::segment::Entry;

/// The kinds of failure, as they stand in names of objects.
pub(super) const CONVERSION: &str = "format-conversion-failed";
pub(super) const EXTRACTION: &str = "metadata-extraction-failed";
pub(super) const TOO_MANY_PARTITIONS: &str = "activePartitionExceeded";

/// Why a record failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) code: &'static str,
    pub(super) message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    #[serde(flatten)]
    reason: Named<'a>,
    attempt_ending_timestamp: i64,
    raw_data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub_sequence_number: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_catalog_table: Option<&'a Value>,
}

/// The service names code and message in one way where it converts, and in another where it processes.
#[derive(Serialize)]
#[serde(untagged)]
enum Named<'a> {
    #[serde(rename_all = "camelCase")]
    Converting { last_error_code: &'a str, last_error_message: &'a str },
    #[serde(rename_all = "camelCase")]
    Processing { error_code: &'a str, error_message: &'a str },
}

/// Describes a record that did not fit `table`, the table that it was to be converted by; ends with a line break.
pub(super) fn unconverted(entry: &Entry, reason: &Reason, table: &Value, now_ms: i64) -> io::Result<Vec<u8>> {
    let reason = Named::Converting { last_error_code: reason.code, last_error_message: &reason.message };
    document(entry, reason, Some(table), now_ms)
}

/// Describes a record that has no partition; ends with a line break.
pub(super) fn unprocessed(entry: &Entry, reason: &Reason, now_ms: i64) -> io::Result<Vec<u8>> {
    let reason = Named::Processing { error_code: reason.code, error_message: &reason.message };
    document(entry, reason, None, now_ms)
}

fn document(entry: &Entry, reason: Named<'_>, table: Option<&Value>, now_ms: i64) -> io::Result<Vec<u8>> {
    let document = Document {
        attempts_made: 1,
        arrival_timestamp: entry.arrival_ms,
        reason,
        attempt_ending_timestamp: now_ms,
        raw_data: base64_simd::STANDARD.encode_to_string(&entry.data),
        sequence_number: entry.place.as_ref().map(|place| &*place.sequence_number),
        sub_sequence_number: entry.place.as_ref().map(|place| place.sub_sequence),
        data_catalog_table: table,
    };
    let mut line = serde_json::to_vec(&document)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::{Reason, unconverted, unprocessed};
    use crate::firehose::segment::{Entry, Place};

    #[test]
    fn documents_are_the_services() {
        let place = Some(Place { sequence_number: "49".into(), sub_sequence: 2 });
        let entry = Entry { arrival_ms: 5, data: Bytes::from_static(b"{"), place };
        let reason = Reason { code: "DataFormatConversion.ParseError", message: "m".to_owned() };
        let line = unconverted(&entry, &reason, &json!({ "tableName": "t" }), 9).unwrap();
        let expected = r#"{"attemptsMade":1,"arrivalTimestamp":5,"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"m","attemptEndingTimestamp":9,"rawData":"ew==","sequenceNumber":"49","subSequenceNumber":2,"dataCatalogTable":{"tableName":"t"}}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
        let line = unprocessed(&Entry { place: None, ..entry }, &Reason { code: "c", ..reason }, 9).unwrap();
        let expected = r#"{"attemptsMade":1,"arrivalTimestamp":5,"errorCode":"c","errorMessage":"m","attemptEndingTimestamp":9,"rawData":"ew=="}"#;
        assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
    }
}
