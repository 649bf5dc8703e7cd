//! Reading what is staged, and the arrivals of what is published.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use events::table::Table;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore};

use super::PublishError;
use super::sieve::Sieve;
use super::state::key_path;
use crate::columns::{conform, schema_of};
use crate::hour::Hour;
use crate::key::{Arrival, arrival_columns, arrivals};
use crate::layout;
use crate::object_file::{Batches, ObjectFile};

/// Decoded bytes of staged rows that one run takes; the rest waits for the next one. With all else that a run holds, this
/// bounds a publisher to about 1 GiB.
const STAGED_BYTES_MAX: usize = 512 << 20;
/// Staged objects that one run takes: their names stand in the state.
const STAGED_OBJECTS_MAX: usize = 1000;

/// Staged rows of an hour, in memory.
#[derive(Debug, Default)]
pub(crate) struct StagedRows {
    /// The rows.
    pub(crate) batches: Vec<RecordBatch>,
    /// The objects they are from.
    pub(crate) keys: Vec<String>,
    /// Objects whose rows are in the table already: a crash kept them from being deleted.
    pub(crate) consumed: Vec<String>,
    /// Whether there are more objects than one run takes.
    pub(crate) more: bool,
}

impl StagedRows {
    /// Reads the staged objects of an hour but those that are consumed, which it only names.
    pub(crate) async fn read(
        store: &Arc<dyn ObjectStore>,
        table: &Table,
        hour: Hour,
        consumed: &[String],
    ) -> Result<Self, PublishError> {
        let consumed: HashSet<&String> = consumed.iter().collect();
        let schema = schema_of(table);
        let folder = layout::staging_hour(table, hour);
        let list = store.list(Some(&folder)).try_collect::<Vec<ObjectMeta>>().await;
        let mut objects = list.map_err(|source| PublishError::Store { path: folder, source })?;
        objects.sort_by(|left, right| left.location.cmp(&right.location));
        let mut rows = Self::default();
        let mut bytes = 0;
        for object in objects {
            let key = object.location.to_string();
            if consumed.contains(&key) {
                rows.consumed.push(key);
                continue;
            }
            if bytes >= STAGED_BYTES_MAX || rows.keys.len() == STAGED_OBJECTS_MAX {
                rows.more = true;
                break;
            }
            let mut batches = open(store, &key, object.size, &[]).await?;
            while let Some(batch) = batches.try_next().await.map_err(PublishError::Read)? {
                bytes += batch.get_array_memory_size();
                rows.batches.push(conform(&schema, &batch)?);
            }
            rows.keys.push(key);
        }
        Ok(rows)
    }

    /// Whether nothing is staged.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A sieve that has been fed all the rows.
    pub(crate) fn sieve(&self, table: &Table) -> Result<Sieve, PublishError> {
        let mut sieve = Sieve::default();
        for (batch, rows) in self.batches.iter().enumerate() {
            for (row, arrival) in arrivals(table, rows)?.into_iter().enumerate() {
                sieve.staged(arrival, (batch, row));
            }
        }
        Ok(sieve)
    }
}

/// Hands each arrival of a file to `see`. Reads only the columns it takes.
pub(crate) async fn arrivals_of(
    store: &Arc<dyn ObjectStore>,
    table: &Table,
    key: &str,
    bytes: u64,
    mut see: impl FnMut(Arrival),
) -> Result<(), PublishError> {
    let columns: Vec<&str> = arrival_columns(table).collect();
    let mut batches = open(store, key, bytes, &columns).await?;
    while let Some(batch) = batches.try_next().await.map_err(PublishError::Read)? {
        arrivals(table, &batch)?.into_iter().for_each(&mut see);
    }
    Ok(())
}

/// Opens a file of the bucket.
pub(crate) async fn open(
    store: &Arc<dyn ObjectStore>,
    key: &str,
    bytes: u64,
    columns: &[&str],
) -> Result<Batches, PublishError> {
    ObjectFile::new(Arc::clone(store), key_path(key), bytes).open(columns).await.map_err(PublishError::Read)
}
