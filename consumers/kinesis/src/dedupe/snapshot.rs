//! A window as bytes, to be kept beside a checkpoint.
//!
//! Version (1 byte) and the number of lanes (4 bytes), then per lane, the one that was silent longest first: producer, epoch, lane,
//! counter (8 bytes each), the length of a sequence number (2 bytes) and its digits. Then per log on disk: series, number
//! below which all is done (8 bytes each), the length of the highest sequence number (2 bytes) and its digits, how many numbers
//! (4 bytes), and these (8 bytes each). At the end a CRC-32 of all before. Numbers are little-endian. Of what was only
//! inherited the length is 0: it holds at every position.

use std::{collections::VecDeque, sync::Arc};

use super::{DedupeWindow, Lane, LaneKey, Seen, Series, WindowLimits};

const VERSION: u8 = 2;

/// Without logs: lanes only, and no number of them.
const VERSION_OF_LANES: u8 = 1;

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
    /// The last aggregate of each lane, in 34 bytes and the digits of a sequence number each, and the numbers of logs on disk that
    /// may come again, in 8 bytes each. To be taken when everything that the window has seen is dealt with.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut lanes: Vec<(&LaneKey, &Lane)> = self.lanes.iter().collect();
        lanes.sort_by_key(|(_, lane)| lane.seen_in_call);
        let mut bytes = vec![VERSION];
        let mut count: u32 = 0;
        bytes.extend_from_slice(&count.to_le_bytes());
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
            count += 1;
        }
        if let Some(place) = bytes.get_mut(1..5) {
            place.copy_from_slice(&count.to_le_bytes());
        }
        let mut series: Vec<(&u64, &Series)> = self.series.iter().collect();
        series.sort_by_key(|(_, series)| series.seen_in_call);
        for (id, series) in series {
            put_series(&mut bytes, *id, series);
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
        let lanes = match version {
            VERSION_OF_LANES => u32::MAX,
            VERSION => {
                let (count, lanes) = rest.split_first_chunk().ok_or(SnapshotError::Damaged)?;
                rest = lanes;
                u32::from_le_bytes(*count)
            }
            _ => return Err(SnapshotError::Version { version }),
        };
        let mut window = DedupeWindow::new(limits);
        for _ in 0..lanes {
            if version == VERSION_OF_LANES && rest.is_empty() {
                break;
            }
            rest = window.restore_lane(rest).ok_or(SnapshotError::Damaged)?;
        }
        while !rest.is_empty() {
            rest = window.restore_series(rest).ok_or(SnapshotError::Damaged)?;
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

    /// Takes in what a snapshot says of one log; returns what follows it.
    fn restore_series<'a>(&mut self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (id, rest) = bytes.split_first_chunk()?;
        let (done_below, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (digits, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (count, rest) = rest.split_first_chunk()?;
        let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
        let (numbers, rest) = rest.split_at_checked(count.checked_mul(8)?)?;
        let last: Arc<str> = str::from_utf8(digits).ok()?.into();
        let (numbers, _) = numbers.as_chunks::<8>();
        let numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let (id, done_below) = (u64::from_le_bytes(*id), u64::from_le_bytes(*done_below));
        let place = self.series(id);
        if !place.first_copies.is_empty() {
            // Named twice: nothing that was written by a window.
            return None;
        }
        let mut restored = Series::begun(&last, done_below, numbers);
        restored.seen_in_call = place.seen_in_call;
        let known = restored.first_copies.len();
        *place = restored;
        self.numbers += known;
        self.forget_numbers(id);
        Some(rest)
    }
}

/// What may come again of a log. Where the first copies lie is not kept one by one: all count as lying where the log was seen
/// last, so that whoever goes back is given too much rather than too little.
fn put_series(bytes: &mut Vec<u8>, id: u64, series: &Series) {
    let done_below = series.done_below();
    let numbers: Vec<u64> = series.first_copies.range(done_below..).map(|(number, _)| *number).collect();
    let (Ok(length), Ok(count)) = (u16::try_from(series.last.len()), u32::try_from(numbers.len())) else { return };
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&done_below.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(series.last.as_bytes());
    bytes.extend_from_slice(&count.to_le_bytes());
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
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
        let mut expect = vec![2, 2, 0, 0, 0];
        for (number, digits) in [([1_u64, 2, 3, 4], ""), ([1, 2, 5, 6], "890")] {
            expect.extend(number.iter().flat_map(|number| number.to_le_bytes()));
            expect.extend([u8::try_from(digits.len()).unwrap(), 0]);
            expect.extend(digits.bytes());
        }
        let checksum = crc32fast::hash(&expect);
        expect.extend(checksum.to_le_bytes());
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
        check(&[2, 0, 0, 0, 0], None);
        check(&[3, 7, 7], Some(SnapshotError::Version { version: 3 }));
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
            let limits = WindowLimits { lanes_max, history_max: 8, numbers_max: 8 };
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
