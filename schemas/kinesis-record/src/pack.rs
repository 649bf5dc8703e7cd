//! Packs user records into one aggregated record. The size is exact at every moment, before a byte is encoded.

mod keys;

use bytes::Bytes;

use self::keys::{HashKeyTable, KeyTable, decimal_len};
use crate::{
    DIGEST_BYTES, MAGIC,
    md5::digests,
    origin::Origin,
    spool_mark::{SpoolMark, number_len},
    wire::{aggregated, delimited_len, put_delimited_header, put_varint_field, record, varint_field_len},
};

/// An aggregated record that is being filled.
///
/// Partition keys and explicit hash keys are written once each, in tables; records point into them. Payloads are held as
/// [`Bytes`] and copied exactly once, by [`encode`](AggregateBuilder::encode).
///
/// ```
/// use bytes::Bytes;
/// use kinesis_record::{AggregateBuilder, Unpacked, unpack};
///
/// let mut builder = AggregateBuilder::new();
/// builder.push("screen-17", None, Bytes::from_static(b"one"));
/// builder.push("screen-18", None, Bytes::from_static(b"two"));
/// let data = builder.encode();
/// assert_eq!(data.len(), builder.size());
///
/// let Ok(Unpacked::Aggregate(records)) = unpack(&data) else { panic!("just packed") };
/// assert_eq!(&*records[1].partition_key, "screen-18");
/// assert_eq!(records[1].data, "two");
/// ```
#[derive(Debug, Default)]
pub struct AggregateBuilder {
    partition_keys: KeyTable,
    hash_keys: HashKeyTable,
    records: Vec<Entry>,
    /// Bytes of the record messages, with their tags and lengths.
    records_bytes: usize,
    origin: Option<Origin>,
    spool_mark: Option<SpoolMark>,
    /// Of the record that is pushed next, as it is written.
    next_told: Option<u64>,
}

/// An aggregated record that lacks its digest: all bytes but the last sixteen. See [`seal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsealedAggregate {
    bytes: Vec<u8>,
}

impl UnsealedAggregate {
    /// Bytes of the aggregated record once it is sealed.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty: the magic is in it")]
    pub fn len(&self) -> usize {
        self.bytes.len() + DIGEST_BYTES
    }
}

/// Adds their digests to aggregated records, in their order. The digest is most of what packing costs; of sixteen records at
/// a time each costs about a quarter of one alone.
///
/// ```
/// use bytes::Bytes;
/// use kinesis_record::{AggregateBuilder, seal};
///
/// let mut builder = AggregateBuilder::new();
/// builder.push("screen-17", None, Bytes::from_static(b"one"));
/// let unsealed = builder.encode_unsealed();
/// assert_eq!(unsealed.len(), builder.size());
/// assert_eq!(seal(vec![unsealed]), [builder.encode()]);
/// ```
pub fn seal(unsealed: Vec<UnsealedAggregate>) -> Vec<Bytes> {
    let messages: Vec<&[u8]> =
        unsealed.iter().map(|aggregate| aggregate.bytes.get(MAGIC.len()..).unwrap_or_default()).collect();
    let digests = digests(&messages);
    let sealed = |(mut aggregate, digest): (UnsealedAggregate, [u8; DIGEST_BYTES])| {
        aggregate.bytes.extend_from_slice(&digest);
        aggregate.bytes.into()
    };
    unsealed.into_iter().zip(digests).map(sealed).collect()
}

/// A builder that held more records than this gives their memory back when it is cleared.
const RECORDS_KEPT_MAX: usize = 4096;

#[derive(Debug)]
struct Entry {
    partition_key: usize,
    hash_key: Option<usize>,
    /// The number in a log, as it is written.
    told: Option<u64>,
    data: Bytes,
}

impl AggregateBuilder {
    /// An aggregate without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes everything out, to begin another aggregate in the same memory.
    pub fn clear(&mut self) {
        if self.records.len() > RECORDS_KEPT_MAX {
            *self = Self::new();
            return;
        }
        self.partition_keys.clear();
        self.hash_keys.clear();
        self.records.clear();
        self.records_bytes = 0;
        self.origin = None;
        self.spool_mark = None;
        self.next_told = None;
    }

    /// Marks the aggregate with where it comes from, in a field that readers of the format skip: 10 to 44 bytes.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = Some(origin);
    }

    /// Says where the records stand in a log, in a field that readers of the format skip: 10 to 84 bytes. Each record that was
    /// in the log is given its number there with [`number_next`](AggregateBuilder::number_next).
    pub fn set_spool_mark(&mut self, mark: SpoolMark) {
        self.spool_mark = Some(mark);
    }

    /// The number in the log of the record that is pushed next, or sized up next: 3 to 12 bytes. Ignored without a mark.
    pub fn number_next(&mut self, number: Option<u64>) {
        self.next_told = self.spool_mark.zip(number).map(|(mark, number)| mark.told(number));
    }

    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The exact number of bytes that [`encode`](AggregateBuilder::encode) returns now.
    pub fn size(&self) -> usize {
        MAGIC.len() + self.message_size() + DIGEST_BYTES
    }

    /// The exact number of bytes of the message alone, without magic and digest.
    pub(crate) fn message_size(&self) -> usize {
        let origin_bytes = self.origin.map_or(0, |origin| origin.field_len());
        let mark_bytes = self.spool_mark.map_or(0, |mark| mark.field_len());
        self.partition_keys.bytes + self.hash_keys.bytes + self.records_bytes + origin_bytes + mark_bytes
    }

    /// The exact number of bytes after one more such record.
    pub fn size_with(&self, partition_key: &str, explicit_hash_key: Option<u128>, data_len: usize) -> usize {
        let (key_index, key_bytes) = match self.partition_keys.find(partition_key) {
            Some(index) => (index, 0),
            None => (self.partition_keys.len(), delimited_len(partition_key.len())),
        };
        let (hash_key_index, hash_key_bytes) = match explicit_hash_key {
            None => (None, 0),
            Some(hash_key) => match self.hash_keys.find(hash_key) {
                Some(index) => (Some(index), 0),
                None => (Some(self.hash_keys.keys.len()), delimited_len(decimal_len(hash_key))),
            },
        };
        let entry_bytes = entry_len(key_index, hash_key_index, self.next_told, data_len);
        self.size() + key_bytes + hash_key_bytes + delimited_len(entry_bytes)
    }

    /// Adds a record; its sub-sequence number is the number of records before it.
    pub fn push(&mut self, partition_key: &str, explicit_hash_key: Option<u128>, data: Bytes) {
        let partition_key = self.partition_keys.insert(partition_key);
        let hash_key = explicit_hash_key.map(|hash_key| self.hash_keys.insert(hash_key));
        let told = self.next_told.take();
        self.records_bytes += delimited_len(entry_len(partition_key, hash_key, told, data.len()));
        self.records.push(Entry { partition_key, hash_key, told, data });
    }

    /// Adds a record if the aggregate then has at most `bytes_max` bytes; says whether it did. Cheaper than asking for
    /// [`size_with`](AggregateBuilder::size_with) first: keys are looked up once.
    pub fn push_within(
        &mut self,
        bytes_max: usize,
        partition_key: &str,
        explicit_hash_key: Option<u128>,
        data: &Bytes,
    ) -> bool {
        let key_hash = self.partition_keys.hash(partition_key);
        let known = self.partition_keys.find_hashed(key_hash, partition_key);
        let key_index = known.unwrap_or(self.partition_keys.len());
        let key_bytes = if known.is_some() { 0 } else { delimited_len(partition_key.len()) };
        let known_hash_key = explicit_hash_key.map(|hash_key| (hash_key, self.hash_keys.find(hash_key)));
        let (hash_key_index, hash_key_bytes) = match known_hash_key {
            None => (None, 0),
            Some((_, Some(index))) => (Some(index), 0),
            Some((hash_key, None)) => (Some(self.hash_keys.keys.len()), delimited_len(decimal_len(hash_key))),
        };
        let told = self.next_told.take();
        let record_bytes = delimited_len(entry_len(key_index, hash_key_index, told, data.len()));
        if self.size() + key_bytes + hash_key_bytes + record_bytes > bytes_max {
            return false;
        }
        if known.is_none() {
            self.partition_keys.append(key_hash, partition_key);
        }
        if let Some((hash_key, None)) = known_hash_key {
            self.hash_keys.insert(hash_key);
        }
        self.records_bytes += record_bytes;
        self.records.push(Entry { partition_key: key_index, hash_key: hash_key_index, told, data: data.clone() });
        true
    }

    /// The aggregated record: magic, message, MD5 of the message. The same builder always encodes to the same bytes.
    pub fn encode(&self) -> Bytes {
        seal(vec![self.encode_unsealed()]).swap_remove(0)
    }

    /// The aggregated record without its digest, which [`seal`] adds to several at a time.
    pub fn encode_unsealed(&self) -> UnsealedAggregate {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend_from_slice(&MAGIC);
        self.encode_message(&mut bytes);
        debug_assert_eq!(bytes.len() + DIGEST_BYTES, self.size(), "the predicted size is the encoded size");
        UnsealedAggregate { bytes }
    }

    /// Appends the message: key tables, records, origin.
    pub(crate) fn encode_message(&self, out: &mut Vec<u8>) {
        for key in self.partition_keys.iter() {
            put_delimited_header(out, aggregated::PARTITION_KEY, key.len());
            out.extend_from_slice(key.as_bytes());
        }
        for hash_key in &self.hash_keys.keys {
            let decimal = hash_key.to_string();
            put_delimited_header(out, aggregated::EXPLICIT_HASH_KEY, decimal.len());
            out.extend_from_slice(decimal.as_bytes());
        }
        for entry in &self.records {
            let entry_bytes = entry_len(entry.partition_key, entry.hash_key, entry.told, entry.data.len());
            put_delimited_header(out, aggregated::RECORD, entry_bytes);
            // proto2 `required`: index 0 and empty data are written too, or Java readers refuse the whole message.
            put_varint_field(out, record::PARTITION_KEY_INDEX, entry.partition_key as u64);
            if let Some(hash_key) = entry.hash_key {
                put_varint_field(out, record::EXPLICIT_HASH_KEY_INDEX, hash_key as u64);
            }
            put_delimited_header(out, record::DATA, entry.data.len());
            out.extend_from_slice(&entry.data);
            if let Some(told) = entry.told {
                put_varint_field(out, record::NUMBER, told);
            }
        }
        if let Some(origin) = &self.origin {
            origin.encode_field(out);
        }
        if let Some(mark) = &self.spool_mark {
            mark.encode_field(out);
        }
    }
}

/// Bytes of one record message, without its own tag and length.
fn entry_len(partition_key: usize, hash_key: Option<usize>, told: Option<u64>, data_len: usize) -> usize {
    let hash_key_len = hash_key.map_or(0, |index| varint_field_len(index as u64));
    let number_len = told.map_or(0, number_len);
    varint_field_len(partition_key as u64) + hash_key_len + delimited_len(data_len) + number_len
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use md5::{Digest, Md5};

    use super::{AggregateBuilder, seal};

    /// Partition key, explicit hash key, payload.
    type Put<'a> = (&'a str, Option<u128>, &'a [u8]);

    fn check(records: &[Put<'_>], message: &[u8]) {
        let mut builder = AggregateBuilder::new();
        for (key, hash_key, data) in records {
            let predicted = builder.size_with(key, *hash_key, data.len());
            builder.push(key, *hash_key, Bytes::copy_from_slice(data));
            assert_eq!(builder.size(), predicted);
        }
        let mut bounded = AggregateBuilder::new();
        for (key, hash_key, data) in records {
            let bytes_max = bounded.size_with(key, *hash_key, data.len());
            let data = Bytes::copy_from_slice(data);
            assert!(!bounded.push_within(bytes_max - 1, key, *hash_key, &data));
            assert!(bounded.push_within(bytes_max, key, *hash_key, &data));
        }
        assert_eq!(bounded.encode(), builder.encode());
        // A builder that was used before is like a new one.
        bounded.push("another", Some(17), Bytes::from_static(b"more"));
        bounded.clear();
        assert_eq!((bounded.len(), bounded.encode()), (0, AggregateBuilder::new().encode()));
        for (key, hash_key, data) in records {
            bounded.push(key, *hash_key, Bytes::copy_from_slice(data));
        }
        assert_eq!(seal(vec![bounded.encode_unsealed(); 3]), vec![builder.encode(); 3]);
        let mut expect = vec![0xF3, 0x89, 0x9A, 0xC2];
        expect.extend_from_slice(message);
        expect.extend_from_slice(&Md5::digest(message));
        assert_eq!(builder.encode(), expect);
        assert_eq!(builder.size(), expect.len());
        assert_eq!(builder.len(), records.len());
    }

    #[test]
    fn index_zero_and_empty_data_are_written() {
        check(&[("a", None, b"")], &[0x0A, 1, b'a', 0x1A, 4, 0x08, 0x00, 0x1A, 0x00]);
    }

    #[test]
    fn keys_are_written_once() {
        check(
            &[("a", Some(0), b"x"), ("b", None, b"y"), ("a", Some(0), b"z")],
            &[
                0x0A, 1, b'a', 0x0A, 1, b'b', 0x12, 1, b'0', //
                0x1A, 7, 0x08, 0, 0x10, 0, 0x1A, 1, b'x', //
                0x1A, 5, 0x08, 1, 0x1A, 1, b'y', //
                0x1A, 7, 0x08, 0, 0x10, 0, 0x1A, 1, b'z',
            ],
        );
    }

    #[test]
    fn hash_keys_are_decimal() {
        let mut message = vec![0x0A, 0, 0x12, 39];
        message.extend_from_slice(b"340282366920938463463374607431768211455");
        message.extend_from_slice(&[0x1A, 6, 0x08, 0, 0x10, 0, 0x1A, 0]);
        check(&[("", Some(u128::MAX), b"")], &message);
    }
}
