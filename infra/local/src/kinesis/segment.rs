//! The files of one shard's log.
//!
//! A segment `COUNTER.log` holds the frames from that counter on; the last segment is written, the others are sealed.
//! A sealed segment has a small index `COUNTER.idx` beside it, so that only one index per shard stays in memory,
//! whatever is on the disk. An index can always be made again from its segment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::data_dir::sync_dir;

use super::frame::{self, Found};

/// Where frames start: after the magic and the base counter.
pub(super) const FRAMES_START: u64 = 16;

const MAGIC: &[u8; 8] = b"MRSHARD1";

/// One index entry for each so many bytes: what a read from an arbitrary position skips at most.
const INDEX_STRIDE_BYTES: u64 = 256 * 1024;
const INDEX_ENTRY_BYTES: usize = 24;

/// A frame's place: its counter, its offset in the segment and its arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) counter: u64,
    pub(super) offset: u64,
    pub(super) arrival_ms: i64,
}

/// A sparse index: every entry is the place of a frame, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    places: Vec<Place>,
}

/// What a scan of a segment found.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) index: Index,
    /// The offset after the last whole frame.
    pub(super) end: u64,
    /// The counter after the last whole frame's.
    pub(super) next_counter: u64,
    pub(super) last_arrival_ms: Option<i64>,
    /// Bytes after the last whole frame.
    pub(super) torn_bytes: u64,
}

impl Index {
    /// Notes a frame, if the last noted one is a stride away.
    pub(super) fn note(&mut self, place: Place) {
        let is_due = self.places.last().is_none_or(|last| place.offset >= last.offset + INDEX_STRIDE_BYTES);
        if is_due {
            self.places.push(place);
        }
    }

    /// The last noted place at or before the frame of `counter`; `None` for the segment's start.
    pub(super) fn before(&self, counter: u64) -> Option<Place> {
        let after = self.places.partition_point(|place| place.counter <= counter);
        after.checked_sub(1).and_then(|at| self.places.get(at)).copied()
    }

    /// The last noted place before which no frame arrived at `arrival_ms` or later; `None` for the segment's start.
    pub(super) fn before_arrival(&self, arrival_ms: i64) -> Option<Place> {
        let after = self.places.partition_point(|place| place.arrival_ms < arrival_ms);
        after.checked_sub(1).and_then(|at| self.places.get(at)).copied()
    }

    /// The arrival of the segment's first frame, which is always noted.
    pub(super) fn first_arrival_ms(&self) -> Option<i64> {
        self.places.first().map(|place| place.arrival_ms)
    }

    /// The last noted arrival.
    pub(super) fn last_arrival_ms(&self) -> Option<i64> {
        self.places.last().map(|place| place.arrival_ms)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.places.len() * INDEX_ENTRY_BYTES + 4);
        for place in &self.places {
            bytes.extend_from_slice(&place.counter.to_le_bytes());
            bytes.extend_from_slice(&place.offset.to_le_bytes());
            bytes.extend_from_slice(&place.arrival_ms.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<4>()?;
        let (entries, rest) = body.as_chunks::<INDEX_ENTRY_BYTES>();
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) || !rest.is_empty() {
            return None;
        }
        let place = |entry: &[u8; INDEX_ENTRY_BYTES]| {
            let (counter, rest) = entry.split_first_chunk::<8>()?;
            let (offset, arrival_ms) = rest.split_first_chunk::<8>()?;
            Some(Place {
                counter: u64::from_le_bytes(*counter),
                offset: u64::from_le_bytes(*offset),
                arrival_ms: i64::from_le_bytes(*arrival_ms.first_chunk::<8>()?),
            })
        };
        Some(Self { places: entries.iter().map(place).collect::<Option<_>>()? })
    }
}

pub(super) fn log_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

fn index_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.idx"))
}

/// The base counters of the segments in `dir`, ascending.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let base = name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|base| base.parse::<u64>().ok());
        bases.extend(base);
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Makes an empty segment, durable with its name.
pub(super) fn create(dir: &Path, base: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(log_path(dir, base))?;
    file.write_all_at(MAGIC, 0)?;
    file.write_all_at(&base.to_le_bytes(), 8)?;
    file.sync_all()?;
    sync_dir(dir)?;
    Ok(file)
}

/// Opens the last segment for writing again; `None` when it died before its header was whole, and so holds nothing.
pub(super) fn open_last(dir: &Path, base: u64) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).write(true).open(log_path(dir, base))?;
    let mut header = [0; 16];
    let is_whole = match file.read_exact_at(&mut header, 0) {
        Ok(()) => header.starts_with(MAGIC) && header.ends_with(&base.to_le_bytes()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
        Err(error) => return Err(error),
    };
    Ok(is_whole.then_some(file))
}

/// Reads a whole segment (64 MiB and one group of writes at most) and verifies each frame.
pub(super) fn scan(dir: &Path, base: u64) -> io::Result<Scan> {
    let bytes = fs::read(log_path(dir, base))?;
    let mut scan =
        Scan { index: Index::default(), end: FRAMES_START, next_counter: base, last_arrival_ms: None, torn_bytes: 0 };
    let mut offset = usize::try_from(FRAMES_START).unwrap_or(usize::MAX);
    while let Found::Frame(frame) = frame::find(&bytes, offset) {
        if frame.counter != scan.next_counter {
            break;
        }
        scan.index.note(Place { counter: frame.counter, offset: scan.end, arrival_ms: frame.arrival_ms });
        scan.next_counter += 1;
        scan.last_arrival_ms = Some(frame.arrival_ms);
        offset = frame.end();
        scan.end = u64::try_from(offset).unwrap_or(u64::MAX);
    }
    scan.torn_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX).saturating_sub(scan.end);
    Ok(scan)
}

/// Writes a sealed segment's index. It need not be durable: a lost or torn one is made again.
pub(super) fn write_index(dir: &Path, base: u64, index: &Index) -> io::Result<()> {
    fs::write(index_path(dir, base), index.to_bytes())
}

/// A sealed segment's index, made again from the segment where its file is missing or damaged.
pub(super) fn read_index(dir: &Path, base: u64) -> io::Result<Index> {
    if let Some(index) = fs::read(index_path(dir, base)).ok().and_then(|bytes| Index::from_bytes(&bytes)) {
        return Ok(index);
    }
    let index = scan(dir, base)?.index;
    if let Err(error) = write_index(dir, base, &index) {
        tracing::warn!(%error, dir = %dir.display(), base, "cannot keep a segment's index; it is made again at each use");
    }
    Ok(index)
}

/// Deletes a segment and its index.
pub(super) fn remove(dir: &Path, base: u64) -> io::Result<()> {
    for path in [log_path(dir, base), index_path(dir, base)] {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_finds_the_place_before() {
        let mut index = Index::default();
        for step in 0..10_u64 {
            let offset = FRAMES_START + step * INDEX_STRIDE_BYTES / 2;
            index.note(Place { counter: 1 + step, offset, arrival_ms: i64::try_from(step * 100).unwrap() });
        }
        let index = Index::from_bytes(&index.to_bytes()).unwrap();
        let counters: Vec<u64> = index.places.iter().map(|place| place.counter).collect();
        assert_eq!(counters, [1, 3, 5, 7, 9]);
        let counter = |place: Option<Place>| place.map(|place| place.counter);
        assert_eq!(counter(index.before(0)), None);
        assert_eq!(counter(index.before(1)), Some(1));
        assert_eq!(counter(index.before(6)), Some(5));
        assert_eq!(counter(index.before(1_000)), Some(9));
        assert_eq!(counter(index.before_arrival(0)), None);
        assert_eq!(counter(index.before_arrival(200)), Some(1));
        assert_eq!(counter(index.before_arrival(201)), Some(3));
    }

    #[test]
    fn a_damaged_index_is_not_believed() {
        let mut index = Index::default();
        index.note(Place { counter: 1, offset: FRAMES_START, arrival_ms: 5 });
        let mut bytes = index.to_bytes();
        bytes[3] ^= 1;
        assert!(Index::from_bytes(&bytes).is_none());
        assert!(Index::from_bytes(&[]).is_none());
    }
}
