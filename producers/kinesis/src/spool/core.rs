//! What to write to the log, what to read from it, and what is done; without any I/O or clock. The owner tells it what happened
//! and asks for the next job.
//!
//! Records have numbers in the order in which they came. Below `drained_below` every record was stored, and the disk knows it;
//! below `read_below` every record was read back; below `durable_below` it was written; below `next` it was taken in.

mod window;

use std::{
    collections::BTreeMap,
    ops::Range,
    time::{Duration, Instant},
};

use kinesis_record::Origin;
use tokio::sync::oneshot;

use self::window::Window;
use crate::{
    record::{RECORD_OVERHEAD_BYTES, Record},
    reply::PutResult,
    spool::{
        SpoolError, SpoolPolicy,
        frame::{ORIGIN_BYTES, encode, frame_bytes},
        log::{Found, Read},
        segment::Numbered,
        worker::{Done, Job},
    },
};

/// Read from the log at once, with 256 bytes of bookkeeping for each record.
const READ_BYTES: usize = 4 << 20;

/// A larger buffer of frames is given back to the allocator: memory is bounded by what is charged.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Progress is made durable at most this often while there is more to drain: an `fsync` each time.
const PROGRESS_PAUSE: Duration = Duration::from_millis(50);

/// After a read or a note of progress failed, the next try waits.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Who waits for a record to be durable.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) sender: oneshot::Sender<PutResult>,
    /// Which flush waits for it.
    pub(crate) epoch: u64,
    /// What it holds of the buffer until then.
    pub(crate) cost: u32,
}

/// A record read back, to be sent to the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadBack {
    pub(crate) number: u64,
    pub(crate) record: Record,
    /// The mark of the aggregate that it was on its way in when it came to the log, in an earlier life.
    pub(crate) sent_as: Option<Origin>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes_max: u64,
    /// Bytes (with 256 of bookkeeping for each record) that are read and not known to be drained, at most; so also what is
    /// sent again after a crash.
    pub(crate) window_bytes: usize,
    pub(crate) policy: SpoolPolicy,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "which jobs run and what is known are independent facts")]
pub(crate) struct Core {
    limits: Limits,
    /// Records take the way over the log.
    is_open: bool,
    /// The stream's shards are known, so that reading makes sense.
    is_ready: bool,
    is_ending: bool,
    is_gone: bool,
    next: u64,
    durable_below: u64,
    read_below: u64,
    drained_below: u64,
    disk_bytes: u64,
    staged: Vec<u8>,
    staged_waiting: Vec<Waiting>,
    writing: Option<(u64, Vec<Waiting>)>,
    /// For the next frames; the buffer of the last ones.
    spare: Vec<u8>,
    is_reading: bool,
    /// Where everything was durable when the read that runs was asked for.
    reading_below: u64,
    window: Window,
    /// Records that are in the log and on their way to the stream from memory, not read back yet; and whether they arrived.
    adopted: BTreeMap<u64, bool>,
    is_noting: bool,
    note_at: Option<Instant>,
    refused: Vec<u64>,
    is_rejecting: bool,
    pause_until: Option<Instant>,
    settled: Vec<(Waiting, Option<SpoolError>)>,
    read_back: Vec<ReadBack>,
}

impl Core {
    pub(crate) fn new(limits: Limits, found: Found, is_ready: bool) -> Self {
        debug_assert!(found.done_below <= found.next, "a number that was done is not given again");
        let has_backlog = found.done_below < found.next;
        Core {
            limits,
            is_open: has_backlog || !is_ready || limits.policy == SpoolPolicy::Always,
            is_ready,
            is_ending: false,
            is_gone: false,
            next: found.next,
            durable_below: found.next,
            read_below: found.done_below,
            drained_below: found.done_below,
            disk_bytes: found.disk_bytes,
            staged: Vec::new(),
            staged_waiting: Vec::new(),
            writing: None,
            spare: Vec::new(),
            is_reading: false,
            reading_below: found.done_below,
            window: Window::default(),
            adopted: BTreeMap::new(),
            is_noting: false,
            note_at: None,
            refused: Vec::new(),
            is_rejecting: false,
            pause_until: None,
            settled: Vec::new(),
            read_back: Vec::new(),
        }
    }

    /// Whether records take the way over the log.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes
    }

    /// From now on records take the way over the log.
    pub(crate) fn open(&mut self) {
        self.is_open = true;
    }

    /// The stream's shards are known.
    pub(crate) fn set_ready(&mut self) {
        let was_waiting = !std::mem::replace(&mut self.is_ready, true);
        let is_empty = self.next == self.drained_below && self.limits.policy != SpoolPolicy::Always;
        self.is_open &= !(was_waiting && is_empty);
    }

    /// Nothing more is read; what is known to be drained is noted at once.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Ends the way over the log if the stream keeps pace: all is read back, and records need no longer than they may.
    /// Returns whether it did.
    pub(crate) fn close_if_drained(&mut self, now: Instant) -> bool {
        let SpoolPolicy::WhenSlow { after } = self.limits.policy else { return false };
        let is_read_up = self.staged_waiting.is_empty()
            && self.writing.is_none()
            && self.adopted.is_empty()
            && self.read_below >= self.durable_below;
        let closes =
            self.is_open && self.is_ready && !self.is_ending && is_read_up && self.window.keeps_pace(now, after);
        self.is_open &= !closes;
        closes
    }

    /// Whether records whose frames have so many bytes would be taken in now.
    pub(crate) fn has_room_for(&self, frames: usize) -> bool {
        let unwritten = self.staged.len().saturating_add(frames);
        let writing = self.writing.as_ref().map_or(0, |(bytes, _)| *bytes);
        let needed = u64::try_from(unwritten).unwrap_or(u64::MAX).saturating_add(self.disk_bytes + writing);
        !self.is_gone && needed <= self.limits.bytes_max
    }

    /// The number that the next record gets.
    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    /// Takes a record in; returns its number, or the one who waits if there is no room on disk.
    pub(crate) fn stage(&mut self, record: &Record, waiting: Waiting) -> Result<u64, (Waiting, SpoolError)> {
        self.stage_sent(record, None, waiting)
    }

    /// Takes a record in that is on its way already, in an aggregate with the mark `sent_as`.
    pub(crate) fn stage_sent(
        &mut self,
        record: &Record,
        sent_as: Option<&Origin>,
        waiting: Waiting,
    ) -> Result<u64, (Waiting, SpoolError)> {
        if self.is_gone {
            return Err((waiting, SpoolError::Gone));
        }
        if !self.has_room_for(frame_bytes(record) + sent_as.map_or(0, |_| ORIGIN_BYTES)) {
            return Err((waiting, SpoolError::Full { bytes_max: self.limits.bytes_max }));
        }
        let number = self.next;
        self.next += 1;
        if self.staged.capacity() == 0 {
            self.staged = std::mem::take(&mut self.spare);
        }
        encode(number, record, sent_as, &mut self.staged);
        self.staged_waiting.push(waiting);
        Ok(number)
    }

    /// A record that was staged is on its way to the stream already.
    pub(crate) fn adopt(&mut self, number: u64) {
        self.adopted.insert(number, false);
    }

    /// The stream has stored a record.
    pub(crate) fn stored(&mut self, now: Instant, number: u64) {
        match self.adopted.get_mut(&number) {
            Some(is_done) => *is_done = true,
            None => self.window.settle(number),
        }
        self.note_later(now);
    }

    /// The stream refuses a record for good.
    pub(crate) fn refuse(&mut self, number: u64) {
        self.refused.push(number);
    }

    /// The next job, if there is one now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Job> {
        if self.is_gone {
            return None;
        }
        if self.writing.is_none() && !self.staged_waiting.is_empty() {
            let frames = std::mem::take(&mut self.staged);
            let bytes = u64::try_from(frames.len()).unwrap_or(u64::MAX);
            self.writing = Some((bytes, std::mem::take(&mut self.staged_waiting)));
            return Some(Job::Append { numbers: self.writing_from()..self.next, frames });
        }
        if self.pause_until.is_some_and(|until| now < until) {
            return None;
        }
        self.pause_until = None;
        if !self.refused.is_empty() && !self.is_rejecting {
            self.is_rejecting = true;
            return Some(Job::Reject { numbers: std::mem::take(&mut self.refused) });
        }
        let room = self.limits.window_bytes.saturating_sub(self.window.bytes());
        let reads = self.is_ready && !self.is_ending && self.read_below < self.durable_below && room > 0;
        if reads && !self.is_reading {
            self.is_reading = true;
            self.reading_below = self.durable_below;
            return Some(Job::Read { bytes_max: room.min(READ_BYTES) });
        }
        let is_due = self.note_at.is_some_and(|at| at <= now) || self.window.unnoted() >= self.limits.window_bytes / 4;
        let below = self.done_below();
        if below <= self.drained_below {
            // A note that was written meanwhile covers it.
            self.note_at = None;
        }
        if (is_due || self.is_ending) && !self.is_noting && below > self.drained_below {
            (self.is_noting, self.note_at) = (true, None);
            self.window.begin_note();
            return Some(Job::Drained { below });
        }
        None
    }

    /// When to poll again if nothing happens before.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.pause_until.or(self.note_at.filter(|_| !self.is_noting))
    }

    /// Takes in what became of a job.
    pub(crate) fn done(&mut self, now: Instant, done: Done) {
        match done {
            Done::Appended { numbers, frames, result, disk_bytes } => {
                self.disk_bytes = disk_bytes;
                self.spare = if frames.capacity() <= SPARE_BYTES_MAX { frames } else { Vec::new() };
                self.appended(&numbers, result.err().as_ref());
            }
            Done::Read(Ok(read)) => self.read(now, read),
            Done::Read(Err(error)) => {
                self.is_reading = false;
                self.failed(now, "read", &error);
            }
            Done::Drained { below, result, disk_bytes } => {
                (self.is_noting, self.disk_bytes) = (false, disk_bytes);
                self.window.end_note(result.is_ok());
                match result {
                    Ok(()) => self.drained_below = below,
                    Err(error) => self.failed(now, "note progress", &error),
                }
                self.note_later(now);
            }
            Done::Rejected { numbers, result, disk_bytes } => {
                (self.is_rejecting, self.disk_bytes) = (false, disk_bytes);
                match result {
                    Ok(()) => numbers.into_iter().for_each(|number| self.stored(now, number)),
                    Err(error) => {
                        self.refused.extend(numbers);
                        self.failed(now, "keep what was refused", &error);
                    }
                }
            }
        }
    }

    /// Nothing can be written or read any more.
    pub(crate) fn gone(&mut self) {
        self.is_gone = true;
        let writing = self.writing.take().map(|(_, waiting)| waiting).unwrap_or_default();
        let waiting = writing.into_iter().chain(self.staged_waiting.drain(..));
        self.settled.extend(waiting.map(|waiting| (waiting, Some(SpoolError::Gone))));
    }

    /// Those who waited and wait no more: their records are durable, or why not.
    pub(crate) fn take_settled(&mut self) -> Vec<(Waiting, Option<SpoolError>)> {
        std::mem::take(&mut self.settled)
    }

    /// Records to be sent to the stream, in order.
    pub(crate) fn take_read_back(&mut self) -> Vec<ReadBack> {
        std::mem::take(&mut self.read_back)
    }

    /// Records in the log that the stream is not known to have stored.
    pub(crate) fn backlog(&self) -> u64 {
        self.next - self.done_below()
    }

    /// Whether the disk knows all that there is to know.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_gone || !(self.is_noting || self.is_reading || self.is_rejecting || self.writing.is_some())
    }

    fn appended(&mut self, numbers: &Range<u64>, error: Option<&SpoolError>) {
        let waiting = self.writing.take().map(|(_, waiting)| waiting).unwrap_or_default();
        self.settled.extend(waiting.into_iter().map(|waiting| (waiting, error.cloned())));
        self.durable_below = numbers.end;
        if let Some(error) = error {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "spool: records were not written, and are refused"
            );
            // They will never be read back.
            self.adopted.retain(|number, _| !numbers.contains(number));
        }
    }

    fn read(&mut self, now: Instant, read: Read) {
        self.is_reading = false;
        for Numbered { number, record, sent_as, frame_bytes } in read.records {
            let adopted = self.adopted.remove(&number);
            self.window.push(number, frame_bytes + RECORD_OVERHEAD_BYTES, now, adopted.unwrap_or(false));
            if adopted.is_none() {
                self.read_back.push(ReadBack { number, record, sent_as });
            }
        }
        self.read_below = self.read_below.max(read.read_below);
        if read.is_at_end {
            self.read_below = self.read_below.max(self.reading_below);
        }
        // What lies in a damaged file cannot be read back, and need not be waited for.
        self.adopted = self.adopted.split_off(&self.read_below);
        self.note_later(now);
    }

    fn failed(&mut self, now: Instant, what: &'static str, error: &SpoolError) {
        tracing::error!(error = error as &dyn std::error::Error, what, "spool: tried again in a second");
        self.pause_until = Some(now + FAILURE_PAUSE);
    }

    fn note_later(&mut self, now: Instant) {
        if self.note_at.is_none() && self.done_below() > self.drained_below {
            self.note_at = Some(now + PROGRESS_PAUSE);
        }
    }

    /// Every record below was stored.
    pub(crate) fn done_below(&self) -> u64 {
        self.window.first().unwrap_or(self.read_below)
    }

    /// The number of the first record that is being written.
    fn writing_from(&self) -> u64 {
        let writing = self.writing.as_ref().map_or(0, |(_, waiting)| waiting.len());
        self.next.saturating_sub(u64::try_from(writing).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;
