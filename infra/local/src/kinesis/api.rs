//! The service's operations over the store, in JSON 1.1 and CBOR, error names and messages as the service's.
//!
//! Each operation checks in the service's order: the shape of the request, then every value in it (all faults are
//! said at once), then what it names, then what it asks for.

use serde::Deserialize;

use crate::faults::Faults;
use crate::limits::LimitUse;
use crate::wire::{Request, ServiceError};

use super::log::LogError;
use super::rate::CallRates;
use super::status::{Change, Status};
use super::store::{Store, StoreError};
use super::stream::Stream;
use super::{ACCOUNT, REGION};

mod account;
mod capacity;
mod consumer;
mod describe;
mod encryption;
mod event_frame;
mod filter;
mod get;
mod lease;
mod limits;
mod monitoring;
mod policy;
mod put;
mod resource;
mod retention;
mod shard;
mod stream;
mod subscribe;
mod subscription;
mod tag;
mod token;
mod validate;
mod value;

pub(crate) use event_frame::CONTENT_TYPE as EVENT_STREAM;
pub(super) use get::read_kept;
use lease::Subscriptions;
pub(super) use put::{RECORDS_MAX, REQUEST_BYTES_MAX};
pub use subscription::Subscription;
use validate::Checks;

/// All operations that are here.
pub(super) const OPERATIONS: [&str; 40] = [
    "PutRecord",
    "PutRecords",
    "GetShardIterator",
    "GetRecords",
    "SubscribeToShard",
    "CreateStream",
    "DeleteStream",
    "ListStreams",
    "DescribeStream",
    "DescribeStreamSummary",
    "DescribeLimits",
    "ListShards",
    "SplitShard",
    "MergeShards",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamWarmThroughput",
    "UpdateMaxRecordSize",
    "UpdateStreamRecordDistributionStrategy",
    "IncreaseStreamRetentionPeriod",
    "DecreaseStreamRetentionPeriod",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "EnableEnhancedMonitoring",
    "DisableEnhancedMonitoring",
    "AddTagsToStream",
    "RemoveTagsFromStream",
    "ListTagsForStream",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "PutResourcePolicy",
    "GetResourcePolicy",
    "DeleteResourcePolicy",
    "RegisterStreamConsumer",
    "DeregisterStreamConsumer",
    "DescribeStreamConsumer",
    "ListStreamConsumers",
    "DescribeAccountSettings",
    "UpdateAccountSettings",
];

/// The Kinesis service.
#[derive(Debug, Clone)]
pub struct Kinesis {
    store: Store,
    subscriptions: Subscriptions,
    faults: Faults,
    /// Set where the account's calls are counted.
    rates: Option<CallRates>,
}

/// What an operation answers with.
#[derive(Debug)]
pub enum Answer {
    /// A body.
    Whole(Vec<u8>),
    /// The events of `SubscribeToShard`.
    Events(Box<Subscription>),
}

impl Kinesis {
    /// The service over a store, with the store's faults.
    pub fn new(store: Store) -> Self {
        let faults = store.faults().clone();
        Self { store, subscriptions: Subscriptions::default(), faults, rates: None }
    }

    /// The same, keeping to the account's calls a second of the operations that manage streams.
    pub fn with_call_rates(self) -> Self {
        Self { rates: Some(CallRates::default()), ..self }
    }

    /// The streams themselves, for readers within the process.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The limits that are held, and how much of each is used.
    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        limits::limits(&self.store)
    }

    /// The faults that were asked for.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Ends all subscriptions, so that their connections do not hold up a shutdown.
    pub fn end_subscriptions(&self) {
        self.subscriptions.end_all();
    }

    /// Answers one operation that has a whole answer, such as `PutRecords`, in JSON.
    ///
    /// # Errors
    /// As [`Kinesis::answer`]; `SubscribeToShard` is not one of them.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        match self.answer(operation, Request::json(body)).await? {
            Answer::Whole(body) => Ok(body),
            Answer::Events(_) => Err(invalid_argument("The answer is a stream of events.")),
        }
    }

    /// Answers one operation.
    ///
    /// # Errors
    /// The service's own, and `UnknownOperationException` for what is not implemented.
    pub async fn answer(&self, operation: &str, request: Request<'_>) -> Result<Answer, ServiceError> {
        let store = &self.store;
        if self.rates.as_ref().is_some_and(|rates| !rates.admit(operation, store.clock().now_ms())) {
            return Err(limit_exceeded(format!("Rate exceeded for {operation} under account {ACCOUNT}.")));
        }
        let body = match operation {
            "PutRecord" => put::put_record(store, request).await,
            "PutRecords" => put::put_records(store, &self.faults, request).await,
            "GetShardIterator" => get::get_shard_iterator(store, request).await,
            "GetRecords" => get::get_records(store, request).await,
            "SubscribeToShard" => {
                let subscription = subscribe::subscribe_to_shard(store, &self.subscriptions, request).await?;
                return Ok(Answer::Events(Box::new(subscription)));
            }
            other => self.manage(other, request).await,
        };
        body.map(Answer::Whole)
    }

    /// The operations on streams, shards, consumers and the account.
    async fn manage(&self, operation: &str, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
        let store = &self.store;
        match operation {
            "CreateStream" => stream::create_stream(store, request).await,
            "DeleteStream" => stream::delete_stream(store, request).await,
            "ListStreams" => stream::list_streams(store, request),
            "DescribeStream" => describe::describe_stream(store, request),
            "DescribeStreamSummary" => describe::describe_stream_summary(store, request),
            "DescribeLimits" => describe::describe_limits(store, request),
            "ListShards" => shard::list_shards(store, request),
            "SplitShard" => shard::split_shard(store, request).await,
            "MergeShards" => shard::merge_shards(store, request).await,
            "UpdateShardCount" => capacity::update_shard_count(store, request).await,
            "UpdateStreamMode" => capacity::update_stream_mode(store, request).await,
            "UpdateStreamWarmThroughput" => capacity::update_warm_throughput(store, request).await,
            "UpdateMaxRecordSize" => capacity::update_max_record_size(store, request).await,
            "UpdateStreamRecordDistributionStrategy" => capacity::update_distribution(store, request).await,
            "IncreaseStreamRetentionPeriod" => retention::increase(store, request).await,
            "DecreaseStreamRetentionPeriod" => retention::decrease(store, request).await,
            "StartStreamEncryption" => encryption::start(store, request).await,
            "StopStreamEncryption" => encryption::stop(store, request).await,
            "EnableEnhancedMonitoring" => monitoring::enable(store, request).await,
            "DisableEnhancedMonitoring" => monitoring::disable(store, request).await,
            "AddTagsToStream" => tag::add_tags(store, request).await,
            "RemoveTagsFromStream" => tag::remove_tags(store, request).await,
            "ListTagsForStream" => tag::list_tags(store, request),
            "TagResource" => tag::tag_resource(store, request).await,
            "UntagResource" => tag::untag_resource(store, request).await,
            "ListTagsForResource" => tag::list_resource_tags(store, request),
            "PutResourcePolicy" => policy::put(store, request).await,
            "GetResourcePolicy" => policy::get(store, request),
            "DeleteResourcePolicy" => policy::delete(store, request).await,
            "RegisterStreamConsumer" => consumer::register(store, request).await,
            "DeregisterStreamConsumer" => consumer::deregister(store, &self.subscriptions, request).await,
            "DescribeStreamConsumer" => consumer::describe(store, request),
            "ListStreamConsumers" => consumer::list(store, request),
            "DescribeAccountSettings" => account::describe(store, request),
            "UpdateAccountSettings" => account::update(store, request).await,
            other => Err(ServiceError::not_here("Kinesis", other)),
        }
    }
}

/// How a request names its stream.
#[derive(Debug, Default, Deserialize)]
struct StreamRef {
    #[serde(rename = "StreamName")]
    name: Option<String>,
    #[serde(rename = "StreamARN")]
    arn: Option<String>,
}

impl StreamRef {
    fn find(&self, store: &Store) -> Result<Stream, ServiceError> {
        find_stream(store, self.name.as_deref(), self.arn.as_deref())
    }

    /// The stream if it takes and gives records. One that is not whole yet, or is going, is not there for them.
    fn find_serving(&self, store: &Store) -> Result<Stream, ServiceError> {
        serving(self.find(store)?)
    }

    /// Checks the names, then finds the stream, for requests that have no more to check.
    fn check_and_find(&self, store: &Store) -> Result<Stream, ServiceError> {
        let mut checks = Checks::default();
        checks.stream(self);
        checks.finish()?;
        self.find(store)
    }
}

/// The stream that a request names, by name or by ARN. Their shapes were checked before.
fn find_stream(store: &Store, name: Option<&str>, arn: Option<&str>) -> Result<Stream, ServiceError> {
    let name_in_arn = arn.map(name_in_arn).transpose()?;
    let name = match (name, name_in_arn) {
        (Some(name), Some(other)) if name != other => {
            return Err(invalid_argument("StreamName and StreamARN name different streams."));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(invalid_argument("Either StreamName or StreamARN must be given.")),
    };
    store.stream(name).ok_or_else(|| stream_not_found(name))
}

/// A stream that takes and gives records; one that is not whole yet, or is going, is not found.
fn serving(stream: Stream) -> Result<Stream, ServiceError> {
    match stream.status() {
        Status::Active | Status::Updating => Ok(stream),
        Status::Creating | Status::Deleting => Err(stream_not_found(stream.name())),
    }
}

/// Begins a change of an active stream. [`Change::made`] ends it; what is dropped before has changed nothing.
fn begin(stream: &Stream) -> Result<Change<'_>, ServiceError> {
    if stream.is_deleted() {
        return Err(not_active(stream, Status::Deleting));
    }
    stream.transition().begin().map_err(|status| not_active(stream, status))
}

/// What is said to who needs an active stream.
fn not_active(stream: &Stream, status: Status) -> ServiceError {
    ServiceError::client(
        "ResourceInUseException",
        format!("Stream {} under account {ACCOUNT} not ACTIVE, instead in state {}", stream.name(), status.name()),
    )
}

/// The stream's name in an ARN of this account and region.
fn name_in_arn(arn: &str) -> Result<&str, ServiceError> {
    let resource = own_resource(arn)?;
    resource.strip_prefix("stream/").ok_or_else(|| resource_not_found(arn))
}

/// The resource in an ARN of this account and region, which is all that this local cloud has.
fn own_resource(arn: &str) -> Result<&str, ServiceError> {
    let resource = validate::resource_in_arn(arn).ok_or_else(|| resource_not_found(arn))?;
    let is_own = arn.split(':').skip(3).take(2).eq([REGION, ACCOUNT]);
    if is_own { Ok(resource) } else { Err(resource_not_found(arn)) }
}

fn resource_not_found(arn: &str) -> ServiceError {
    ServiceError::client("ResourceNotFoundException", format!("Resource {arn} under account {ACCOUNT} not found."))
}

fn stream_not_found(name: &str) -> ServiceError {
    ServiceError::client("ResourceNotFoundException", format!("Stream {name} under account {ACCOUNT} not found."))
}

fn shard_not_found(stream: &str, shard_id: &str) -> ServiceError {
    ServiceError::client(
        "ResourceNotFoundException",
        format!("Could not find shard {shard_id} in stream {stream} under account {ACCOUNT}."),
    )
}

fn invalid_argument(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidArgumentException", message)
}

fn limit_exceeded(message: impl Into<String>) -> ServiceError {
    ServiceError::client("LimitExceededException", message)
}

/// The answer to a request that was right and asked only to be checked.
fn dry_run() -> ServiceError {
    ServiceError::client("DryRunOperationException", "The request would have succeeded, but the DryRun flag is set.")
}

fn rate_exceeded(stream: &str, shard_id: &str) -> String {
    format!("Rate exceeded for shard {shard_id} in stream {stream} under account {ACCOUNT}.")
}

fn throttled(stream: &str, shard_id: &str) -> ServiceError {
    ServiceError::client("ProvisionedThroughputExceededException", rate_exceeded(stream, shard_id))
}

/// A fault of the disk, logged here and named on the wire without its paths.
fn log_failure(error: &LogError) -> ServiceError {
    tracing::error!(error = error as &dyn std::error::Error, "cannot read a shard's log");
    ServiceError::internal("InternalFailureException", "Internal Service Failure: a shard's log cannot be read.")
}

fn store_failure(error: &StoreError) -> ServiceError {
    match error {
        StoreError::Exists { name } => ServiceError::client(
            "ResourceInUseException",
            format!("Stream {name} under account {ACCOUNT} already exists."),
        ),
        StoreError::Io { .. } | StoreError::Log(_) => {
            tracing::error!(error = error as &dyn std::error::Error, "cannot use the stream store");
            ServiceError::internal("InternalFailureException", "Internal Service Failure: the disk refuses.")
        }
    }
}

fn io_failure(error: &std::io::Error) -> ServiceError {
    tracing::error!(%error, "cannot write a stream's description");
    ServiceError::internal("InternalFailureException", "Internal Service Failure: the disk refuses.")
}

/// Changes a stream's settings; `change` may refuse.
async fn change_settings<T>(
    stream: &Stream,
    change: impl FnOnce(&mut super::settings::Settings) -> Result<T, ServiceError>,
) -> Result<T, ServiceError> {
    stream.set(change).await.map_err(|error| io_failure(&error))?
}
