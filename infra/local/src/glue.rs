//! The Glue Data Catalog: databases, tables and partitions, durable before they are answered.
//!
//! What a client writes comes back whole, fields that we do not know included. Names are folded to lower case, as Glue
//! does. Not here: table versions other than the newest, crawlers, jobs, the schema registry, permissions.

mod catalog;
mod expression;
mod limits;
mod operations;
mod partition_log;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::limits::LimitUse;
use crate::wire::ServiceError;

use catalog::Catalog;
use expression::ExpressionError;

/// Why an operation on the catalog failed.
#[derive(Debug, thiserror::Error)]
enum GlueError {
    #[error("Database {name} not found.")]
    NoDatabase { name: String },
    #[error("Table {name} not found.")]
    NoTable { name: String },
    #[error("Partition {values:?} not found.")]
    NoPartition { values: Vec<String> },
    #[error("Database {name} already exists.")]
    DatabaseExists { name: String },
    #[error("Table {name} already exists.")]
    TableExists { name: String },
    #[error("Partition {values:?} already exists.")]
    PartitionExists { values: Vec<String> },
    #[error("Table {name} was changed meanwhile: its version is {found}.")]
    VersionMoved { name: String, found: String },
    #[error("The local catalog holds at most {limit} {what}.")]
    TooMany { what: &'static str, limit: usize },
    #[error("{what}")]
    Invalid { what: &'static str },
    #[error("The name {name:?} is empty, longer than 255 bytes, or has a character that names do not have.")]
    InvalidName { name: String },
    #[error("The table has {keys} partition keys, the partition {values} values.")]
    ValueCount { keys: usize, values: usize },
    #[error("{0}")]
    Expression(#[from] ExpressionError),
    #[error("read or write the catalog: {0}")]
    Io(#[from] io::Error),
}

impl GlueError {
    /// The service's name of the error.
    fn code(&self) -> &'static str {
        match self {
            Self::NoDatabase { .. } | Self::NoTable { .. } | Self::NoPartition { .. } => "EntityNotFoundException",
            Self::DatabaseExists { .. } | Self::TableExists { .. } | Self::PartitionExists { .. } => {
                "AlreadyExistsException"
            }
            Self::VersionMoved { .. } => "ConcurrentModificationException",
            Self::TooMany { .. } => "ResourceNumberLimitExceededException",
            Self::Invalid { .. } | Self::InvalidName { .. } | Self::ValueCount { .. } | Self::Expression(_) => {
                "InvalidInputException"
            }
            Self::Io(_) => "InternalServiceException",
        }
    }
}

impl From<GlueError> for ServiceError {
    fn from(error: GlueError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            GlueError::Io(source) => {
                tracing::error!(error = %source, "catalog failed");
                Self::internal(code, message)
            }
            GlueError::NoDatabase { .. }
            | GlueError::NoTable { .. }
            | GlueError::NoPartition { .. }
            | GlueError::DatabaseExists { .. }
            | GlueError::TableExists { .. }
            | GlueError::PartitionExists { .. }
            | GlueError::VersionMoved { .. }
            | GlueError::TooMany { .. }
            | GlueError::Invalid { .. }
            | GlueError::InvalidName { .. }
            | GlueError::ValueCount { .. }
            | GlueError::Expression(_) => Self::client(code, message),
        }
    }
}

/// One partition, for the services beside.
#[derive(Debug, Clone)]
pub struct PartitionEntry {
    /// Its values, in the order of the table's partition keys.
    pub values: Vec<String>,
    /// The `Partition` object as it was written.
    pub partition: Arc<Value>,
}

/// The catalog: a cheap handle.
// The lock is held on the blocking pool only, and across the sync of a change: readers wait some milliseconds at most,
// and see either all of a change or nothing.
#[derive(Debug, Clone)]
pub struct Glue {
    catalog: Arc<Mutex<Catalog>>,
    faults: Faults,
    clock: Clock,
}

impl Glue {
    /// Opens the catalog in a directory, making it if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made, or what lies there cannot be read.
    pub async fn open(dir: PathBuf) -> io::Result<Self> {
        Self::open_with(dir, Faults::default(), Clock::default()).await
    }

    /// [`Glue::open`] with faults of the disk, by this clock.
    ///
    /// # Errors
    /// As [`Glue::open`].
    pub(crate) async fn open_with(dir: PathBuf, faults: Faults, clock: Clock) -> io::Result<Self> {
        let catalog = tokio::task::spawn_blocking(move || Catalog::open(dir)).await.map_err(io::Error::other)??;
        Ok(Self { catalog: Arc::new(Mutex::new(catalog)), faults, clock })
    }

    /// Answers one operation of AWS JSON 1.1.
    ///
    /// # Errors
    /// The service's own error names.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let is_read = ["Get", "BatchGet", "Search", "List"].iter().any(|reading| operation.starts_with(reading));
        if !is_read {
            self.faults.check_disk(self.clock.now_ms()).map_err(GlueError::from)?;
        }
        let (operation, body, clock) = (operation.to_owned(), body.to_vec(), self.clock.clone());
        self.blocking(move |catalog| operations::call(catalog, &operation, &body, clock.now_ms() / 1000)).await?
    }

    /// Waits for the change that is being written, if any. Everything answered is durable already.
    pub async fn shutdown(&self) {
        drop(self.blocking(|_| ()).await);
    }

    /// The names of the databases, in order.
    ///
    /// # Errors
    /// When the process is shutting down.
    pub async fn database_names(&self) -> Result<Vec<String>, ServiceError> {
        self.blocking(|catalog| catalog.databases().keys().cloned().collect()).await
    }

    /// The names of a database's tables, in order; `None` when there is no such database.
    ///
    /// # Errors
    /// When the process is shutting down.
    pub async fn table_names(&self, database: &str) -> Result<Option<Vec<String>>, ServiceError> {
        let database = database.to_lowercase();
        self.blocking(move |catalog| {
            catalog.databases().get(&database).map(|database| database.tables.keys().cloned().collect())
        })
        .await
    }

    /// A table's `TableInput`; `None` when there is no such table.
    ///
    /// # Errors
    /// When the process is shutting down.
    pub async fn table(&self, database: &str, table: &str) -> Result<Option<Value>, ServiceError> {
        let (database, table) = (database.to_lowercase(), table.to_lowercase());
        self.blocking(move |catalog| catalog.table(&database, &table).ok().map(|found| found.entry.input.clone())).await
    }

    /// A table's `TableInput` and its version; `None` when there is no such table.
    ///
    /// # Errors
    /// When the process is shutting down.
    pub(crate) async fn versioned_table(
        &self,
        database: &str,
        table: &str,
    ) -> Result<Option<(Value, u64)>, ServiceError> {
        let (database, table) = (database.to_lowercase(), table.to_lowercase());
        self.blocking(move |catalog| {
            let found = catalog.table(&database, &table).ok();
            found.map(|found| (found.entry.input.clone(), found.entry.version))
        })
        .await
    }

    /// All partitions of a table, in the order of their values; none when there is no such table.
    ///
    /// # Errors
    /// When the process is shutting down.
    pub async fn partitions(&self, database: &str, table: &str) -> Result<Vec<PartitionEntry>, ServiceError> {
        let (database, table) = (database.to_lowercase(), table.to_lowercase());
        self.blocking(move |catalog| {
            let Ok(found) = catalog.table(&database, &table) else { return Vec::new() };
            let entry = |(values, partition): (&Vec<String>, &Arc<Value>)| PartitionEntry {
                values: values.clone(),
                partition: Arc::clone(partition),
            };
            found.partitions.iter().map(entry).collect()
        })
        .await
    }

    /// The limits that are held, and how much of each is used.
    ///
    /// # Errors
    /// When the process is shutting down.
    pub(crate) async fn limits(&self) -> Result<Vec<LimitUse>, ServiceError> {
        let now_ms = self.clock.now_ms();
        self.blocking(move |catalog| limits::limits(catalog, now_ms)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Catalog) -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let catalog = Arc::clone(&self.catalog);
        let done = tokio::task::spawn_blocking(move || {
            // Memory is changed only after the disk, by steps that do not panic half-way.
            work(&mut catalog.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(|error| ServiceError::internal("InternalServiceException", error.to_string()))
    }
}
