//! Unpacks aggregated records. Payloads are slices of the input, or of what it decompressed to; keys are copied once per
//! distinct key.
//!
//! What does not prove to be an aggregated record (magic, MD5, message) is a plain record, as every reader in the field
//! treats it. An aggregate that proves genuine but contradicts itself is an error: other readers hand out the first
//! sub-records and lose the rest in silence. So is a compressed aggregate with anything wrong behind its magic.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::{
    DIGEST_BYTES, MAGIC,
    aggregate::{Aggregate, Refusal},
    compressed::{COMPRESSED_MAGIC, CONTENT_BYTES_MAX, DecompressError, decompress},
    hash::{HashRange, hash_key},
};

/// What the data of one Kinesis record holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unpacked {
    /// Not an aggregate: the data is one user record as it stands.
    Plain,
    /// The user records of an aggregate, in order: the position is the sub-sequence number.
    Aggregate(Vec<SubRecord>),
}

/// One user record of an aggregate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubRecord {
    /// The partition key that the user record was put with.
    pub partition_key: Arc<str>,
    /// The hash key that overrides the partition key's, if there is one.
    pub explicit_hash_key: Option<u128>,
    /// The payload, a slice of the aggregate's bytes.
    pub data: Bytes,
}

impl SubRecord {
    /// The hash key by which this record belongs to a shard: the explicit one, or else the partition key's.
    pub fn hash_key(&self) -> u128 {
        self.explicit_hash_key.unwrap_or_else(|| hash_key(&self.partition_key))
    }
}

/// An aggregate whose digest is right but whose content contradicts itself. None of its records is handed out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// A record points beyond the table of partition keys.
    #[error("sub-record {sub_sequence} names partition key {index} of {table_len}")]
    PartitionKeyIndex {
        /// Which record.
        sub_sequence: usize,
        /// Where it points.
        index: u64,
        /// How many entries the table has.
        table_len: usize,
    },
    /// A record points beyond the table of explicit hash keys.
    #[error("sub-record {sub_sequence} names explicit hash key {index} of {table_len}")]
    HashKeyIndex {
        /// Which record.
        sub_sequence: usize,
        /// Where it points.
        index: u64,
        /// How many entries the table has.
        table_len: usize,
    },
    /// A record points at an explicit hash key that is not a decimal number of 128 bits.
    #[error("sub-record {sub_sequence} names explicit hash key {index}, which is not a number below 2^128")]
    HashKeyNumber {
        /// Which record.
        sub_sequence: usize,
        /// Where it points.
        index: u64,
    },
    /// The data opens like a compressed aggregate, and cannot be read as one.
    #[error("compressed aggregate")]
    Compressed(#[from] DecompressError),
}

/// Reads the data of one Kinesis record into a list. See [`unpack_aggregate`].
///
/// # Errors
/// As [`unpack_aggregate`], with [`CONTENT_BYTES_MAX`] as the limit.
pub fn unpack(data: &Bytes) -> Result<Unpacked, UnpackError> {
    Ok(match unpack_aggregate(data, CONTENT_BYTES_MAX)? {
        None => Unpacked::Plain,
        Some(aggregate) => Unpacked::Aggregate(aggregate.into_iter().collect()),
    })
}

/// Reads the data of one Kinesis record, compressed or not, without building a list; `None` for a plain record.
///
/// Never panics, whatever the bytes. Costs one MD5 over the data if it opens with the magic, or one CRC-32 and the
/// decompression to at most `content_bytes_max` bytes if it opens with that of a compressed aggregate.
///
/// ```
/// use bytes::Bytes;
/// use kinesis_record::{CONTENT_BYTES_MAX, unpack_aggregate};
///
/// assert!(unpack_aggregate(&Bytes::from_static(b"{}"), CONTENT_BYTES_MAX)?.is_none());
/// # Ok::<(), kinesis_record::UnpackError>(())
/// ```
///
/// # Errors
/// When the data is a genuine aggregate (magic, digest, message) but a record in it points outside the key tables; and when
/// it opens like a compressed aggregate and is cut, damaged, of a later version, or longer than allowed.
pub fn unpack_aggregate(data: &Bytes, content_bytes_max: usize) -> Result<Option<Aggregate>, UnpackError> {
    if let Some(message) = decompress(data, content_bytes_max) {
        return match Aggregate::read(message?) {
            Ok(aggregate) => Ok(Some(aggregate)),
            Err(Refusal::Contradiction(error)) => Err(error),
            Err(Refusal::Malformed) => Err(DecompressError::Message.into()),
        };
    }
    let Some(message) = genuine_message(data) else { return Ok(None) };
    match Aggregate::read(message) {
        Ok(aggregate) => Ok(Some(aggregate)),
        Err(Refusal::Contradiction(error)) => Err(error),
        Err(Refusal::Malformed) => Ok(None),
    }
}

/// Whether the data of a plain record might be taken for an aggregate. Whoever puts such data as a plain record should put it
/// into an aggregate instead, so that readers hand it out as it is.
pub fn opens_like_aggregate(data: &[u8]) -> bool {
    data.starts_with(&MAGIC) || data.starts_with(&COMPRESSED_MAGIC)
}

/// The rule by which the Kinesis Client Library drops aggregates: the position of the first record that does not belong to
/// `range`. If there is one, the KCL hands out **none** of the aggregate's records; if there is none, all.
pub fn first_outside(records: &[SubRecord], range: HashRange) -> Option<usize> {
    records.iter().position(|record| !range.contains(record.hash_key()))
}

/// The message of an aggregate whose magic and digest are right. An aggregate without any message is a plain record, as it is
/// for the KCL.
fn genuine_message(data: &Bytes) -> Option<Bytes> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_last_chunk::<DIGEST_BYTES>()?;
    let is_genuine = !message.is_empty() && Md5::digest(message).as_slice() == digest;
    is_genuine.then(|| data.slice(MAGIC.len()..data.len() - DIGEST_BYTES))
}

#[cfg(test)]
mod tests;
