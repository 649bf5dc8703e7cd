//! Where a mapping goes on after a restart: a log of positions, each true when it was written.
//!
//! Positions are noted in memory and appended together, at most every 50 ms, by a task of the mapping; the file is
//! synced once a second and at the end. So quick batches cost no writes of their own. A process that is killed repeats
//! what was handled since the last append, a machine that loses power what was since the last sync; none is skipped,
//! because a line speaks only of records that were handled before it. A line is `crc32 json`; one that does not check is
//! not believed. The log is rewritten when it is mostly old.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::data_dir::replace_file;
use crate::kinesis::{SequenceNumber, ShardDescription};

use super::window::OpenWindow;

const LOG_FILE: &str = "checkpoints.log";
/// Positions gather for this long.
const APPEND_INTERVAL: Duration = Duration::from_millis(50);
/// The file is synced this often.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);
/// The log is rewritten when it has grown past this and is more than four times what is in use.
const COMPACT_BYTES_MIN: usize = 1 << 20;

/// How far a mapping has come in one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The counter of the next record to handle.
    pub(super) next_counter: u64,
    /// The shard is closed, and all of it is handled.
    pub(super) is_finished: bool,
    /// The tumbling window that is open there.
    pub(super) window: Option<OpenWindow>,
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// The first line: which mapping this is.
    Mapping { id: String },
    Position {
        /// A checkpoint of a stream that was deleted and made again is not believed.
        stream_created_ms: i64,
        shard: u64,
        next_sequence_number: String,
        is_finished: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<OpenWindow>,
    },
}

/// The checkpoints of one mapping on one stream. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    id: Uuid,
    is_new: bool,
    stream_created_ms: i64,
    /// Held for a look-up or a copy of lines.
    positions: Mutex<Positions>,
    changed: Notify,
    closed: CancellationToken,
    written: CancellationToken,
}

#[derive(Debug, Default)]
struct Positions {
    /// The last line of each shard.
    by_shard: BTreeMap<u64, Line>,
    /// Shards whose last line is not in the file.
    dirty: BTreeMap<u64, ()>,
}

impl Checkpoints {
    /// Reads the log in `dir`, making both if they are missing, and rewrites it. Blocks.
    pub(super) fn open(dir: PathBuf, stream_created_ms: i64) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let bytes = match fs::read(dir.join(LOG_FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (lines, bad_lines) = parse(&bytes);
        if bad_lines > 0 {
            tracing::warn!(bad_lines, dir = %dir.display(), "lines of a checkpoint log do not check; records come again");
        }
        let mut known_id = None;
        let mut by_shard = BTreeMap::new();
        for line in lines {
            match &line {
                Line::Mapping { id } => known_id = Uuid::parse_str(id).ok(),
                Line::Position { shard, stream_created_ms: of, .. } if *of == stream_created_ms => {
                    by_shard.insert(*shard, line);
                }
                Line::Position { .. } => {}
            }
        }
        let is_new = known_id.is_none() || by_shard.is_empty();
        let id = known_id.unwrap_or_else(Uuid::new_v4);
        replace_file(
            &dir.join(LOG_FILE),
            &encode(std::iter::once(&Line::Mapping { id: id.to_string() }).chain(by_shard.values()))?,
        )?;
        let positions = Mutex::new(Positions { by_shard, dirty: BTreeMap::new() });
        let (changed, closed, written) = (Notify::new(), CancellationToken::new(), CancellationToken::new());
        Ok(Self { inner: Arc::new(Inner { dir, id, is_new, stream_created_ms, positions, changed, closed, written }) })
    }

    /// The mapping's own id, the same for as long as its log is there.
    pub(super) fn mapping_id(&self) -> Uuid {
        self.inner.id
    }

    /// Whether no position of this stream was known when the log was opened.
    pub(super) fn is_new(&self) -> bool {
        self.inner.is_new
    }

    /// The checkpoint in a shard; `None` when the mapping has not handled any of it.
    pub(super) fn read(&self, shard: &ShardDescription) -> Option<Checkpoint> {
        let positions = self.inner.positions();
        let Some(Line::Position { next_sequence_number, is_finished, window, .. }) =
            positions.by_shard.get(&shard.number)
        else {
            return None;
        };
        let next = SequenceNumber::parse(next_sequence_number).ok().filter(|next| shard.owns(*next))?;
        Some(Checkpoint { next_counter: next.counter(), is_finished: *is_finished, window: window.clone() })
    }

    /// Notes a position. It reaches the disk soon after.
    pub(super) fn note(&self, shard: &ShardDescription, checkpoint: Checkpoint) {
        let line = Line::Position {
            stream_created_ms: self.inner.stream_created_ms,
            shard: shard.number,
            next_sequence_number: shard.sequence_number(checkpoint.next_counter).to_string(),
            is_finished: checkpoint.is_finished,
            window: checkpoint.window,
        };
        let mut positions = self.inner.positions();
        positions.by_shard.insert(shard.number, line);
        positions.dirty.insert(shard.number, ());
        drop(positions);
        self.inner.changed.notify_one();
    }

    /// Writes all positions anew; they are durable when this returns. Blocks, and is not for beside [`Checkpoints::run`].
    pub(super) fn rewrite(&self) -> io::Result<()> {
        let mut log = LogFile::default();
        self.inner.write(&mut log, &self.inner.dir.join(LOG_FILE), true)
    }

    /// Writes what is noted, until [`Checkpoints::close`].
    pub(super) async fn run(self) {
        let _at_the_end = self.inner.written.clone().drop_guard();
        let mut log = LogFile::default();
        let mut synced_at = Instant::now();
        loop {
            let is_closed = self.inner.closed.is_cancelled();
            let must_sync = is_closed || synced_at.elapsed() >= SYNC_INTERVAL;
            let (inner, path) = (Arc::clone(&self.inner), self.inner.dir.join(LOG_FILE));
            let writing = tokio::task::spawn_blocking(move || {
                let result = inner.write(&mut log, &path, must_sync);
                (log, result)
            });
            let result = match writing.await {
                Ok((returned, result)) => {
                    log = returned;
                    result
                }
                Err(error) => {
                    log = LogFile::default();
                    Err(io::Error::other(error))
                }
            };
            if let Err(error) = result {
                let dir = self.inner.dir.display();
                tracing::error!(%error, %dir, "cannot keep checkpoints; after a restart their records come again");
            }
            if must_sync {
                synced_at = Instant::now();
            }
            if is_closed {
                return;
            }
            self.wait(log.is_unsynced).await;
        }
    }

    /// Waits for something to write, and a little for more of it.
    async fn wait(&self, is_unsynced: bool) {
        tokio::select! {
            () = self.inner.changed.notified() => {}
            () = self.inner.closed.cancelled() => {}
            () = sleep(SYNC_INTERVAL), if is_unsynced => {}
        }
        // Nothing to gather for when it ends.
        let _closed = self.inner.closed.run_until_cancelled(sleep(APPEND_INTERVAL)).await;
    }

    /// Writes and syncs the rest, and returns when that is done.
    pub(super) async fn close(&self) {
        self.inner.closed.cancel();
        self.inner.written.cancelled().await;
    }
}

impl Inner {
    fn positions(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what is not in the file; rewrites the file instead when it is mostly old, or when it may be torn.
    fn write(&self, log: &mut LogFile, path: &Path, must_sync: bool) -> io::Result<()> {
        let (appended, dirty) = {
            let mut positions = self.positions();
            let dirty = std::mem::take(&mut positions.dirty);
            (encode(dirty.keys().filter_map(|shard| positions.by_shard.get(shard)))?, dirty)
        };
        let written = self.put(log, path, &appended).and_then(|()| if must_sync { log.sync() } else { Ok(()) });
        if written.is_err() {
            // The end of the file may be torn: it is written anew the next time.
            *log = LogFile::default();
            self.positions().dirty.extend(dirty);
            self.changed.notify_one();
        }
        written
    }

    fn put(&self, log: &mut LogFile, path: &Path, appended: &[u8]) -> io::Result<()> {
        let must_rewrite = log.file.is_none() || log.bytes > COMPACT_BYTES_MIN.max(log.live_bytes.saturating_mul(4));
        if !must_rewrite {
            return log.append(appended);
        }
        let mapping = Line::Mapping { id: self.id.to_string() };
        let all = encode(std::iter::once(&mapping).chain(self.positions().by_shard.values()))?;
        replace_file(path, &all)?;
        let file = OpenOptions::new().append(true).open(path)?;
        *log = LogFile { file: Some(file), bytes: all.len(), live_bytes: all.len(), is_unsynced: false };
        Ok(())
    }
}

/// The open log; none after a failure.
#[derive(Debug, Default)]
struct LogFile {
    file: Option<File>,
    bytes: usize,
    /// What it had when it was last rewritten.
    live_bytes: usize,
    is_unsynced: bool,
}

impl LogFile {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| !lines.is_empty()) else { return Ok(()) };
        file.write_all(lines)?;
        self.bytes += lines.len();
        self.is_unsynced = true;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_mut().filter(|_| self.is_unsynced) {
            file.sync_data()?;
            self.is_unsynced = false;
        }
        Ok(())
    }
}

fn encode<'a>(lines: impl Iterator<Item = &'a Line>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in lines {
        let json = serde_json::to_vec(line)?;
        write!(bytes, "{:08x} ", crc32fast::hash(&json))?;
        bytes.extend_from_slice(&json);
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// The lines that check, and how many before the last do not. The last one is torn when a write was cut short.
fn parse(bytes: &[u8]) -> (Vec<Line>, usize) {
    let mut lines = Vec::new();
    let mut bad_lines = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match parse_line(line) {
            Some(line) => lines.push(line),
            None if line.ends_with(b"\n") => bad_lines += 1,
            None => {}
        }
    }
    (lines, bad_lines)
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let (checksum, json) = line.strip_suffix(b"\n")?.split_at_checked(8)?;
    let checksum = u32::from_str_radix(std::str::from_utf8(checksum).ok()?, 16).ok()?;
    let json = json.strip_prefix(b" ")?;
    if crc32fast::hash(json) == checksum { serde_json::from_slice(json).ok() } else { None }
}

#[cfg(test)]
mod tests;
