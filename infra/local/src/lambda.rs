//! Lambda's event source mappings: what reads a stream and calls a function with batches of it.
//!
//! A shard is read in order, its parents before it, one invocation in flight per shard. A failed batch is tried again
//! until it succeeds or its attempts are used up; a partial failure moves the checkpoint to the lowest failed record.
//! Checkpoints are durable after each success, so that a crash repeats records and skips none.
//! What is absent: filters, parallelization within a shard, bisecting, on-failure destinations, tumbling windows.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::event::streams::KinesisEventResponse;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::data_dir::DataDir;
use crate::kinesis::Store;

mod batch;
mod checkpoint;
mod decision;
mod mapping;
mod poller;
mod progress;

pub use mapping::{Mapping, NotDrained};
pub use progress::MappingProgress;

/// Concurrent invocations in an account: the service's default.
pub const CONCURRENCY_DEFAULT: usize = 1_000;
/// The most records in a batch.
pub const BATCH_SIZE_MAX: usize = 10_000;
/// The longest batching window.
pub const BATCHING_WINDOW_MAX: Duration = Duration::from_secs(300);
/// An invocation's payload, base64 and metadata included: 6 MB, which Lambda counts in KiB.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1_024 * 1_024;
/// The longest an invocation may take.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// A function that handles batches of a stream, as it would be deployed.
pub type Handler = Arc<dyn Fn(KinesisEvent) -> BoxFuture<'static, anyhow::Result<KinesisEventResponse>> + Send + Sync>;

/// Which stream calls which function, and in what batches. It starts at the oldest record kept (`TRIM_HORIZON`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSourceMapping {
    /// Names the checkpoints: 1 to 64 letters, digits, `-`, `_`. Stays the same over restarts.
    pub name: String,
    /// The stream's name.
    pub stream: String,
    /// Records in a batch, 1 to 10,000; 100 by default.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more, at most 300 s; zero by default: it does not wait.
    pub batching_window: Duration,
    /// Bytes of an event, base64 and metadata included; 6 MiB, or less where a function's memory is small.
    pub payload_bytes_max: usize,
    /// How often a failed batch is tried again before it is given up; `None`, the default: until it succeeds.
    pub maximum_retry_attempts: Option<u32>,
    /// Whether the response's `batchItemFailures` count; on by default.
    pub report_batch_item_failures: bool,
    /// When an invocation is cut off and counts as failed, at most 900 s; 60 s by default.
    pub timeout: Duration,
}

/// Why a mapping was refused.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// A setting is out of its range.
    #[error("event source mapping {mapping}: {setting} must be {range}")]
    Setting {
        /// The mapping's name.
        mapping: String,
        /// The setting.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// There is no such stream.
    #[error("event source mapping {mapping}: there is no stream {stream}")]
    NoStream {
        /// The mapping's name.
        mapping: String,
        /// The stream's name.
        stream: String,
    },
    /// A mapping of this name runs.
    #[error("event source mapping {mapping} runs already")]
    Exists {
        /// The mapping's name.
        mapping: String,
    },
    /// The directory of its checkpoints cannot be used.
    #[error("event source mapping {mapping}: cannot use its checkpoints")]
    Checkpoints {
        /// The mapping's name.
        mapping: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl EventSourceMapping {
    /// A mapping with the service's defaults.
    pub fn new(name: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            stream: stream.into(),
            batch_size: 100,
            batching_window: Duration::ZERO,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            maximum_retry_attempts: None,
            report_batch_item_failures: true,
            timeout: Duration::from_secs(60),
        }
    }

    fn check(&self) -> Result<(), MappingError> {
        let is_name_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let name_is_valid = (1..=64).contains(&self.name.len()) && self.name.bytes().all(is_name_char);
        let checks = [
            (name_is_valid, "name", "1 to 64 letters, digits, - and _"),
            ((1..=BATCH_SIZE_MAX).contains(&self.batch_size), "batch_size", "1 to 10,000"),
            (self.batching_window <= BATCHING_WINDOW_MAX, "batching_window", "0 to 300 s"),
            ((1..=PAYLOAD_BYTES_MAX).contains(&self.payload_bytes_max), "payload_bytes_max", "1 to 6,291,456"),
            (!self.timeout.is_zero() && self.timeout <= TIMEOUT_MAX, "timeout", "above 0, up to 900 s"),
        ];
        match checks.into_iter().find(|(is_valid, ..)| !is_valid) {
            Some((_, setting, range)) => Err(MappingError::Setting { mapping: self.name.clone(), setting, range }),
            None => Ok(()),
        }
    }
}

/// All event source mappings of a local cloud. They share its concurrency.
#[derive(Debug)]
pub struct Lambda {
    data: Arc<DataDir>,
    store: Store,
    concurrency: Arc<Semaphore>,
    /// Held for look-ups and additions only.
    mappings: Mutex<Vec<Mapping>>,
}

impl Lambda {
    /// Mappings over the streams of `store`, with checkpoints in `data` and `concurrency` invocations at once.
    pub fn new(data: Arc<DataDir>, store: Store, concurrency: usize) -> Self {
        let concurrency = Arc::new(Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)));
        Self { data, store, concurrency, mappings: Mutex::new(Vec::new()) }
    }

    /// Starts a mapping on the runtime that this is called on.
    ///
    /// # Errors
    /// When a setting is out of range, the stream is missing, or a mapping of this name runs.
    pub async fn map(&self, mapping: EventSourceMapping, handler: Handler) -> Result<Mapping, MappingError> {
        mapping.check()?;
        let name = mapping.name.clone();
        let Some(stream) = self.store.stream(&mapping.stream) else {
            return Err(MappingError::NoStream { mapping: name, stream: mapping.stream });
        };
        let checkpoints_failed = |source| MappingError::Checkpoints { mapping: name.clone(), source };
        let (dir, created_ms) = (self.data.join("lambda").join(&name), stream.created_ms());
        let opening = tokio::task::spawn_blocking(move || checkpoint::Checkpoints::open(dir, created_ms));
        let checkpoints = opening.await.map_err(std::io::Error::other).flatten().map_err(checkpoints_failed)?;
        let mut mappings = self.mappings();
        mappings.retain(|other| !other.is_stopped());
        if mappings.iter().any(|other| other.name() == name) {
            return Err(MappingError::Exists { mapping: name });
        }
        let function = poller::Function { mapping, handler, concurrency: Arc::clone(&self.concurrency) };
        let handle = Mapping::start(function, stream, checkpoints, self.store.clock().clone());
        mappings.push(handle.clone());
        Ok(handle)
    }

    /// The mappings that were started and not stopped.
    pub fn running(&self) -> Vec<Mapping> {
        self.mappings().iter().filter(|mapping| !mapping.is_stopped()).cloned().collect()
    }

    /// Stops all mappings after their invocations in flight.
    pub async fn stop(&self) {
        let mappings = self.running();
        futures::future::join_all(mappings.iter().map(Mapping::stop)).await;
    }

    fn mappings(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.mappings.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.mappings().iter().for_each(Mapping::cancel);
    }
}

#[cfg(test)]
mod tests;
