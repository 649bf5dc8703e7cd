//! The service's operations over the store: JSON 1.1, error names and messages as the service's.

use serde::Deserialize;

use crate::wire::ServiceError;

use super::ACCOUNT;
use super::log::LogError;
use super::store::{Store, StoreError};
use super::stream::Stream;

mod get;
mod put;
mod shard;
mod stream;
mod tag;
mod token;
mod validate;

/// The Kinesis service.
#[derive(Debug, Clone)]
pub struct Kinesis {
    store: Store,
}

impl Kinesis {
    /// The service over a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The streams themselves, for readers within the process.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Answers one operation, such as `PutRecords`, with its JSON body.
    ///
    /// # Errors
    /// The service's own, and `UnknownOperationException` for what is not implemented.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let store = &self.store;
        match operation {
            "PutRecord" => put::put_record(store, body).await,
            "PutRecords" => put::put_records(store, body).await,
            "GetShardIterator" => get::get_shard_iterator(store, body).await,
            "GetRecords" => get::get_records(store, body).await,
            "ListShards" => shard::list_shards(store, body),
            "SplitShard" => shard::split_shard(store, body).await,
            "MergeShards" => shard::merge_shards(store, body).await,
            "CreateStream" => stream::create_stream(store, body).await,
            "DeleteStream" => stream::delete_stream(store, body).await,
            "ListStreams" => stream::list_streams(store, body),
            "DescribeStream" => stream::describe_stream(store, body),
            "DescribeStreamSummary" => stream::describe_stream_summary(store, body),
            "DescribeLimits" => stream::describe_limits(store),
            "IncreaseStreamRetentionPeriod" => stream::increase_retention(store, body).await,
            "DecreaseStreamRetentionPeriod" => stream::decrease_retention(store, body).await,
            "AddTagsToStream" => tag::add_tags(store, body).await,
            "RemoveTagsFromStream" => tag::remove_tags(store, body).await,
            "ListTagsForStream" => tag::list_tags(store, body),
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
}

/// The stream that a request names, by name or by ARN.
fn find_stream(store: &Store, name: Option<&str>, arn: Option<&str>) -> Result<Stream, ServiceError> {
    let name_in_arn = arn.map(validate::name_in_arn).transpose()?;
    let name = match (name, name_in_arn) {
        (Some(name), Some(other)) if name != other => {
            return Err(invalid_argument("StreamName and StreamARN name different streams."));
        }
        (Some(name), _) | (None, Some(name)) => name,
        (None, None) => return Err(invalid_argument("Either StreamName or StreamARN must be given.")),
    };
    validate::stream_name("streamName", name)?;
    store.stream(name).ok_or_else(|| stream_not_found(name))
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
