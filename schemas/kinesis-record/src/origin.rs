//! Where an aggregate comes from: the tag by which a reader finds out that it has had an aggregate before.
//!
//! A producer that got no answer sends the same aggregate again, and the stream may then hold it twice. The tag is one field
//! of the aggregate's message, with a number that the format does not use. Readers of the format skip it; it says nothing
//! about the records. One tag for all records of an aggregate is enough because an aggregate is stored whole or not at all,
//! and is sent again as the same bytes.

use std::ops::Range;

use crate::wire::{
    Fields, Malformed, Value, aggregated, origin, put_delimited_header, put_varint_field, tag_len, varint_field_len,
    varint_len,
};

/// Names an aggregate, and its place in the order in which its producer sent.
///
/// A producer sends the aggregates of one lane one after the other: the next one only when the one before is stored or given
/// up. So within producer, epoch and lane, whatever comes with a counter that is not higher than one before it has been there,
/// or was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The producer, by a number that no other producer of the stream has.
    pub producer: u64,
    /// Which run of that producer: lanes and counters begin anew with each.
    pub epoch: u64,
    /// The sequence of aggregates within the run to which this one belongs.
    pub lane: u64,
    /// Grows from one aggregate of a lane to the next, by any step.
    pub counter: u64,
}

impl Origin {
    pub(crate) fn content_len(&self) -> usize {
        [self.producer, self.epoch, self.lane, self.counter].into_iter().map(varint_field_len).sum()
    }

    /// Bytes of the whole field.
    pub(crate) fn field_len(&self) -> usize {
        let content_len = self.content_len();
        tag_len(aggregated::ORIGIN) + varint_len(content_len as u64) + content_len
    }

    pub(crate) fn encode_field(&self, out: &mut Vec<u8>) {
        put_delimited_header(out, aggregated::ORIGIN, self.content_len());
        self.encode_content(out);
    }

    pub(crate) fn encode_content(&self, out: &mut Vec<u8>) {
        put_varint_field(out, origin::PRODUCER, self.producer);
        put_varint_field(out, origin::EPOCH, self.epoch);
        put_varint_field(out, origin::LANE, self.lane);
        put_varint_field(out, origin::COUNTER, self.counter);
    }

    /// Reads the content of the field. A content that is not ours is no origin: the field means nothing to readers then.
    pub(crate) fn read(bytes: &[u8], range: Range<usize>) -> Option<Origin> {
        let mut numbers = [None; 4];
        let mut fields = Fields::new(bytes, range);
        loop {
            match fields.next() {
                Ok(Some((field, Value::Varint(value)))) => {
                    let index = usize::try_from(field).ok().and_then(|field| field.checked_sub(1));
                    if let Some(number) = index.and_then(|index| numbers.get_mut(index)) {
                        *number = Some(value);
                    }
                }
                Ok(Some((_, Value::Delimited(_) | Value::Fixed))) => {}
                Ok(None) => break,
                Err(Malformed) => return None,
            }
        }
        let [producer, epoch, lane, counter] = numbers;
        Some(Origin { producer: producer?, epoch: epoch?, lane: lane?, counter: counter? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Origin;

    #[test]
    fn the_field_has_these_bytes() {
        let check = |origin: Origin, expect: &[u8]| {
            let mut bytes = Vec::new();
            origin.encode_field(&mut bytes);
            assert_eq!((&*bytes, origin.field_len()), (expect, expect.len()));
        };
        check(
            Origin { producer: 0, epoch: 1, lane: 2, counter: 300 },
            &[0xC2, 0x3E, 9, 0x08, 0, 0x10, 1, 0x18, 2, 0x20, 0xAC, 0x02],
        );
        let highest = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
        let content: Vec<u8> =
            [0x08, 0x10, 0x18, 0x20].iter().flat_map(|tag| [&[*tag][..], &highest].concat()).collect();
        check(
            Origin { producer: u64::MAX, epoch: u64::MAX, lane: u64::MAX, counter: u64::MAX },
            &[&[0xC2, 0x3E, 44][..], &content].concat(),
        );
    }

    #[test]
    fn what_is_not_whole_is_no_origin() {
        let whole = [0x08, 1, 0x10, 2, 0x18, 3, 0x20, 4];
        let expect = Some(Origin { producer: 1, epoch: 2, lane: 3, counter: 4 });
        assert_eq!(Origin::read(&whole, 0..8), expect);
        // A later version may say more.
        let more = [&whole[..], &[0x28, 9, 0x32, 1, b'x', 0x3D, 0, 0, 0, 0]].concat();
        assert_eq!(Origin::read(&more, 0..more.len()), expect);
        for (bytes, range) in [(&whole[..], 0..6), (&whole, 2..8), (&whole, 0..7), (&whole, 0..9), (&[], 0..0)] {
            assert_eq!(Origin::read(bytes, range), None);
        }
        assert_eq!(Origin::read(&[0x0A, 1, 1, 0x10, 2, 0x18, 3, 0x20, 4], 0..9), None);
    }

    proptest! {
        #[test]
        fn origins_come_back(numbers in any::<[u64; 4]>()) {
            let [producer, epoch, lane, counter] = numbers;
            let origin = Origin { producer, epoch, lane, counter };
            let mut bytes = Vec::new();
            origin.encode_field(&mut bytes);
            prop_assert_eq!(bytes.len(), origin.field_len());
            // Tag and length are three bytes: the content is at most 44.
            prop_assert_eq!(Origin::read(&bytes, 3..bytes.len()), Some(origin));
        }
    }
}
