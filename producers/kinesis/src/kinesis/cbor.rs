//! `PutRecords` in CBOR, the other format of Kinesis: payloads are bytes there, not base64, so a request is a quarter smaller, and so
//! is what is hashed, signed and sent. The SDK has no notion of it; what it would do in JSON is done here for that one call.

mod read;

use aws_sdk_kinesis::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        http::HttpResponse,
        interceptors::{BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut},
    },
    error::{BoxError, ErrorMetadata},
    operation::put_records::{PutRecordsError, PutRecordsOutput},
};
use aws_smithy_runtime_api::client::{
    interceptors::context::{Error, Output, OutputOrError},
    orchestrator::OrchestratorError,
    ser_de::{DeserializeResponse, SharedResponseDeserializer},
};

use super::body::StreamId;
use crate::pipeline::batch::Entry;

pub(super) const CONTENT_TYPE: &str = "application/x-amz-cbor-1.1";

/// Heads and names of an entry, a hash key of 39 digits.
const ENTRY_FRAME_BYTES: usize = 100;

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

/// Writes the CBOR of a request.
pub(super) fn put_records(stream: StreamId<'_>, entries: &[Entry], out: &mut Vec<u8>) {
    let entry_bytes = |entry: &Entry| entry.bytes() + ENTRY_FRAME_BYTES;
    out.reserve(entries.iter().map(entry_bytes).sum::<usize>() + 2 * ENTRY_FRAME_BYTES);
    put_head(out, MAP, 2);
    put_text(out, "Records");
    put_head(out, ARRAY, entries.len());
    for entry in entries {
        put_head(out, MAP, 2 + usize::from(entry.explicit_hash_key.is_some()));
        put_text(out, "Data");
        put_head(out, BYTES, entry.data.len());
        out.extend_from_slice(&entry.data);
        if let Some(hash_key) = &entry.explicit_hash_key {
            put_text(out, "ExplicitHashKey");
            put_text(out, hash_key);
        }
        put_text(out, "PartitionKey");
        put_text(out, &entry.partition_key);
    }
    let (name, value) = match stream {
        StreamId::Name(name) => ("StreamName", name),
        StreamId::Arn(arn) => ("StreamARN", arn),
    };
    put_text(out, name);
    put_text(out, value);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, TEXT, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Type and length of an item, in as few bytes as there can be.
fn put_head(out: &mut Vec<u8>, major: u8, length: usize) {
    let major = major << 5;
    match (u8::try_from(length), u16::try_from(length), u32::try_from(length)) {
        (Ok(length), _, _) if length < 24 => out.push(major | length),
        (Ok(length), _, _) => out.extend_from_slice(&[major | 24, length]),
        (_, Ok(length), _) => {
            out.push(major | 25);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, _, Ok(length)) => {
            out.push(major | 26);
            out.extend_from_slice(&length.to_be_bytes());
        }
        (_, _, _) => {
            out.push(major | 27);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Makes the SDK say that a request is CBOR, and read the answer as such if it is.
#[derive(Debug)]
pub(super) struct Spoken;

impl Intercept for Spoken {
    fn name(&self) -> &'static str {
        "Spoken"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("content-type", CONTENT_TYPE);
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let content_type = context.response().headers().get("content-type");
        // A proxy in between answers in whatever it likes, and the SDK makes of it what it can.
        if content_type.is_some_and(|content_type| content_type.starts_with("application/x-amz-cbor")) {
            config.interceptor_state().store_put(SharedResponseDeserializer::new(Answer));
        }
        Ok(())
    }
}

/// Reads an answer to `PutRecords`.
#[derive(Debug)]
struct Answer;

impl DeserializeResponse for Answer {
    fn deserialize_nonstreaming_with_config(&self, response: &HttpResponse, _config: &ConfigBag) -> OutputOrError {
        let body = response.body().bytes().unwrap_or_default();
        if response.status().is_success() {
            let records = read::records(body).map_err(OrchestratorError::other)?;
            let failed = records.iter().filter(|record| record.error_code.is_some()).count();
            let output = PutRecordsOutput::builder()
                .failed_record_count(i32::try_from(failed).unwrap_or(i32::MAX))
                .set_records(Some(records))
                .build()
                .map_err(OrchestratorError::other)?;
            return Ok(Output::erase(output));
        }
        // An error that cannot be read is judged by its status.
        let (code, message) = read::error(body).unwrap_or_default();
        let metadata = ErrorMetadata::builder();
        let metadata = if code.is_empty() { metadata } else { metadata.code(code) };
        let error = PutRecordsError::generic(metadata.message(message).build());
        Err(OrchestratorError::operation(Error::erase(error)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{StreamId, put_records};
    use crate::pipeline::batch::Entry;

    #[test]
    fn the_bytes_are_what_the_standard_says() {
        let entry = |partition_key: &str, hash_key: Option<&str>, data: &[u8]| Entry {
            partition_key: partition_key.into(),
            explicit_hash_key: hash_key.map(Into::into),
            data: Bytes::copy_from_slice(data),
        };
        let mut bytes = Vec::new();
        put_records(StreamId::Name("s"), &[entry("é", None, &[0xFF]), entry("k", Some("7"), &[])], &mut bytes);
        let expect = [
            b"\xA2\x67Records\x82".as_slice(),
            b"\xA2\x64Data\x41\xFF\x6CPartitionKey\x62\xC3\xA9",
            b"\xA3\x64Data\x40\x6FExplicitHashKey\x617\x6CPartitionKey\x61k",
            b"\x6AStreamName\x61s",
        ];
        assert_eq!(bytes, expect.concat());
        for (length, head) in [
            (23, &[0x57][..]),
            (24, &[0x58, 24]),
            (255, &[0x58, 255]),
            (256, &[0x59, 1, 0]),
            (65_536, &[0x5A, 0, 1, 0, 0]),
        ] {
            let mut bytes = Vec::new();
            put_records(StreamId::Arn("arn:x"), &[entry("k", None, &vec![0; length])], &mut bytes);
            let data = [b"\xA2\x67Records\x81\xA2\x64Data".as_slice(), head, &vec![0; length]].concat();
            assert!(bytes.starts_with(&data), "{length}");
            assert!(bytes.ends_with(b"\x69StreamARN\x65arn:x"));
        }
    }
}
