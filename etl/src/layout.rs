//! Where objects lie in the bucket.
//!
//! ```text
//! staging/TABLE/HOUR/SHARD-FIRST-LAST-CHECK.parquet   what a batch of a shard became; deleted once published
//! published/TABLE/HOUR/state.json                     the truth about an hour; replaced by compare-and-swap
//! published/TABLE/head.json                           the last commit, which orders the changes of all hours
//! data/TABLE/HOUR/GENERATION-UUID.parquet             published rows
//! resent/TABLE/HOUR/GENERATION-UUID.parquet           ids of requests that were sent again, which are no rows
//! manifests/TABLE/HOUR/manifest                       the data files of the hour: what readers follow
//! unsettled/TABLE/HOUR                                a mark: this hour wants to be looked at again
//! failed_events/HOUR/…                                written by Firehose; large ones by the stages
//! ```

use object_store::path::Path;

use events::table::Table;

use crate::hour::Hour;

/// The folder of failed events.
pub const FAILED_EVENTS: &str = "failed_events";

/// The folder of staged objects of a table.
pub fn staging(table: &Table) -> Path {
    Path::from(format!("staging/{}", table.name))
}

/// The folder of staged objects of a table and hour.
pub fn staging_hour(table: &Table, hour: Hour) -> Path {
    Path::from(format!("staging/{}/{hour}", table.name))
}

/// The state of a table and hour.
pub fn state(table: &Table, hour: Hour) -> Path {
    Path::from(format!("published/{}/{hour}/state.json", table.name))
}

/// The head of a table.
pub fn head(table: &Table) -> Path {
    Path::from(format!("published/{}/head.json", table.name))
}

/// The folder of states of a table, and of its head.
pub fn states(table: &Table) -> Path {
    Path::from(format!("published/{}", table.name))
}

/// The folder of data files of a table and hour.
pub fn data_hour(table: &Table, hour: Hour) -> Path {
    Path::from(format!("data/{}/{hour}", table.name))
}

/// The folder of files that list what was sent again, of a table and hour.
pub fn resent_hour(table: &Table, hour: Hour) -> Path {
    Path::from(format!("resent/{}/{hour}", table.name))
}

/// The folder that a partition of the catalog points at.
pub fn manifest_folder(table: &Table, hour: Hour) -> Path {
    Path::from(format!("manifests/{}/{hour}", table.name))
}

/// The manifest of a table and hour.
pub fn manifest(table: &Table, hour: Hour) -> Path {
    manifest_folder(table, hour).join("manifest")
}

/// The mark of an unsettled hour of a table.
pub fn unsettled_hour(table: &Table, hour: Hour) -> Path {
    Path::from(format!("unsettled/{}/{hour}", table.name))
}

/// The folder of marks of a table.
pub fn unsettled(table: &Table) -> Path {
    Path::from(format!("unsettled/{}", table.name))
}
