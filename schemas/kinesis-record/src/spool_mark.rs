//! What an aggregate says of records that its producer kept in a log on disk: which of the log's records they are. A producer
//! that is started again after a crash sends some of them once more, in other aggregates; by their numbers a reader finds out
//! which of them it has had.
//!
//! The mark is one more field of the message, and one in each record, with numbers that the format does not use.

use std::ops::Range;

use crate::{
    origin::Origin,
    wire::{
        Fields, Malformed, Value, aggregated, put_delimited_header, put_varint_field, record, spool, tag_len,
        varint_field_len, varint_len,
    },
};

/// Where the records of an aggregate stand in a log. Each record has its number there beside it; one without was not in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpoolMark {
    /// Names the log, or a part of it in which no number was given twice.
    pub series: u64,
    /// Numbers are told as what they are above this one.
    pub base: u64,
    /// Every record of the series with a lower number was stored before this aggregate was sent.
    pub done_below: u64,
    /// The records may have been stored in an aggregate with this mark before, which did not tell their numbers.
    pub sent_as: Option<Origin>,
}

impl SpoolMark {
    fn content_len(&self) -> usize {
        let numbers: usize = [self.series, self.base, self.done_below].into_iter().map(varint_field_len).sum();
        let sent_as = self.sent_as.map_or(0, |origin| {
            let content_len = origin.content_len();
            tag_len(spool::SENT_AS) + varint_len(content_len as u64) + content_len
        });
        numbers + sent_as
    }

    /// Bytes of the whole field.
    pub(crate) fn field_len(&self) -> usize {
        let content_len = self.content_len();
        tag_len(aggregated::SPOOL) + varint_len(content_len as u64) + content_len
    }

    pub(crate) fn encode_field(&self, out: &mut Vec<u8>) {
        put_delimited_header(out, aggregated::SPOOL, self.content_len());
        put_varint_field(out, spool::SERIES, self.series);
        put_varint_field(out, spool::BASE, self.base);
        put_varint_field(out, spool::DONE_BELOW, self.done_below);
        if let Some(origin) = self.sent_as {
            put_delimited_header(out, spool::SENT_AS, origin.content_len());
            origin.encode_content(out);
        }
    }

    /// Reads the content of the field. A content that is not ours is no mark.
    pub(crate) fn read(bytes: &[u8], range: Range<usize>) -> Option<SpoolMark> {
        let (mut series, mut base, mut done_below, mut sent_as) = (None, None, None, None);
        let mut fields = Fields::new(bytes, range);
        loop {
            match fields.next() {
                Ok(Some((spool::SERIES, Value::Varint(value)))) => series = Some(value),
                Ok(Some((spool::BASE, Value::Varint(value)))) => base = Some(value),
                Ok(Some((spool::DONE_BELOW, Value::Varint(value)))) => done_below = Some(value),
                // Half of it would make a reader take copies for first ones only; but then the mark as a whole is not ours.
                Ok(Some((spool::SENT_AS, Value::Delimited(range)))) => sent_as = Some(Origin::read(bytes, range)?),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(Malformed) => return None,
            }
        }
        Some(SpoolMark { series: series?, base: base?, done_below: done_below?, sent_as })
    }

    /// How the number of a record is written. Numbers below the base wrap around.
    pub(crate) fn told(&self, number: u64) -> u64 {
        number.wrapping_sub(self.base)
    }

    /// The number of a record as it was written.
    pub(crate) fn number(&self, told: u64) -> u64 {
        self.base.wrapping_add(told)
    }
}

/// Bytes of the field that tells the number of one record.
pub(crate) fn number_len(told: u64) -> usize {
    tag_len(record::NUMBER) + varint_len(told)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SpoolMark;
    use crate::origin::Origin;

    fn encoded(mark: &SpoolMark) -> Vec<u8> {
        let mut bytes = Vec::new();
        mark.encode_field(&mut bytes);
        assert_eq!(bytes.len(), mark.field_len());
        bytes
    }

    #[test]
    fn the_field_has_these_bytes() {
        let mark = SpoolMark { series: 1, base: 300, done_below: 2, sent_as: None };
        assert_eq!(encoded(&mark), [0xCA, 0x3E, 7, 0x08, 1, 0x10, 0xAC, 0x02, 0x18, 2]);
        let sent_as = Some(Origin { producer: 5, epoch: 6, lane: 7, counter: 8 });
        let origin = [0x22, 8, 0x08, 5, 0x10, 6, 0x18, 7, 0x20, 8];
        let expect = [&[0xCA, 0x3E, 17, 0x08, 1, 0x10, 0xAC, 0x02, 0x18, 2][..], &origin].concat();
        assert_eq!(encoded(&SpoolMark { sent_as, ..mark }), expect);
    }

    #[test]
    fn what_is_not_whole_is_no_mark() {
        let whole = [0x08, 1, 0x10, 2, 0x18, 3];
        let expect = SpoolMark { series: 1, base: 2, done_below: 3, sent_as: None };
        assert_eq!(SpoolMark::read(&whole, 0..6), Some(expect));
        // A later version may say more.
        let more = [&whole[..], &[0x28, 9, 0x3A, 1, b'x']].concat();
        assert_eq!(SpoolMark::read(&more, 0..more.len()), Some(expect));
        for range in [0..4, 2..6, 0..5, 0..7, 0..0] {
            assert_eq!(SpoolMark::read(&whole, range), None);
        }
        let half_origin = [&whole[..], &[0x22, 2, 0x08, 5]].concat();
        assert_eq!(SpoolMark::read(&half_origin, 0..half_origin.len()), None);
    }

    proptest! {
        #[test]
        fn marks_come_back(numbers in any::<[u64; 3]>(), sent_as in any::<Option<[u64; 4]>>(), number in any::<u64>()) {
            let [series, base, done_below] = numbers;
            let sent_as = sent_as.map(|[producer, epoch, lane, counter]| Origin { producer, epoch, lane, counter });
            let mark = SpoolMark { series, base, done_below, sent_as };
            let bytes = encoded(&mark);
            // Tag and length are three bytes: the content is at most 79.
            prop_assert_eq!(SpoolMark::read(&bytes, 3..bytes.len()), Some(mark));
            prop_assert_eq!(mark.number(mark.told(number)), number);
        }
    }
}
