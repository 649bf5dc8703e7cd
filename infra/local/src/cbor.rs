//! CBOR (RFC 8949) as the AWS SDKs for Java speak it, over serde.
//!
//! Reading borrows texts and bytes from the body, takes definite and indefinite lengths, and skips tags. Writing is
//! definite wherever the length is known. A time is a newtype named [`TIMESTAMP`]: tag 1 over whole milliseconds,
//! which is what Jackson-based SDKs write and read (RFC 8949 would have seconds).

mod read;
mod write;

use std::fmt;

/// The newtype name that is written with tag 1.
pub const TIMESTAMP: &str = "$millrace::cbor::timestamp";

/// The tag of a time.
const TIMESTAMP_TAG: u64 = 1;
/// Maps and arrays within each other at most: Kinesis needs 5.
const DEPTH_MAX: u8 = 32;

/// Why bytes are not what was asked for, or a value cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end within an item.
    #[error("the bytes end within an item")]
    Truncated,
    /// Bytes follow the item.
    #[error("{bytes} bytes follow the item")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// An initial byte that means nothing, or nothing here.
    #[error("{byte:#04x} does not start an item here")]
    Unexpected {
        /// The byte.
        byte: u8,
    },
    /// Maps and arrays lie too deep in each other.
    #[error("nested deeper than {DEPTH_MAX}")]
    TooDeep,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    NotText,
    /// A negative number below -2^63.
    #[error("a number is out of range")]
    OutOfRange,
    /// A map or array has more than its type takes.
    #[error("a map or array has too many items")]
    TooMany,
    /// The items do not fit the type, in serde's words.
    #[error("{0}")]
    Shape(Box<str>),
}

impl serde::de::Error for CborError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string().into())
    }
}

impl serde::ser::Error for CborError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string().into())
    }
}

/// Reads one item that is all of `bytes`.
///
/// # Errors
/// See [`CborError`]; whatever the bytes are, nothing panics and nothing is reserved for lengths they only claim.
pub fn from_slice<'de, T: serde::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CborError> {
    let mut reader = read::Reader::new(bytes);
    let value = T::deserialize(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Writes one item.
///
/// # Errors
/// [`CborError::Shape`] when the value's own `Serialize` fails.
pub fn to_vec<T: serde::Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CborError> {
    let mut writer = write::Writer::default();
    value.serialize(&mut writer)?;
    Ok(writer.into_bytes())
}

#[cfg(test)]
mod tests;
