//! One shard's log: reading, and the view of it that its writer shares.
//!
//! Only what is synced can be read, so that no reader ever saw a record that a crash takes back. Reads open their
//! segment anew: the page cache is the buffer, and the number of open files does not grow with what is stored.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use super::frame::{self, Found};
use super::segment::{self, FRAMES_START, Index, Place};

pub(super) mod writer;

/// Read beside what was asked for, so that the frame at the end is mostly whole.
const READ_SLACK_BYTES: usize = 64 * 1024;

/// Where a reader stands in a shard: the counter of the record it wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    counter: u64,
    /// Where that record lies, when the last read knew: (segment, offset).
    place: Option<(u64, u64)>,
}

impl Position {
    /// Stands at the record with this counter, wherever it lies.
    pub fn at(counter: u64) -> Self {
        Self { counter, place: None }
    }

    /// The counter of the record that is wanted next.
    pub fn counter(&self) -> u64 {
        self.counter
    }
}

/// How much one read may give. At least one record is given if there is one, whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// Records.
    pub records: usize,
    /// Bytes of data and partition keys.
    pub bytes: usize,
}

/// The end of a shard's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// The counter that the next record will get.
    pub next_counter: u64,
    /// No record will come any more: the shard was split or merged, or its stream deleted.
    pub is_closed: bool,
}

/// A record as its log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogRecord {
    pub(super) counter: u64,
    pub(super) arrival_ms: i64,
    pub(super) partition_key: String,
    pub(super) data: Bytes,
}

/// Why a log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("read the log of a shard in {}", dir.display())]
    Io {
        /// The shard's directory.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A record that was acknowledged does not have its checksum any more.
    #[error("the log in {} is damaged in segment {segment} at offset {offset}", dir.display())]
    Damaged {
        /// The shard's directory.
        dir: PathBuf,
        /// The segment's first counter.
        segment: u64,
        /// Where in the segment.
        offset: u64,
    },
}

/// A shard's log, for readers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ShardLog {
    dir: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held for look-ups and for the note of a finished write, never during I/O on data.
    segments: Mutex<Segments>,
    tail: watch::Sender<Tail>,
}

#[derive(Debug)]
struct Segments {
    /// First counters, ascending; the last one is being written. Never empty.
    bases: VecDeque<u64>,
    last_index: Index,
    /// The synced length of the last segment.
    last_end: u64,
}

/// A log just opened: what its writer needs to go on, and what recovery cut off.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) log: ShardLog,
    pub(super) seed: writer::Seed,
    pub(super) torn_bytes: u64,
}

/// Where a read starts.
struct Span {
    base: u64,
    offset: u64,
    /// For the segment that is being written: how much of it is synced.
    synced_end: Option<u64>,
}

/// What one read has collected.
struct Reading {
    from: u64,
    records_max: usize,
    bytes_left: usize,
    records: Vec<LogRecord>,
    next_counter: u64,
}

/// Why the collecting stopped.
enum Stop {
    Full,
    /// The buffer ended; the frame there needs so many bytes.
    Short {
        need: usize,
    },
    Corrupt,
}

impl Reading {
    fn new(from: u64, limit: ReadLimit) -> Self {
        let records_max = limit.records.max(1);
        Self { from, records_max, bytes_left: limit.bytes, records: Vec::new(), next_counter: from }
    }

    /// Takes the wanted frames out of a buffer, which starts with a frame. Returns the bytes passed.
    fn take(&mut self, buffer: &Bytes) -> (usize, Stop) {
        let mut at = 0;
        loop {
            let frame = match frame::find(buffer, at) {
                Found::Frame(frame) => frame,
                Found::Incomplete { need } => return (at, Stop::Short { need }),
                Found::Corrupt => return (at, Stop::Corrupt),
            };
            let end = frame.end();
            if frame.counter >= self.from {
                let bytes = end - frame.partition_key.start;
                let is_over = !self.records.is_empty() && bytes > self.bytes_left;
                if is_over || self.records.len() >= self.records_max {
                    return (at, Stop::Full);
                }
                self.bytes_left = self.bytes_left.saturating_sub(bytes);
                self.next_counter = frame.counter + 1;
                self.records.push(LogRecord {
                    counter: frame.counter,
                    arrival_ms: frame.arrival_ms,
                    partition_key: String::from_utf8_lossy(buffer.get(frame.partition_key).unwrap_or_default())
                        .into_owned(),
                    data: buffer.slice(frame.data),
                });
            }
            at = end;
        }
    }
}

impl ShardLog {
    /// Opens the log in `dir`, which exists, making its first segment if there is none, and cutting a torn tail.
    ///
    /// A group of writes is acknowledged after its sync, so nothing behind the last whole frame ever was.
    pub(super) fn open(dir: &Path) -> Result<Opened, LogError> {
        Self::recover(dir).map_err(|source| LogError::Io { dir: dir.to_owned(), source })
    }

    fn recover(dir: &Path) -> io::Result<Opened> {
        let mut bases = segment::list(dir)?;
        let last = bases.last().copied();
        let base = last.unwrap_or(1);
        let reopened = if last.is_some() { segment::open_last(dir, base)? } else { None };
        if last.is_none() {
            bases.push(base);
        }
        let file = match reopened {
            Some(file) => file,
            None => segment::create(dir, base)?,
        };
        let scan = segment::scan(dir, base)?;
        if scan.torn_bytes > 0 {
            file.set_len(scan.end)?;
            file.sync_all()?;
        }
        let before_last = bases.iter().rev().nth(1).copied();
        let last_arrival_ms = match (scan.last_arrival_ms, before_last) {
            (Some(arrival_ms), _) => Some(arrival_ms),
            (None, Some(before)) => segment::read_index(dir, before)?.last_arrival_ms(),
            (None, None) => None,
        };
        let first_arrival_ms = scan.index.first_arrival_ms();
        let segments = Segments { bases: bases.into(), last_index: scan.index, last_end: scan.end };
        let (tail, _) = watch::channel(Tail { next_counter: scan.next_counter, is_closed: false });
        let log = Self { dir: dir.to_owned(), shared: Arc::new(Shared { segments: Mutex::new(segments), tail }) };
        let seed =
            writer::Seed { file, base, end: scan.end, first_arrival_ms, last_arrival_ms: last_arrival_ms.unwrap_or(0) };
        Ok(Opened { log, seed, torn_bytes: scan.torn_bytes })
    }

    /// The end of the log now.
    pub(super) fn tail(&self) -> Tail {
        *self.shared.tail.borrow()
    }

    /// Follows the end of the log.
    pub(super) fn watch(&self) -> watch::Receiver<Tail> {
        self.shared.tail.subscribe()
    }

    /// Says that no record will come any more.
    pub(super) fn close(&self) {
        self.shared.tail.send_modify(|tail| tail.is_closed = true);
    }

    /// The counter of the oldest record kept.
    pub(super) fn horizon(&self) -> u64 {
        self.segments().bases.front().copied().unwrap_or(1)
    }

    /// Reads from a position on. Nothing yet is an empty answer; a position before the horizon moves to it.
    pub(super) fn read(&self, from: Position, limit: ReadLimit) -> Result<(Vec<LogRecord>, Position), LogError> {
        loop {
            let horizon = self.horizon();
            let from = if from.counter < horizon { Position::at(horizon) } else { from };
            if from.counter >= self.tail().next_counter {
                return Ok((Vec::new(), from));
            }
            let result = self.locate(from).and_then(|span| self.read_span(&span, from, limit));
            match result {
                // Retention took the segment away between the look-up and the read.
                Err(LogError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && self.horizon() > horizon => {}
                other => return other,
            }
        }
    }

    /// The counter of the first record that arrived at `arrival_ms` or later, or the one that comes next.
    pub(super) fn counter_at(&self, arrival_ms: i64) -> Result<u64, LogError> {
        let mut position = self.position_before_arrival(arrival_ms).map_err(|source| self.io_error(source))?;
        loop {
            let (records, next) = self.read(position, ReadLimit { records: 1_000, bytes: 1 << 20 })?;
            if records.is_empty() {
                return Ok(next.counter);
            }
            if let Some(record) = records.iter().find(|record| record.arrival_ms >= arrival_ms) {
                return Ok(record.counter);
            }
            position = next;
        }
    }

    /// Deletes sealed segments whose every record arrived before `horizon_ms`. Returns how many were deleted.
    pub(super) fn trim(&self, horizon_ms: i64) -> io::Result<usize> {
        let mut trimmed = 0;
        loop {
            let (first, second) = {
                let segments = self.segments();
                (segments.bases.front().copied(), segments.bases.get(1).copied())
            };
            let (Some(first), Some(second)) = (first, second) else { return Ok(trimmed) };
            // Arrivals grow along the log, so the next segment's first one bounds all of this segment's.
            let is_expired = self.first_arrival_ms(second)?.is_some_and(|arrival_ms| arrival_ms < horizon_ms);
            if !is_expired {
                return Ok(trimmed);
            }
            self.segments().bases.pop_front();
            segment::remove(&self.dir, first)?;
            trimmed += 1;
        }
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.shared.segments.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn locate(&self, from: Position) -> Result<Span, LogError> {
        let (base, is_last, last_end, place) = {
            let segments = self.segments();
            let after = segments.bases.partition_point(|base| *base <= from.counter);
            let base = after.checked_sub(1).and_then(|at| segments.bases.get(at)).copied().unwrap_or(from.counter);
            let is_last = segments.bases.back() == Some(&base);
            let place = if is_last { segments.last_index.before(from.counter) } else { None };
            (base, is_last, segments.last_end, place)
        };
        let known = from.place.filter(|(segment, _)| *segment == base).map(|(_, offset)| offset);
        let offset = match known {
            Some(offset) => offset,
            None if is_last => start_of(place),
            None => {
                let index = segment::read_index(&self.dir, base).map_err(|source| self.io_error(source))?;
                start_of(index.before(from.counter))
            }
        };
        Ok(Span { base, offset, synced_end: is_last.then_some(last_end) })
    }

    fn read_span(&self, span: &Span, from: Position, limit: ReadLimit) -> Result<(Vec<LogRecord>, Position), LogError> {
        let file = File::open(segment::log_path(&self.dir, span.base)).map_err(|source| self.io_error(source))?;
        let end = match span.synced_end {
            Some(end) => end,
            None => file.metadata().map_err(|source| self.io_error(source))?.len(),
        };
        let mut reading = Reading::new(from.counter, limit);
        let mut offset = span.offset;
        let mut size = limit.bytes.saturating_add(READ_SLACK_BYTES);
        while offset < end && reading.records.is_empty() {
            let buffer = read_at(&file, offset, end, size).map_err(|source| self.io_error(source))?;
            let (taken, stop) = reading.take(&buffer);
            offset += wide(taken);
            match stop {
                Stop::Full => break,
                Stop::Short { need } if offset + wide(need) <= end => size = size.max(need),
                Stop::Short { .. } if offset == end => break,
                Stop::Short { .. } | Stop::Corrupt => {
                    // What was read whole before the damage is still given.
                    if reading.records.is_empty() {
                        return Err(LogError::Damaged { dir: self.dir.clone(), segment: span.base, offset });
                    }
                }
            }
        }
        Ok((reading.records, Position { counter: reading.next_counter, place: Some((span.base, offset)) }))
    }

    fn position_before_arrival(&self, arrival_ms: i64) -> io::Result<Position> {
        let bases: Vec<u64> = self.segments().bases.iter().copied().collect();
        // The last segment whose first record is older: what is wanted lies in it, or starts the one after.
        let (mut low, mut high) = (0, bases.len());
        while low < high {
            let middle = low.midpoint(high);
            let Some(base) = bases.get(middle) else { break };
            let is_older = self.first_arrival_ms(*base)?.is_some_and(|first_ms| first_ms < arrival_ms);
            if is_older { low = middle + 1 } else { high = middle }
        }
        let Some(base) = low.checked_sub(1).and_then(|at| bases.get(at)).copied() else {
            return Ok(Position::at(bases.first().copied().unwrap_or(1)));
        };
        let is_last = bases.last() == Some(&base);
        let place = if is_last {
            self.segments().last_index.before_arrival(arrival_ms)
        } else {
            segment::read_index(&self.dir, base)?.before_arrival(arrival_ms)
        };
        Ok(Position::at(place.map_or(base, |place| place.counter)))
    }

    /// The arrival of a segment's first record; `None` while it has none.
    fn first_arrival_ms(&self, base: u64) -> io::Result<Option<i64>> {
        if base >= self.tail().next_counter {
            return Ok(None);
        }
        let mut header = [0; frame::HEADER_BYTES];
        File::open(segment::log_path(&self.dir, base))?.read_exact_at(&mut header, FRAMES_START)?;
        Ok(frame::arrival_ms(&header))
    }

    pub(super) fn io_error(&self, source: io::Error) -> LogError {
        LogError::Io { dir: self.dir.clone(), source }
    }
}

fn start_of(place: Option<Place>) -> u64 {
    place.map_or(FRAMES_START, |place| place.offset)
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn read_at(file: &File, offset: u64, end: u64, size: usize) -> io::Result<Bytes> {
    let available = usize::try_from(end - offset).unwrap_or(usize::MAX);
    let mut buffer = vec![0; size.min(available)];
    file.read_exact_at(&mut buffer, offset)?;
    Ok(buffer.into())
}

#[cfg(test)]
mod tests;
