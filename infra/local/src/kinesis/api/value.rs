//! Times and blobs, which JSON and CBOR write differently.
//!
//! JSON: seconds with a fraction, and base64. CBOR: whole milliseconds under tag 1, and bytes.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cbor;
use crate::kinesis::block::Payload;

/// Milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timestamp(pub(super) i64);

/// Data as a request brings it, borrowed from the body where it can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DataInput<'a> {
    /// Not decoded yet.
    Base64(Cow<'a, str>),
    Raw(Cow<'a, [u8]>),
}

/// Data as an answer gives it.
#[derive(Debug)]
pub(super) struct DataOutput<'a>(pub(super) &'a [u8]);

impl Timestamp {
    /// To the nearest millisecond: a float holds 1700000000.001 as slightly less.
    fn from_seconds<E: Error>(seconds: f64) -> Result<Self, E> {
        let since_epoch = Duration::try_from_secs_f64(seconds)
            .map_err(|_out_of_range| E::invalid_value(Unexpected::Float(seconds), &"a time"))?;
        let half_a_millisecond = Duration::from_micros(500);
        Ok(Self(i64::try_from(since_epoch.saturating_add(half_a_millisecond).as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            let since_epoch = Duration::from_millis(u64::try_from(self.0).unwrap_or(0));
            serializer.serialize_f64(since_epoch.as_secs_f64())
        } else {
            serializer.serialize_newtype_struct(cbor::TIMESTAMP, &self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let is_seconds = deserializer.is_human_readable();
        deserializer.deserialize_any(TimestampVisitor { is_seconds })
    }
}

struct TimestampVisitor {
    /// What a whole number counts. A float counts seconds in either protocol.
    is_seconds: bool,
}

impl Visitor<'_> for TimestampVisitor {
    type Value = Timestamp;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a time")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Timestamp, E> {
        Timestamp::from_seconds(seconds)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Timestamp, E> {
        let number = i64::try_from(number).map_err(|_far| E::invalid_value(Unexpected::Unsigned(number), &self))?;
        self.visit_i64(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Timestamp, E> {
        let ms = if self.is_seconds { number.checked_mul(1_000) } else { Some(number) };
        ms.map(Timestamp).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }
}

impl DataInput<'_> {
    /// The data's length; `None` when it is not base64.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Self::Raw(bytes) => Some(bytes.len()),
            Self::Base64(text) if text.is_empty() => Some(0),
            Self::Base64(text) => base64_simd::STANDARD.decoded_length(text.as_bytes()).ok(),
        }
    }

    /// What the store takes.
    pub(super) fn payload(&self) -> Payload<'_> {
        match self {
            Self::Raw(bytes) => Payload::Raw(bytes),
            Self::Base64(text) => Payload::Base64(text),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DataInput<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64Visitor)
        } else {
            deserializer.deserialize_bytes(BytesVisitor)
        }
    }
}

struct Base64Visitor;

impl<'de> Visitor<'de> for Base64Visitor {
    type Value = DataInput<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("data in base64")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<DataInput<'de>, E> {
        Ok(DataInput::Base64(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<DataInput<'de>, E> {
        Ok(DataInput::Base64(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<DataInput<'de>, E> {
        Ok(DataInput::Base64(Cow::Owned(text)))
    }
}

struct BytesVisitor;

impl<'de> Visitor<'de> for BytesVisitor {
    type Value = DataInput<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("data in bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<DataInput<'de>, E> {
        Ok(DataInput::Raw(Cow::Borrowed(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<DataInput<'de>, E> {
        Ok(DataInput::Raw(Cow::Owned(bytes)))
    }
}

impl Serialize for DataOutput<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_json_are_seconds() {
        let check = |text: &str, expected: Option<i64>| {
            assert_eq!(serde_json::from_str::<Timestamp>(text).ok().map(|time| time.0), expected, "{text}");
        };
        check("1700000000.001", Some(1_700_000_000_001));
        check("1700000000", Some(1_700_000_000_000));
        check("0", Some(0));
        for text in ["-1.5", "1e30", "9223372036854775807", "\"2026-11-22\"", "null"] {
            check(text, None);
        }
        assert_eq!(serde_json::to_string(&Timestamp(1_700_000_000_001)).unwrap(), "1700000000.001");
    }

    #[test]
    fn times_in_cbor_are_tagged_milliseconds() {
        let bytes = cbor::to_vec(&Timestamp(1_700_000_000_123)).unwrap();
        assert_eq!(bytes, [0xc1, 0x1b, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x7b]);
        assert_eq!(cbor::from_slice::<Timestamp>(&bytes).unwrap(), Timestamp(1_700_000_000_123));
        let seconds = cbor::to_vec(&1.5_f64).unwrap();
        assert_eq!(cbor::from_slice::<Timestamp>(&seconds).unwrap(), Timestamp(1_500));
    }

    #[test]
    fn data_is_base64_or_bytes() {
        assert_eq!(serde_json::to_string(&DataOutput(b"hel")).unwrap(), "\"aGVs\"");
        assert_eq!(cbor::to_vec(&DataOutput(b"hel")).unwrap(), *b"\x43hel");
        let json: DataInput<'_> = serde_json::from_str("\"aGVs\"").unwrap();
        assert_eq!((json.length(), json.payload()), (Some(3), Payload::Base64("aGVs")));
        let raw: DataInput<'_> = cbor::from_slice(b"\x43hel").unwrap();
        assert_eq!((raw.length(), raw.payload()), (Some(3), Payload::Raw(b"hel")));
        assert!(cbor::from_slice::<DataInput<'_>>(b"\x63hel").is_err(), "a text is not a blob");
    }
}
