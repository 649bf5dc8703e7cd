//! One buffer on disk: an append log of checked records, removed whole when it has been delivered.
//!
//! A record is `length u32 · crc32 u32 · arrival in ms i64 · data`, numbers little-endian, the checksum over arrival
//! and data. What a crash leaves at the end was never acknowledged and is not delivered.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use crate::data_dir;

const HEADER: usize = 16;
const SUFFIX: &str = ".log";

/// A buffer that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    file: File,
    length: u64,
    /// Set when a failed append could not be taken back.
    broken: bool,
}

/// The content of a buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    /// The data of all records, one behind the other, as Firehose delivers them.
    pub(super) data: Vec<u8>,
    pub(super) records: usize,
    /// When the oldest record arrived.
    pub(super) first_arrival_ms: Option<i64>,
    /// Bytes behind the last whole record.
    pub(super) torn: usize,
}

impl Segment {
    /// Begins a buffer. Names of buffers sort by the time of their beginning.
    pub(super) fn create(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("{}{SUFFIX}", Uuid::now_v7().simple()));
        let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        data_dir::sync_dir(dir)?;
        Ok(Self { path, file, length: 0, broken: false })
    }

    /// Appends records and syncs them: all of them or, on an error, none.
    pub(super) fn append(&mut self, records: &[Bytes], arrival_ms: i64) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier write of this buffer failed"));
        }
        let mut frames = Vec::with_capacity(records.iter().map(|record| HEADER + record.len()).sum());
        for record in records {
            let length = u32::try_from(record.len()).map_err(io::Error::other)?;
            frames.extend_from_slice(&length.to_le_bytes());
            frames.extend_from_slice(&checksum(arrival_ms, record).to_le_bytes());
            frames.extend_from_slice(&arrival_ms.to_le_bytes());
            frames.extend_from_slice(record);
        }
        match self.file.write_all(&frames).and_then(|()| self.file.sync_data()) {
            Ok(()) => {
                self.length += frames.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.broken = self.file.set_len(self.length).and_then(|()| self.file.sync_data()).is_err();
                Err(error)
            }
        }
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
    Ok(decode(&fs::read(path)?))
}

fn decode(mut rest: &[u8]) -> Content {
    let mut content = Content::default();
    while let Some((arrival_ms, data, behind)) = record(rest) {
        content.data.extend_from_slice(data);
        content.records += 1;
        content.first_arrival_ms.get_or_insert(arrival_ms);
        rest = behind;
    }
    content.torn = rest.len();
    content
}

/// A record's arrival and data, and the bytes behind it.
type Record<'a> = (i64, &'a [u8], &'a [u8]);

fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let (arrival_ms, rest) = rest.split_first_chunk()?;
    let (data, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let arrival_ms = i64::from_le_bytes(*arrival_ms);
    (checksum(arrival_ms, data) == u32::from_le_bytes(*sum)).then_some((arrival_ms, data, rest))
}

fn checksum(arrival_ms: i64, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&arrival_ms.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    use super::{Content, Segment, decode, read, segments};

    #[test]
    fn a_torn_end_is_not_delivered() {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = Segment::create(dir.path()).unwrap();
        segment.append(&[Bytes::from_static(b"one\n"), Bytes::new()], 5).unwrap();
        segment.append(&[Bytes::from_static(b"two\n")], 7).unwrap();
        assert_eq!(segments(dir.path()).unwrap(), [segment.path.clone()]);
        let whole = Content { data: b"one\ntwo\n".to_vec(), records: 3, first_arrival_ms: Some(5), torn: 0 };
        assert_eq!(read(&segment.path).unwrap(), whole);

        let bytes = std::fs::read(&segment.path).unwrap();
        assert_eq!(bytes.len(), 3 * 16 + 8);
        for cut in 37..56 {
            let found = decode(&bytes[..cut]);
            assert_eq!((found.records, found.torn, found.data.as_slice()), (2, cut - 36, &b"one\n"[..]));
        }
        let mut flipped = bytes;
        flipped[50] ^= 1;
        assert_eq!(decode(&flipped).records, 2);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..100)) {
            assert!(decode(&bytes).torn <= bytes.len());
        }
    }
}
