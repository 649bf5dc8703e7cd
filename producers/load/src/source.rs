//! What is sent: made traffic, or the lines of a file.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::traffic::Traffic;

/// Largest file that is replayed, in bytes: it is held in memory.
const REPLAY_BYTES_MAX: u64 = 2 << 30;

/// The events of a run, numbered from 0.
#[derive(Debug, Clone)]
pub enum Source {
    /// Ad requests of screens, without end.
    Traffic(Traffic),
    /// The lines of a file, some times over.
    Replay(Replay),
}

/// The lines of an NDJSON file that are not blank, sent as they are.
#[derive(Debug, Clone)]
pub struct Replay {
    lines: Vec<Bytes>,
    rounds: u64,
}

/// Why a file is not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is larger than what is held in memory.
    #[error("{} has {bytes} bytes; at most {REPLAY_BYTES_MAX} are replayed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// It has no line that is not blank.
    #[error("{} has no lines", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Replay {
    /// Reads a file, to be sent `rounds` times over.
    ///
    /// # Errors
    /// A file that cannot be read, is above 2 GiB, or has no lines.
    pub fn read(path: &Path, rounds: u64) -> Result<Self, ReplayError> {
        let unread = |source| ReplayError::Read { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(unread)?.len();
        if bytes > REPLAY_BYTES_MAX {
            return Err(ReplayError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = Bytes::from(std::fs::read(path).map_err(unread)?);
        let lines = text.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let filled = lines.filter(|line| !line.trim_ascii().is_empty());
        let lines: Vec<Bytes> = filled.map(|line| text.slice_ref(line)).collect();
        if lines.is_empty() {
            return Err(ReplayError::Empty { path: path.to_owned() });
        }
        Ok(Self { lines, rounds })
    }
}

impl Source {
    /// Appends the event of an index. Made traffic depends on the time, `now_ms` since the epoch; a file does not.
    pub fn write(&self, index: u64, now_ms: i64, out: &mut Vec<u8>) {
        match self {
            Source::Traffic(traffic) => traffic.write(index, now_ms, out),
            Source::Replay(replay) => {
                let count = u64::try_from(replay.lines.len()).unwrap_or(u64::MAX);
                let position = index.checked_rem(count).and_then(|position| usize::try_from(position).ok());
                if let Some(line) = position.and_then(|position| replay.lines.get(position)) {
                    out.extend_from_slice(line);
                }
            }
        }
    }

    /// How many events there are; `None` where there is no end.
    pub fn events(&self) -> Option<u64> {
        match self {
            Source::Traffic(_) => None,
            Source::Replay(replay) => Some(replay.rounds.saturating_mul(u64::try_from(replay.lines.len()).ok()?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_sent_line_by_line_and_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"a\":1}\r\n\n  \n{\"b\" : 2}").unwrap();
        let source = Source::Replay(Replay::read(file.path(), 3).unwrap());
        assert_eq!(source.events(), Some(6));
        let line = |index| {
            let mut out = b">".to_vec();
            source.write(index, 0, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([0, 1, 2, 5].map(line), [">{\"a\":1}", ">{\"b\" : 2}", ">{\"a\":1}", ">{\"b\" : 2}"]);
    }

    #[test]
    fn a_file_that_cannot_be_replayed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ndjson");
        assert!(matches!(Replay::read(&path, 1), Err(ReplayError::Read { .. })));
        std::fs::write(&path, "\n\n").unwrap();
        let error = Replay::read(&path, 1).unwrap_err();
        assert!(error.to_string().ends_with("x.ndjson has no lines"), "{error}");
    }
}
