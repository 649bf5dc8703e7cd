//! Deleting what is no longer needed. Every deletion may be repeated, and deletes only what no state names as in use.

use std::collections::HashSet;

use events::table::Table;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};

use super::state::{Loaded, State, key_path};
use super::{PublishError, Publisher, RETIRED_GRACE_MS};
use crate::hour::Hour;
use crate::layout;

/// A file that no state names, and that is this old, was left by a run that crashed or lost.
pub(super) const ORPHAN_AGE_MS: i64 = 60 * 60_000;

impl Publisher {
    /// Deletes staged objects whose rows are in the table.
    pub(super) async fn delete_consumed(&self, keys: &[String]) -> Result<(), PublishError> {
        self.delete(keys.iter().map(|key| key_path(key)).collect()).await
    }

    /// Deletes the retired files that no query can still read, and returns their keys.
    pub(super) async fn delete_expired(&self, state: &State, now_ms: i64) -> Result<HashSet<String>, PublishError> {
        let expired = state.retired.iter().filter(|retired| now_ms - retired.since_ms >= RETIRED_GRACE_MS);
        let keys: HashSet<String> = expired.map(|retired| retired.key.clone()).collect();
        self.delete(keys.iter().map(|key| key_path(key)).collect()).await?;
        Ok(keys)
    }

    /// Deletes the files that a lost state had added: those that the hour's state does not name. Whoever was overtaken
    /// calls this, when the head has been completed: a state that was committed after all is the state, or before it.
    pub(super) async fn delete_unnamed(&self, table: &Table, hour: Hour, lost: &State) -> Result<(), PublishError> {
        let current = State::load(self.store.as_ref(), table, hour).await?.unwrap_or_else(Loaded::none).state;
        let files = lost.files.iter().map(|file| &file.key);
        let added = files.chain(lost.resent_files.iter().map(|file| &file.key));
        let unnamed = added.filter(|key| !current.names(key));
        self.delete(unnamed.map(|key| key_path(key)).collect()).await
    }

    /// Deletes the files of an hour that no state names and that are old enough.
    pub(super) async fn delete_orphans(&self, table: &Table, hour: Hour, now_ms: i64) -> Result<(), PublishError> {
        let mut found: Vec<ObjectMeta> = Vec::new();
        for folder in [layout::data_hour(table, hour), layout::resent_hour(table, hour)] {
            let list = self.store.list(Some(&folder)).try_collect::<Vec<ObjectMeta>>().await;
            found.extend(list.map_err(|source| PublishError::Store { path: folder, source })?);
        }
        let state = State::load(self.store.as_ref(), table, hour).await?.unwrap_or_else(Loaded::none).state;
        let is_old = |file: &ObjectMeta| now_ms - file.last_modified.timestamp_millis() >= ORPHAN_AGE_MS;
        let orphans = found.into_iter().filter(|file| is_old(file) && !state.names(file.location.as_ref()));
        self.delete(orphans.map(|file| file.location).collect()).await
    }

    /// Marks an hour as one to be looked at again. Put before the state says why, so that no crash can lose the mark.
    pub(super) async fn mark_unsettled(&self, table: &Table, hour: Hour) -> Result<(), PublishError> {
        let path = layout::unsettled_hour(table, hour);
        let put = self.store.put(&path, PutPayload::default()).await;
        put.map(|_| ()).map_err(|source| PublishError::Store { path, source })
    }

    /// Takes the mark off, unless the hour has changed since it was found to be settled.
    pub(super) async fn mark_settled(&self, table: &Table, hour: Hour) -> Result<(), PublishError> {
        let before = State::load(self.store.as_ref(), table, hour).await?.map(|loaded| loaded.state);
        self.delete(vec![layout::unsettled_hour(table, hour)]).await?;
        let after = State::load(self.store.as_ref(), table, hour).await?.map(|loaded| loaded.state);
        if before == after { Ok(()) } else { self.mark_unsettled(table, hour).await }
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<(), PublishError> {
        let Some(first) = paths.first().cloned() else { return Ok(()) };
        let mut deleted = self.store.delete_stream(futures::stream::iter(paths).map(Ok).boxed());
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(PublishError::Store { path: first, source }),
            }
        }
        Ok(())
    }
}
