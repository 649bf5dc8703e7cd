//! What is sent: made traffic, or the lines of a file.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::day::{Day, Made};
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
    /// All events of an exchange's day, in the order of their time.
    Day(DaySource),
}

/// A day that all connections take their events from; clones share it.
#[derive(Debug, Clone)]
pub struct DaySource {
    /// Held while one event is made, some microseconds.
    day: Arc<Mutex<Day>>,
    start_ms: i64,
    /// How many seconds of the day go by in one second; none: its events are sent at the run's rate.
    pub speed: Option<NonZeroU32>,
}

impl DaySource {
    /// The events of a day, each at its own time if there is a speed.
    pub fn new(day: Day, speed: Option<NonZeroU32>) -> Self {
        let start_ms = day.start_ms();
        Self { day: Arc::new(Mutex::new(day)), start_ms, speed }
    }

    /// Appends the next event. A panic of another holder leaves the day as it was between two events.
    pub(crate) fn next(&self, out: &mut Vec<u8>) -> Made {
        self.day.lock().unwrap_or_else(PoisonError::into_inner).next(out)
    }

    /// When an event of the day is due in a run, from the run's start; `None` where the rate decides.
    pub(crate) fn due(&self, made: Made) -> Option<std::time::Duration> {
        let into_the_day_ms = u64::try_from(made.at_ms - self.start_ms).unwrap_or(0);
        let micros = into_the_day_ms.saturating_mul(1_000) / u64::from(self.speed?.get());
        Some(std::time::Duration::from_micros(micros))
    }
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
    /// Appends the event of an index. Made traffic depends on the time, `now_ms` since the epoch; a file does not, and of a
    /// day it is always the next one.
    pub fn write(&self, index: u64, now_ms: i64, out: &mut Vec<u8>) {
        match self {
            Source::Traffic(traffic) => traffic.write(index, now_ms, out),
            Source::Day(day) => drop(day.next(out)),
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
            Source::Traffic(_) | Source::Day(_) => None,
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
