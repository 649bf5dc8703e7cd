//! Lambda: functions run as they are deployed, and event source mappings that call them with batches of a stream.
//!
//! A [`Function`] is a `bootstrap` binary that speaks the Runtime API, run as child processes within the account's
//! concurrency. An [`EventSourceMapping`] reads a stream: a shard in order, its parents before it, a failed batch again
//! until it succeeds or is given up. Checkpoints are written soon after each success, so that a crash repeats records
//! and skips none. What a mapping calls ([`Target`]) is a function, or a Rust function of this process.
//! Clients make functions from archives and define mappings over the REST API too; these are kept. Asynchronous events are
//! on disk before they are acknowledged, and run until they are done with or given up.
//! What is absent: enhanced fan-out, provisioned pollers, versions and aliases, layers, images.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cloudwatch::{CloudWatch, Counted, Measured};
use crate::data_dir::DataDir;
use crate::kinesis::{Store, Stream};

mod account;
pub(crate) mod api;
mod batch;
mod checkpoint;
mod code;
mod decision;
mod definition;
mod destination;
mod event_source;
mod events;
mod filter;
mod function;
mod limits;
mod mapping;
mod metrics;
mod poller;
mod progress;
mod registry;
mod settings;
mod shard;
mod target;
mod window;

pub use account::{NotReservable, Throttle, UNRESERVED_MIN};
pub(crate) use destination::Sinks;
pub use destination::{Destination, DestinationError};
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

/// What a Lambda has around it.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) data: Arc<DataDir>,
    /// Streams.
    pub(crate) store: Store,
    /// Where failed batches and events go.
    pub(crate) sinks: Sinks,
    /// Where functions find the local cloud.
    pub(crate) endpoint: String,
    /// Invocations at once.
    pub(crate) concurrency: usize,
    /// Where embedded metrics of functions go.
    pub(crate) cloudwatch: Option<CloudWatch>,
}

/// Functions and event source mappings of a local cloud. They share its concurrency.
#[derive(Debug)]
pub struct Lambda {
    data: Arc<DataDir>,
    store: Store,
    sinks: Sinks,
    endpoint: String,
    account: account::Account,
    /// Held for look-ups and additions only.
    mappings: Mutex<Vec<Mapping>>,
    /// Held for look-ups and additions only.
    functions: Arc<Mutex<Vec<Function>>>,
    events: events::Events,
    settings: settings::Settings,
    registry: registry::Registry,
    /// Held while a function is made, changed or deleted by a client.
    changes: tokio::sync::Mutex<()>,
    /// What clients defined; one change at a time.
    definitions: tokio::sync::Mutex<api::mappings::Definitions>,
    cloudwatch: Option<CloudWatch>,
    /// Ends the task that runs asynchronous events.
    stop: CancellationToken,
    runner: Mutex<Option<JoinHandle<()>>>,
}

impl Lambda {
    /// Opens what was kept: functions that clients made, with their mappings, and events that were accepted. They run
    /// from here on, on the runtime that this is called on.
    ///
    /// # Errors
    /// What the operating system says, and damage to what was acknowledged.
    pub(crate) async fn open(parts: Parts) -> io::Result<Self> {
        let Parts { data, store, sinks, endpoint, concurrency, cloudwatch } = parts;
        let (faults, clock) = (store.faults().clone(), store.clock().clone());
        let (opened, rim) = (Arc::clone(&data), (faults, clock.clone()));
        let opening = tokio::task::spawn_blocking(move || {
            let (faults, clock) = rim;
            let events = events::Events::open(&opened.join("lambda-events.journal"), faults.clone(), clock.clone())?;
            let path = opened.join("lambda-settings.json");
            let settings = settings::Settings::open(path, faults.clone(), clock.clone())?;
            let registry = registry::Registry::open(opened.join("lambda-functions"), faults, clock)?;
            Ok::<_, io::Error>((events, settings, registry))
        });
        let (events, settings, registry) = opening.await.map_err(io::Error::other)??;
        let account = account::Account::new(concurrency, clock);
        let lambda = Self {
            data,
            store,
            sinks,
            endpoint,
            account,
            mappings: Mutex::default(),
            functions: Arc::default(),
            events,
            settings,
            registry,
            changes: tokio::sync::Mutex::default(),
            definitions: tokio::sync::Mutex::default(),
            cloudwatch,
            stop: CancellationToken::new(),
            runner: Mutex::default(),
        };
        for definition in lambda.registry.all() {
            let made = lambda.create_function(definition.config(lambda.registry.root())).await;
            made.map_err(|error| io::Error::other(format!("{error:#}")))?;
        }
        let runner = tokio::spawn(lambda.runner().run(lambda.stop.clone()));
        *lambda.runner.lock().unwrap_or_else(PoisonError::into_inner) = Some(runner);
        Ok(lambda)
    }

    /// One with all that it needs beside it in `data`.
    #[cfg(test)]
    async fn open_in(data: Arc<DataDir>, store: Store, s3: crate::s3::S3, concurrency: usize) -> Self {
        let (faults, clock, endpoint) =
            (store.faults().clone(), store.clock().clone(), "http://127.0.0.1:1".to_owned());
        let sqs = crate::sqs::Sqs::open(data.join("sqs"), &endpoint, faults.clone(), clock.clone()).unwrap();
        let sns = crate::sns::Sns::open(&data.join("sns"), sqs.clone(), faults, clock).unwrap();
        let sinks = Sinks { s3, sqs, sns };
        Self::open(Parts { data, store, sinks, endpoint, concurrency, cloudwatch: None }).await.unwrap()
    }

    fn runner(&self) -> events::Runner {
        events::Runner {
            events: self.events.clone(),
            functions: Arc::clone(&self.functions),
            settings: self.settings.clone(),
            sinks: self.sinks.clone(),
            account: self.account.clone(),
            store: self.store.clone(),
        }
    }

    /// Makes a function known. Its first environment is started by its first invocation.
    ///
    /// # Errors
    /// When a setting is out of range, the binary is missing, the concurrency cannot be reserved, or the name is taken.
    pub async fn create_function(&self, mut config: FunctionConfig) -> Result<Function, FunctionError> {
        let name = config.name.clone();
        let is_from_archive = self.registry.get(&name).is_some();
        if !is_from_archive {
            config.check_bootstrap()?;
        }
        // What a client has set meanwhile holds.
        config.reserved_concurrency = self.settings.of(&name).reserved_concurrency.or(config.reserved_concurrency);
        if self.function(&name).is_some() {
            return Err(FunctionError::Exists { function: name });
        }
        let faults = self.store.faults().clone();
        let host = Host { endpoint: self.endpoint.clone(), cloudwatch: self.cloudwatch.clone(), faults };
        let (account, clock, log_dir) = (self.account.clone(), self.store.clock().clone(), self.log_dir());
        let creating = tokio::task::spawn_blocking(move || Function::create(config, host, account, clock, &log_dir));
        let created = creating.await.map_err(io::Error::other);
        let function = created.map_err(|source| FunctionError::Log { function: name.clone(), source })??;
        {
            let mut functions = self.functions();
            if functions.iter().any(|other| other.name() == name) {
                return Err(FunctionError::Exists { function: name });
            }
            functions.push(function.clone());
        }
        self.resume(&function).await;
        self.events.wake();
        Ok(function)
    }

    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<Function> {
        self.functions().iter().find(|function| function.name() == name).cloned()
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
        let (sinks, clock) = (self.sinks.clone(), self.store.clock().clone());
        let took = Arc::default();
        let faults = self.store.faults().clone();
        let caller = target::Caller { target, account, name, timeout, stream_arn, clock: clock.clone(), took, faults };
        let handle = Mapping::start(poller::Plan { mapping, caller, filters, sinks, clock }, stream, checkpoints);
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
        let opened = opening.await.map_err(io::Error::other).flatten();
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

    /// Stops all mappings and asynchronous events after their invocations in flight, then ends all environments.
    pub async fn stop(&self) {
        self.stop.cancel();
        let runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(error)) = match runner {
            Some(runner) => Some(runner.await),
            None => None,
        } {
            tracing::error!(%error, "asynchronous events did not end well");
        }
        let mappings = self.running();
        futures::future::join_all(mappings.iter().map(Mapping::stop)).await;
        let functions = self.functions().clone();
        futures::future::join_all(functions.iter().map(Function::stop)).await;
    }

    fn mappings(&self) -> MutexGuard<'_, Vec<Mapping>> {
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn functions(&self) -> MutexGuard<'_, Vec<Function>> {
        self.functions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        self.stop.cancel();
        self.mappings().iter().for_each(Mapping::cancel);
    }
}

/// What names of functions and mappings are made of.
fn is_name_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests;
