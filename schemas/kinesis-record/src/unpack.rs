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
    md5::digests,
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
    if data.starts_with(&COMPRESSED_MAGIC) {
        return unpack_compressed(data, content_bytes_max).map(Some);
    }
    match Sealed::open(data) {
        Some(sealed) if Md5::digest(sealed.message).as_slice() == sealed.digest => unpack_genuine(data),
        Some(_) | None => Ok(None),
    }
}

/// The data of a Kinesis record, with the digest looked at if there is one.
///
/// MD5 is most of the cost of reading. Of several records at a time, see [`check_digests`], it costs less than half.
#[derive(Debug, Clone)]
pub struct CheckedData {
    data: Bytes,
    is_genuine: bool,
}

/// Looks at the digests of several records, four at a time. Reads nothing but the digests: no record is decompressed.
pub fn check_digests(records: impl IntoIterator<Item = Bytes>) -> Vec<CheckedData> {
    let mut checked: Vec<CheckedData> =
        records.into_iter().map(|data| CheckedData { data, is_genuine: false }).collect();
    let sealed: Vec<Sealed<'_>> = checked.iter().filter_map(|checked| Sealed::open(&checked.data)).collect();
    let messages: Vec<&[u8]> = sealed.iter().map(|sealed| sealed.message).collect();
    let computed = digests(&messages);
    let mut verdicts =
        computed.iter().zip(sealed).map(|(digest, sealed)| digest == sealed.digest).collect::<Vec<_>>().into_iter();
    for checked in &mut checked {
        let is_sealed = Sealed::open(&checked.data).is_some();
        checked.is_genuine = is_sealed && verdicts.next() == Some(true);
    }
    checked
}

impl CheckedData {
    /// The bytes of the record.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// As [`unpack_aggregate`].
    ///
    /// # Errors
    /// As [`unpack_aggregate`].
    pub fn unpack(&self, content_bytes_max: usize) -> Result<Option<Aggregate>, UnpackError> {
        if self.data.starts_with(&COMPRESSED_MAGIC) {
            return unpack_compressed(&self.data, content_bytes_max).map(Some);
        }
        if self.is_genuine { unpack_genuine(&self.data) } else { Ok(None) }
    }
}

fn unpack_compressed(data: &Bytes, content_bytes_max: usize) -> Result<Aggregate, UnpackError> {
    match Aggregate::read(decompress(data, content_bytes_max)?) {
        Ok(aggregate) => Ok(aggregate),
        Err(Refusal::Contradiction(error)) => Err(error),
        Err(Refusal::Malformed) => Err(DecompressError::Message.into()),
    }
}

/// Reads a record whose magic and digest are right.
fn unpack_genuine(data: &Bytes) -> Result<Option<Aggregate>, UnpackError> {
    let message = data.slice(MAGIC.len()..data.len().saturating_sub(DIGEST_BYTES).max(MAGIC.len()));
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

/// What opens like an aggregate.
#[derive(Debug, Clone, Copy)]
struct Sealed<'a> {
    message: &'a [u8],
    /// What the MD5 of the message should be.
    digest: &'a [u8; DIGEST_BYTES],
}

impl<'a> Sealed<'a> {
    /// Nothing for an aggregate without any message: it is a plain record, as it is for the KCL.
    fn open(data: &'a [u8]) -> Option<Self> {
        let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
        (!message.is_empty()).then_some(Sealed { message, digest })
    }
}

#[cfg(test)]
mod tests;
