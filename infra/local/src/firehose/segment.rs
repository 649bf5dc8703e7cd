//! One buffer on disk: an append log of checked records, removed whole when it has been delivered.
//!
//! A frame is `length u32 · crc32 u32 · arrival in ms i64 · body`, numbers little-endian, the checksum over arrival and
//! body. A first frame that arrived at the beginning of time is no record but the buffer's head; without one it is plain.
//! What a crash leaves at the end was never acknowledged and is not delivered.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::lane::Lane;

const HEADER: usize = 16;
const SUFFIX: &str = ".log";
/// The arrival that tells the head from records.
const HEAD_ARRIVAL_MS: i64 = i64::MIN;

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// In milliseconds since the epoch.
    pub(super) arrival_ms: i64,
    pub(super) data: Bytes,
    /// Of a record that came from a Kinesis stream.
    pub(super) place: Option<Place>,
}

/// Where a record stood in its Kinesis stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) sequence_number: Arc<str>,
    pub(super) sub_sequence: u32,
}

/// What a buffer's first frame says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) lane: Lane,
    /// Whether each record has its place before its data.
    pub(super) has_places: bool,
}

/// A buffer that is being written. It holds no open file: there may be hundreds of them.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    has_places: bool,
    length: u64,
    /// Set when a failed append could not be taken back.
    broken: bool,
}

/// The content of a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    pub(super) head: Head,
    pub(super) entries: Vec<Entry>,
    /// Bytes behind the last whole record.
    pub(super) torn: usize,
}

impl Segment {
    /// Begins a buffer. Names of buffers sort by the time of their beginning. The name is durable when the directory is
    /// synced, which is left to the caller: it may begin many.
    pub(super) fn create(dir: &Path, head: &Head) -> io::Result<Self> {
        let path = dir.join(format!("{}{SUFFIX}", Uuid::now_v7().simple()));
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        let mut frames = Vec::new();
        if *head != Head::default() {
            push_frame(&mut frames, HEAD_ARRIVAL_MS, &[&serde_json::to_vec(head)?])?;
            file.write_all(&frames)?;
        }
        Ok(Self { path, has_places: head.has_places, length: frames.len() as u64, broken: false })
    }

    /// Appends records and syncs them: all of them or, on an error, none.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write of this buffer failed"));
        }
        let mut frames = Vec::with_capacity(entries.iter().map(|entry| HEADER + entry.data.len()).sum());
        for entry in entries {
            if self.has_places {
                let place = place_bytes(entry.place.as_ref())?;
                push_frame(&mut frames, entry.arrival_ms, &[&place, &entry.data])?;
            } else {
                push_frame(&mut frames, entry.arrival_ms, &[&entry.data])?;
            }
        }
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        match file.write_all(&frames).and_then(|()| file.sync_data()) {
            Ok(()) => {
                self.length += frames.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken = file.set_len(self.length).and_then(|()| file.sync_data()).is_err();
                Err(error)
            }
        }
    }

    /// Takes back what was appended since the buffer was this long.
    pub(super) fn cut(&mut self, length: u64) {
        let cut = OpenOptions::new().append(true).open(&self.path).and_then(|file| {
            file.set_len(length)?;
            file.sync_data()
        });
        self.broken = cut.is_err();
        self.length = length;
    }

    /// In bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

/// The buffers that a directory holds, oldest first.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The 32 hex digits that name a buffer, and the object made of it.
pub(super) fn id(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// Reads what was acknowledged. Takes as much memory as the buffer has bytes.
pub(super) fn read(path: &Path) -> io::Result<Content> {
    Ok(decode(&Bytes::from(fs::read(path)?)))
}

fn decode(bytes: &Bytes) -> Content {
    let mut content = Content::default();
    let mut rest = bytes.clone();
    while let Some((arrival_ms, body)) = take_frame(&mut rest) {
        if arrival_ms == HEAD_ARRIVAL_MS {
            content.head = serde_json::from_slice(&body).unwrap_or_default();
            continue;
        }
        let (place, data) = if content.head.has_places { take_place(&body) } else { (None, body) };
        content.entries.push(Entry { arrival_ms, data, place });
    }
    content.torn = rest.len();
    content
}

fn push_frame(frames: &mut Vec<u8>, arrival_ms: i64, body: &[&[u8]]) -> io::Result<()> {
    let length = body.iter().map(|part| part.len()).sum::<usize>();
    frames.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    frames.extend_from_slice(&checksum(arrival_ms, body).to_le_bytes());
    frames.extend_from_slice(&arrival_ms.to_le_bytes());
    body.iter().for_each(|part| frames.extend_from_slice(part));
    Ok(())
}

/// A whole frame's arrival and body.
fn take_frame(rest: &mut Bytes) -> Option<(i64, Bytes)> {
    let (length, behind) = rest.split_first_chunk()?;
    let (sum, behind) = behind.split_first_chunk()?;
    let (arrival_ms, behind) = behind.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let arrival_ms = i64::from_le_bytes(*arrival_ms);
    let body = behind.get(..length)?;
    if checksum(arrival_ms, &[body]) != u32::from_le_bytes(*sum) {
        return None;
    }
    let body = rest.slice(HEADER..HEADER + length);
    *rest = rest.slice(HEADER + length..);
    Some((arrival_ms, body))
}

/// `length u8 · sequence number · sub-sequence number u32`; the length is zero without a place.
fn place_bytes(place: Option<&Place>) -> io::Result<Vec<u8>> {
    let Some(place) = place else { return Ok(vec![0]) };
    let mut bytes = vec![u8::try_from(place.sequence_number.len()).map_err(io::Error::other)?];
    bytes.extend_from_slice(place.sequence_number.as_bytes());
    bytes.extend_from_slice(&place.sub_sequence.to_le_bytes());
    Ok(bytes)
}

fn take_place(body: &Bytes) -> (Option<Place>, Bytes) {
    let read = || {
        let (length, rest) = body.split_first()?;
        let (sequence_number, rest) = rest.split_at_checked(usize::from(*length))?;
        if sequence_number.is_empty() {
            return Some((None, body.slice_ref(rest)));
        }
        let (sub_sequence, rest) = rest.split_first_chunk()?;
        let sequence_number = std::str::from_utf8(sequence_number).ok()?.into();
        let place = Place { sequence_number, sub_sequence: u32::from_le_bytes(*sub_sequence) };
        Some((Some(place), body.slice_ref(rest)))
    };
    read().unwrap_or_else(|| (None, body.clone()))
}

fn checksum(arrival_ms: i64, body: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&arrival_ms.to_le_bytes());
    body.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::{Entry, Head, Lane, Place, Segment, decode, read, segments};

    fn entry(arrival_ms: i64, data: &'static [u8]) -> Entry {
        Entry { arrival_ms, data: Bytes::from_static(data), place: None }
    }

    #[test]
    fn a_torn_end_is_not_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(dir.path(), &Head::default()).unwrap();
        segment.append(&[entry(5, b"one\n"), entry(5, b"")]).unwrap();
        segment.append(&[entry(7, b"two\n")]).unwrap();
        assert_eq!(segments(dir.path()).unwrap(), [segment.path.clone()]);
        let whole = read(&segment.path).unwrap();
        assert_eq!(whole.entries, [entry(5, b"one\n"), entry(5, b""), entry(7, b"two\n")]);
        assert_eq!((whole.head, whole.torn), (Head::default(), 0));

        let bytes = std::fs::read(&segment.path).unwrap();
        assert_eq!(bytes.len(), 3 * 16 + 8);
        for cut in 37..56 {
            let found = decode(&Bytes::copy_from_slice(&bytes[..cut]));
            assert_eq!((found.entries.len(), found.torn), (2, cut - 36));
        }
        let mut flipped = bytes;
        flipped[50] ^= 1;
        assert_eq!(decode(&flipped.into()).entries.len(), 2);
    }

    #[test]
    fn a_head_and_places_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let head = Head { lane: Lane::Partition { prefix: "a=1/\u{0}".to_owned() }, has_places: true };
        let mut segment = Segment::create(dir.path(), &head).unwrap();
        let place = Place { sequence_number: "4967".into(), sub_sequence: 3 };
        let entries = [Entry { place: Some(place), ..entry(1, b"x") }, entry(2, b"")];
        segment.append(&entries).unwrap();
        let length = segment.length();
        segment.append(&[entry(3, b"taken back")]).unwrap();
        segment.cut(length);
        segment.append(&[entry(4, b"last")]).unwrap();
        let found = read(&segment.path).unwrap();
        assert_eq!((found.head, &found.entries[..2], found.torn), (head, &entries[..], 0));
        assert_eq!(found.entries[2..], [entry(4, b"last")]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..100)) {
            assert!(decode(&Bytes::from(bytes.clone())).torn <= bytes.len());
        }
    }
}
