//! One record as it lies in a shard's log.
//!
//! ```text
//! length u32 · crc32 u32 · counter u64 · arrival_ms i64 · key length u16 · partition key · data
//! ```
//! Little-endian. `length` counts what follows the checksum, and the checksum covers the same bytes. A frame whose
//! checksum does not match was not written whole.

use std::ops::Range;

/// Bytes before the partition key.
pub(super) const HEADER_BYTES: usize = 26;

const PREFIX_BYTES: usize = 8;
const FIXED_BYTES: usize = HEADER_BYTES - PREFIX_BYTES;

/// The longest `length`: fixed part, a partition key of 256 characters of 4 bytes, and a record of 10 MiB.
const LENGTH_MAX: usize = FIXED_BYTES + 1_024 + 10 * 1_024 * 1_024;

/// Frames being collected for one shard. Counter, arrival and checksum are filled in by the shard's writer.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    count: u64,
}

/// A record's data before it lies in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// Decoded straight into the frame.
    Base64(&'a str),
    /// As it is.
    Raw(&'a [u8]),
}

/// A frame found in a buffer: where its parts are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) counter: u64,
    pub(super) arrival_ms: i64,
    pub(super) partition_key: Range<usize>,
    pub(super) data: Range<usize>,
}

impl Frame {
    /// The offset of the first byte after the frame.
    pub(super) fn end(&self) -> usize {
        self.data.end
    }
}

/// What lies at an offset of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A whole frame with a right checksum.
    Frame(Frame),
    /// The buffer ends within the frame; it would need `need` bytes from the offset on.
    Incomplete { need: usize },
    /// No frame starts here, or its checksum is wrong.
    Corrupt,
}

impl Frames {
    /// Appends a record.
    ///
    /// # Errors
    /// When a text is not base64; nothing is appended then.
    pub(super) fn push(&mut self, partition_key: &str, data: Payload<'_>) -> Result<(), base64_simd::Error> {
        let start = self.bytes.len();
        let data_bytes = match data {
            Payload::Base64(text) => text.len() / 4 * 3,
            Payload::Raw(bytes) => bytes.len(),
        };
        self.bytes.reserve(HEADER_BYTES + partition_key.len() + data_bytes);
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        self.bytes.extend_from_slice(partition_key.as_bytes());
        match data {
            Payload::Base64(text) => {
                if let Err(error) = base64_simd::STANDARD.decode_append(text.as_bytes(), &mut self.bytes) {
                    self.bytes.truncate(start);
                    return Err(error);
                }
            }
            Payload::Raw(bytes) => self.bytes.extend_from_slice(bytes),
        }
        let length = self.bytes.len() - start - PREFIX_BYTES;
        let key_length = u16::try_from(partition_key.len()).expect("a partition key has at most 1,024 bytes");
        let frame = self.bytes.get_mut(start..).expect("the frame was just appended");
        put(frame, 0, &u32::try_from(length).expect("a record has at most 10 MiB").to_le_bytes());
        put(frame, 24, &key_length.to_le_bytes());
        self.count += 1;
        Ok(())
    }

    /// How many frames there are.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Fills in counters from `first` on, the arrival and the checksums, and gives the bytes to write.
    pub(super) fn stamp(&mut self, first: u64, arrival_ms: i64) -> &[u8] {
        let mut rest = self.bytes.as_mut_slice();
        let mut counter = first;
        while let Some(length) = rest.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)) {
            let size = PREFIX_BYTES + usize::try_from(length).expect("32 bits fit");
            let (frame, after) = rest.split_at_mut(size);
            put(frame, 8, &counter.to_le_bytes());
            put(frame, 16, &arrival_ms.to_le_bytes());
            let checksum = crc32fast::hash(frame.get(PREFIX_BYTES..).unwrap_or_default());
            put(frame, 4, &checksum.to_le_bytes());
            counter += 1;
            rest = after;
        }
        &self.bytes
    }
}

/// Reads the frame that starts at `offset` and verifies its checksum.
pub(super) fn find(buffer: &[u8], offset: usize) -> Found {
    let Some(rest) = buffer.get(offset..) else { return Found::Incomplete { need: HEADER_BYTES } };
    let Some(length) = field::<4>(rest, 0).map(u32::from_le_bytes) else {
        return Found::Incomplete { need: HEADER_BYTES };
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(FIXED_BYTES..=LENGTH_MAX).contains(&length) {
        return Found::Corrupt;
    }
    let need = PREFIX_BYTES + length;
    let Some(covered) = rest.get(PREFIX_BYTES..need) else { return Found::Incomplete { need } };
    let fields = (
        field::<4>(rest, 4).map(u32::from_le_bytes),
        field::<8>(rest, 8).map(u64::from_le_bytes),
        field::<8>(rest, 16).map(i64::from_le_bytes),
        field::<2>(rest, 24).map(u16::from_le_bytes),
    );
    let (Some(checksum), Some(counter), Some(arrival_ms), Some(key_length)) = fields else { return Found::Corrupt };
    let key_end = HEADER_BYTES + usize::from(key_length);
    if key_end > need || crc32fast::hash(covered) != checksum {
        return Found::Corrupt;
    }
    let partition_key = offset + HEADER_BYTES..offset + key_end;
    let data = offset + key_end..offset + need;
    Found::Frame(Frame { counter, arrival_ms, partition_key, data })
}

/// The arrival in a frame's first [`HEADER_BYTES`] bytes, unverified.
pub(super) fn arrival_ms(header: &[u8; HEADER_BYTES]) -> Option<i64> {
    field::<8>(header, 16).map(i64::from_le_bytes)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn put(frame: &mut [u8], at: usize, value: &[u8]) {
    frame.get_mut(at..at + value.len()).expect("every frame starts with a whole header").copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_golden() {
        let mut frames = Frames::default();
        frames.push("k", Payload::Base64("aGVsbG8=")).unwrap();
        let bytes = frames.stamp(7, 1_000);
        assert_eq!(bytes.len(), HEADER_BYTES + 1 + 5);
        assert_eq!(bytes[..4], 24_u32.to_le_bytes());
        assert_eq!(bytes[4..8], crc32fast::hash(&bytes[8..]).to_le_bytes());
        assert_eq!(bytes[8..], *b"\x07\0\0\0\0\0\0\0\xe8\x03\0\0\0\0\0\0\x01\0khello");
    }

    #[test]
    fn bad_base64_appends_nothing() {
        let mut frames = Frames::default();
        frames.push("k", Payload::Base64("aGVsbG8=")).unwrap();
        for text in ["a", "aGVsbG8", "aGVs*G8=", "aGVsbG8==", "é"] {
            assert!(frames.push("k", Payload::Base64(text)).is_err(), "{text}");
        }
        assert_eq!((frames.count(), frames.stamp(1, 1).len()), (1, HEADER_BYTES + 6));
    }

    #[test]
    fn a_flipped_bit_is_found_wherever_it_is() {
        let mut frames = Frames::default();
        frames.push("key", Payload::Base64("aGVsbG8=")).unwrap();
        let whole = frames.stamp(1, 1).to_vec();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(find(&bytes, 0), Found::Frame(_)), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn what_is_pushed_is_found(
            records in proptest::collection::vec(("\\PC{1,20}", proptest::collection::vec(any::<u8>(), 0..200)), 1..20),
            cut in 0_usize..200,
        ) {
            let mut frames = Frames::default();
            for (key, data) in &records {
                frames.push(key, Payload::Raw(data)).unwrap();
            }
            let bytes = frames.stamp(5, 99).to_vec();
            let cut_at = bytes.len().saturating_sub(cut);
            let mut offset = 0;
            for (counter, (key, data)) in (5_u64..).zip(&records) {
                let Found::Frame(frame) = find(&bytes, offset) else { panic!("no frame at {offset}") };
                prop_assert_eq!((frame.counter, frame.arrival_ms), (counter, 99));
                prop_assert_eq!(&bytes[frame.partition_key.clone()], key.as_bytes());
                prop_assert_eq!(&bytes[frame.data.clone()], data.as_slice());
                if frame.end() > cut_at {
                    let incomplete = matches!(find(&bytes[..cut_at], offset), Found::Incomplete { .. });
                    prop_assert!(incomplete);
                }
                offset = frame.end();
            }
            prop_assert_eq!(offset, bytes.len());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), offset in 0_usize..120) {
            find(&bytes, offset);
        }
    }
}
