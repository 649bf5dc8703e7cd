//! Publishing an hour of a table: staged rows become part of the table, each once, all at the same moment.
//!
//! The state object is the truth. It changes by a commit, which is a compare-and-swap of the table's head, so that all
//! changes of a table have one order; the manifest, which readers follow, is made from the state.
//! The steps, each of which may be the last before a crash:
//!
//! 1. delete retired files that no query can still read, and staged objects that the state says are consumed;
//! 2. read the other staged rows, drop repeats (among them, against this hour, against the hours beside it);
//! 3. mark the hour as unsettled, write new files that nothing refers to;
//! 4. commit: from here on the rows are published and the staged objects consumed;
//! 5. put the manifest: from here on the rows are read;
//! 6. delete the staged objects.
//!
//! The next run finds the state as it is and does what is missing. A lost commit means that somebody else published: the
//! own files are removed and all begins again. So any number of publishers may run; one is enough, and wastes nothing.

mod commit;
mod manifest;
mod merge;
mod output;
mod pass;
mod sieve;
mod staged;
mod state;
mod sweep;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::error::ArrowError;
use events::table::Table;
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::errors::ParquetError;
use tokio::time::{Duration, Instant};

pub use pass::{HourReport, Report, publish_all, run};
pub use state::{DataFile, FileKey, Loaded, Retired, State};

use crate::catalog::{Catalog, CatalogError};
use crate::hour::Hour;
use crate::key::KeyError;
use commit::Outcome;
use merge::{Merge, Sorter, Source};
use sieve::Sifted;
use staged::StagedRows;

/// How long after its end an hour is taken for complete and is rewritten into few large files. Later rows still come in.
pub const CLOSE_GRACE_MS: i64 = 15 * 60_000;
/// How long files that are in no manifest any more are kept for queries that began before.
pub const RETIRED_GRACE_MS: i64 = 10 * 60_000;
/// A file below this size is small: an open hour has fewer than [`SMALL_FILES_MAX`] of them, a closed one at most one.
pub const SMALL_FILE_BYTES: u64 = 64 << 20;
/// As many small files of an open hour are rewritten into one.
pub const SMALL_FILES_MAX: usize = 8;
/// How often a run begins again because somebody else published.
const ATTEMPTS_MAX: usize = 8;
/// A run that takes longer gives up before it commits, since its files may be taken for left-overs soon.
const RUN_TIME_MAX: Duration = Duration::from_secs(15 * 60);
const _: () = assert!(sweep::ORPHAN_AGE_MS > 2 * 15 * 60_000, "a file in the making is no left-over");

/// Publishes tables of a lake.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The bucket's objects.
    pub store: Arc<dyn ObjectStore>,
    /// The bucket's name, as manifests and the catalog write it.
    pub bucket: String,
    /// Where partitions are declared; `None` for a lake that no catalog describes.
    pub catalog: Option<Catalog>,
}

/// Why an hour was not published. Nothing is lost or half done: the next run goes on from the state.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store failed.
    #[error("use object {path}")]
    Store {
        /// Which object or folder.
        path: Path,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// A state is not readable.
    #[error("read state {path}")]
    State {
        /// Which.
        path: Path,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A state was written by a newer version.
    #[error("state {path} is of version {version}, which is newer than this program")]
    NewerState {
        /// Which.
        path: Path,
        /// Its version.
        version: u32,
    },
    /// A file cannot be read.
    #[error("read a Parquet file")]
    Read(#[source] ParquetError),
    /// A file cannot be written.
    #[error("write a Parquet file")]
    Write(#[source] ParquetError),
    /// Rows cannot be handled.
    #[error("merge rows")]
    Rows(#[from] ArrowError),
    /// Keys cannot be read.
    #[error("read the keys of rows")]
    Key(#[from] KeyError),
    /// The run took too long.
    #[error("gave up after {} s", RUN_TIME_MAX.as_secs())]
    TooLong,
    /// Others kept publishing the same hour.
    #[error("somebody else published the same table {ATTEMPTS_MAX} times meanwhile")]
    Contended,
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl PublishError {
    /// Whether an object was not there.
    fn is_not_found(&self) -> bool {
        let source = match self {
            PublishError::Store { source, .. } => Some(source),
            PublishError::Read(ParquetError::External(source)) => source.downcast_ref(),
            PublishError::Read(_)
            | PublishError::State { .. }
            | PublishError::NewerState { .. }
            | PublishError::Write(_)
            | PublishError::Rows(_)
            | PublishError::Key(_)
            | PublishError::TooLong
            | PublishError::Contended
            | PublishError::Catalog(_) => None,
        };
        matches!(source, Some(object_store::Error::NotFound { .. }))
    }
}

/// What one run over an hour did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Rows that were added.
    pub rows_added: u64,
    /// Arrivals that a client had sent again: no rows, but accepted requests.
    pub resent: u64,
    /// Deliveries of the same again.
    pub redelivered: u64,
    /// Files of the hour now.
    pub files: usize,
    /// Whether staged objects are left, because there were more than one run takes.
    pub more: bool,
    /// Whether nothing is left to do: closed, in large files, with nothing retired.
    pub settled: bool,
}

impl Publisher {
    /// Publishes what is staged of an hour of a table, as much as one run takes, and repairs what a crash left.
    ///
    /// # Errors
    /// See [`PublishError`]; the next run goes on.
    pub async fn publish_hour(&self, table: &Table, hour: Hour, now_ms: i64) -> Result<Published, PublishError> {
        let deadline = Instant::now() + RUN_TIME_MAX;
        for attempts_left in (0..ATTEMPTS_MAX).rev() {
            match self.attempt(table, hour, now_ms, deadline).await {
                Ok(Some(published)) => return Ok(published),
                Ok(None) => {}
                // An object that was listed is gone: somebody else consumed or retired it meanwhile.
                Err(error) if error.is_not_found() && attempts_left > 0 => {}
                Err(error) => return Err(error),
            }
        }
        Err(PublishError::Contended)
    }

    /// One attempt; `None` if somebody else's state won.
    async fn attempt(
        &self,
        table: &Table,
        hour: Hour,
        now_ms: i64,
        deadline: Instant,
    ) -> Result<Option<Published>, PublishError> {
        let store = self.store.as_ref();
        let head = self.head(table).await?;
        let before = State::load(store, table, hour).await?.unwrap_or_else(Loaded::none).state;
        let expired = self.delete_expired(&before, now_ms).await?;
        let staged = StagedRows::read(&self.store, table, hour, &before.consumed).await?;
        self.delete_consumed(&staged.consumed).await?;
        let is_closed = now_ms >= hour.end_ms() + CLOSE_GRACE_MS;
        let rewritten = files_to_rewrite(&before, usize::from(!staged.is_empty()), is_closed);
        let mut published = Published { more: staged.more, ..Published::default() };
        let mut state = before.clone();
        if !staged.is_empty() || !rewritten.is_empty() || !expired.is_empty() {
            let sifted = self.sift(table, hour, &before, &staged).await?;
            published.rows_added = u64::try_from(sifted.rows.len()).unwrap_or(u64::MAX);
            published.resent = u64::try_from(sifted.resent.len()).unwrap_or(u64::MAX);
            published.redelivered = sifted.redelivered;
            self.mark_unsettled(table, hour).await?;
            state =
                self.next_state(table, hour, &before, Change { staged, sifted, rewritten, expired, now_ms }).await?;
            if Instant::now() > deadline {
                return Err(PublishError::TooLong);
            }
            if self.commit(table, hour, &head, state.clone()).await? == Outcome::Overtaken {
                self.delete_unnamed(table, hour, &state).await?;
                return Ok(None);
            }
        }
        self.put_manifest(table, hour).await?;
        if state.generation > before.generation {
            self.delete_consumed(&state.consumed).await?;
        }
        published.files = state.files.len();
        published.settled =
            is_closed && !published.more && state.retired.is_empty() && files_to_rewrite(&state, 0, true).is_empty();
        Ok(Some(published))
    }

    /// Decides which staged rows are new.
    async fn sift(
        &self,
        table: &Table,
        hour: Hour,
        state: &State,
        staged: &StagedRows,
    ) -> Result<Sifted, PublishError> {
        let mut sieve = staged.sieve(table)?;
        let mut files: Vec<(String, u64)> = state.files.iter().map(|file| (file.key.clone(), file.bytes)).collect();
        if !sieve.is_empty() {
            for neighbour in hour.neighbours() {
                let loaded = State::load(self.store.as_ref(), table, neighbour).await?;
                let state = loaded.map(|loaded| loaded.state).unwrap_or_default();
                files.extend(state.files.into_iter().map(|file| (file.key, file.bytes)));
            }
        }
        for (key, bytes) in files {
            if sieve.is_empty() {
                break;
            }
            staged::arrivals_of(&self.store, table, &key, bytes, |arrival| sieve.published(arrival)).await?;
        }
        for file in &state.resent_files {
            if sieve.is_empty() {
                break;
            }
            staged::arrivals_of(&self.store, table, &file.key, file.bytes, |arrival| sieve.recorded(arrival)).await?;
        }
        Ok(sieve.finish())
    }

    /// Writes the new files, and says what the state shall be.
    async fn next_state(
        &self,
        table: &Table,
        hour: Hour,
        state: &State,
        change: Change,
    ) -> Result<State, PublishError> {
        let Change { staged, sifted, rewritten, expired, now_ms } = change;
        let mut next = state.clone();
        next.generation += 1;
        next.consumed = staged.keys;
        next.redelivered += sifted.redelivered;
        next.resent += u64::try_from(sifted.resent.len()).unwrap_or(u64::MAX);
        next.retired.retain(|retired| !expired.contains(&retired.key));
        let resent = output::write_resent(self.store.as_ref(), table, hour, next.generation, &sifted.resent).await?;
        next.resent_files.extend(resent);
        let sorter = Sorter::new(table)?;
        let mut sources = vec![sorter.sort(staged.batches, sifted.rows)?];
        for file in next.files.extract_if(.., |file| rewritten.contains(&file.key)) {
            let batches = Box::new(staged::open(&self.store, &file.key, file.bytes, &[]).await?);
            sources.push(Source::File { batches, rows: file.rows });
            next.retired.push(Retired { key: file.key, since_ms: now_ms });
        }
        let rows = Merge::new(sorter, sources).await?;
        next.files.extend(output::write_files(&self.store, table, hour, next.generation, rows).await?);
        next.rows = next.files.iter().map(|file| file.rows).sum();
        Ok(next)
    }
}

/// What a run is about to change.
struct Change {
    staged: StagedRows,
    sifted: Sifted,
    /// Keys of the files that are rewritten together with the new rows.
    rewritten: HashSet<String>,
    /// Keys of retired files that have been deleted.
    expired: HashSet<String>,
    now_ms: i64,
}

/// The files that are to be rewritten into one with what is new: the small ones, once there are too many of them.
fn files_to_rewrite(state: &State, new_files: usize, is_closed: bool) -> HashSet<String> {
    let small: Vec<&DataFile> = state.files.iter().filter(|file| file.bytes < SMALL_FILE_BYTES).collect();
    let files_after = small.len() + new_files;
    let small_files_max = if is_closed { 1 } else { SMALL_FILES_MAX - 1 };
    if files_after <= small_files_max {
        return HashSet::new();
    }
    small.into_iter().map(|file| file.key.clone()).collect()
}

#[cfg(test)]
mod tests;
