//! All streams of a data directory.
//!
//! A stream lies in `kinesis/NAME@CREATED_MS`, and exists while its `stream.json` does; directories without one are
//! left-overs of a creation or deletion that was cut short, and are removed at start.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::clock::Clock;
use crate::data_dir::{DataDir, sync_dir};
use crate::faults::Faults;

use super::account::Account;
use super::description::StreamMode;
use super::hash_key::HashKeyRange;
use super::log::LogError;
use super::settings::Settings;
use super::status::{Status, TransitionTime};
use super::stream::{self, Home, Stream, TornTail};

/// Open shards of one stream at most: what one request looks at.
pub(super) const SHARDS_MAX: usize = 1_000;
/// Open shards of all streams together: the quota of an account in us-east-1.
pub(super) const ACCOUNT_SHARDS_MAX: usize = 20_000;

/// Streams that are opened at a time.
const OPENERS_MAX: usize = 8;

/// Beside the directory of the streams.
const ACCOUNT_FILE: &str = "kinesis-account.json";

/// Why the store cannot do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A stream of this name exists.
    #[error("stream {name} exists")]
    Exists {
        /// Its name.
        name: String,
    },
    /// The operating system refused.
    #[error("use the streams in {}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A shard's log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The streams of a data directory. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    home: Home,
    /// Held for look-ups and for the note of a finished change.
    streams: Mutex<BTreeMap<String, Stream>>,
    /// One creation or deletion at a time.
    change: tokio::sync::Mutex<()>,
    torn: Vec<TornTail>,
    /// Held for a copy.
    account: Mutex<Account>,
}

impl Store {
    /// Opens all streams and cuts torn tails. Reads an index for each stream, and after a kill what is behind it, at most
    /// 4 MiB and a commit, whatever is stored. Logs of format 1 are copied once.
    ///
    /// # Errors
    /// When the disk refuses, or a stream's description is not readable.
    pub fn open(data: Arc<DataDir>, clock: Clock, is_limited: bool) -> Result<Self, StoreError> {
        let root = data.join("kinesis");
        let io_error = |source| StoreError::Io { path: root.clone(), source };
        fs::create_dir_all(&root).map_err(io_error)?;
        let account = Account::read(&data.join(ACCOUNT_FILE)).map_err(io_error)?;
        let home = Home { data, clock, is_limited, transition_time: TransitionTime::default() };
        let mut streams = BTreeMap::new();
        let mut torn = Vec::new();
        for (name, stream, stream_torn) in open_streams(&root, &home)? {
            torn.extend(stream_torn);
            streams.insert(name, stream);
        }
        for tail in &torn {
            tracing::warn!(
                stream = tail.stream,
                segment = %tail.segment.display(),
                offset = tail.offset,
                bytes = tail.bytes,
                "cut a write that was never acknowledged off a stream's log"
            );
        }
        let change = tokio::sync::Mutex::new(());
        let (streams, account) = (Mutex::new(streams), Mutex::new(account));
        Ok(Self { inner: Arc::new(Inner { root, home, streams, change, torn, account }) })
    }

    /// What recovery cut off at start.
    pub fn torn_tails(&self) -> &[TornTail] {
        &self.inner.torn
    }

    /// The stream of this name.
    pub fn stream(&self, name: &str) -> Option<Stream> {
        self.streams().get(name).cloned()
    }

    /// All streams, by name.
    pub fn list(&self) -> Vec<Stream> {
        self.streams().values().cloned().collect()
    }

    /// The account's settings.
    pub(super) fn account(&self) -> Account {
        *self.inner.account.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the account's settings: durable first. Returns what they are now.
    pub(super) async fn set_account(&self, change: impl FnOnce(&mut Account)) -> Result<Account, StoreError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let mut account = self.account();
        change(&mut account);
        let path = self.inner.home.data.join(ACCOUNT_FILE);
        stream::blocking(move || account.write(&path)).await.map_err(|source| self.io_error(source))?;
        *self.inner.account.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = account;
        Ok(account)
    }

    /// The faults that were asked for.
    pub fn faults(&self) -> &Faults {
        self.inner.home.data.faults()
    }

    /// The clock by which records arrive and expire.
    pub fn clock(&self) -> &Clock {
        &self.inner.home.clock
    }

    /// How long streams are `CREATING`, `UPDATING` and `DELETING`; not at all unless this is called.
    pub fn set_transition_time(&self, time: Duration) {
        self.inner.home.transition_time.set_ms(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    }

    /// How long streams and consumers are in between, in milliseconds.
    pub(super) fn transition_ms(&self) -> i64 {
        self.inner.home.transition_time.ms()
    }

    /// Makes a stream with evenly cut shards, ready for use when this returns.
    ///
    /// # Errors
    /// When one of this name exists, or the disk refuses.
    pub async fn create(&self, name: &str, mode: StreamMode, shards: u32) -> Result<Stream, StoreError> {
        self.create_with(name, Settings::new(mode), shards).await
    }

    /// [`Store::create`] with all settings.
    pub(super) async fn create_with(&self, name: &str, settings: Settings, shards: u32) -> Result<Stream, StoreError> {
        let _one_at_a_time = self.inner.change.lock().await;
        if self.stream(name).is_some() {
            return Err(StoreError::Exists { name: name.to_owned() });
        }
        let now_ms = self.inner.home.clock.now_ms();
        let file = stream::new_file(name, settings, &HashKeyRange::even(shards), now_ms);
        let dir = self.inner.root.join(format!("{name}@{now_ms}"));
        let (root, home) = (self.inner.root.clone(), self.inner.home.clone());
        let creation = move || {
            let stream = Stream::create(dir, &file, home);
            sync_dir(&root)?;
            Ok(stream)
        };
        let stream = stream::blocking(creation).await.map_err(|source| self.io_error(source))??;
        stream.transition().enter(Status::Creating);
        self.streams().insert(name.to_owned(), stream.clone());
        Ok(stream)
    }

    /// Deletes a stream with all its records. Returns whether there was one. It takes no records from then on; its name
    /// is taken until the time set by [`Store::set_transition_time`] has passed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn delete(&self, name: &str) -> Result<bool, StoreError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let Some(stream) = self.stream(name).filter(|stream| !stream.is_deleted()) else { return Ok(false) };
        stream::remove_file(stream.dir()).map_err(|source| self.io_error(source))?;
        stream.stop(true).await;
        let pause = Duration::from_millis(u64::try_from(self.transition_ms()).unwrap_or(0));
        if pause.is_zero() {
            self.forget(&stream).await?;
            return Ok(true);
        }
        // It is deleted for good already: who stops meanwhile removes the rest at the next start. Held weakly, so that
        // the data directory is free again then.
        let (store, name, created_ms) = (Arc::downgrade(&self.inner), name.to_owned(), stream.created_ms());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let Some(inner) = store.upgrade() else { return };
            let store = Self { inner };
            let Some(stream) = store.stream(&name).filter(|stream| stream.created_ms() == created_ms) else { return };
            if let Err(error) = store.forget(&stream).await {
                tracing::error!(error = &error as &dyn std::error::Error, "cannot remove a deleted stream's files");
            }
        });
        Ok(true)
    }

    /// Gives the name of a deleted stream free, and its disk.
    async fn forget(&self, stream: &Stream) -> Result<(), StoreError> {
        self.streams().remove(stream.name());
        let dir = stream.dir().to_owned();
        stream::blocking(move || fs::remove_dir_all(dir)).await.map_err(|source| self.io_error(source))
    }

    /// Frees the disk of what retention does not keep.
    ///
    /// # Errors
    /// When the disk refuses; what was not deleted is tried again the next time.
    pub async fn trim(&self) -> Result<(), StoreError> {
        for stream in self.list() {
            stream.trim(self.inner.home.clock.now_ms()).await.map_err(|source| self.io_error(source))?;
        }
        Ok(())
    }

    /// Lets on-demand streams grow where they are hot, as far as the account has room.
    pub async fn grow(&self) {
        let now_ms = self.inner.home.clock.now_ms();
        let streams = self.list();
        let open: usize = streams.iter().map(|stream| stream.state().open().len()).sum();
        let mut room = ACCOUNT_SHARDS_MAX.saturating_sub(open);
        for stream in streams {
            match stream.grow(now_ms, room).await {
                Ok(0) => {}
                Ok(split) => {
                    room = room.saturating_sub(split);
                    tracing::info!(stream = stream.name(), split, "an on-demand stream grew");
                }
                Err(error) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    stream = stream.name(),
                    "an on-demand stream could not grow; it is looked at again in a minute"
                ),
            }
        }
    }

    /// Finishes the puts that were handed over, then takes no more.
    pub async fn close(&self) {
        for stream in self.list() {
            stream.stop(false).await;
        }
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<String, Stream>> {
        self.inner.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn io_error(&self, source: io::Error) -> StoreError {
        StoreError::Io { path: self.inner.root.clone(), source }
    }
}

/// A stream with its name, and what recovery cut off its log.
type Opened = (String, Stream, Option<TornTail>);

/// Opens all streams, several at a time: each is a wait for the disk.
fn open_streams(root: &Path, home: &Home) -> Result<Vec<Opened>, StoreError> {
    let io_error = |source| StoreError::Io { path: root.to_owned(), source };
    let mut dirs = Vec::new();
    for entry in fs::read_dir(root).map_err(io_error)? {
        dirs.push(entry.map_err(io_error)?.path());
    }
    let share = dirs.len().div_ceil(OPENERS_MAX).max(1);
    thread::scope(|scope| {
        let open_share = |dirs: &[PathBuf]| dirs.iter().filter_map(|dir| open_stream(dir, home).transpose()).collect();
        let openers: Vec<_> = dirs.chunks(share).map(|dirs| scope.spawn(move || open_share(dirs))).collect();
        let mut opened = Vec::with_capacity(dirs.len());
        for opener in openers {
            let share: Result<Vec<Opened>, StoreError> =
                opener.join().unwrap_or_else(|_panicked| Err(io_error(io::Error::other("opening a stream panicked"))));
            opened.extend(share?);
        }
        Ok(opened)
    })
}

/// Opens one stream; what is left of one that does not exist is removed.
fn open_stream(dir: &Path, home: &Home) -> Result<Option<Opened>, StoreError> {
    let io_error = |source| StoreError::Io { path: dir.to_owned(), source };
    let Some(file) = stream::read_file(dir).map_err(io_error)? else {
        fs::remove_dir_all(dir).map_err(io_error)?;
        return Ok(None);
    };
    remove_unlisted(dir, &file)?;
    let (stream, torn) = Stream::open(dir.to_owned(), &file, home.clone())?;
    Ok(Some((file.name, stream, torn)))
}

/// Removes shard directories of format 1 that the stream does not list: a reshard or a trim that was cut short.
fn remove_unlisted(dir: &Path, file: &super::description::StreamFile) -> Result<(), StoreError> {
    let io_error = |source| StoreError::Io { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(super::description::parse_shard_id);
        let is_unlisted = number.is_some_and(|number| file.shards.iter().all(|shard| shard.number != number));
        if is_unlisted {
            fs::remove_dir_all(entry.path()).map_err(io_error)?;
        }
    }
    Ok(())
}
