//! One message of `application/vnd.amazon.eventstream`.
//!
//! ```text
//! total length u32 · headers length u32 · crc32 of both u32 · headers · payload · crc32 of all before u32
//! header: name length u8 · name · 7 (a text) · value length u16 · value
//! ```
//! Big-endian.

/// The content type of a stream of such messages.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// The type of a header's value: a text.
const TEXT: u8 = 7;
/// Lengths and checksums around headers and payload.
const FIXED_BYTES: usize = 16;

/// An event of this type.
pub(super) fn event(event_type: &str, content_type: &str, payload: &[u8]) -> Vec<u8> {
    message(&[(":message-type", "event"), (":event-type", event_type), (":content-type", content_type)], payload)
}

/// An error that ends the stream.
pub(super) fn exception(exception_type: &str, content_type: &str, payload: &[u8]) -> Vec<u8> {
    let kind = (":message-type", "exception");
    message(&[kind, (":exception-type", exception_type), (":content-type", content_type)], payload)
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let headers_bytes: usize = headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
    let mut bytes = Vec::with_capacity(FIXED_BYTES + headers_bytes + payload.len());
    // Headers are ours and short; a payload is 10 MiB of records at most, in base64.
    let total = u32::try_from(FIXED_BYTES + headers_bytes + payload.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&total.to_be_bytes());
    bytes.extend_from_slice(&u32::try_from(headers_bytes).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    for (name, value) in headers {
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(TEXT);
        bytes.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(value.as_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_golden() {
        // The empty message of the format's description.
        assert_eq!(message(&[], b""), [0, 0, 0, 16, 0, 0, 0, 0, 5, 194, 72, 235, 125, 152, 200, 255]);
        let bytes = event("E", "t", b"{}");
        let mut expected = vec![0, 0, 0, 74, 0, 0, 0, 56];
        expected.extend_from_slice(&crc32fast::hash(&expected).to_be_bytes());
        expected.extend_from_slice(b"\x0d:message-type\x07\0\x05event\x0b:event-type\x07\0\x01E");
        expected.extend_from_slice(b"\x0d:content-type\x07\0\x01t{}");
        expected.extend_from_slice(&crc32fast::hash(&expected).to_be_bytes());
        assert_eq!(bytes, expected);
        assert_eq!(bytes.len(), 74);
    }
}
