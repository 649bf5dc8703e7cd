//! An aggregate that proved genuine, read record by record.
//!
//! It is checked as a whole before the first record is handed out, so that none is handed out in part. Nothing is kept per
//! record: the records are read from the message again as they are asked for. Payloads are slices of the message.
//!
//! Memory beside the message: 8 bytes per entry of the key tables, 16 more while reading, and each partition key once. The worst
//! message of 16 MiB, nothing but empty keys, costs 200 MB while it is read.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use crate::{
    hash::{HashRange, hash_key},
    origin::Origin,
    spool_mark::SpoolMark,
    unpack::{SubRecord, UnpackError},
    wire::{Fields, Malformed, Value, aggregated, record},
};

/// The records of one aggregate. See [`unpack_aggregate`](crate::unpack_aggregate).
#[derive(Debug, Clone)]
pub struct Aggregate {
    message: Bytes,
    partition_keys: Vec<Span>,
    hash_keys: Vec<Span>,
    len: usize,
    origin: Option<Origin>,
    spool_mark: Option<SpoolMark>,
}

/// A part of the message. Messages are shorter than 4 GiB.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
}

/// One record of the message, as it points into tables and payload.
#[derive(Debug)]
struct Entry {
    partition_key_index: u64,
    hash_key_index: Option<u64>,
    /// The number in a log, as it is written.
    told: Option<u64>,
    data: Range<usize>,
}

/// Why a message was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is no message of this format.
    Malformed,
    /// It contradicts itself.
    Contradiction(UnpackError),
}

impl From<Malformed> for Refusal {
    fn from(_: Malformed) -> Self {
        Refusal::Malformed
    }
}

impl Aggregate {
    /// How many records are in it.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no record is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the aggregate comes from, if its producer said so.
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Where the records stand in a log, if their producer kept them in one and said so.
    pub fn spool_mark(&self) -> Option<SpoolMark> {
        self.spool_mark
    }

    /// The number of each record in the log of [`spool_mark`](Aggregate::spool_mark), in their order; none for those that were in
    /// no log.
    pub fn spool_numbers(&self) -> impl Iterator<Item = Option<u64>> {
        let mut cursor = Cursor::default();
        std::iter::from_fn(move || self.next_entry(&mut cursor))
            .map(|entry| self.spool_mark.zip(entry.told).map(|(mark, told)| mark.number(told)))
    }

    /// Bytes of the message: the payloads, the keys and what holds them together, decompressed.
    pub fn message_bytes(&self) -> usize {
        self.message.len()
    }

    /// The records, borrowed: nothing is copied or counted, so this is the cheapest way to read them.
    pub fn records(&self) -> RecordRefs<'_> {
        RecordRefs { aggregate: self, cursor: Cursor::default(), left: self.len, hash_key: None }
    }

    /// The rule by which the Kinesis Client Library drops aggregates, as [`first_outside`](crate::first_outside): the
    /// position of the first record that does not belong to `range`. Costs an MD5 for each record without an explicit hash
    /// key.
    pub fn first_outside(&self, range: HashRange) -> Option<usize> {
        let mut cursor = Cursor::default();
        let mut position = 0;
        while let Some(entry) = self.next_entry(&mut cursor) {
            let hash_key = match entry.hash_key_index {
                Some(index) => self.hash_key(index),
                None => self.partition_key(entry.partition_key_index).map(hash_key),
            };
            if hash_key.is_none_or(|hash_key| !range.contains(hash_key)) {
                return Some(position);
            }
            position += 1;
        }
        None
    }

    /// Takes in a message, all of it or nothing.
    pub(crate) fn read(message: Bytes) -> Result<Aggregate, Refusal> {
        let mut aggregate = Aggregate {
            message: Bytes::new(),
            partition_keys: Vec::new(),
            hash_keys: Vec::new(),
            len: 0,
            origin: None,
            spool_mark: None,
        };
        let mut highest = Highest::default();
        let mut fields = Fields::new(&message, 0..message.len());
        while let Some((field, value)) = fields.next()? {
            let Value::Delimited(range) = value else { continue };
            match field {
                aggregated::RECORD => {
                    highest.note(&Entry::read(&message, range)?);
                    aggregate.len += 1;
                }
                aggregated::PARTITION_KEY => aggregate.partition_keys.push(text_span(&message, range)?),
                aggregated::EXPLICIT_HASH_KEY => aggregate.hash_keys.push(text_span(&message, range)?),
                aggregated::ORIGIN => aggregate.origin = Origin::read(&message, range),
                aggregated::SPOOL => aggregate.spool_mark = SpoolMark::read(&message, range),
                _ => {}
            }
        }
        aggregate.message = message;
        aggregate.check(&highest)?;
        Ok(aggregate)
    }

    /// Whether every record points into the tables, and at numbers.
    fn check(&self, highest: &Highest) -> Result<(), Refusal> {
        let points_inside =
            |highest: Option<u64>, table_len: usize| highest.is_none_or(|index| index < table_len as u64);
        let numbers = 0..self.hash_keys.len() as u64;
        let is_sound = points_inside(highest.partition_key, self.partition_keys.len())
            && points_inside(highest.hash_key, self.hash_keys.len())
            && (highest.hash_key.is_none() || numbers.into_iter().all(|index| self.hash_key(index).is_some()));
        if is_sound {
            return Ok(());
        }
        // Some entry is bad, but perhaps no record points at it.
        let mut cursor = Cursor::default();
        let mut sub_sequence = 0;
        while let Some(entry) = self.next_entry(&mut cursor) {
            self.check_entry(sub_sequence, &entry).map_err(Refusal::Contradiction)?;
            sub_sequence += 1;
        }
        Ok(())
    }

    fn check_entry(&self, sub_sequence: usize, entry: &Entry) -> Result<(), UnpackError> {
        let index = entry.partition_key_index;
        if self.partition_key(index).is_none() {
            let table_len = self.partition_keys.len();
            return Err(UnpackError::PartitionKeyIndex { sub_sequence, index, table_len });
        }
        let Some(index) = entry.hash_key_index else { return Ok(()) };
        if span(&self.hash_keys, index).is_none() {
            return Err(UnpackError::HashKeyIndex { sub_sequence, index, table_len: self.hash_keys.len() });
        }
        match self.hash_key(index) {
            Some(_) => Ok(()),
            None => Err(UnpackError::HashKeyNumber { sub_sequence, index }),
        }
    }

    /// The next record after `cursor`. The message was read to its end before, so it can be read again.
    fn next_entry(&self, cursor: &mut Cursor) -> Option<Entry> {
        let mut fields = Fields::new(&self.message, cursor.at..self.message.len());
        while let Ok(Some((field, value))) = fields.next() {
            if let (aggregated::RECORD, Value::Delimited(range)) = (field, value) {
                cursor.at = fields.position();
                return Entry::read(&self.message, range).ok();
            }
        }
        cursor.at = self.message.len();
        None
    }

    fn partition_key(&self, index: u64) -> Option<&str> {
        text(&self.message, span(&self.partition_keys, index)?)
    }

    fn hash_key(&self, index: u64) -> Option<u128> {
        let text = text(&self.message, span(&self.hash_keys, index)?)?;
        // `parse` alone would let a plus sign pass.
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    }
}

impl IntoIterator for Aggregate {
    type Item = SubRecord;
    type IntoIter = SubRecords;

    fn into_iter(self) -> SubRecords {
        let keys = vec![None; self.partition_keys.len()];
        SubRecords { left: self.len, aggregate: self, cursor: Cursor::default(), keys, hash_key: None }
    }
}

/// The records of an aggregate, one after the other: the position is the sub-sequence number.
#[derive(Debug, Clone)]
pub struct SubRecords {
    aggregate: Aggregate,
    cursor: Cursor,
    left: usize,
    /// Partition keys that were handed out before; records of one key share it.
    keys: Vec<Option<Arc<str>>>,
    /// The last explicit hash key and its index: most aggregates have a single one.
    hash_key: Option<(u64, u128)>,
}

impl Iterator for SubRecords {
    type Item = SubRecord;

    fn next(&mut self) -> Option<SubRecord> {
        let entry = self.aggregate.next_entry(&mut self.cursor)?;
        self.left = self.left.saturating_sub(1);
        let explicit_hash_key = match entry.hash_key_index {
            Some(index) => Some(cached_hash_key(&self.aggregate, &mut self.hash_key, index)?),
            None => None,
        };
        Some(SubRecord {
            partition_key: self.partition_key(entry.partition_key_index)?,
            explicit_hash_key,
            data: self.aggregate.message.slice(entry.data),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for SubRecords {}

impl SubRecords {
    /// The aggregate that is read.
    pub fn aggregate(&self) -> &Aggregate {
        &self.aggregate
    }

    fn partition_key(&mut self, index: u64) -> Option<Arc<str>> {
        let place = self.keys.get_mut(usize::try_from(index).ok()?)?;
        if let Some(key) = place {
            return Some(Arc::clone(key));
        }
        let key: Arc<str> = self.aggregate.partition_key(index)?.into();
        *place = Some(Arc::clone(&key));
        Some(key)
    }
}

/// One record of an aggregate that is kept elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The partition key that the user record was put with.
    pub partition_key: &'a str,
    /// The hash key that overrides the partition key's, if there is one.
    pub explicit_hash_key: Option<u128>,
    /// The payload.
    pub data: &'a [u8],
}

/// The records of an aggregate, borrowed. See [`Aggregate::records`].
#[derive(Debug, Clone)]
pub struct RecordRefs<'a> {
    aggregate: &'a Aggregate,
    cursor: Cursor,
    left: usize,
    /// The last explicit hash key and its index.
    hash_key: Option<(u64, u128)>,
}

impl<'a> Iterator for RecordRefs<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        let entry = self.aggregate.next_entry(&mut self.cursor)?;
        self.left = self.left.saturating_sub(1);
        let explicit_hash_key = match entry.hash_key_index {
            Some(index) => Some(cached_hash_key(self.aggregate, &mut self.hash_key, index)?),
            None => None,
        };
        Some(RecordRef {
            partition_key: self.aggregate.partition_key(entry.partition_key_index)?,
            explicit_hash_key,
            data: self.aggregate.message.get(entry.data)?,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for RecordRefs<'_> {}

fn cached_hash_key(aggregate: &Aggregate, last: &mut Option<(u64, u128)>, index: u64) -> Option<u128> {
    if let Some((last, hash_key)) = *last
        && last == index
    {
        return Some(hash_key);
    }
    let hash_key = aggregate.hash_key(index)?;
    *last = Some((index, hash_key));
    Some(hash_key)
}

/// Where reading goes on in the message.
#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    at: usize,
}

/// The highest index of each table that any record points at.
#[derive(Debug, Default)]
struct Highest {
    partition_key: Option<u64>,
    hash_key: Option<u64>,
}

impl Highest {
    fn note(&mut self, entry: &Entry) {
        self.partition_key = self.partition_key.max(Some(entry.partition_key_index));
        self.hash_key = self.hash_key.max(entry.hash_key_index);
    }
}

impl Entry {
    fn read(bytes: &[u8], range: Range<usize>) -> Result<Entry, Malformed> {
        let (mut partition_key_index, mut hash_key_index, mut told, mut data) = (None, None, None, None);
        let mut fields = Fields::new(bytes, range);
        while let Some(field) = fields.next()? {
            match field {
                (record::PARTITION_KEY_INDEX, Value::Varint(index)) => partition_key_index = Some(index),
                (record::EXPLICIT_HASH_KEY_INDEX, Value::Varint(index)) => hash_key_index = Some(index),
                (record::DATA, Value::Delimited(range)) => data = Some(range),
                (record::NUMBER, Value::Varint(number)) => told = Some(number),
                // Tags are in the schema and ignored by every reader, as are fields of the wrong type.
                _ => {}
            }
        }
        // Both fields are `required`: without them proto2 readers refuse the whole message.
        let partition_key_index = partition_key_index.ok_or(Malformed)?;
        Ok(Entry { partition_key_index, hash_key_index, told, data: data.ok_or(Malformed)? })
    }
}

fn span(table: &[Span], index: u64) -> Option<Span> {
    usize::try_from(index).ok().and_then(|index| table.get(index)).copied()
}

fn text_span(bytes: &[u8], range: Range<usize>) -> Result<Span, Malformed> {
    let (Ok(start), Ok(end)) = (u32::try_from(range.start), u32::try_from(range.end)) else { return Err(Malformed) };
    match bytes.get(range).map(str::from_utf8) {
        Some(Ok(_)) => Ok(Span { start, end }),
        Some(Err(_)) | None => Err(Malformed),
    }
}

fn text(bytes: &[u8], span: Span) -> Option<&str> {
    let range = usize::try_from(span.start).ok()?..usize::try_from(span.end).ok()?;
    bytes.get(range).and_then(|text| str::from_utf8(text).ok())
}
