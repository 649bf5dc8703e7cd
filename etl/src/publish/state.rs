//! The state of an hour of a table: the truth about what is published of it. It changes as the table's head says.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};

use events::table::Table;

use super::PublishError;
use crate::hour::Hour;
use crate::layout;

/// Version of the state's format.
const VERSION: u32 = 1;

/// What is published of one hour of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this format.
    pub version: u32,
    /// How often it was replaced.
    pub generation: u64,
    /// The files that hold the rows, each sorted.
    pub files: Vec<DataFile>,
    /// Rows in them.
    pub rows: u64,
    /// Arrivals of these rows, or of rows of a neighbouring hour, that a client had sent again.
    pub resent: u64,
    /// The files that list these arrivals.
    pub resent_files: Vec<FileKey>,
    /// Staged rows that were deliveries of the same arrival again.
    pub redelivered: u64,
    /// Staged objects whose rows are in the files: to be deleted, and never to be read again.
    pub consumed: Vec<String>,
    /// Files that are in no list any more: to be deleted when no query can still read them.
    pub retired: Vec<Retired>,
}

/// A file with rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its key in the bucket.
    pub key: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// The earliest `event_ts` in it, milliseconds since the epoch.
    pub event_ts_min: i64,
    /// The latest.
    pub event_ts_max: i64,
}

/// A file with arrivals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileKey {
    /// Its key in the bucket.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// A file that is in no list any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    /// Its key in the bucket.
    pub key: String,
    /// Since when, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// A state as it was read, with what it takes to replace it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The state; an empty one if there is none yet.
    pub state: State,
    tag: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            version: VERSION,
            generation: 0,
            files: Vec::new(),
            rows: 0,
            resent: 0,
            resent_files: Vec::new(),
            redelivered: 0,
            consumed: Vec::new(),
            retired: Vec::new(),
        }
    }
}

impl State {
    /// Reads the state of an hour; `None` if nothing was ever published.
    ///
    /// # Errors
    /// When it cannot be read, or is of a newer version.
    pub async fn load(store: &dyn ObjectStore, table: &Table, hour: Hour) -> Result<Option<Loaded>, PublishError> {
        let path = layout::state(table, hour);
        let found = match store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(PublishError::Store { path, source }),
        };
        let tag = found.meta.e_tag.clone();
        let bytes = found.bytes().await.map_err(|source| PublishError::Store { path: path.clone(), source })?;
        let state: State =
            serde_json::from_slice(&bytes).map_err(|source| PublishError::State { path: path.clone(), source })?;
        state.check_version(&path)?;
        Ok(Some(Loaded { state, tag }))
    }

    pub(crate) fn check_version(&self, path: &Path) -> Result<(), PublishError> {
        if self.version > VERSION {
            return Err(PublishError::NewerState { path: path.clone(), version: self.version });
        }
        Ok(())
    }

    /// Whether a file belongs to the state, or did until lately.
    pub fn names(&self, key: &str) -> bool {
        let resent_files = self.resent_files.iter().map(|file| &file.key);
        let retired = self.retired.iter().map(|file| &file.key);
        self.files.iter().map(|file| &file.key).chain(resent_files).chain(retired).any(|named| named == key)
    }

    /// The manifest's text: a line for each file.
    pub fn manifest(&self, bucket: &str) -> String {
        self.files.iter().map(|file| format!("s3://{bucket}/{}\n", file.key)).collect()
    }
}

impl Loaded {
    /// The state of an hour of which nothing was ever published.
    pub fn none() -> Self {
        Self { state: State::default(), tag: None }
    }

    /// Makes `new` the truth, if this state still is or `new` has become it already.
    ///
    /// # Errors
    /// When it is not known how it ended: then either may be the truth.
    pub(crate) async fn replace(
        &self,
        store: &dyn ObjectStore,
        table: &Table,
        hour: Hour,
        new: &State,
    ) -> Result<(), PublishError> {
        let path = layout::state(table, hour);
        let text = serde_json::to_vec(new).map_err(|source| PublishError::State { path: path.clone(), source })?;
        let mode = match &self.tag {
            None => PutMode::Create,
            Some(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
        };
        let Err(source) = store.put_opts(&path, PutPayload::from(text), mode.into()).await else { return Ok(()) };
        let current = State::load(store, table, hour).await?.unwrap_or_else(Loaded::none).state;
        if current.generation >= new.generation { Ok(()) } else { Err(PublishError::Store { path, source }) }
    }
}

/// A key of the bucket as a path.
pub(crate) fn key_path(key: &str) -> Path {
    Path::from(key)
}
