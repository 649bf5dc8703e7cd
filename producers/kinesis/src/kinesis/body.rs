//! The body of a `PutRecords` request, written straight from the entries: base64 goes into its place in the text, so that a
//! payload is read once and written once. The SDK's own way copies it four times more, which is most of what a request costs.

use std::fmt::Write as _;

use base64_simd::STANDARD;

use crate::pipeline::batch::Entry;

/// Names, quotes, a hash key of 39 digits.
const ENTRY_FRAME_BYTES: usize = 100;

/// The stream as a request names it: exactly one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamId<'a> {
    Name(&'a str),
    Arn(&'a str),
}

/// Writes the JSON of a request.
pub(super) fn put_records(stream: StreamId<'_>, entries: &[Entry], text: &mut String) {
    let entry_bytes =
        |entry: &Entry| STANDARD.encoded_length(entry.data.len()) + entry.partition_key.len() + ENTRY_FRAME_BYTES;
    let capacity: usize = entries.iter().map(entry_bytes).sum();
    text.reserve(capacity + 2 * ENTRY_FRAME_BYTES);
    text.push_str("{\"Records\":[");
    for (index, entry) in entries.iter().enumerate() {
        text.push_str(if index == 0 { "{\"Data\":\"" } else { ",{\"Data\":\"" });
        STANDARD.encode_append(&entry.data, text);
        text.push('"');
        if let Some(hash_key) = &entry.explicit_hash_key {
            push_member(text, ",\"ExplicitHashKey\":", hash_key);
        }
        push_member(text, ",\"PartitionKey\":", &entry.partition_key);
        text.push('}');
    }
    text.push(']');
    match stream {
        StreamId::Name(name) => push_member(text, ",\"StreamName\":", name),
        StreamId::Arn(arn) => push_member(text, ",\"StreamARN\":", arn),
    }
    text.push('}');
}

fn push_member(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push('"');
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        text.push_str(value);
    } else {
        push_escaped(text, value);
    }
    text.push('"');
}

fn push_escaped(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\0'..='\x1F' => write!(text, "\\u{:04x}", u32::from(character)).expect("a string takes all text"),
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::StreamId;
    use crate::pipeline::batch::Entry;

    fn put_records(stream: StreamId<'_>, entries: &[Entry]) -> String {
        let mut text = String::new();
        super::put_records(stream, entries, &mut text);
        text
    }

    fn entry(partition_key: &str, explicit_hash_key: Option<&str>, data: &[u8]) -> Entry {
        Entry {
            partition_key: partition_key.into(),
            explicit_hash_key: explicit_hash_key.map(Into::into),
            data: Bytes::copy_from_slice(data),
        }
    }

    #[test]
    fn the_text_is_what_the_service_documents() {
        let check = |stream, entries: &[Entry], expect: &str| {
            assert_eq!(put_records(stream, entries), expect);
        };
        check(
            StreamId::Name("events"),
            &[entry("a", None, b"x"), entry("b\"\\\n", Some("7"), b"")],
            r#"{"Records":[{"Data":"eA==","PartitionKey":"a"},{"Data":"","ExplicitHashKey":"7","PartitionKey":"b\"\\\u000a"}],"StreamName":"events"}"#,
        );
        check(
            StreamId::Arn("arn:x"),
            &[entry("é", None, b"xyz")],
            r#"{"Records":[{"Data":"eHl6","PartitionKey":"é"}],"StreamARN":"arn:x"}"#,
        );
    }

    proptest! {
        #[test]
        fn it_reads_back_as_what_was_put(
            puts in proptest::collection::vec((any::<String>(), any::<Option<u128>>(), proptest::collection::vec(any::<u8>(), 0..200)), 1..20),
        ) {
            let entries: Vec<Entry> = puts
                .iter()
                .map(|(key, hash_key, data)| entry(key, hash_key.map(|key| key.to_string()).as_deref(), data))
                .collect();
            let read: Value = serde_json::from_str(&put_records(StreamId::Name("s"), &entries)).unwrap();
            let expect: Vec<Value> = puts
                .iter()
                .map(|(key, hash_key, data)| {
                    let mut record = json!({ "PartitionKey": key, "Data": base64_simd::STANDARD.encode_to_string(data) });
                    if let Some(hash_key) = hash_key {
                        record["ExplicitHashKey"] = hash_key.to_string().into();
                    }
                    record
                })
                .collect();
            prop_assert_eq!(read, json!({ "Records": expect, "StreamName": "s" }));
        }
    }
}
