//! Firehose with S3 as its destination: buffers that are honoured, and records that are kept.
//!
//! A record is on disk, checked and synced, before it is acknowledged. What a buffer holds becomes one object when
//! it is large or old enough; then its log is removed. An object's name is fixed when its buffer is begun, so a
//! delivery repeated after a crash overwrites itself: delivery is at least once, and nearly always exactly once.
//!
//! On its way a record may be cut into several, be given a partition (each has a buffer of its own) and be converted to
//! Parquet. What fails there is described below the prefix of failed records.
//!
//! A stream takes 2,000 requests, 500,000 records and 5 MiB a second, as in us-east-1; more is refused as a whole. One with
//! a Kinesis stream as its source takes what that gives.
//!
//! Not here: other destinations, Lambda and other processors, ORC, backups. Asked for, they are refused.

mod active;
mod buffer;
mod compression;
mod config;
mod conversion;
mod delivery;
mod destination;
mod failed;
mod lane;
mod limiter;
mod operations;
mod partition;
mod prefix;
mod processing;
mod query;
mod segment;
mod source;
mod stream;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use crate::clock::Clock;
use crate::cloudwatch::{Counted, Measured};
use crate::data_dir;
use crate::faults::Faults;
use crate::glue::Glue;
use crate::kinesis::Store;
use crate::limits::LimitUse;
use crate::meter::{Reading, count};
use crate::s3::{S3, StoreError};
use crate::wire::ServiceError;

use config::StreamConfig;
use stream::Stream;

const QUOTAS: &str = "firehose/latest/dev/limits.html";
/// The most delivery streams, as an account has at AWS without asking for more.
const MAX_STREAMS: usize = 5_000;
/// How long a deletion waits for the last buffer to reach S3, in seconds; AWS promises nothing at all.
const DELETE_FLUSH_S: u64 = 10;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
enum FirehoseError {
    #[error("Firehose {name} not found.")]
    NotFound { name: String },
    #[error("Firehose {name} already exists.")]
    Exists { name: String },
    #[error("at most {MAX_STREAMS} delivery streams")]
    TooManyStreams,
    #[error("a delivery stream has at most 50 tags")]
    TooManyTags,
    #[error("{what}")]
    Invalid { what: String },
    #[error("1 validation error detected: {what}")]
    Constraint { what: String },
    #[error("The version of the delivery stream is {found}, not {expected}.")]
    VersionMoved { expected: String, found: u64 },
    #[error("the catalog does not answer: {what}")]
    Catalog { what: String },
    #[error("Slow down.")]
    Throttled,
    #[error("{undelivered} bytes wait for S3; try again later")]
    Backlog { undelivered: u64 },
    #[error("the records could not be written: {0}")]
    Io(#[from] io::Error),
    #[error("the delivery stream is being closed")]
    Closed,
    #[error("deliver to S3: {0}")]
    Store(#[from] StoreError),
}

impl From<FirehoseError> for ServiceError {
    fn from(error: FirehoseError) -> Self {
        let message = error.to_string();
        match error {
            FirehoseError::NotFound { .. } => Self::client("ResourceNotFoundException", message),
            FirehoseError::Exists { .. } => Self::client("ResourceInUseException", message),
            FirehoseError::TooManyStreams | FirehoseError::TooManyTags => {
                Self::client("LimitExceededException", message)
            }
            FirehoseError::Invalid { .. } => Self::client("InvalidArgumentException", message),
            FirehoseError::Constraint { .. } => Self::client("ValidationException", message),
            FirehoseError::VersionMoved { .. } => Self::client("ConcurrentModificationException", message),
            FirehoseError::Throttled | FirehoseError::Backlog { .. } | FirehoseError::Closed => {
                Self { status: 503, code: "ServiceUnavailableException", message }
            }
            FirehoseError::Io(_) | FirehoseError::Store(_) | FirehoseError::Catalog { .. } => {
                tracing::error!(%message, "firehose failed");
                Self { status: 503, code: "ServiceUnavailableException", message }
            }
        }
    }
}

/// What delivery streams work with.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) s3: S3,
    pub(crate) glue: Glue,
    pub(crate) kinesis: Store,
    pub(crate) faults: Faults,
    pub(crate) clock: Clock,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    around: Surroundings,
    // Held for a look or a change of the map only, never while a stream works.
    streams: Mutex<BTreeMap<String, Stream>>,
    // One creation, change or deletion at a time: each takes several steps on disk.
    admin: tokio::sync::Mutex<()>,
}

/// The service: a cheap handle.
#[derive(Debug, Clone)]
pub struct Firehose {
    inner: Arc<Inner>,
}

impl Firehose {
    /// Opens the delivery streams in a directory, making it if it is not there. What had been acknowledged and not
    /// delivered before is delivered now.
    ///
    /// # Errors
    /// When the directory cannot be made, or what lies there cannot be read.
    pub(crate) async fn open(dir: PathBuf, around: Surroundings) -> io::Result<Self> {
        let root = dir.clone();
        let configs = tokio::task::spawn_blocking(move || config::load(&root)).await.map_err(io::Error::other)??;
        let mut streams = BTreeMap::new();
        for config in configs {
            let name = config.name.clone();
            // One that an earlier version took and this one would refuse is no reason not to start; its buffers stay.
            if let Err(error) = config.destination() {
                tracing::error!(stream = name, %error, "a delivery stream cannot be opened; make it anew under its name");
                continue;
            }
            let stream = Stream::open(dir.join(&name), config, &around, None).await?;
            streams.insert(name, stream);
        }
        let inner = Inner { dir, around, streams: Mutex::new(streams), admin: tokio::sync::Mutex::new(()) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers one operation of AWS JSON 1.1.
    ///
    /// # Errors
    /// The service's own error names.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        operations::call(self, operation, body).await
    }

    /// Puts records; they are durable when this returns.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, or `ServiceUnavailableException` when the disk or the backlog is full.
    pub async fn put(&self, stream: &str, records: Vec<Bytes>) -> Result<(), ServiceError> {
        Ok(self.stream(stream)?.put(records).await?)
    }

    /// Delivers what is buffered now, and returns when it lies in S3. A destination that fails is tried again without
    /// end: a caller that cannot wait puts a timeout around this.
    ///
    /// # Errors
    /// `ServiceUnavailableException` when a stream is closed meanwhile, or its disk fails.
    pub async fn flush_all(&self) -> Result<(), ServiceError> {
        let streams: Vec<Stream> = self.streams().values().cloned().collect();
        for outcome in futures::future::join_all(streams.iter().map(Stream::flush)).await {
            outcome?;
        }
        Ok(())
    }

    /// The limits that are held, and how much of each is used.
    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        let streams = self.streams();
        let all = Reading { now: count(streams.len()), peak: count(streams.len()) };
        let account = LimitUse::new(("firehose", "streams"), "account", (count(MAX_STREAMS), "streams"), all, QUOTAS);
        std::iter::once(account).chain(streams.values().flat_map(Stream::limits)).collect()
    }

    /// Counts since the start, and what was measured since the last call of this, by the names of the metrics.
    pub(crate) fn metrics(&self) -> (Vec<Counted>, Vec<Measured>) {
        let (mut counted, mut measured) = (Vec::new(), Vec::new());
        for stream in self.streams().values() {
            let (counts, freshness) = stream.metrics();
            counted.extend(counts);
            measured.extend(freshness);
        }
        (counted, measured)
    }

    /// Ends the streams' tasks. Records that are not delivered stay on disk, and are delivered at the next start.
    pub async fn shutdown(&self) {
        let streams = std::mem::take(&mut *self.streams());
        for stream in streams.into_values() {
            stream.close().await;
        }
    }

    async fn create(&self, config: StreamConfig) -> Result<String, FirehoseError> {
        let _one_at_a_time = self.inner.admin.lock().await;
        {
            let streams = self.streams();
            if streams.contains_key(&config.name) {
                return Err(FirehoseError::Exists { name: config.name });
            }
            if streams.len() >= MAX_STREAMS {
                return Err(FirehoseError::TooManyStreams);
            }
        }
        let config = self.with_table(config, None).await?;
        let (dir, name, arn) = (self.inner.dir.join(&config.name), config.name.clone(), config.arn());
        let from = match &config.source {
            None => None,
            Some(source) => {
                let not_found = || invalid(format!("Stream {} under account 000000000000 not found.", source.stream));
                Some(self.inner.around.kinesis.stream(&source.stream).ok_or_else(not_found)?)
            }
        };
        let (path, stored) = (dir.clone(), config.clone());
        let made = tokio::task::spawn_blocking(move || {
            if let Some(from) = from {
                std::fs::create_dir_all(&path)?;
                source::begin(&path, &from)?;
            }
            config::store(&path, &stored)
        });
        made.await.map_err(io::Error::other)??;
        let stream = Stream::open(dir, config, &self.inner.around, None).await?;
        self.streams().insert(name, stream);
        Ok(arn)
    }

    /// Changes a stream: durable first, then for all to see. A change that refuses changes nothing.
    async fn change(
        &self,
        name: &str,
        decide: impl FnOnce(&StreamConfig) -> Result<StreamConfig, FirehoseError>,
    ) -> Result<(), FirehoseError> {
        let _one_at_a_time = self.inner.admin.lock().await;
        let stream = self.stream(name)?;
        let config = self.with_table(decide(&stream.config)?, stream.config.table.as_ref()).await?;
        let (dir, stored) = (self.inner.dir.join(name), config.clone());
        let path = dir.clone();
        tokio::task::spawn_blocking(move || config::store(&path, &stored)).await.map_err(io::Error::other)??;
        let changed = if config.version == stream.config.version {
            stream.with_config(config)
        } else {
            // Its buffers are delivered as what they are now; callers that come meanwhile are asked to try again.
            stream.close().await;
            Stream::open(dir, config, &self.inner.around, Some(stream.meters())).await?
        };
        self.streams().insert(name.to_owned(), changed);
        Ok(())
    }

    /// The configuration with the table that its version asks for; `before` is the one that it had.
    async fn with_table(&self, config: StreamConfig, before: Option<&Value>) -> Result<StreamConfig, FirehoseError> {
        let Some(conversion) = config.destination()?.conversion else {
            return Ok(StreamConfig { table: None, ..config });
        };
        let found = self.inner.around.glue.versioned_table(&conversion.database, &conversion.table).await;
        let found = found.map_err(|error| FirehoseError::Catalog { what: error.message })?;
        let table = conversion::pinned(&conversion, before, found).map_err(invalid)?;
        Ok(StreamConfig { table, ..config })
    }

    /// Takes a stream away, after a last try to deliver what it holds.
    async fn delete(&self, name: &str) -> Result<(), FirehoseError> {
        let _one_at_a_time = self.inner.admin.lock().await;
        let stream = self.streams().remove(name).ok_or_else(|| FirehoseError::NotFound { name: name.to_owned() })?;
        let deadline = std::time::Duration::from_secs(DELETE_FLUSH_S);
        match tokio::time::timeout(deadline, stream.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(stream = name, %error, "deleted a delivery stream with records in it"),
            Err(_elapsed) => tracing::warn!(stream = name, "deleted a delivery stream with records in it"),
        }
        stream.close().await;
        let (root, dir) = (self.inner.dir.clone(), self.inner.dir.join(name));
        let removed = tokio::task::spawn_blocking(move || {
            std::fs::remove_file(dir.join(config::CONFIG_FILE))?;
            std::fs::remove_dir_all(&dir)?;
            data_dir::sync_dir(&root)
        });
        Ok(removed.await.map_err(io::Error::other)??)
    }

    fn now_ms(&self) -> i64 {
        self.inner.around.clock.now_ms()
    }

    fn stream(&self, name: &str) -> Result<Stream, FirehoseError> {
        self.streams().get(name).cloned().ok_or_else(|| FirehoseError::NotFound { name: name.to_owned() })
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Stream>> {
        // The map is changed by single calls that leave it whole.
        self.inner.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn invalid(what: impl Into<String>) -> FirehoseError {
    FirehoseError::Invalid { what: what.into() }
}
