//! The little of protocol buffers that the format needs: varints, and fields read one after the other.
//!
//! Unknown fields are skipped, as proto2 readers do. Groups (wire types 3 and 4) were never part of this format and count
//! as malformed.

use std::ops::Range;

use bytes::BufMut;

/// Field numbers of `AggregatedRecord`.
pub(crate) mod aggregated {
    pub(crate) const PARTITION_KEY: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY: u32 = 2;
    pub(crate) const RECORD: u32 = 3;
    /// Ours, far above what the format's owner may come to use: readers of proto2 skip fields that they do not know.
    pub(crate) const ORIGIN: u32 = 1_000;
    /// Ours too.
    pub(crate) const SPOOL: u32 = 1_001;
}

/// Field numbers of `Record`, the message inside.
pub(crate) mod record {
    pub(crate) const PARTITION_KEY_INDEX: u32 = 1;
    pub(crate) const EXPLICIT_HASH_KEY_INDEX: u32 = 2;
    pub(crate) const DATA: u32 = 3;
    /// Ours: the number of the record in a log, above the base of [`aggregated::SPOOL`].
    pub(crate) const NUMBER: u32 = 1_000;
}

/// Field numbers of the origin, the message inside [`aggregated::ORIGIN`].
pub(crate) mod origin {
    pub(crate) const PRODUCER: u32 = 1;
    pub(crate) const EPOCH: u32 = 2;
    pub(crate) const LANE: u32 = 3;
    pub(crate) const COUNTER: u32 = 4;
}

/// Field numbers of the message inside [`aggregated::SPOOL`].
pub(crate) mod spool {
    pub(crate) const SERIES: u32 = 1;
    pub(crate) const BASE: u32 = 2;
    pub(crate) const DONE_BELOW: u32 = 3;
    pub(crate) const SENT_AS: u32 = 4;
}

const WIRE_VARINT: u32 = 0;
const WIRE_FIXED_64: u32 = 1;
const WIRE_LENGTH_DELIMITED: u32 = 2;
const WIRE_FIXED_32: u32 = 5;

/// Every field number of the format itself is below 16, so each tag is one byte.
pub(crate) const TAG_BYTES: usize = 1;

/// Bytes of `value` as a varint, 1 to 10.
pub(crate) fn varint_len(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    usize::try_from(bits.div_ceil(7).max(1)).expect("at most 10")
}

/// Bytes of a length-delimited field with a tag of one byte: tag, length, content.
pub(crate) fn delimited_len(content_len: usize) -> usize {
    TAG_BYTES + varint_len(content_len as u64) + content_len
}

/// Bytes of a varint field with a tag of one byte: tag, value.
pub(crate) fn varint_field_len(value: u64) -> usize {
    TAG_BYTES + varint_len(value)
}

/// Bytes of the tag of a field, whatever its number.
pub(crate) fn tag_len(field: u32) -> usize {
    varint_len(tag(field, WIRE_LENGTH_DELIMITED))
}

pub(crate) fn put_varint_field(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, tag(field, WIRE_VARINT));
    put_varint(out, value);
}

/// Writes the tag and the length of a delimited field; the caller writes the content.
pub(crate) fn put_delimited_header(out: &mut Vec<u8>, field: u32, content_len: usize) {
    put_varint(out, tag(field, WIRE_LENGTH_DELIMITED));
    put_varint(out, content_len as u64);
}

fn tag(field: u32, wire_type: u32) -> u64 {
    u64::from(field << 3 | wire_type)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(u8::try_from(value & 0x7F).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).expect("seven bits"));
}

/// The bytes are not a protocol buffers message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// One field of a message. `Delimited` holds positions in the slice that was given to [`Fields::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Varint(u64),
    Delimited(Range<usize>),
    /// A fixed-width number: no field of the format has this type, so it is only ever skipped.
    Fixed,
}

/// A field's number and value.
pub(crate) type Field = (u32, Value);

/// Reads a message field by field.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// Where the next field begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Reads the message in `range` of `bytes`. A range that does not lie inside reads as malformed.
    pub(crate) fn new(bytes: &'a [u8], range: Range<usize>) -> Self {
        Fields { bytes, at: range.start, end: range.end }
    }

    /// The next field and its number, or `None` at the end of the message.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Result<Option<Field>, Malformed> {
        if self.at == self.end {
            return Ok(None);
        }
        let Ok(tag) = u32::try_from(self.varint()?) else { return Err(Malformed) };
        let field = tag >> 3;
        if field == 0 {
            return Err(Malformed);
        }
        let value = match tag & 7 {
            WIRE_VARINT => Value::Varint(self.varint()?),
            WIRE_LENGTH_DELIMITED => {
                let Ok(len) = usize::try_from(self.varint()?) else { return Err(Malformed) };
                Value::Delimited(self.advance(len)?)
            }
            WIRE_FIXED_64 => self.advance(8).map(|_| Value::Fixed)?,
            WIRE_FIXED_32 => self.advance(4).map(|_| Value::Fixed)?,
            _ => return Err(Malformed),
        };
        Ok(Some((field, value)))
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Malformed> {
        // Tags, most indices and short lengths are one byte; other indices and lengths mostly two.
        match self.bytes.get(self.at..self.end) {
            Some([low, ..]) if *low < 0x80 => {
                self.at += 1;
                return Ok(u64::from(*low));
            }
            Some([low, high, ..]) if *high < 0x80 => {
                self.at += 2;
                return Ok(u64::from(low & 0x7F) | u64::from(*high) << 7);
            }
            Some(_) | None => {}
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            if self.at == self.end {
                return Err(Malformed);
            }
            let byte = *self.bytes.get(self.at).ok_or(Malformed)?;
            self.at += 1;
            // The tenth byte has room for one bit; protobuf readers drop the others, and so does the shift.
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    #[inline(always)]
    fn advance(&mut self, len: usize) -> Result<Range<usize>, Malformed> {
        let start = self.at;
        let end = start.checked_add(len).filter(|end| *end <= self.end).ok_or(Malformed)?;
        self.at = end;
        Ok(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::{Field, Fields, Malformed, Value, put_varint, varint_len};

    #[test]
    fn varints_have_the_length_that_is_predicted() {
        for (value, bytes) in [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3), (u64::MAX, 10)] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!((out.len(), varint_len(value)), (bytes, bytes), "{value}");
        }
    }

    fn check(bytes: &[u8], expect: &Result<Vec<Field>, Malformed>) {
        let mut fields = Fields::new(bytes, 0..bytes.len());
        let mut read = Vec::new();
        let result = loop {
            match fields.next() {
                Ok(Some(field)) => read.push(field),
                Ok(None) => break Ok(read),
                Err(malformed) => break Err(malformed),
            }
        };
        assert_eq!(&result, expect, "{bytes:02x?}");
    }

    #[test]
    fn fields_are_read_or_refused() {
        check(&[], &Ok(vec![]));
        check(&[0x08, 0x00], &Ok(vec![(1, Value::Varint(0))]));
        check(&[0x1A, 0x02, 7, 7, 0x08, 0xAC, 0x02], &Ok(vec![(3, Value::Delimited(2..4)), (1, Value::Varint(300))]));
        check(&[0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x0D, 0, 0, 0, 0], &Ok(vec![(1, Value::Fixed), (1, Value::Fixed)]));
        // Cut off: inside a tag, a value, a length, a content, a fixed number.
        for bytes in [&[0x88][..], &[0x08], &[0x0A], &[0x0A, 2, 1], &[0x0D, 1, 2, 3]] {
            check(bytes, &Err(Malformed));
        }
        // Field number 0, a group, a varint without end, a tag beyond 32 bits, a length beyond the address space.
        check(&[0x00, 0x00], &Err(Malformed));
        check(&[0x0B, 0x0C], &Err(Malformed));
        check(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &Err(Malformed));
        check(&[0x88, 128, 128, 128, 128, 1, 0], &Err(Malformed));
        check(&[0x0A, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], &Err(Malformed));
    }
}
