//! Lambda: functions run as they are deployed, and event source mappings that call them with batches of a stream.
//!
//! A [`Function`] is a `bootstrap` binary that speaks the Runtime API, run as child processes within the account's
//! concurrency. An [`EventSourceMapping`] reads a stream: a shard in order, its parents before it, a failed batch again
//! until it succeeds or is given up. Checkpoints are written soon after each success, so that a crash repeats records
//! and skips none. What a mapping calls ([`Target`]) is a function, or a Rust function of this process.
//! Clients define mappings over the REST API too; these are kept, and run while their function is there.
//! What is absent: SQS and SNS as destinations, enhanced fan-out, provisioned pollers, `CreateFunction`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::cloudwatch::{CloudWatch, Counted, Measured};
use crate::data_dir::DataDir;
use crate::kinesis::{Store, Stream};
use crate::s3::S3;

mod account;
pub(crate) mod api;
mod batch;
mod checkpoint;
mod decision;
mod definition;
mod destination;
mod event_source;
mod filter;
mod function;
mod limits;
mod mapping;
mod metrics;
mod poller;
mod progress;
mod shard;
mod target;
mod window;

pub use account::{NotReservable, Throttle, UNRESERVED_MIN};
pub use destination::{OnFailure, OnFailureError};
pub use event_source::{
    BATCH_SIZE_MAX, BATCHING_WINDOW_MAX, EventSourceMapping, MappingError, PARALLELIZATION_FACTOR_MAX, RECORD_AGE_MAX,
    RECORD_AGE_MIN, RETRIES_MAX, StartingPosition, TUMBLING_WINDOW_MAX,
};
pub use filter::{FILTER_BYTES_MAX, FILTERS_MAX, FilterError, PatternError};
use function::Host;
pub use function::{
    Call, Function, FunctionConfig, FunctionError, FunctionStats, InvokeError, Invoked, VARIABLES_BYTES_MAX, VERSION,
};
pub use mapping::{Mapping, NotDrained};
pub use progress::MappingProgress;
pub use target::{Handler, PayloadHandler, Target};

/// Concurrent invocations in an account: the service's default.
pub const CONCURRENCY_DEFAULT: usize = 1_000;
/// An invocation's payload, base64 and metadata included: 6 MB, which Lambda counts in KiB.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1_024 * 1_024;
/// The longest an invocation may take.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(900);

/// Functions and event source mappings of a local cloud. They share its concurrency.
#[derive(Debug)]
pub struct Lambda {
    data: Arc<DataDir>,
    store: Store,
    s3: S3,
    /// Where functions find the local cloud.
    endpoint: String,
    account: account::Account,
    /// Held for look-ups and additions only.
    mappings: Mutex<Vec<Mapping>>,
    /// Held for look-ups and additions only.
    functions: Mutex<Vec<Function>>,
    events: api::Events,
    /// What clients defined; one change at a time.
    definitions: tokio::sync::Mutex<api::mappings::Definitions>,
    /// Where embedded metrics of functions go.
    cloudwatch: Option<CloudWatch>,
}

impl Lambda {
    /// Functions and mappings over the streams of `store`, with checkpoints and logs in `data`, failed batches in
    /// `s3` and `concurrency` invocations at once. Functions are pointed to `endpoint` for all AWS services.
    pub fn new(data: Arc<DataDir>, store: Store, s3: S3, endpoint: String, concurrency: usize) -> Self {
        let account = account::Account::new(concurrency, store.clock().clone());
        let (mappings, functions) = (Mutex::default(), Mutex::default());
        let (events, definitions) = (api::Events::default(), tokio::sync::Mutex::default());
        let cloudwatch = None;
        Self { data, store, s3, endpoint, account, mappings, functions, events, definitions, cloudwatch }
    }

    /// The same, with embedded metrics of functions taken in by `cloudwatch`.
    pub(crate) fn with_metrics(mut self, cloudwatch: CloudWatch) -> Self {
        self.cloudwatch = Some(cloudwatch);
        self
    }

    /// Makes a function known. Its first environment is started by its first invocation.
    ///
    /// # Errors
    /// When a setting is out of range, the binary is missing, the concurrency cannot be reserved, or the name is taken.
    pub async fn create_function(&self, config: FunctionConfig) -> Result<Function, FunctionError> {
        let name = config.name.clone();
        if self.function(&name).is_some() {
            return Err(FunctionError::Exists { function: name });
        }
        let host = Host { endpoint: self.endpoint.clone(), cloudwatch: self.cloudwatch.clone() };
        let (account, clock, log_dir) = (self.account.clone(), self.store.clock().clone(), self.log_dir());
        let creating = tokio::task::spawn_blocking(move || Function::create(config, host, account, clock, &log_dir));
        let created = creating.await.map_err(std::io::Error::other);
        let function = created.map_err(|source| FunctionError::Log { function: name.clone(), source })??;
        {
            let mut functions = self.functions();
            if functions.iter().any(|other| other.config().name == name) {
                return Err(FunctionError::Exists { function: name });
            }
            functions.push(function.clone());
        }
        self.resume(&function).await;
        Ok(function)
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<Function> {
        self.functions().iter().find(|function| function.config().name == name).cloned()
    }

    /// The directory with a log file per function.
    pub fn log_dir(&self) -> PathBuf {
        self.data.join("lambda-logs")
    }

    /// Starts a mapping on the runtime that this is called on.
    ///
    /// # Errors
    /// When a setting is out of range, the stream is missing, or a mapping of this name runs.
    pub async fn map(&self, mapping: EventSourceMapping, target: impl Into<Target>) -> Result<Mapping, MappingError> {
        let target = target.into();
        mapping.check()?;
        let name = mapping.name.clone();
        if mapping.tumbling_window.is_some() && matches!(target, Target::Handler(_)) {
            let (setting, range) = ("tumbling_window", "none for a function that does not take the event's JSON");
            return Err(MappingError::Setting { mapping: name, setting, range });
        }
        let filters = filter::Filters::parse(&mapping.filters);
        let filters = filters.map_err(|source| MappingError::Filter { mapping: name.clone(), source })?;
        let Some(stream) = self.store.stream(&mapping.stream) else {
            return Err(MappingError::NoStream { mapping: name, stream: mapping.stream });
        };
        if self.mappings().iter().any(|other| !other.is_stopped() && other.name() == name) {
            return Err(MappingError::Exists { mapping: name });
        }
        let checkpoints = self.checkpoints(&mapping, &stream).await?;
        let mut mappings = self.mappings();
        mappings.retain(|other| !other.is_stopped());
        if mappings.iter().any(|other| other.name() == name) {
            return Err(MappingError::Exists { mapping: name });
        }
        let (account, timeout, stream_arn) = (self.account.clone(), mapping.timeout, stream.arn());
        let (s3, clock) = (self.s3.clone(), self.store.clock().clone());
        let took = Arc::default();
        let faults = self.store.faults().clone();
        let caller = target::Caller { target, account, name, timeout, stream_arn, clock: clock.clone(), took, faults };
        let handle = Mapping::start(poller::Plan { mapping, caller, filters, s3, clock }, stream, checkpoints);
        mappings.push(handle.clone());
        Ok(handle)
    }

    async fn checkpoints(
        &self,
        mapping: &EventSourceMapping,
        stream: &Stream,
    ) -> Result<checkpoint::Checkpoints, MappingError> {
        let (dir, stream) = (self.data.join("lambda").join(&mapping.name), stream.clone());
        let begins_at_the_end = mapping.starting_position == StartingPosition::Latest;
        let opening = tokio::task::spawn_blocking(move || {
            let checkpoints = checkpoint::Checkpoints::open(dir, stream.created_ms())?;
            if begins_at_the_end && checkpoints.is_new() {
                mapping::begin_at_the_end(&stream, &checkpoints)?;
            }
            Ok(checkpoints)
        });
        let opened = opening.await.map_err(std::io::Error::other).flatten();
        opened.map_err(|source| MappingError::Checkpoints { mapping: mapping.name.clone(), source })
    }

    /// The mappings that were started and not stopped.
    pub fn running(&self) -> Vec<Mapping> {
        self.mappings().iter().filter(|mapping| !mapping.is_stopped()).cloned().collect()
    }

    /// The limits that are held, and how much of each is used.
    pub(crate) fn limits(&self) -> Vec<crate::limits::LimitUse> {
        limits::limits(self)
    }

    /// Counts since the start, and what was measured since the last call of this, by the names of the metrics.
    pub(crate) fn metrics(&self) -> (Vec<Counted>, Vec<Measured>) {
        metrics::metrics(self)
    }

    /// Stops all mappings after their invocations in flight, then ends all environments.
    pub async fn stop(&self) {
        let mappings = self.running();
        futures::future::join_all(mappings.iter().map(Mapping::stop)).await;
        let functions = self.functions().clone();
        futures::future::join_all(functions.iter().map(Function::stop)).await;
    }

    fn mappings(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.mappings.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn functions(&self) -> MutexGuard<'_, Vec<Function>> {
        self.functions.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.mappings().iter().for_each(Mapping::cancel);
    }
}

/// What names of functions and mappings are made of.
fn is_name_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests;
