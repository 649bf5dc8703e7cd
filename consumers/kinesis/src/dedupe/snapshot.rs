//! A window as bytes, to be kept beside a checkpoint.
//!
//! Version (1 byte), then per lane, the one that was silent longest first: producer, epoch, lane, counter (8 bytes each), the
//! length of a sequence number (2 bytes) and its digits; at the end a CRC-32 of all before. Numbers are little-endian. Of a
//! lane that was only inherited the length is 0: its counter holds at every position.

use std::collections::VecDeque;

use super::{DedupeWindow, Lane, LaneKey, Seen, WindowLimits};

const VERSION: u8 = 1;

/// Bytes of an entry without its sequence number.
const ENTRY_BYTES: usize = 34;

/// Why bytes are no snapshot. A window that believed them could take new records for repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Made by a later version of this crate.
    #[error("version {version} of the snapshot, this reader knows {VERSION}")]
    Version {
        /// Which.
        version: u8,
    },
    /// They are not the bytes that were written.
    #[error("the snapshot is cut off or damaged")]
    Damaged,
}

impl DedupeWindow {
    /// The last aggregate of each lane, in 34 bytes and the digits of a sequence number each. To be taken when everything that
    /// the window has seen is dealt with.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut lanes: Vec<(&LaneKey, &Lane)> = self.lanes.iter().collect();
        lanes.sort_by_key(|(_, lane)| lane.seen_in_call);
        let mut bytes = vec![VERSION];
        for (key, lane) in lanes {
            let Some(counter) = lane.highest() else { continue };
            // An inherited counter that is the highest holds everywhere, not only after what was seen last.
            let last = lane.history.back().filter(|seen| seen.counter == counter);
            let digits = last.map_or("", |seen| &*seen.sequence_number);
            // Kinesis has up to 129 digits. What does not fit is no sequence number: the lane is forgotten, which is safe.
            let Ok(length) = u16::try_from(digits.len()) else { continue };
            for number in [key.producer, key.epoch, key.lane, counter] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(digits.as_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The window of a snapshot, with these limits.
    ///
    /// # Errors
    /// When the bytes are not those of a snapshot. Begin with an empty window then: repeats may pass, nothing is lost.
    pub fn restore(limits: WindowLimits, snapshot: &[u8]) -> Result<Self, SnapshotError> {
        let (content, checksum) = snapshot.split_last_chunk::<4>().ok_or(SnapshotError::Damaged)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(SnapshotError::Damaged);
        }
        let (&version, mut rest) = content.split_first().ok_or(SnapshotError::Damaged)?;
        if version != VERSION {
            return Err(SnapshotError::Version { version });
        }
        let mut window = DedupeWindow::new(limits);
        while !rest.is_empty() {
            rest = window.restore_lane(rest).ok_or(SnapshotError::Damaged)?;
        }
        Ok(window)
    }

    /// Takes one entry in; returns what follows it.
    fn restore_lane<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (entry, rest) = bytes.split_first_chunk::<ENTRY_BYTES>()?;
        let (numbers, length) = entry.split_last_chunk::<2>()?;
        let (numbers, _) = numbers.as_chunks::<8>();
        let [producer, epoch, lane, counter] = <[[u8; 8]; 4]>::try_from(numbers).ok()?.map(u64::from_le_bytes);
        let (digits, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let digits = str::from_utf8(digits).ok()?;
        let lane = self.lane(LaneKey { producer, epoch, lane });
        if digits.is_empty() {
            lane.inherited = Some(counter);
        } else {
            lane.history = VecDeque::from([Seen { sequence_number: digits.into(), counter }]);
        }
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use kinesis_record::Origin;
    use proptest::prelude::*;

    use super::{DedupeWindow, SnapshotError, WindowLimits};

    fn origin(lane: u64, counter: u64) -> Origin {
        Origin { producer: 1, epoch: 2, lane, counter }
    }

    #[test]
    fn a_snapshot_has_these_bytes() {
        let mut parent = DedupeWindow::new(WindowLimits::default());
        parent.is_repeat(&origin(3, 4), "77");
        let mut window = DedupeWindow::after(WindowLimits::default(), [&parent]);
        window.is_repeat(&origin(5, 6), "890");
        let mut expect = vec![1];
        for (number, digits) in [([1_u64, 2, 3, 4], ""), ([1, 2, 5, 6], "890")] {
            expect.extend(number.iter().flat_map(|number| number.to_le_bytes()));
            expect.extend([u8::try_from(digits.len()).unwrap(), 0]);
            expect.extend(digits.bytes());
        }
        // As zlib computes it.
        expect.extend([0x32, 0x93, 0xBB, 0xEC]);
        assert_eq!(window.snapshot(), expect);
    }

    #[test]
    fn other_bytes_are_refused() {
        let limits = WindowLimits::default();
        let mut window = DedupeWindow::new(limits);
        window.is_repeat(&origin(5, 6), "890");
        let snapshot = window.snapshot();
        for length in 0..snapshot.len() {
            assert_eq!(DedupeWindow::restore(limits, &snapshot[..length]).err(), Some(SnapshotError::Damaged));
            let mut changed = snapshot.clone();
            changed[length] ^= 1;
            assert_eq!(DedupeWindow::restore(limits, &changed).err(), Some(SnapshotError::Damaged));
        }
        let seal = |content: &[u8]| [content, &crc32fast::hash(content).to_le_bytes()].concat();
        let check = |content: &[u8], expect: Option<SnapshotError>| {
            assert_eq!(DedupeWindow::restore(limits, &seal(content)).err(), expect, "{content:?}");
        };
        check(&[1], None);
        check(&[2, 7, 7], Some(SnapshotError::Version { version: 2 }));
        check(&[], Some(SnapshotError::Damaged));
        // Cut inside an entry, and inside its digits.
        check(&[1, 0, 0], Some(SnapshotError::Damaged));
        check(&[&[1; 33][..], &[9, 0, b'1']].concat(), Some(SnapshotError::Damaged));
    }

    proptest! {
        /// Reading on, a restored window gives the same verdicts as the one that was never put away.
        #[test]
        fn reading_on_is_the_same(
            before in proptest::collection::vec((0..4_u64, 0..50_u64), 0..60),
            after in proptest::collection::vec((0..4_u64, 0..50_u64), 0..60),
            lanes_max in 1..5_usize,
        ) {
            let limits = WindowLimits { lanes_max, history_max: 8 };
            let mut window = DedupeWindow::new(limits);
            for (at, (lane, counter)) in before.iter().enumerate() {
                window.is_repeat(&origin(*lane, *counter), &(100 + at).to_string());
            }
            let mut restored = DedupeWindow::restore(limits, &window.snapshot()).unwrap();
            prop_assert_eq!(restored.snapshot(), window.snapshot());
            for (at, (lane, counter)) in after.iter().enumerate() {
                let (origin, at) = (origin(*lane, *counter), (200 + at).to_string());
                prop_assert_eq!(restored.is_repeat(&origin, &at), window.is_repeat(&origin, &at));
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let content = [&[1], &bytes[..]].concat();
            let sealed = [&content[..], &crc32fast::hash(&content).to_le_bytes()].concat();
            drop(DedupeWindow::restore(WindowLimits::default(), &sealed));
        }
    }
}
