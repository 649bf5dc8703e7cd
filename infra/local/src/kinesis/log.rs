//! One stream's log: reading, and the view of it that its writer shares.
//!
//! All shards of a stream share segment files, so that one sync makes a request durable however many shards it touches.
//! Only what is synced can be read, so that no reader ever saw a record that a crash takes back. The last megabytes are
//! read from memory; what is older from its segment, which is opened anew, so that the number of open files does not
//! grow with what is stored.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::watch;

use super::block::{self, Block, Found};

mod index;
mod legacy;
mod recent;
pub(super) mod run;
mod segment;
pub(super) mod writer;

use index::{Index, Span};
pub(super) use legacy::take_over;
use recent::Recent;
use run::Run;
use segment::{Header, SegmentId};

/// Where a reader stands in a shard: the counter of the record it wants next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    counter: u64,
}

impl Position {
    /// Stands at the record with this counter, wherever it lies.
    pub fn at(counter: u64) -> Self {
        Self { counter }
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

/// Why a log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused.
    #[error("read the log of a stream in {}", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A record that was acknowledged does not have its checksum any more.
    #[error("the log in {} is damaged in segment {segment} at offset {offset}", dir.display())]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// The segment's number.
        segment: u64,
        /// Where in the segment.
        offset: u64,
    },
}

/// A stream's log. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct StreamLog {
    shared: Arc<Shared>,
}

/// One shard of a stream's log, for readers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct ShardLog {
    number: u64,
    shared: Arc<Shared>,
    tail: Arc<watch::Sender<Tail>>,
    /// Where a reader of old records was last: held for a look.
    section: Arc<Mutex<Option<Section>>>,
}

/// A shard's spans in a sealed segment.
#[derive(Debug, Clone)]
struct Section {
    id: SegmentId,
    spans: Arc<[Span]>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Held for look-ups and for the note of a finished write, never during I/O.
    files: Mutex<Files>,
}

#[derive(Debug)]
struct Files {
    /// Ascending.
    sealed: VecDeque<SegmentId>,
    active: Active,
    /// Where each shard stood at the beginning of the oldest segment; one that is not listed began later.
    first_counters: HashMap<u64, u64>,
    recent: Recent,
}

/// The segment that is being written.
#[derive(Debug)]
struct Active {
    id: SegmentId,
    file: Arc<File>,
    index: Index,
}

/// A log just opened: what its writer needs to go on, and what recovery cut off.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) log: StreamLog,
    pub(super) seed: writer::Seed,
    pub(super) torn: Option<Torn>,
}

/// What recovery cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) segment: PathBuf,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Where a record lies.
enum Place {
    Memory(Vec<Block>),
    Active(SegmentId, Arc<File>, Vec<Span>),
    Sealed,
}

impl StreamLog {
    /// Opens the log in `dir`, which exists, making its first segment if there is none, and cutting a torn tail.
    /// `first_counters` is where shards of a log that is just made begin, if not at 1.
    ///
    /// A commit is acknowledged after its sync, and the next one begun after that, so nothing of the last one that is
    /// not whole ever was.
    pub(super) fn open(dir: &Path, now_ms: i64, first_counters: HashMap<u64, u64>) -> Result<Opened, LogError> {
        let failed = |source| LogError::Io { dir: dir.to_owned(), source };
        let mut ids = segment::list(dir).map_err(failed)?;
        let (file, header) = match ids.pop() {
            Some(id) => (segment::open_last(dir, id).map_err(failed)?, segment::read_header(dir, id).map_err(failed)?),
            None => {
                let id = SegmentId { number: 1, start_ms: now_ms };
                let header = Header { id, first_commit: 1, counters: first_counters };
                (segment::create(dir, &header).map_err(failed)?, header)
            }
        };
        let scan = segment::recover(dir, &header).map_err(failed)?;
        if scan.is_damaged {
            return Err(LogError::Damaged { dir: dir.to_owned(), segment: header.id.number, offset: scan.end });
        }
        let torn = (scan.torn_bytes > 0).then(|| Torn {
            segment: header.id.log_path(dir),
            offset: scan.end,
            bytes: scan.torn_bytes,
        });
        if torn.is_some() {
            file.set_len(scan.end).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        let first_counters = match ids.first() {
            Some(first) => segment::read_header(dir, *first).map_err(failed)?.counters,
            None => header.counters.clone(),
        };
        let file = Arc::new(file);
        let active = Active { id: header.id, file: Arc::clone(&file), index: scan.index };
        let files = Files { sealed: ids.into(), active, first_counters, recent: Recent::default() };
        let log = Self { shared: Arc::new(Shared { dir: dir.to_owned(), files: Mutex::new(files) }) };
        let seed = writer::Seed {
            file,
            id: header.id,
            end: scan.end,
            commit: scan.commit,
            counters: scan.counters,
            is_empty: scan.end == header.length(),
            last_arrival_ms: scan.last_arrival_ms,
        };
        Ok(Opened { log, seed, torn })
    }

    /// A shard of this log whose next record gets this counter.
    pub(super) fn shard(&self, number: u64, next_counter: u64) -> ShardLog {
        let (tail, _) = watch::channel(Tail { next_counter, is_closed: false });
        ShardLog { number, shared: Arc::clone(&self.shared), tail: Arc::new(tail), section: Arc::default() }
    }

    /// Deletes sealed segments whose every record arrived before `horizon_ms`. Returns how many were deleted.
    pub(super) fn trim(&self, horizon_ms: i64) -> io::Result<usize> {
        let mut trimmed = 0;
        loop {
            let (first, second) = {
                let files = self.shared.files();
                (files.sealed.front().copied(), files.sealed.get(1).copied().unwrap_or(files.active.id))
            };
            // Arrivals grow along the log, so the next segment's start bounds all of this segment's.
            let Some(first) = first.filter(|_| second.start_ms < horizon_ms) else { return Ok(trimmed) };
            let counters = segment::read_header(&self.shared.dir, second)?.counters;
            {
                let mut files = self.shared.files();
                files.sealed.pop_front();
                files.first_counters = counters;
            }
            segment::remove(&self.shared.dir, first)?;
            trimmed += 1;
        }
    }
}

impl ShardLog {
    /// The end of the log now.
    pub(super) fn tail(&self) -> Tail {
        *self.tail.borrow()
    }

    /// Follows the end of the log.
    pub(super) fn watch(&self) -> watch::Receiver<Tail> {
        self.tail.subscribe()
    }

    /// Says that no record will come any more.
    pub(super) fn close(&self) {
        self.tail.send_modify(|tail| tail.is_closed = true);
    }

    /// The counter of the oldest record kept.
    pub(super) fn horizon(&self) -> u64 {
        self.shared.files().horizon(self.number)
    }

    /// Reads from a counter on, if that needs no disk. A counter before the horizon moves to it.
    pub(super) fn read_recent(&self, from: u64, limit: ReadLimit) -> Option<Run> {
        let next_counter = self.tail().next_counter;
        let (from, blocks) = {
            let files = self.shared.files();
            let from = from.max(files.horizon(self.number));
            (from, if from < next_counter { files.recent.from(self.number, from, limit)? } else { Vec::new() })
        };
        Some(if blocks.is_empty() { Run::empty(from) } else { Run::of(blocks, from, limit) })
    }

    /// Reads from a counter on. Nothing yet is an empty answer; a counter before the horizon moves to it.
    pub(super) fn read(&self, from: u64, limit: ReadLimit) -> Result<Run, LogError> {
        loop {
            let horizon = self.horizon();
            let from = from.max(horizon);
            if from >= self.tail().next_counter {
                return Ok(Run::empty(from));
            }
            match self.read_blocks(from, limit) {
                Ok(blocks) => return Ok(Run::of(blocks, from, limit)),
                // Retention took the segment away between the look-up and the read.
                Err(LogError::Io { source, .. })
                    if source.kind() == io::ErrorKind::NotFound && self.horizon() > horizon => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads from one segment after the other until a limit is reached. What was read before an error is still given.
    fn read_blocks(&self, from: u64, limit: ReadLimit) -> Result<Vec<Block>, LogError> {
        let mut blocks: Vec<Block> = Vec::new();
        let (mut at, mut left) = (from, limit);
        loop {
            let more = match self.place(at, left) {
                Place::Memory(more) => Ok(more),
                Place::Active(id, file, spans) => self.read_spans((id, &file), &spans, at, left),
                Place::Sealed => self.read_sealed(at, left),
            };
            match more {
                Ok(more) => blocks.extend(more),
                Err(_later) if !blocks.is_empty() => return Ok(blocks),
                Err(error) => return Err(error),
            }
            let end = blocks.last().map_or(at, |last| last.head.end());
            let bytes: usize = blocks.iter().map(|block| block.body.len()).sum();
            let records = usize::try_from(end - from).unwrap_or(usize::MAX);
            left =
                ReadLimit { records: limit.records.saturating_sub(records), bytes: limit.bytes.saturating_sub(bytes) };
            if left.records == 0 || left.bytes == 0 || end == at || end >= self.tail().next_counter {
                return Ok(blocks);
            }
            at = end;
        }
    }

    /// The counter of the first record that arrived at `arrival_ms` or later, or the one that comes next.
    pub(super) fn counter_at(&self, arrival_ms: i64) -> Result<u64, LogError> {
        let mut from = self.counter_before_arrival(arrival_ms).map_err(|source| self.io_error(source))?;
        loop {
            let run = self.read(from, ReadLimit { records: 1_000, bytes: 1 << 20 })?;
            if let Some(record) = run.records().find(|record| record.arrival_ms >= arrival_ms) {
                return Ok(record.counter);
            }
            if run.len() == 0 {
                return Ok(run.next());
            }
            from = run.next();
        }
    }

    fn place(&self, from: u64, limit: ReadLimit) -> Place {
        let files = self.shared.files();
        if let Some(blocks) = files.recent.from(self.number, from, limit) {
            return Place::Memory(blocks);
        }
        let section = files.active.index.section(self.number);
        if section.first().is_some_and(|first| first.counter <= from) {
            let spans = enough(index::from_counter(section, from), from, limit).to_vec();
            return Place::Active(files.active.id, Arc::clone(&files.active.file), spans);
        }
        Place::Sealed
    }

    fn read_sealed(&self, from: u64, limit: ReadLimit) -> Result<Vec<Block>, LogError> {
        let last = lock(&self.section).clone();
        let section = match last.filter(|section| holds(&section.spans, from)) {
            Some(section) => section,
            None => {
                let section = self.find_section(from).map_err(|source| self.io_error(source))?;
                *lock(&self.section) = Some(section.clone());
                section
            }
        };
        let file = File::open(section.id.log_path(&self.shared.dir)).map_err(|source| self.io_error(source))?;
        let spans = enough(index::from_counter(&section.spans, from), from, limit);
        self.read_spans((section.id, &file), spans, from, limit)
    }

    /// The shard's section of the sealed segment that holds a counter.
    fn find_section(&self, counter: u64) -> io::Result<Section> {
        let last = lock(&self.section).as_ref().map(|section| section.id.number);
        let ids: Vec<SegmentId> = self.shared.files().sealed.iter().copied().collect();
        // Who reads on finds it in the segment behind the last one, mostly.
        let next = last.and_then(|last| ids.iter().find(|id| id.number == last + 1));
        if let Some(id) = next.copied() {
            let spans = segment::section(&self.shared.dir, id, self.number)?;
            if holds(&spans, counter) {
                return Ok(Section { id, spans: spans.into() });
            }
        }
        // The last segment at whose beginning the shard had not passed the counter.
        let (mut low, mut high) = (0, ids.len());
        while low < high {
            let middle = low.midpoint(high);
            let Some(id) = ids.get(middle) else { break };
            let has_begun = segment::read_header(&self.shared.dir, *id)?.counter(self.number) <= counter;
            if has_begun { low = middle + 1 } else { high = middle }
        }
        let id = low.checked_sub(1).and_then(|at| ids.get(at)).copied();
        let id = id.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no segment holds the record"))?;
        let spans = segment::section(&self.shared.dir, id, self.number)?;
        Ok(Section { id, spans: spans.into() })
    }

    /// Reads spans of a segment. What is whole before a damaged block is still given.
    fn read_spans(
        &self,
        (id, file): (SegmentId, &File),
        spans: &[Span],
        from: u64,
        limit: ReadLimit,
    ) -> Result<Vec<Block>, LogError> {
        let damaged = |offset| LogError::Damaged { dir: self.shared.dir.clone(), segment: id.number, offset };
        let mut blocks: Vec<Block> = Vec::new();
        let mut bytes_left = limit.bytes;
        for span in spans {
            let mut buffer = vec![0; usize::try_from(span.length).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut buffer, span.offset).map_err(|source| self.io_error(source))?;
            let buffer = Bytes::from(buffer);
            let mut at = 0;
            while at < buffer.len() {
                let Found::Block(head, body) = block::find(&buffer, at) else {
                    let offset = span.offset.saturating_add(u64::try_from(at).unwrap_or(0));
                    return if blocks.is_empty() { Err(damaged(offset)) } else { Ok(blocks) };
                };
                at = body.end;
                if head.end() > from {
                    bytes_left = bytes_left.saturating_sub(body.len());
                    blocks.push(Block { head, body: buffer.slice(body) });
                }
            }
            if bytes_left == 0 {
                break;
            }
        }
        if blocks.is_empty() { Err(damaged(spans.first().map_or(0, |span| span.offset))) } else { Ok(blocks) }
    }

    fn counter_before_arrival(&self, arrival_ms: i64) -> io::Result<u64> {
        let (id, in_active) = {
            let files = self.shared.files();
            if files.active.id.start_ms < arrival_ms {
                let section = files.active.index.section(self.number);
                (Some(files.active.id), index::counter_before_arrival(section, arrival_ms))
            } else {
                let after = files.sealed.partition_point(|id| id.start_ms < arrival_ms);
                (after.checked_sub(1).and_then(|at| files.sealed.get(at)).copied(), None)
            }
        };
        let Some(id) = id else { return Ok(self.horizon()) };
        if let Some(counter) = in_active {
            return Ok(counter);
        }
        if id == self.shared.files().active.id {
            return Ok(segment::read_header(&self.shared.dir, id)?.counter(self.number));
        }
        let section = segment::section(&self.shared.dir, id, self.number)?;
        match index::counter_before_arrival(&section, arrival_ms) {
            Some(counter) => Ok(counter),
            None => Ok(segment::read_header(&self.shared.dir, id)?.counter(self.number)),
        }
    }

    pub(super) fn io_error(&self, source: io::Error) -> LogError {
        LogError::Io { dir: self.shared.dir.clone(), source }
    }
}

impl Files {
    fn horizon(&self, shard: u64) -> u64 {
        self.first_counters.get(&shard).copied().unwrap_or(1)
    }
}

impl Shared {
    fn files(&self) -> MutexGuard<'_, Files> {
        lock(&self.files)
    }
}

/// Whether a record lies in these spans.
fn holds(spans: &[Span], counter: u64) -> bool {
    let ends = (spans.first(), spans.last());
    matches!(ends, (Some(first), Some(last)) if first.counter <= counter && counter < last.end_counter())
}

/// As many spans as a limit can need, where the first one holds `from`.
fn enough(spans: &[Span], from: u64, limit: ReadLimit) -> &[Span] {
    let (mut records, mut bytes) = (0_usize, 0_usize);
    for (count, span) in (1..).zip(spans) {
        records = records.saturating_add(usize::try_from(span.end_counter() - from.max(span.counter)).unwrap_or(0));
        // Where in the first span the record lies is not known yet: none of its bytes are counted.
        bytes = bytes.saturating_add(if count == 1 { 0 } else { usize::try_from(span.length).unwrap_or(usize::MAX) });
        if records >= limit.records || bytes >= limit.bytes {
            return spans.get(..count).unwrap_or(spans);
        }
    }
    spans
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
