//! A stream: its shards, its settings, and the handle through which records go in and come out.
//!
//! The state is a snapshot that is replaced as a whole, after it has been made durable. Puts and reads take the
//! snapshot of the moment and never wait for a change; changes wait for each other.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::clock::Clock;
use crate::data_dir::{DataDir, replace_file};

use super::description::{ShardDescription, StreamFile};
use super::growth::{Growth, Taken};
use super::hash_key::HashKey;
use super::limiter::{ReadLimiter, WriteLimiter};
use super::log::run::Run;
use super::log::writer::Writer;
use super::log::{self, LogError, ReadLimit, ShardLog, StreamLog};
use super::reader::ShardReader;
use super::settings::{Distribution, Settings};
use super::status::{Status, Transition, TransitionTime};

mod grow;
pub(super) mod put;
pub(super) mod reshard;
mod usage;

pub(super) use usage::PutSizes;
pub(crate) use usage::ShardUse;
use usage::{ReadUse, WriteUse};

const STREAM_FILE: &str = "stream.json";
/// Beside it, the records.
const LOG_DIR: &str = "log";

/// A stream of the local cloud. Cheap to clone; all clones are one stream.
#[derive(Debug, Clone)]
pub struct Stream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    created_ms: i64,
    dir: PathBuf,
    home: Home,
    log: StreamLog,
    writer: Writer,
    state: watch::Sender<Arc<StreamState>>,
    /// One change at a time.
    change: tokio::sync::Mutex<()>,
    /// Counts records that are given out in turn.
    turn: AtomicUsize,
    /// Held for a few additions.
    sizes: Mutex<PutSizes>,
    /// Held for a look at what the shards took.
    growth: Mutex<Growth>,
    transition: Transition,
}

/// What every stream of a store shares.
#[derive(Debug, Clone)]
pub(super) struct Home {
    pub(super) data: Arc<DataDir>,
    pub(super) clock: Clock,
    pub(super) is_limited: bool,
    pub(super) transition_time: TransitionTime,
}

/// A stream at one moment.
#[derive(Debug, Clone)]
pub(super) struct StreamState {
    /// Grows with each change.
    pub(super) version: u64,
    pub(super) is_deleted: bool,
    pub(super) settings: Settings,
    pub(super) next_shard: u64,
    /// All that are listed, by number.
    pub(super) shards: Vec<Shard>,
    /// Those that take records, by starting hash key.
    open: Vec<Shard>,
}

/// A shard with its log.
#[derive(Debug, Clone)]
pub(super) struct Shard {
    pub(super) description: Arc<ShardDescription>,
    pub(super) log: ShardLog,
    meters: Arc<Meters>,
    is_limited: bool,
}

/// A shard's limits. Each lock is held for a few additions.
#[derive(Debug)]
struct Meters {
    writes: Mutex<(WriteLimiter, WriteUse)>,
    reads: Mutex<(ReadLimiter, ReadUse)>,
    iterators: Mutex<ReadLimiter>,
}

/// What recovery cut off a stream's log: a write that was under way when the process ended, never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The stream's name.
    pub stream: String,
    /// The file that it was cut off.
    pub segment: PathBuf,
    /// Where in the file: its length now.
    pub offset: u64,
    /// How many bytes were cut.
    pub bytes: u64,
}

impl StreamState {
    fn new(version: u64, settings: Settings, next_shard: u64, shards: Vec<Shard>) -> Self {
        let mut open: Vec<Shard> = shards.iter().filter(|shard| shard.description.closed.is_none()).cloned().collect();
        open.sort_by_key(|shard| shard.description.range.starting_hash_key);
        Self { version, is_deleted: false, settings, next_shard, shards, open }
    }

    /// The shard with this number.
    pub(super) fn shard(&self, number: u64) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.description.number == number)
    }

    /// Those that take records, by starting hash key.
    pub(super) fn open(&self) -> &[Shard] {
        &self.open
    }

    /// Whether records go to shards in turn, whatever their keys.
    fn is_auto(&self) -> bool {
        self.settings.distribution == Distribution::Auto
    }

    /// The index in [`StreamState::open`] of the shard that takes this hash key.
    fn route(&self, key: HashKey) -> Option<usize> {
        self.open.partition_point(|shard| shard.description.range.starting_hash_key <= key).checked_sub(1)
    }

    /// The number of the shard that takes this hash key.
    pub(super) fn shard_of(&self, key: HashKey) -> Option<u64> {
        self.open.get(self.route(key)?).map(|shard| shard.description.number)
    }

    /// When the oldest kept data can be from.
    pub(super) fn horizon_ms(&self, now_ms: i64) -> i64 {
        self.settings.horizon_ms(now_ms)
    }
}

impl Shard {
    fn new(description: ShardDescription, log: ShardLog, now_ms: i64, is_limited: bool) -> Self {
        if description.closed.is_some() {
            log.close();
        }
        let meters = Meters {
            writes: Mutex::new((WriteLimiter::new(now_ms), WriteUse::default())),
            reads: Mutex::new((ReadLimiter::new(now_ms), ReadUse::default())),
            iterators: Mutex::new(ReadLimiter::new(now_ms)),
        };
        Self { description: Arc::new(description), log, meters: Arc::new(meters), is_limited }
    }

    /// Takes a record into the shard's second; all are taken where nothing is limited.
    fn admit_write(&self, bytes: usize, now_ms: i64) -> bool {
        let mut writes = lock(&self.meters.writes);
        let (limiter, used) = &mut *writes;
        let is_admitted = !self.is_limited || limiter.admit(bytes, now_ms);
        used.note(bytes, is_admitted, now_ms);
        is_admitted
    }

    /// How much of its limits it uses.
    pub(super) fn usage(&self, now_ms: i64) -> ShardUse {
        let (writes, reads) = (lock(&self.meters.writes).1, lock(&self.meters.reads).1);
        ShardUse::of(&writes, &reads, now_ms)
    }

    /// What it has taken since the start.
    fn taken(&self) -> Taken {
        let (bytes, records) = lock(&self.meters.writes).1.taken();
        let (shard, created_ms) = (self.description.number, self.description.created_ms);
        Taken { shard, created_ms, is_open: self.description.closed.is_none(), bytes, records }
    }

    /// Takes one of the shard's `GetShardIterator` calls.
    pub(super) fn admit_iterator(&self, now_ms: i64) -> bool {
        !self.is_limited || lock(&self.meters.iterators).admit(now_ms)
    }

    /// Takes one of the shard's `GetRecords` calls.
    pub(super) fn admit_read(&self, now_ms: i64) -> bool {
        let mut reads = lock(&self.meters.reads);
        let (limiter, used) = &mut *reads;
        let is_admitted = !self.is_limited || limiter.admit(now_ms);
        used.note(is_admitted, now_ms);
        is_admitted
    }

    /// Counts what a `GetRecords` call gave.
    pub(super) fn gave(&self, bytes: usize, now_ms: i64) {
        let mut reads = lock(&self.meters.reads);
        let (limiter, used) = &mut *reads;
        limiter.gave(bytes);
        used.gave(bytes, now_ms);
    }

    /// The counter of the first record that arrived at `arrival_ms` or later, or the one that comes next.
    pub(super) async fn counter_at(&self, arrival_ms: i64) -> Result<u64, LogError> {
        let log = self.log.clone();
        match tokio::task::spawn_blocking(move || log.counter_at(arrival_ms)).await {
            Ok(result) => result,
            Err(error) => Err(self.log.io_error(io::Error::other(error))),
        }
    }

    /// A reader that takes from none of the limits.
    pub(super) fn reader(&self) -> ShardReader {
        ShardReader::new(Arc::clone(&self.description), self.log.clone())
    }
}

impl Stream {
    /// Makes a stream in `dir`, which does not exist: its log first, then the file that says that it exists.
    pub(super) fn create(dir: PathBuf, file: &StreamFile, home: Home) -> Result<Self, LogError> {
        std::fs::create_dir_all(&dir).map_err(|source| LogError::Io { dir: dir.clone(), source })?;
        let (stream, _nothing_torn) = Self::open(dir.clone(), file, home)?;
        write_file(&dir, file).map_err(|source| LogError::Io { dir, source })?;
        Ok(stream)
    }

    /// Opens the stream that `file` describes, with the log in `dir`. Returns what recovery cut off, too.
    pub(super) fn open(dir: PathBuf, file: &StreamFile, home: Home) -> Result<(Self, Option<TornTail>), LogError> {
        let (log_dir, now_ms) = (dir.join(LOG_DIR), home.clock.now_ms());
        let failed = |source| LogError::Io { dir: log_dir.clone(), source };
        log::take_over(&dir, &log_dir, now_ms)?;
        std::fs::create_dir_all(&log_dir).map_err(failed)?;
        let opened = StreamLog::open(&log_dir, now_ms, HashMap::new())?;
        let (log, seed) = (opened.log, opened.seed);
        let shard = |description: &ShardDescription| {
            let number = description.number;
            Shard::new(description.clone(), log.shard(number, seed.counter(number)), now_ms, home.is_limited)
        };
        let shards: Vec<Shard> = file.shards.iter().map(shard).collect();
        let logs: Vec<ShardLog> = shards.iter().map(|shard| shard.log.clone()).collect();
        let writer = Writer::start(log.clone(), seed, &logs, home.clock.clone(), Arc::clone(&home.data));
        let writer = writer.map_err(failed)?;
        let torn = opened.torn.map(|torn| TornTail {
            stream: file.name.clone(),
            segment: torn.segment,
            offset: torn.offset,
            bytes: torn.bytes,
        });
        let state = StreamState::new(0, file.settings.clone(), file.next_shard, shards);
        let (state, _) = watch::channel(Arc::new(state));
        let (name, created_ms) = (file.name.clone(), file.created_ms);
        let (change, turn, sizes) = (tokio::sync::Mutex::new(()), AtomicUsize::new(0), Mutex::default());
        let transition = Transition::none(home.clock.clone(), home.transition_time.clone());
        let growth = Mutex::default();
        let inner = Inner { name, created_ms, dir, home, log, writer, state, change, turn, sizes, growth, transition };
        Ok((Self { inner: Arc::new(inner) }, torn))
    }

    /// The stream's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The stream's ARN.
    pub fn arn(&self) -> String {
        super::stream_arn(&self.inner.name)
    }

    /// When the stream was made, in milliseconds since the epoch. A stream made again under its name differs in this.
    pub fn created_ms(&self) -> i64 {
        self.inner.created_ms
    }

    /// The shards that are listed now, by number: open ones, and closed ones whose records are still kept.
    pub fn shards(&self) -> Vec<ShardReader> {
        self.state().shards.iter().map(Shard::reader).collect()
    }

    /// How long records are kept, in milliseconds.
    pub fn retention_ms(&self) -> i64 {
        i64::from(self.state().settings.retention_hours) * 3_600_000
    }

    /// Whether the stream was deleted since this handle was taken.
    pub fn is_deleted(&self) -> bool {
        self.state().is_deleted
    }

    /// Where the stream stands now.
    pub(super) fn status(&self) -> Status {
        if self.is_deleted() { Status::Deleting } else { self.inner.transition.status() }
    }

    /// Its way from one state to the next.
    pub(super) fn transition(&self) -> &Transition {
        &self.inner.transition
    }

    /// Wakes after each change of the stream: a split, a merge, a setting, its deletion.
    pub fn changes(&self) -> StreamChanges {
        StreamChanges(self.inner.state.subscribe())
    }

    pub(super) fn state(&self) -> Arc<StreamState> {
        Arc::clone(&self.inner.state.borrow())
    }

    /// What went through all listed shards since the start, by the names and units of the metrics.
    pub(crate) fn totals(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut totals = BTreeMap::new();
        for shard in &self.state().shards {
            let (writes, reads) = (lock(&shard.meters.writes).1, lock(&shard.meters.reads).1);
            for (name, unit, total) in ShardUse::totals(&writes, &reads) {
                *totals.entry((name, unit)).or_insert(0) += total;
            }
        }
        totals
    }

    /// The sizes of what was put.
    pub(super) fn sizes(&self) -> PutSizes {
        *lock(&self.inner.sizes)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Changes the settings: durable first, then for all to see. A change that refuses changes nothing.
    pub(super) async fn set<T, E>(
        &self,
        change: impl FnOnce(&mut Settings) -> Result<T, E>,
    ) -> io::Result<Result<T, E>> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        if state.is_deleted {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the stream was deleted"));
        }
        let mut settings = state.settings.clone();
        let result = change(&mut settings);
        if result.is_ok() && settings != state.settings {
            let next = StreamState::new(state.version + 1, settings, state.next_shard, state.shards.clone());
            self.save(&next).await?;
            self.inner.state.send_replace(Arc::new(next));
        }
        Ok(result)
    }

    /// Deletes what retention does not keep: segments, and closed shards that have nothing left.
    pub(super) async fn trim(&self, now_ms: i64) -> io::Result<()> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        if state.is_deleted {
            return Ok(());
        }
        let horizon_ms = state.horizon_ms(now_ms);
        let log = self.inner.log.clone();
        blocking(move || log.trim(horizon_ms)).await?;
        let is_gone = |shard: &Shard| shard.description.closed.is_some_and(|closed| closed.at_ms < horizon_ms);
        let (gone, kept): (Vec<Shard>, Vec<Shard>) = state.shards.iter().cloned().partition(is_gone);
        if gone.is_empty() {
            return Ok(());
        }
        let next = StreamState::new(state.version + 1, state.settings.clone(), state.next_shard, kept);
        self.save(&next).await?;
        self.inner.state.send_replace(Arc::new(next));
        self.inner.writer.forget(gone.iter().map(|shard| shard.description.number).collect()).await;
        Ok(())
    }

    /// Ends the writer; with `is_deleted`, also says to all readers that nothing will come any more.
    pub(super) async fn stop(&self, is_deleted: bool) {
        let _one_at_a_time = self.inner.change.lock().await;
        self.inner.writer.stop().await;
        if is_deleted {
            let state = self.state();
            state.shards.iter().for_each(|shard| shard.log.close());
            let mut next = StreamState::clone(&state);
            next.version += 1;
            next.is_deleted = true;
            self.inner.state.send_replace(Arc::new(next));
        }
    }

    async fn save(&self, state: &StreamState) -> io::Result<()> {
        let file = StreamFile {
            name: self.inner.name.clone(),
            created_ms: self.inner.created_ms,
            settings: state.settings.clone(),
            next_shard: state.next_shard,
            shards: state.shards.iter().map(|shard| ShardDescription::clone(&shard.description)).collect(),
        };
        let dir = self.inner.dir.clone();
        blocking(move || write_file(&dir, &file)).await
    }
}

/// Wakes after each change of a stream.
#[derive(Debug)]
pub struct StreamChanges(watch::Receiver<Arc<StreamState>>);

impl StreamChanges {
    /// Waits for the next change. After the stream is gone it never returns.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A file for a new stream with `ranges` as its shards.
pub(super) fn new_file(name: &str, settings: Settings, ranges: &[super::HashKeyRange], now_ms: i64) -> StreamFile {
    let shards: Vec<ShardDescription> =
        (0..).zip(ranges).map(|(number, range)| ShardDescription::new(number, *range, now_ms)).collect();
    let next_shard = u64::try_from(shards.len()).unwrap_or(u64::MAX);
    StreamFile { name: name.to_owned(), created_ms: now_ms, settings, next_shard, shards }
}

/// Reads the file of the stream in `dir`; `None` when there is none, so the stream was never whole or is deleted.
pub(super) fn read_file(dir: &Path) -> io::Result<Option<StreamFile>> {
    match std::fs::read(dir.join(STREAM_FILE)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes away the file that says that the stream in `dir` exists.
pub(super) fn remove_file(dir: &Path) -> io::Result<()> {
    std::fs::remove_file(dir.join(STREAM_FILE))?;
    crate::data_dir::sync_dir(dir)
}

fn write_file(dir: &Path, file: &StreamFile) -> io::Result<()> {
    replace_file(&dir.join(STREAM_FILE), &serde_json::to_vec_pretty(file)?)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads from a shard's log: from memory at once, from the disk off the runtime's threads.
pub(super) async fn read(log: &ShardLog, from: u64, limit: ReadLimit) -> Result<Run, LogError> {
    if let Some(run) = log.read_recent(from, limit) {
        return Ok(run);
    }
    let reading = log.clone();
    match tokio::task::spawn_blocking(move || reading.read(from, limit)).await {
        Ok(result) => result,
        Err(error) => Err(log.io_error(io::Error::other(error))),
    }
}
