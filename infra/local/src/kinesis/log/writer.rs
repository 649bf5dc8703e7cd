//! A shard's writer: one thread that owns the log's files.
//!
//! Group commit: whatever has come in while the last group was being synced is written as the next group, with one
//! sync for all of it, and each append is answered after that sync. Under load the groups grow by themselves.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::frame::Frames;
use crate::kinesis::segment::{self, Place};

use super::ShardLog;

/// A segment is sealed when it has reached this size, so that retention frees the disk in pieces of it.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// A segment is sealed when its first record is this old, so that a slow shard's disk is freed too.
const SEGMENT_AGE_MS_MAX: i64 = 60 * 60 * 1_000;
/// Appends that wait for the writer; more make the callers wait.
const APPENDS_WAITING_MAX: usize = 64;
/// Appends that share one sync at most.
const GROUP_APPENDS_MAX: usize = 256;

/// What a new writer starts from.
#[derive(Debug)]
pub(in crate::kinesis) struct Seed {
    pub(super) file: File,
    pub(super) base: u64,
    pub(super) end: u64,
    /// The arrival of the segment's first record, once it has one.
    pub(super) first_arrival_ms: Option<i64>,
    pub(super) last_arrival_ms: i64,
}

/// Why an append was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kinesis) enum AppendError {
    /// The shard is being split or merged, or was: ask the stream which shards take records now.
    Closed,
    /// The disk refused, or the store is closing. Nothing of the append will ever be read.
    Failed,
}

/// The sending side of a shard's writer.
#[derive(Debug, Clone)]
pub(in crate::kinesis) struct Writer {
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Append { frames: Frames, done: oneshot::Sender<Result<u64, AppendError>> },
    Close(oneshot::Sender<u64>),
    Reopen,
    Stop(oneshot::Sender<()>),
}

impl Writer {
    /// Starts the writer of a log. `data` keeps the data directory locked for as long as the thread may write.
    pub(in crate::kinesis) fn start(log: ShardLog, seed: Seed, clock: Clock, data: Arc<DataDir>) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(APPENDS_WAITING_MAX);
        let next_counter = log.tail().next_counter;
        let state = State { log, seed, next_counter, clock, is_closed: false, is_broken: false, data };
        thread::Builder::new().name("shard-writer".to_owned()).spawn(move || state.run(receiver))?;
        Ok(Self { commands })
    }

    /// Hands frames over; the answer, the counter of the first one, comes after they are durable.
    pub(in crate::kinesis) async fn append(&self, frames: Frames) -> oneshot::Receiver<Result<u64, AppendError>> {
        let (done, answer) = oneshot::channel();
        if let Err(mpsc::error::SendError(Command::Append { done, .. })) =
            self.commands.send(Command::Append { frames, done }).await
        {
            let _caller_waits_below = done.send(Err(AppendError::Failed));
        }
        answer
    }

    /// Takes no appends from here on. Returns the counter after the last record, `None` when the writer has ended.
    pub(in crate::kinesis) async fn close(&self) -> Option<u64> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Close(done)).await.ok()?;
        answer.await.ok()
    }

    /// Takes back [`Writer::close`], for a reshard that could not be recorded.
    pub(in crate::kinesis) async fn reopen(&self) {
        // A writer that has ended needs no reopening.
        let _writer_may_be_gone = self.commands.send(Command::Reopen).await;
    }

    /// Finishes what was handed over before, then ends the thread.
    pub(in crate::kinesis) async fn stop(&self) {
        let (done, answer) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            // A dropped sender says the same: the thread has ended.
            let _ended = answer.await;
        }
    }
}

struct State {
    log: ShardLog,
    seed: Seed,
    next_counter: u64,
    clock: Clock,
    is_closed: bool,
    /// A sync failed: what the file holds is not known any more, so nothing is taken until a restart has read it.
    is_broken: bool,
    data: Arc<DataDir>,
}

/// One append of a group.
type Append = (Frames, oneshot::Sender<Result<u64, AppendError>>);

impl State {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Append { frames, done } => {
                    let mut group = vec![(frames, done)];
                    while group.len() < GROUP_APPENDS_MAX {
                        match commands.try_recv() {
                            Ok(Command::Append { frames, done }) => group.push((frames, done)),
                            Ok(other @ (Command::Close(_) | Command::Reopen | Command::Stop(_))) => {
                                next = Some(other);
                                break;
                            }
                            Err(_none_waiting) => break,
                        }
                    }
                    self.commit(group);
                }
                Command::Close(done) => {
                    self.is_closed = true;
                    let _caller_may_be_gone = done.send(self.next_counter);
                }
                Command::Reopen => self.is_closed = false,
                Command::Stop(done) => {
                    drop(self);
                    drop(commands);
                    let _caller_may_be_gone = done.send(());
                    return;
                }
            }
            if next.is_none() {
                next = commands.blocking_recv();
            }
        }
    }

    fn commit(&mut self, mut group: Vec<Append>) {
        let refusal = match (self.is_closed, self.is_broken) {
            (true, _) => Some(AppendError::Closed),
            (false, true) => Some(AppendError::Failed),
            (false, false) => self.write(&mut group).err().map(|error| {
                tracing::error!(%error, dir = %self.log.dir.display(), "cannot write a shard's log; its puts fail");
                AppendError::Failed
            }),
        };
        let mut counter = self.next_counter;
        if refusal.is_none() {
            self.next_counter += group.iter().map(|(frames, _)| frames.count()).sum::<u64>();
            let next_counter = self.next_counter;
            self.log.shared.tail.send_modify(|tail| tail.next_counter = next_counter);
        }
        for (frames, done) in group {
            let _caller_may_be_gone = done.send(refusal.map_or(Ok(counter), Err));
            counter += frames.count();
        }
    }

    /// Writes and syncs a group, and makes it readable but for the tail.
    fn write(&mut self, group: &mut [Append]) -> io::Result<()> {
        // A clock that goes back must not put a record before one that is already in the log.
        let now_ms = self.clock.now_ms();
        self.data.faults().check_disk(now_ms)?;
        let arrival_ms = now_ms.max(self.seed.last_arrival_ms);
        self.roll_if_due(arrival_ms)?;
        let mut places = Vec::with_capacity(group.len());
        let (mut counter, mut end) = (self.next_counter, self.seed.end);
        for (frames, _) in group {
            let count = frames.count();
            let bytes = frames.stamp(counter, arrival_ms);
            if let Err(error) = self.seed.file.write_all_at(bytes, end) {
                // Gives the space back, and takes away whole frames that were never acknowledged.
                self.is_broken = self.seed.file.set_len(self.seed.end).is_err();
                return Err(error);
            }
            places.push(Place { counter, offset: end, arrival_ms });
            end += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            counter += count;
        }
        if let Err(error) = self.seed.file.sync_data() {
            self.is_broken = true;
            return Err(error);
        }
        self.seed.end = end;
        self.seed.first_arrival_ms.get_or_insert(arrival_ms);
        self.seed.last_arrival_ms = arrival_ms;
        let mut segments = self.log.segments();
        segments.last_end = end;
        for place in places {
            segments.last_index.note(place);
        }
        Ok(())
    }

    fn roll_if_due(&mut self, now_ms: i64) -> io::Result<()> {
        let is_old =
            self.seed.first_arrival_ms.is_some_and(|first_ms| now_ms.saturating_sub(first_ms) >= SEGMENT_AGE_MS_MAX);
        let is_empty = self.next_counter == self.seed.base;
        if is_empty || !(is_old || self.seed.end >= SEGMENT_BYTES_MAX) {
            return Ok(());
        }
        let base = self.next_counter;
        let file = segment::create(&self.log.dir, base)?;
        let sealed = {
            let mut segments = self.log.segments();
            segments.bases.push_back(base);
            segments.last_end = segment::FRAMES_START;
            std::mem::take(&mut segments.last_index)
        };
        if let Err(error) = segment::write_index(&self.log.dir, self.seed.base, &sealed) {
            tracing::warn!(%error, dir = %self.log.dir.display(), "cannot write a sealed segment's index");
        }
        self.seed.file = file;
        self.seed.base = base;
        self.seed.end = segment::FRAMES_START;
        self.seed.first_arrival_ms = None;
        Ok(())
    }
}
