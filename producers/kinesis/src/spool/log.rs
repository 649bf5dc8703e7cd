//! The log on files: opening with recovery, appending with `fsync`, reading from front to back, deleting what is drained. The
//! only place that touches them; it blocks, and so runs on a thread of its own.

mod recovery;
mod rejected;
mod series;

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
};

use tracing::{error, warn};

pub use self::rejected::RejectedRecords;
pub(crate) use self::series::Series;
use self::{recovery::recover, rejected::Rejected};
use crate::spool::{
    SpoolError,
    progress::Progress,
    segment::{self, HEAD_BYTES, Numbered, SegmentReader, Stop},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) first: u64,
    /// Durable bytes, the head included.
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct Log {
    folder: PathBuf,
    /// Held locked as long as the log is open.
    _lock: File,
    segment_bytes: u64,
    /// Never empty: the last one is written to.
    segments: VecDeque<Segment>,
    tail: File,
    /// A write failed; the tail may hold bytes beyond what is durable.
    is_torn: bool,
    reader: Option<SegmentReader>,
    /// Every record in the files has a lower number.
    next: u64,
    /// The number of the next record to be read, or a lower one.
    read_from: u64,
    progress: Progress,
    rejected: Rejected,
    /// Of all records that are not done.
    series: Vec<Series>,
}

/// What a log was found to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The number that the next record gets.
    pub(crate) next: u64,
    /// Every record below was stored by the stream.
    pub(crate) done_below: u64,
    pub(crate) disk_bytes: u64,
}

/// What a read brought.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) records: Vec<Numbered>,
    /// Every durable record with a lower number has been read, now or before.
    pub(crate) read_below: u64,
    /// There is nothing more to read now.
    pub(crate) is_at_end: bool,
    /// Files that were put aside because they hold bytes that are no records.
    pub(crate) damaged_files: usize,
}

impl Log {
    /// Opens the folder, cuts what was torn when the last process ended, and deletes what was drained.
    pub(crate) fn open(folder: &Path, segment_bytes: u64) -> Result<(Log, Found), SpoolError> {
        fs::create_dir_all(folder).map_err(SpoolError::io("make the folder", folder))?;
        let lock = lock(folder)?;
        let progress = Progress::open(folder)?;
        let recovered = recover(folder, progress.number)?;
        if recovered.cut_bytes > 0 {
            warn!(bytes = recovered.cut_bytes, "spool: cut a torn end, of which nothing was acknowledged");
        }
        let Some(last) = recovered.segments.back().copied() else {
            unreachable!("recovery makes a segment if there is none")
        };
        let tail = open_tail(folder, last)?;
        let series = series::begin(folder, progress.number, recovered.next, rand::random())?;
        let log = Log {
            folder: folder.to_owned(),
            _lock: lock,
            segment_bytes,
            segments: recovered.segments,
            tail,
            is_torn: false,
            reader: None,
            next: recovered.next,
            read_from: progress.number,
            rejected: Rejected::open(folder)?,
            progress,
            series,
        };
        let found = Found { next: recovered.next, done_below: log.progress.number, disk_bytes: log.disk_bytes() };
        Ok((log, found))
    }

    /// Who gave the numbers of the records that are not done.
    pub(crate) fn series(&self) -> &[Series] {
        &self.series
    }

    /// Bytes of all files that hold records.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + self.rejected.bytes()
    }

    /// Makes the frames of records with these numbers durable. On an error none of them is kept.
    pub(crate) fn append(&mut self, numbers: &Range<u64>, frames: &[u8]) -> Result<(), SpoolError> {
        debug_assert!(numbers.start >= self.next, "numbers only grow");
        if self.is_torn {
            self.repair()?;
        }
        if self.last().bytes >= self.segment_bytes {
            self.roll(numbers.start)?;
        }
        let path = segment::path(&self.folder, self.last().first);
        self.is_torn = true;
        let written = self.tail.write_all(frames).and_then(|()| self.tail.sync_data());
        written.map_err(SpoolError::io("write", &path))?;
        self.is_torn = false;
        self.next = numbers.end;
        if let Some(last) = self.segments.back_mut() {
            last.bytes += u64::try_from(frames.len()).unwrap_or(u64::MAX);
        }
        Ok(())
    }

    /// Reads on, about `bytes_max` bytes of records.
    pub(crate) fn read(&mut self, bytes_max: usize) -> Result<Read, SpoolError> {
        let mut read = Read::default();
        loop {
            let at = self.segments.partition_point(|segment| segment.first <= self.read_from).saturating_sub(1);
            let at = match &self.reader {
                Some(reader) => self.segments.iter().position(|segment| segment.first == reader.first).unwrap_or(at),
                None => at,
            };
            let Some(segment) = self.segments.get(at).copied() else { break };
            let mut reader = match self.reader.take() {
                Some(reader) if reader.first == segment.first => reader,
                Some(_) | None => SegmentReader::open(&self.folder, segment.first)?,
            };
            let before = read.records.len();
            let stop = reader.read(segment.bytes, bytes_max, &mut read.records)?;
            let read_from = self.read_from;
            // What was drained before, at the begin of the first file; and numbers only ever grow.
            let fresh = read.records.split_off(before).into_iter().filter(|record| record.number >= read_from);
            read.records.extend(fresh);
            if let Some(last) = read.records.last() {
                self.read_from = last.number + 1;
            }
            let next = self.segments.get(at + 1).map(|next| next.first);
            read.is_at_end = next.is_none() && stop != Stop::Piece;
            match (stop, next) {
                (Stop::Piece, _) | (Stop::End, None) => self.reader = Some(reader),
                (Stop::End, Some(next)) => self.read_from = self.read_from.max(next),
                (Stop::Damaged(position), _) => {
                    read.damaged_files += 1;
                    self.put_aside(segment, position)?;
                }
            }
            if !read.records.is_empty() || next.is_none() {
                break;
            }
        }
        read.read_below = self.read_from;
        Ok(read)
    }

    /// Notes that every record below `number` was stored, and deletes the files that hold nothing else.
    pub(crate) fn drained(&mut self, number: u64) -> Result<(), SpoolError> {
        self.progress.write(number)?;
        let is_tail_done = number >= self.next;
        if is_tail_done && !self.is_torn && self.last().bytes >= self.segment_bytes {
            self.roll(number)?;
        }
        while let [first, second, ..] = self.segments.make_contiguous()
            && second.first <= number
        {
            let path = segment::path(&self.folder, first.first);
            fs::remove_file(&path).map_err(SpoolError::io("delete", &path))?;
            if self.reader.as_ref().is_some_and(|reader| reader.first == first.first) {
                self.reader = None;
            }
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Keeps records that the stream refuses for good in a file of their own. They are found again by their numbers.
    pub(crate) fn reject(&mut self, numbers: &[u64]) -> Result<(), SpoolError> {
        for number in numbers {
            let at = self.segments.partition_point(|segment| segment.first <= *number).saturating_sub(1);
            let Some(segment) = self.segments.get(at) else { continue };
            let mut reader = SegmentReader::open(&self.folder, segment.first)?;
            let mut piece = Vec::new();
            loop {
                let stop = reader.read(segment.bytes, 1 << 20, &mut piece)?;
                if let Some(found) = piece.drain(..).find(|record| record.number == *number) {
                    self.rejected.write(&found)?;
                    break;
                }
                if stop != Stop::Piece {
                    break;
                }
            }
        }
        self.rejected.sync()
    }

    fn last(&self) -> Segment {
        *self.segments.back().expect("there is always a segment to write to")
    }

    /// Begins a new file, whose first record has the number `first` or a higher one.
    fn roll(&mut self, first: u64) -> Result<(), SpoolError> {
        let segment = make_segment(&self.folder, first)?;
        self.tail = open_tail(&self.folder, segment)?;
        self.segments.push_back(segment);
        Ok(())
    }

    /// Cuts what a failed write left behind.
    fn repair(&mut self) -> Result<(), SpoolError> {
        let last = self.last();
        let path = segment::path(&self.folder, last.first);
        let cut = self.tail.set_len(last.bytes).and_then(|()| self.tail.sync_all());
        cut.map_err(SpoolError::io("cut the torn end of", &path))?;
        self.is_torn = false;
        Ok(())
    }

    /// A file whose bytes are not what was written is kept for a person to look at, and read no further.
    fn put_aside(&mut self, segment: Segment, position: u64) -> Result<(), SpoolError> {
        if segment == self.last() {
            self.roll(self.next.max(segment.first + 1))?;
        }
        let path = segment::path(&self.folder, segment.first);
        let aside = path.with_extension("damaged");
        error!(path = %aside.display(), position, "spool: a file is damaged, what follows in it is not sent");
        fs::rename(&path, &aside).map_err(SpoolError::io("put aside", &path))?;
        self.segments.retain(|other| other.first != segment.first);
        if let Some(next) = self.segments.iter().map(|next| next.first).find(|first| *first > segment.first) {
            self.read_from = self.read_from.max(next);
        }
        sync_folder(&self.folder)
    }
}

fn lock(folder: &Path) -> Result<File, SpoolError> {
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(SpoolError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(SpoolError::InUse { folder: folder.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(SpoolError::io("lock", path)(error)),
    }
}

/// A new file with nothing but its head, durable under its name.
pub(super) fn make_segment(folder: &Path, first: u64) -> Result<Segment, SpoolError> {
    let path = segment::path(folder, first);
    let made = File::create(&path).and_then(|mut file| {
        file.write_all(&segment::head(first))?;
        file.sync_all()
    });
    made.map_err(SpoolError::io("make", &path))?;
    sync_folder(folder)?;
    Ok(Segment { first, bytes: u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX) })
}

fn open_tail(folder: &Path, segment: Segment) -> Result<File, SpoolError> {
    let path = segment::path(folder, segment.first);
    OpenOptions::new().append(true).open(&path).map_err(SpoolError::io("open", &path))
}

/// Makes names durable.
pub(super) fn sync_folder(folder: &Path) -> Result<(), SpoolError> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(SpoolError::io("sync", folder))
}

#[cfg(test)]
mod tests;
