//! One file of the log: its name, its head, and reading it from front to back in pieces.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use kinesis_record::Origin;

use crate::{
    record::{RECORD_OVERHEAD_BYTES, Record},
    spool::{
        SpoolError,
        frame::{Decoded, Framed, decode},
    },
};

/// Of the format of the files in a folder.
pub(crate) const VERSION: u8 = 1;

const MAGIC: &[u8; 7] = b"KPSPOOL";

/// Magic, version, number of the first record that may be inside, CRC-32 of these.
pub(crate) const HEAD_BYTES: usize = 20;

/// Read from a file at once.
const PIECE_BYTES: usize = 1 << 20;

/// The file whose first record has this number or a higher one.
pub(crate) fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.log"))
}

/// The number in the name of a segment file, if it is one.
pub(crate) fn first_of(path: &Path) -> Option<u64> {
    let is_log = path.extension().is_some_and(|extension| extension == "log");
    is_log.then(|| path.file_stem()?.to_str()?.parse().ok()).flatten()
}

pub(crate) fn head(first: u64) -> Vec<u8> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    head.extend_from_slice(MAGIC);
    head.push(VERSION);
    head.extend_from_slice(&first.to_le_bytes());
    head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
    head
}

/// What the first bytes of a file say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Ours,
    /// Cut off while it was made, or nothing at all: no record was ever in it.
    Torn,
    /// Of another version, or of another program.
    Foreign,
}

pub(crate) fn read_head(bytes: &[u8], first: u64) -> Head {
    let ours = head(first);
    if bytes == ours {
        return Head::Ours;
    }
    let is_zero = bytes.iter().all(|byte| *byte == 0);
    if is_zero || bytes.len() < HEAD_BYTES && ours.starts_with(bytes) { Head::Torn } else { Head::Foreign }
}

/// A record as it was read, and how long its frame is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) record: Record,
    pub(crate) sent_as: Option<Origin>,
    pub(crate) frame_bytes: usize,
}

/// Reads one file from front to back.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    pub(crate) first: u64,
    path: PathBuf,
    file: File,
    /// Where the next byte is read from the file.
    read_to: u64,
    unparsed: Bytes,
}

/// How far a reader came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The piece that was asked for is full.
    Piece,
    /// The end was reached, with nothing left over.
    End,
    /// What begins at this position of the file is no frame, or not a whole one.
    Damaged(u64),
}

impl SegmentReader {
    /// Opens a file whose head was found to be ours.
    pub(crate) fn open(folder: &Path, first: u64) -> Result<Self, SpoolError> {
        Self::open_path(path(folder, first), first)
    }

    pub(crate) fn open_path(path: PathBuf, first: u64) -> Result<Self, SpoolError> {
        let file = File::open(&path).map_err(SpoolError::io("open", &path))?;
        let read_to = u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX);
        Ok(SegmentReader { first, path, file, read_to, unparsed: Bytes::new() })
    }

    /// Reads records up to the position `end` of the file, until they take `bytes_max` bytes in memory.
    pub(crate) fn read(&mut self, end: u64, bytes_max: usize, out: &mut Vec<Numbered>) -> Result<Stop, SpoolError> {
        let mut taken = 0;
        loop {
            let wanted = loop {
                match decode(&self.unparsed) {
                    Decoded::Frame { .. } if taken >= bytes_max => return Ok(Stop::Piece),
                    Decoded::Frame { frame: Framed { number, record, sent_as }, bytes } => {
                        taken += bytes + RECORD_OVERHEAD_BYTES;
                        out.push(Numbered { number, record, sent_as, frame_bytes: bytes });
                        drop(self.unparsed.split_to(bytes));
                    }
                    Decoded::Incomplete { bytes_min } => break bytes_min,
                    Decoded::Damaged => return Ok(Stop::Damaged(self.position())),
                }
            };
            let left = end.saturating_sub(self.read_to);
            if left == 0 {
                return Ok(if self.unparsed.is_empty() { Stop::End } else { Stop::Damaged(self.position()) });
            }
            let piece = wanted.saturating_sub(self.unparsed.len()).max(PIECE_BYTES);
            let piece = u64::try_from(piece).unwrap_or(u64::MAX).min(left);
            let got = self.fill(piece).map_err(SpoolError::io("read", &self.path))?;
            if got == 0 {
                // Shorter than it was when it was written.
                return Ok(Stop::Damaged(self.position()));
            }
        }
    }

    /// Reads a piece behind what is not parsed yet, which is the begin of one frame and so is copied once.
    fn fill(&mut self, piece: u64) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.read_to))?;
        let mut bytes = self.unparsed.to_vec();
        let got = (&self.file).take(piece).read_to_end(&mut bytes)?;
        self.unparsed = bytes.into();
        self.read_to += u64::try_from(got).unwrap_or(u64::MAX);
        Ok(got)
    }

    /// Where in the file the first byte lies that is not parsed.
    fn position(&self) -> u64 {
        self.read_to.saturating_sub(u64::try_from(self.unparsed.len()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::{HEAD_BYTES, Head, VERSION, first_of, head, path, read_head};

    #[test]
    fn heads_are_ours_torn_or_foreign() {
        let ours = head(9);
        assert_eq!(ours.len(), HEAD_BYTES);
        let mut newer = ours.clone();
        newer[7] = VERSION + 1;
        for (bytes, expect) in [
            (ours.clone(), Head::Ours),
            (ours[..5].to_vec(), Head::Torn),
            (vec![], Head::Torn),
            (vec![0; HEAD_BYTES], Head::Torn),
            (newer, Head::Foreign),
            (head(10), Head::Foreign),
            (b"something else, quite".to_vec(), Head::Foreign),
        ] {
            assert_eq!(read_head(&bytes, 9), expect, "{bytes:?}");
        }
    }

    #[test]
    fn names_and_numbers_match() {
        let folder = std::path::Path::new("spool");
        assert_eq!(first_of(&path(folder, 42)), Some(42));
        for name in ["progress", "42.txt", "x.log", "-1.log"] {
            assert_eq!(first_of(&folder.join(name)), None, "{name}");
        }
    }
}
