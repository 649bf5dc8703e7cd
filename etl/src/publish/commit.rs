//! The order in which the hours of a table are published, whoever publishes them.
//!
//! What is new in an hour depends on the hours beside it, so two publishers at two hours must not pass each other
//! unseen. Each table therefore has one object, its *head*: the last commit, which holds the hour and its new state. To
//! publish is to replace the head by compare-and-swap, then to write the hour's state from it. Whoever reads a head
//! first completes what it says, should its author have died in between; only then are the states the truth.

use events::table::Table;
use object_store::{ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::state::{Loaded, State};
use super::{PublishError, Publisher};
use crate::hour::Hour;
use crate::layout;

/// The last commit of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// How many commits there were before.
    sequence: u64,
    /// Tells this commit from any other attempt at the same place.
    id: String,
    /// The first millisecond of the hour.
    hour_start_ms: i64,
    /// What is published of the hour.
    state: State,
}

/// A head as it was read, completed, and what it takes to replace it.
#[derive(Debug)]
pub(crate) struct Head {
    commit: Option<Commit>,
    tag: Option<String>,
}

/// How a commit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is the truth.
    Committed,
    /// Others have committed since the head was read. This one may be among them, or not.
    Overtaken,
}

impl Publisher {
    /// Reads the head of a table, and completes its commit.
    pub(super) async fn head(&self, table: &Table) -> Result<Head, PublishError> {
        let head = self.read_head(table).await?;
        if let Some(commit) = &head.commit {
            self.complete(table, commit).await?;
        }
        Ok(head)
    }

    /// Makes `state` the state of the hour, if nothing of the table was published since `head` was read.
    ///
    /// On an error it is not known how it ended, and no file that the state names may be deleted.
    pub(super) async fn commit(
        &self,
        table: &Table,
        hour: Hour,
        head: &Head,
        state: State,
    ) -> Result<Outcome, PublishError> {
        let sequence = head.commit.as_ref().map_or(0, |commit| commit.sequence + 1);
        let commit = Commit { sequence, id: Uuid::now_v7().to_string(), hour_start_ms: hour.start_ms(), state };
        let path = layout::head(table);
        let text = serde_json::to_vec(&commit).map_err(|source| PublishError::State { path: path.clone(), source })?;
        let mode = match &head.tag {
            None => PutMode::Create,
            Some(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.clone()), version: None }),
        };
        if let Err(source) = self.store.put_opts(&path, PutPayload::from(text), mode.into()).await {
            // A put whose answer was lost on the way, and that the client repeated, is refused because of itself: so look.
            let current = self.head(table).await?.commit;
            if current.as_ref().is_none_or(|current| current.sequence < sequence) {
                return Err(PublishError::Store { path, source });
            }
            if current.as_ref() != Some(&commit) {
                return Ok(Outcome::Overtaken);
            }
        }
        self.complete(table, &commit).await?;
        Ok(Outcome::Committed)
    }

    async fn read_head(&self, table: &Table) -> Result<Head, PublishError> {
        let path = layout::head(table);
        let found = match self.store.get(&path).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => return Ok(Head { commit: None, tag: None }),
            Err(source) => return Err(PublishError::Store { path, source }),
        };
        let tag = found.meta.e_tag.clone();
        let bytes = found.bytes().await.map_err(|source| PublishError::Store { path: path.clone(), source })?;
        let commit: Commit =
            serde_json::from_slice(&bytes).map_err(|source| PublishError::State { path: path.clone(), source })?;
        commit.state.check_version(&path)?;
        Ok(Head { commit: Some(commit), tag })
    }

    /// Writes the state of the commit's hour, unless that has been done.
    async fn complete(&self, table: &Table, commit: &Commit) -> Result<(), PublishError> {
        let Some(hour) = Hour::of(commit.hour_start_ms) else { return Ok(()) };
        let loaded = State::load(self.store.as_ref(), table, hour).await?.unwrap_or_else(Loaded::none);
        if loaded.state.generation >= commit.state.generation {
            return Ok(());
        }
        loaded.replace(self.store.as_ref(), table, hour, &commit.state).await
    }
}
