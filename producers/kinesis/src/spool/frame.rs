//! A record in the log: length, checksum, number, then the record. All numbers are little endian.
//!
//! ```text
//! 0  u32  bytes of the body
//! 4  u32  CRC-32 of all other bytes of the frame
//! 8  u64  number of the record
//! 16 body: u8 flags (1: a hash key follows, 2: a mark follows) · u16 key length · key · [u128 explicit hash key]
//!    · [u64 producer, epoch, lane, counter of the aggregate that it may have been stored in] · data
//! ```

use bytes::{Buf, Bytes};
use kinesis_record::Origin;

use crate::record::Record;

const HEAD_BYTES: usize = 16;

/// Four numbers.
pub(crate) const ORIGIN_BYTES: usize = 32;

const HAS_HASH_KEY: u8 = 1;
const HAS_ORIGIN: u8 = 2;

/// A record of 10 MiB, its key of at most 256 characters, and the rest of the body.
const BODY_BYTES_MAX: usize = (10 << 20) + 256 * 4 + 64;

/// What stands at the begin of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A whole frame, of so many bytes.
    Frame { frame: Framed, bytes: usize },
    /// The begin of a frame, or nothing. The whole frame has at least so many bytes.
    Incomplete { bytes_min: usize },
    /// Bytes that are no frame.
    Damaged,
}

/// What a frame holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Framed {
    pub(crate) number: u64,
    pub(crate) record: Record,
    /// The mark of the aggregate in which the record was on its way when it came to the log.
    pub(crate) sent_as: Option<Origin>,
}

/// Bytes of the frame of a record that was not sent before; 32 more if it was.
pub(crate) fn frame_bytes(record: &Record) -> usize {
    let hash_key_bytes = if record.explicit_hash_key.is_some() { 16 } else { 0 };
    HEAD_BYTES + 3 + record.partition_key.len() + hash_key_bytes + record.data.len()
}

/// Writes a frame to the end of `out`. The record has passed the checks at the door, which bound its key.
pub(crate) fn encode(number: u64, record: &Record, sent_as: Option<&Origin>, out: &mut Vec<u8>) {
    let body_bytes = frame_bytes(record) - HEAD_BYTES + sent_as.map_or(0, |_| ORIGIN_BYTES);
    let mut head = [0; 4 + 8];
    let (length, number_bytes) = head.split_at_mut(4);
    length.copy_from_slice(&u32::try_from(body_bytes).expect("a record has at most 10 MiB").to_le_bytes());
    number_bytes.copy_from_slice(&number.to_le_bytes());
    let key_bytes = u16::try_from(record.partition_key.len()).expect("a key has at most 256 characters");
    let flags = if record.explicit_hash_key.is_some() { HAS_HASH_KEY } else { 0 };
    let flags = flags | if sent_as.is_some() { HAS_ORIGIN } else { 0 };

    let checksum_at = out.len() + 4;
    out.reserve(HEAD_BYTES + body_bytes);
    out.extend_from_slice(length);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(number_bytes);
    out.push(flags);
    out.extend_from_slice(&key_bytes.to_le_bytes());
    out.extend_from_slice(record.partition_key.as_bytes());
    if let Some(hash_key) = record.explicit_hash_key {
        out.extend_from_slice(&hash_key.to_le_bytes());
    }
    if let Some(Origin { producer, epoch, lane, counter }) = sent_as {
        [producer, epoch, lane, counter].iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    }
    out.extend_from_slice(&record.data);

    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(out.get(checksum_at + 4..).expect("it was just written"));
    let checksum = hasher.finalize().to_le_bytes();
    out.get_mut(checksum_at..checksum_at + 4).expect("it was just written").copy_from_slice(&checksum);
}

/// Reads the frame at the begin of `bytes`. Data is not copied.
pub(crate) fn decode(bytes: &Bytes) -> Decoded {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Decoded::Incomplete { bytes_min: HEAD_BYTES };
    };
    let body_bytes = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if body_bytes > BODY_BYTES_MAX {
        return Decoded::Damaged;
    }
    let frame_bytes = HEAD_BYTES + body_bytes;
    if bytes.len() < frame_bytes {
        return Decoded::Incomplete { bytes_min: frame_bytes };
    }
    let Some((checksum, _)) = rest.split_first_chunk::<4>() else { return Decoded::Damaged };
    let checked = bytes.slice(8..frame_bytes);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(&checked);
    if hasher.finalize() != u32::from_le_bytes(*checksum) {
        return Decoded::Damaged;
    }
    match body(checked) {
        Some(frame) => Decoded::Frame { frame, bytes: frame_bytes },
        None => Decoded::Damaged,
    }
}

/// What lies behind a checksum that is right.
fn body(mut bytes: Bytes) -> Option<Framed> {
    let number = bytes.try_get_u64_le().ok()?;
    let flags = bytes.try_get_u8().ok()?;
    let key_bytes = usize::from(bytes.try_get_u16_le().ok()?);
    if bytes.len() < key_bytes || flags & !(HAS_HASH_KEY | HAS_ORIGIN) != 0 {
        return None;
    }
    let partition_key = String::from_utf8(bytes.split_to(key_bytes).to_vec()).ok()?;
    let explicit_hash_key = match flags & HAS_HASH_KEY {
        HAS_HASH_KEY => Some(bytes.try_get_u128_le().ok()?),
        _ => None,
    };
    let sent_as = match flags & HAS_ORIGIN {
        HAS_ORIGIN => {
            let mut next = || bytes.try_get_u64_le().ok();
            Some(Origin { producer: next()?, epoch: next()?, lane: next()?, counter: next()? })
        }
        _ => None,
    };
    Some(Framed { number, record: Record { partition_key, explicit_hash_key, data: bytes }, sent_as })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use kinesis_record::Origin;

    use super::{Decoded, Framed, ORIGIN_BYTES, decode, encode, frame_bytes};
    use crate::record::Record;

    fn frame(number: u64, record: &Record) -> Vec<u8> {
        let mut out = Vec::new();
        encode(number, record, None, &mut out);
        out
    }

    #[test]
    fn the_format_is_these_bytes() {
        let record = Record { explicit_hash_key: Some(7), ..Record::new("key", "data") };
        let bytes = frame(0x0102, &record);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = "01".to_owned() + "0300" + "6b6579" + "07000000000000000000000000000000" + "64617461";
        let checksum = crc32fast::hash(&[&[26_u8, 0, 0, 0][..], &bytes[8..]].concat());
        let checksum: String = checksum.to_le_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, format!("1a000000{checksum}0201000000000000{body}"));
        let (mut bytes, origin) = (Vec::new(), Origin { producer: 1, epoch: 2, lane: 3, counter: 4 });
        encode(0x0102, &record, Some(&origin), &mut bytes);
        assert_eq!((bytes[0], bytes[16]), (0x1a + 32, 3));
        assert_eq!(bytes[38..70], [1_u64, 2, 3, 4].map(u64::to_le_bytes).concat());
    }

    fn record() -> impl Strategy<Value = Record> {
        let data = proptest::collection::vec(any::<u8>(), 0..300);
        (".{1,20}", any::<Option<u128>>(), data).prop_map(|(key, explicit_hash_key, data)| Record {
            partition_key: key,
            explicit_hash_key,
            data: data.into(),
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            number in any::<u64>(),
            record in record(),
            sent_as in any::<Option<[u64; 4]>>(),
            more in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let sent_as = sent_as.map(|[producer, epoch, lane, counter]| Origin { producer, epoch, lane, counter });
            let mut bytes = Vec::new();
            encode(number, &record, sent_as.as_ref(), &mut bytes);
            let written = bytes.len();
            prop_assert_eq!(written, frame_bytes(&record) + sent_as.map_or(0, |_| ORIGIN_BYTES));
            bytes.extend(more);
            let frame = Framed { number, record, sent_as };
            prop_assert_eq!(decode(&bytes.into()), Decoded::Frame { frame, bytes: written });
        }

        #[test]
        fn a_torn_frame_is_incomplete(record in record(), at in any::<prop::sample::Index>()) {
            let bytes = Bytes::from(frame(1, &record));
            let torn = bytes.slice(..at.index(bytes.len()));
            let Decoded::Incomplete { bytes_min } = decode(&torn) else { panic!("{:?}", decode(&torn)) };
            prop_assert!(bytes_min > torn.len() && bytes_min <= bytes.len());
        }

        #[test]
        fn a_flipped_bit_is_noticed(record in record(), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
            let mut bytes = frame(1, &record);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let is_frame = matches!(decode(&bytes.into()), Decoded::Frame { .. });
            prop_assert!(!is_frame);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            decode(&bytes.into());
        }
    }
}
