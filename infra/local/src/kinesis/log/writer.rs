//! A stream's writer: one thread that owns the log's files.
//!
//! Group commit: whatever has come in while the last commit was being synced is written as the next one, with one write
//! and one sync for all of it, and each append is answered after that sync. Under load the commits grow by themselves.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::block::{Block, Blocks, HEAD_BYTES, Head, Run};

use super::index::{self, Index};
use super::segment::{self, Header, SegmentId};
use super::{ShardLog, Shared, StreamLog, Tail};

/// A segment is sealed when it has reached this size: the piece in which retention frees the disk, and what a start reads
/// where an index is lost.
const SEGMENT_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// After so many bytes the index of the segment is written anew: what a start after a kill has to read.
const INDEX_STEP_BYTES: u64 = 4 * 1024 * 1024;
/// A segment is sealed when it has so many spans, so that the index in memory stays below 16 MiB.
const SEGMENT_SPANS_MAX: usize = 400_000;
/// A segment is sealed when it is this old, so that a slow stream's disk is freed too.
const SEGMENT_AGE_MS_MAX: i64 = 60 * 60 * 1_000;
/// Appends that wait for the writer; more make the callers wait.
const APPENDS_WAITING_MAX: usize = 256;
/// Appends that share one sync at most.
const COMMIT_APPENDS_MAX: usize = 256;
/// A commit takes no more appends when it has this size.
const COMMIT_BYTES_FULL: usize = 8 * 1024 * 1024;

/// What a new writer starts from.
#[derive(Debug)]
pub(in crate::kinesis) struct Seed {
    pub(super) file: Arc<File>,
    pub(super) id: SegmentId,
    pub(super) end: u64,
    /// The last commit's number.
    pub(super) commit: u64,
    /// The counter that each shard's next record gets.
    pub(super) counters: HashMap<u64, u64>,
    /// The segment has no block yet.
    pub(super) is_empty: bool,
    pub(super) last_arrival_ms: i64,
}

impl Seed {
    /// The counter that a shard's next record gets.
    pub(in crate::kinesis) fn counter(&self, shard: u64) -> u64 {
        self.counters.get(&shard).copied().unwrap_or(1)
    }
}

/// The log was not written: the disk refused, or the store is closing. Nothing of the append will ever be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log was not written")]
pub(in crate::kinesis) struct AppendFailed;

/// What became of an append: its blocks, each with the counter of its first record. A block without one was not taken:
/// its shard is being split or merged, or was; ask the stream which shards take records now.
type Appended = Result<Vec<Run>, AppendFailed>;

/// The sending side of a stream's writer.
#[derive(Debug, Clone)]
pub(in crate::kinesis) struct Writer {
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Append(Append),
    /// Shards that will take records.
    Add(Vec<ShardLog>),
    /// Shards that take no more. The answer is the counter after the last record of each.
    Close(Vec<u64>, oneshot::Sender<Vec<u64>>),
    Reopen(Vec<u64>),
    /// Shards of which nothing is kept any more.
    Forget(Vec<u64>),
    Stop(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Append {
    blocks: Blocks,
    done: oneshot::Sender<Appended>,
}

impl Writer {
    /// Starts the writer of a log with these shards; those whose tail is closed take no records. `data` keeps the data
    /// directory locked for as long as the thread may write.
    pub(in crate::kinesis) fn start(
        log: StreamLog,
        seed: Seed,
        shards: &[ShardLog],
        clock: Clock,
        data: Arc<DataDir>,
    ) -> io::Result<Self> {
        let (commands, receiver) = mpsc::channel(APPENDS_WAITING_MAX);
        (&*seed.file).seek(SeekFrom::Start(seed.end))?;
        let lanes = shards.iter().map(Lane::of).collect();
        let indexed_end = seed.end;
        let state = State {
            shared: log.shared,
            seed,
            lanes,
            clock,
            syncs: true,
            indexed_end,
            is_broken: false,
            data: Some(data),
        };
        thread::Builder::new().name("stream-writer".to_owned()).spawn(move || state.run(receiver))?;
        Ok(Self { commands })
    }

    /// Hands blocks over, sealed; the answer comes after they are durable.
    pub(in crate::kinesis) async fn append(&self, blocks: Blocks) -> Appended {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Append(Append { blocks, done })).await.map_err(|_ended| AppendFailed)?;
        answer.await.unwrap_or(Err(AppendFailed))
    }

    /// Makes shards known before anyone appends to them.
    pub(in crate::kinesis) async fn add(&self, shards: Vec<ShardLog>) {
        // A writer that has ended refuses the appends, which is enough.
        let _writer_may_be_gone = self.commands.send(Command::Add(shards)).await;
    }

    /// Takes no appends to these shards from here on. Returns the counter after the last record of each, `None` when the
    /// writer has ended.
    pub(in crate::kinesis) async fn close(&self, shards: Vec<u64>) -> Option<Vec<u64>> {
        let (done, answer) = oneshot::channel();
        self.commands.send(Command::Close(shards, done)).await.ok()?;
        answer.await.ok()
    }

    /// Takes back [`Writer::close`], for a reshard that could not be recorded.
    pub(in crate::kinesis) async fn reopen(&self, shards: Vec<u64>) {
        // A writer that has ended needs no reopening.
        let _writer_may_be_gone = self.commands.send(Command::Reopen(shards)).await;
    }

    /// Says that nothing of these shards is kept any more.
    pub(in crate::kinesis) async fn forget(&self, shards: Vec<u64>) {
        let _writer_may_be_gone = self.commands.send(Command::Forget(shards)).await;
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

/// A shard as the writer knows it.
#[derive(Debug)]
struct Lane {
    next_counter: u64,
    takes_records: bool,
    tail: Arc<watch::Sender<Tail>>,
}

impl Lane {
    fn of(shard: &ShardLog) -> (u64, Self) {
        let tail = shard.tail();
        let lane =
            Self { next_counter: tail.next_counter, takes_records: !tail.is_closed, tail: Arc::clone(&shard.tail) };
        (shard.number, lane)
    }
}

struct State {
    shared: Arc<Shared>,
    seed: Seed,
    lanes: HashMap<u64, Lane>,
    clock: Clock,
    /// Whether each commit is synced; not while an older log is taken over, which is synced at its end.
    syncs: bool,
    /// How far the index reaches that was last written while the segment grew.
    indexed_end: u64,
    /// A sync failed: what the file holds is not known any more, so nothing is taken until a restart has read it.
    is_broken: bool,
    data: Option<Arc<DataDir>>,
}

impl State {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = commands.blocking_recv();
        while let Some(command) = next.take() {
            match command {
                Command::Append(append) => next = self.gather(append, &mut commands),
                Command::Add(shards) => self.lanes.extend(shards.iter().map(Lane::of)),
                Command::Close(shards, done) => {
                    self.take_records(&shards, false);
                    let next_counter = |shard| self.lanes.get(shard).map_or(1, |lane: &Lane| lane.next_counter);
                    let _caller_may_be_gone = done.send(shards.iter().map(next_counter).collect());
                }
                Command::Reopen(shards) => self.take_records(&shards, true),
                Command::Forget(shards) => self.lanes.retain(|shard, _| !shards.contains(shard)),
                Command::Stop(done) => {
                    self.leave_index();
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

    /// Commits an append with all that wait behind it. Returns the command after them, if there is one.
    fn gather(&mut self, first: Append, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        let mut bytes = first.blocks.bytes().len();
        let mut commit = vec![first];
        let mut next = None;
        while commit.len() < COMMIT_APPENDS_MAX && bytes < COMMIT_BYTES_FULL {
            match commands.try_recv() {
                Ok(Command::Append(append)) => {
                    bytes += append.blocks.bytes().len();
                    commit.push(append);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_none_waiting) => break,
            }
        }
        self.commit(commit);
        next
    }

    fn take_records(&mut self, shards: &[u64], takes_records: bool) {
        for shard in shards {
            if let Some(lane) = self.lanes.get_mut(shard) {
                lane.takes_records = takes_records;
            }
        }
    }

    fn commit(&mut self, mut commit: Vec<Append>) {
        // A clock that goes back must not put a record before one that is already in the log.
        let now_ms = self.clock.now_ms();
        let arrival_ms = now_ms.max(self.seed.last_arrival_ms);
        let written = if self.is_broken { Err(broken()) } else { self.write(&mut commit, (arrival_ms, now_ms)) };
        let heads = match written {
            Ok(heads) => heads,
            Err(error) => {
                tracing::error!(%error, dir = %self.shared.dir.display(), "cannot write a stream's log; its puts fail");
                for append in commit {
                    let _caller_may_be_gone = append.done.send(Err(AppendFailed));
                }
                return;
            }
        };
        let (answers, blocks) = take_apart(commit, &heads);
        self.show(&heads, blocks);
        for (done, runs) in answers {
            let _caller_may_be_gone = done.send(Ok(runs));
        }
        if self.seed.end - self.indexed_end >= INDEX_STEP_BYTES {
            self.leave_index();
            self.indexed_end = self.seed.end;
        }
    }

    /// Gives each block its counters, writes those whose shards take records, and syncs. Returns the heads written.
    fn write(&mut self, commit: &mut [Append], (arrival_ms, now_ms): (i64, i64)) -> io::Result<Vec<Head>> {
        if let Some(data) = &self.data {
            data.faults().check_disk(now_ms)?;
        }
        self.roll_if_due(arrival_ms)?;
        let stamps = (arrival_ms, self.seed.commit + 1);
        let mut heads = Vec::new();
        let mut counters: HashMap<u64, u64> = HashMap::new();
        for append in commit.iter_mut() {
            for at in 0..append.blocks.runs().len() {
                let Some(run) = append.blocks.runs().get(at).copied() else { continue };
                let Some(lane) = self.lanes.get(&run.shard).filter(|lane| lane.takes_records) else { continue };
                let counter = counters.entry(run.shard).or_insert(lane.next_counter);
                heads.extend(append.blocks.stamp(at, (*counter, stamps.0, stamps.1)));
                *counter += u64::from(run.records);
            }
        }
        if heads.is_empty() {
            return Ok(heads);
        }
        let mut slices: Vec<IoSlice<'_>> = commit.iter().flat_map(|append| taken(&append.blocks)).collect();
        if let Err(error) = write_all(&self.seed.file, &mut slices) {
            // Gives the space back, and takes away whole blocks that were never acknowledged.
            self.is_broken = self.take_back().is_err();
            return Err(error);
        }
        if self.syncs
            && let Err(error) = self.seed.file.sync_data()
        {
            self.is_broken = true;
            return Err(error);
        }
        self.seed.commit = stamps.1;
        self.seed.last_arrival_ms = arrival_ms;
        self.seed.is_empty = false;
        for (shard, counter) in counters {
            if let Some(lane) = self.lanes.get_mut(&shard) {
                lane.next_counter = counter;
            }
        }
        Ok(heads)
    }

    fn take_back(&self) -> io::Result<()> {
        self.seed.file.set_len(self.seed.end)?;
        (&*self.seed.file).seek(SeekFrom::Start(self.seed.end)).map(drop)
    }

    /// Makes a commit readable: first what is there, then how far it goes.
    fn show(&mut self, heads: &[Head], blocks: Vec<Block>) {
        {
            let mut files = self.shared.files();
            for head in heads {
                files.active.index.note(head, self.seed.end);
                self.seed.end += u64::try_from(head.block_bytes()).unwrap_or(0);
            }
            for block in blocks {
                files.recent.push(block);
            }
        }
        for head in heads {
            if let Some(lane) = self.lanes.get(&head.shard) {
                lane.tail.send_if_modified(|tail| {
                    let is_further = tail.next_counter < head.end();
                    tail.next_counter = tail.next_counter.max(head.end());
                    is_further
                });
            }
        }
    }

    fn roll_if_due(&mut self, now_ms: i64) -> io::Result<()> {
        let is_old = now_ms.saturating_sub(self.seed.id.start_ms) >= SEGMENT_AGE_MS_MAX;
        let spans = self.shared.files().active.index.len();
        let is_full = self.seed.end >= SEGMENT_BYTES_MAX || spans >= SEGMENT_SPANS_MAX;
        if self.seed.is_empty || !(is_old || is_full) {
            return Ok(());
        }
        let counters = self.lanes.iter().map(|(shard, lane)| (*shard, lane.next_counter)).collect();
        let id = SegmentId { number: self.seed.id.number + 1, start_ms: now_ms };
        let header = Header { id, first_commit: self.seed.commit + 1, counters };
        if !self.syncs {
            self.seed.file.sync_data()?;
        }
        let file = Arc::new(segment::create(&self.shared.dir, &header)?);
        (&*file).seek(SeekFrom::Start(header.length()))?;
        self.leave_index();
        {
            let mut files = self.shared.files();
            let sealed = files.active.id;
            files.sealed.push_back(sealed);
            files.active = super::Active { id, file: Arc::clone(&file), index: Index::default() };
        }
        (self.seed.file, self.seed.id, self.seed.end, self.seed.is_empty) = (file, id, header.length(), true);
        self.indexed_end = self.seed.end;
        Ok(())
    }

    /// Writes the segment's index beside it. Without one it is made again when it is needed.
    fn leave_index(&self) {
        if self.is_broken {
            return;
        }
        let index = self.shared.files().active.index.clone();
        let path = self.seed.id.index_path(&self.shared.dir);
        if let Err(error) = index::write(&path, &index, self.seed.end, self.seed.commit) {
            tracing::warn!(%error, path = %path.display(), "cannot write a segment's index");
        }
    }
}

/// Writes a log on the caller's thread, with arrivals of its own: how an older log is taken over.
pub(super) struct Copier {
    state: State,
}

impl Copier {
    /// Writes behind what is in a log that was just opened.
    pub(super) fn new(log: StreamLog, seed: Seed) -> io::Result<Self> {
        (&*seed.file).seek(SeekFrom::Start(seed.end))?;
        let lane = |(number, next_counter): (&u64, &u64)| Lane::of(&log.shard(*number, *next_counter));
        let lanes = seed.counters.iter().map(lane).collect();
        let clock = Clock::standing_at(seed.last_arrival_ms);
        let indexed_end = seed.end;
        let state =
            State { shared: log.shared, seed, lanes, clock, syncs: false, indexed_end, is_broken: false, data: None };
        Ok(Self { state })
    }

    /// Writes blocks of records that all arrived at once, and not before those written before.
    pub(super) fn write(&mut self, mut blocks: Blocks, arrival_ms: i64) -> io::Result<()> {
        blocks.seal();
        let (done, _answer) = oneshot::channel();
        let mut commit = [Append { blocks, done }];
        let heads = self.state.write(&mut commit, (arrival_ms, arrival_ms))?;
        self.state.show(&heads, Vec::new());
        Ok(())
    }

    /// Makes all of it durable.
    pub(super) fn finish(self) -> io::Result<()> {
        self.state.seed.file.sync_all()
    }
}

type Answer = (oneshot::Sender<Appended>, Vec<Run>);

/// The answers of a written commit, and its blocks in the order of their heads.
fn take_apart(commit: Vec<Append>, heads: &[Head]) -> (Vec<Answer>, Vec<Block>) {
    let mut blocks = Vec::with_capacity(heads.len());
    let mut heads = heads.iter();
    let answers = commit
        .into_iter()
        .map(|append| {
            let (bytes, runs) = append.blocks.into_parts();
            let written = runs.iter().filter(|run| run.counter.is_some());
            blocks.extend(written.zip(heads.by_ref()).map(|(run, head)| Block {
                head: *head,
                body: bytes.slice(run.offset + HEAD_BYTES..run.offset + run.length),
            }));
            (append.done, runs)
        })
        .collect();
    (answers, blocks)
}

/// The stretches of a buffer that are to be written: all of it, but for blocks of closed shards.
fn taken(blocks: &Blocks) -> Vec<IoSlice<'_>> {
    let mut stretches: Vec<std::ops::Range<usize>> = Vec::new();
    for run in blocks.runs().iter().filter(|run| run.counter.is_some()) {
        match stretches.last_mut() {
            Some(last) if last.end == run.offset => last.end += run.length,
            _ => stretches.push(run.offset..run.offset + run.length),
        }
    }
    stretches.into_iter().filter_map(|stretch| blocks.bytes().get(stretch).map(IoSlice::new)).collect()
}

fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn broken() -> io::Error {
    io::Error::other("a sync failed before; a restart reads what is there")
}
