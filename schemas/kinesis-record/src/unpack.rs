//! Unpacks aggregated records. Payloads are slices of the input; keys are copied once per distinct key.
//!
//! What does not prove to be an aggregated record (magic, MD5, message) is a plain record, as every reader in the field
//! treats it. An aggregate that proves genuine but contradicts itself is an error: other readers hand out the first
//! sub-records and lose the rest in silence.
//!
//! Memory: about 130 bytes per sub-record beside the input. A record of 10 MiB that consists of nothing but empty
//! sub-records (6 bytes each) is the worst case, about 230 MB.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::{
    DIGEST_BYTES, MAGIC,
    hash::{HashRange, hash_key},
    wire::{Fields, Malformed, Value, aggregated, record},
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
}

/// Reads the data of one Kinesis record. Never panics; costs one MD5 over the data if it opens with the magic.
///
/// # Errors
/// When the data is a genuine aggregate (magic, digest, message) but a record in it points outside the key tables.
pub fn unpack(data: &Bytes) -> Result<Unpacked, UnpackError> {
    let Some(message) = message_range(data) else { return Ok(Unpacked::Plain) };
    match Message::read(data, message) {
        Err(Malformed) => Ok(Unpacked::Plain),
        Ok(message) => message.records(data).map(Unpacked::Aggregate),
    }
}

/// The rule by which the Kinesis Client Library drops aggregates: the position of the first record that does not belong to
/// `range`. If there is one, the KCL hands out **none** of the aggregate's records; if there is none, all.
pub fn first_outside(records: &[SubRecord], range: HashRange) -> Option<usize> {
    records.iter().position(|record| !range.contains(record.hash_key()))
}

/// Where the message lies, if magic and digest are right. An aggregate without any message is a plain record, as it is for
/// the KCL.
fn message_range(data: &[u8]) -> Option<Range<usize>> {
    let rest = data.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_last_chunk::<DIGEST_BYTES>()?;
    let is_genuine = !message.is_empty() && Md5::digest(message).as_slice() == digest;
    is_genuine.then_some(MAGIC.len()..data.len() - DIGEST_BYTES)
}

/// The message as it was read, before indices are resolved: tables may follow the records that point into them.
#[derive(Debug, Default)]
struct Message {
    partition_keys: Vec<Arc<str>>,
    /// `None` for a text that is not a number below 2^128; it only matters if a record points at it.
    hash_keys: Vec<Option<u128>>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    partition_key_index: u64,
    hash_key_index: Option<u64>,
    data: Range<usize>,
}

impl Message {
    fn read(bytes: &[u8], range: Range<usize>) -> Result<Message, Malformed> {
        let mut message = Message::default();
        let mut fields = Fields::new(bytes, range);
        while let Some((field, value)) = fields.next()? {
            let Value::Delimited(range) = value else { continue };
            match field {
                aggregated::PARTITION_KEY => message.partition_keys.push(text(bytes, range)?.into()),
                aggregated::EXPLICIT_HASH_KEY => message.hash_keys.push(parse_hash_key(text(bytes, range)?)),
                aggregated::RECORD => message.entries.push(Entry::read(bytes, range)?),
                _ => {}
            }
        }
        Ok(message)
    }

    fn records(&self, data: &Bytes) -> Result<Vec<SubRecord>, UnpackError> {
        let resolve = |(sub_sequence, entry): (usize, &Entry)| {
            Ok(SubRecord {
                partition_key: self.partition_key(sub_sequence, entry.partition_key_index)?,
                explicit_hash_key: match entry.hash_key_index {
                    None => None,
                    Some(index) => Some(self.hash_key(sub_sequence, index)?),
                },
                data: data.slice(entry.data.clone()),
            })
        };
        self.entries.iter().enumerate().map(resolve).collect()
    }

    fn partition_key(&self, sub_sequence: usize, index: u64) -> Result<Arc<str>, UnpackError> {
        let key = usize::try_from(index).ok().and_then(|index| self.partition_keys.get(index));
        let table_len = self.partition_keys.len();
        key.cloned().ok_or(UnpackError::PartitionKeyIndex { sub_sequence, index, table_len })
    }

    fn hash_key(&self, sub_sequence: usize, index: u64) -> Result<u128, UnpackError> {
        let hash_key = usize::try_from(index).ok().and_then(|index| self.hash_keys.get(index));
        let table_len = self.hash_keys.len();
        let hash_key = hash_key.ok_or(UnpackError::HashKeyIndex { sub_sequence, index, table_len })?;
        hash_key.ok_or(UnpackError::HashKeyNumber { sub_sequence, index })
    }
}

impl Entry {
    fn read(bytes: &[u8], range: Range<usize>) -> Result<Entry, Malformed> {
        let (mut partition_key_index, mut hash_key_index, mut data) = (None, None, None);
        let mut fields = Fields::new(bytes, range);
        while let Some(field) = fields.next()? {
            match field {
                (record::PARTITION_KEY_INDEX, Value::Varint(index)) => partition_key_index = Some(index),
                (record::EXPLICIT_HASH_KEY_INDEX, Value::Varint(index)) => hash_key_index = Some(index),
                (record::DATA, Value::Delimited(range)) => data = Some(range),
                // Tags are in the schema and ignored by every reader, as are fields of the wrong type.
                _ => {}
            }
        }
        // Both fields are `required`: without them proto2 readers refuse the whole message.
        let partition_key_index = partition_key_index.ok_or(Malformed)?;
        Ok(Entry { partition_key_index, hash_key_index, data: data.ok_or(Malformed)? })
    }
}

fn text(bytes: &[u8], range: Range<usize>) -> Result<&str, Malformed> {
    let Some(Ok(text)) = bytes.get(range).map(str::from_utf8) else { return Err(Malformed) };
    Ok(text)
}

fn parse_hash_key(text: &str) -> Option<u128> {
    // `parse` alone would let a plus sign pass.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
