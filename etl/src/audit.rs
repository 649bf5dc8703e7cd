//! What is published, by table and hour, as the states tell it: one side of the audit's equation.
//!
//! For `ad_requests`: accepted requests = `rows` + `resent` + failed events, hour by hour of `received_ts`.

use events::table::Table;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore};

use crate::hour::Hour;
use crate::layout;
use crate::publish::{PublishError, State};

/// One hour of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HourCount {
    /// The hour.
    pub hour: Hour,
    /// Rows of the table.
    pub rows: u64,
    /// Accepted requests (or imps of them) that were sent again and so are no rows.
    pub resent: u64,
    /// Deliveries of the same again, which were never accepted requests of their own.
    pub redelivered: u64,
    /// Files that hold the rows.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The counts of all published hours of a table, earliest first. Reads one state an hour.
///
/// # Errors
/// When states cannot be listed or read.
pub async fn published(store: &dyn ObjectStore, table: &Table) -> Result<Vec<HourCount>, PublishError> {
    let folder = layout::states(table);
    let list = store.list(Some(&folder)).try_collect::<Vec<ObjectMeta>>().await;
    let list = list.map_err(|source| PublishError::Store { path: folder, source })?;
    let mut hours: Vec<Hour> = list.iter().filter_map(|object| Hour::in_path(object.location.as_ref())).collect();
    hours.sort_unstable();
    let mut counts = Vec::with_capacity(hours.len());
    for hour in hours {
        let Some(loaded) = State::load(store, table, hour).await? else { continue };
        let state = loaded.state;
        counts.push(HourCount {
            hour,
            rows: state.rows,
            resent: state.resent,
            redelivered: state.redelivered,
            files: state.files.len(),
            bytes: state.files.iter().map(|file| file.bytes).sum(),
        });
    }
    Ok(counts)
}

/// How many staged objects of a table wait to be published. 0 means that everything staged is in the table.
///
/// # Errors
/// When they cannot be listed.
pub async fn staged_objects(store: &dyn ObjectStore, table: &Table) -> Result<usize, PublishError> {
    let folder = layout::staging(table);
    let list = store.list(Some(&folder)).try_fold(0, |count, _| async move { Ok(count + 1) }).await;
    list.map_err(|source| PublishError::Store { path: folder, source })
}
