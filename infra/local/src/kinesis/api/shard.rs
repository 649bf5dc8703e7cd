//! `ListShards`, `SplitShard` and `MergeShards`.

use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use crate::kinesis::description::{ShardDescription, parse_shard_id, shard_id};
use crate::kinesis::hash_key::HashKeyRange;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::store::{SHARDS_MAX, Store};
use crate::kinesis::stream::reshard::ReshardError;
use crate::kinesis::stream::{Stream, StreamState};
use crate::wire::{self, ServiceError};

use super::token::{Token, TokenError};
use super::{StreamRef, invalid_argument, io_failure, log_failure, shard_not_found, validate};

/// Shards in one page, as the service caps it whatever is asked.
const PAGE_MAX: i64 = 1_000;
/// What a request may ask for.
const PAGE_ASKED_MAX: i64 = 10_000;

/// Milliseconds since the epoch, written as seconds with a fraction.
pub(super) struct Seconds(pub(super) i64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since_epoch = Duration::from_millis(u64::try_from(self.0).unwrap_or(0));
        serializer.serialize_f64(since_epoch.as_secs_f64())
    }
}

#[derive(Deserialize)]
struct ListShardsInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "NextToken")]
    next_token: Option<String>,
    #[serde(rename = "ExclusiveStartShardId")]
    exclusive_start_shard_id: Option<String>,
    #[serde(rename = "MaxResults")]
    max_results: Option<i64>,
    #[serde(rename = "StreamCreationTimestamp")]
    stream_creation_s: Option<f64>,
    #[serde(rename = "ShardFilter")]
    filter: Option<ShardFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ShardFilter {
    r#type: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListShardsOutput {
    shards: Vec<ShardOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// A shard as the service describes it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ShardOutput {
    shard_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_shard_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    adjacent_parent_shard_id: Option<String>,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: SequenceNumber,
    #[serde(skip_serializing_if = "Option::is_none")]
    ending_sequence_number: Option<SequenceNumber>,
}

#[derive(Deserialize)]
struct SplitShardInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "ShardToSplit")]
    shard: Option<String>,
    #[serde(rename = "NewStartingHashKey")]
    at: Option<String>,
}

#[derive(Deserialize)]
struct MergeShardsInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "ShardToMerge")]
    shard: Option<String>,
    #[serde(rename = "AdjacentShardToMerge")]
    adjacent: Option<String>,
}

impl ShardOutput {
    pub(super) fn new(shard: &ShardDescription) -> Self {
        let mut parents = shard.parents.iter().map(|number| shard_id(*number));
        Self {
            shard_id: shard.id(),
            parent_shard_id: parents.next(),
            adjacent_parent_shard_id: parents.next(),
            hash_key_range: shard.range,
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: shard.sequence_number(0),
                ending_sequence_number: shard.closed.map(|closed| shard.sequence_number(closed.next_counter)),
            },
        }
    }
}

/// A page of a stream's shards.
pub(super) fn list_shards(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: ListShardsInput = wire::parse(body)?;
    let page = validate::within(input.max_results.unwrap_or(PAGE_MAX), "maxResults", 1, PAGE_ASKED_MAX)?.min(PAGE_MAX);
    let page = usize::try_from(page).unwrap_or(1);
    let now_ms = store.clock().now_ms();
    let (stream, after) = match &input.next_token {
        Some(token) => {
            let names_stream = input.stream.name.is_some() || input.stream.arn.is_some();
            if names_stream || input.exclusive_start_shard_id.is_some() || input.stream_creation_s.is_some() {
                return Err(invalid_argument("NextToken and StreamName cannot be provided together."));
            }
            stream_of_token(store, token)?
        }
        None => (input.stream.find(store)?, shard_number(input.exclusive_start_shard_id.as_deref())?),
    };
    let state = stream.state();
    let mut shards = Vec::new();
    for shard in &state.shards {
        let is_after = after.is_none_or(|after| shard.description.number > after);
        if is_after && passes(input.filter.as_ref(), &shard.description, &stream, (&state, now_ms))? {
            shards.push(&*shard.description);
        }
    }
    let next_token = shards.get(page).and(shards.get(page - 1)).map(|last| {
        let (created_ms, stream) = (stream.created_ms(), stream.name().to_owned());
        Token { issued_ms: now_ms, created_ms, shard: last.number, counter: 0, stream }.write()
    });
    let shards = shards.into_iter().take(page).map(ShardOutput::new).collect();
    wire::answer(&ListShardsOutput { shards, next_token })
}

/// Splits a shard in two.
pub(super) async fn split_shard(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: SplitShardInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let id = validate::required(input.shard, "shardToSplit")?;
    let number = parse_shard_id(&id).ok_or_else(|| shard_not_found(stream.name(), &id))?;
    let at = validate::required(input.at, "newStartingHashKey")?;
    let at = at.parse().map_err(|error| invalid_argument(format!("NewStartingHashKey {at} is {error}.")))?;
    stream.split(number, at).await.map_err(|error| reshard_failure(&stream, &error))?;
    Ok(Vec::new())
}

/// Merges two shards that touch.
pub(super) async fn merge_shards(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: MergeShardsInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let id = validate::required(input.shard, "shardToMerge")?;
    let adjacent = validate::required(input.adjacent, "adjacentShardToMerge")?;
    let number = parse_shard_id(&id).ok_or_else(|| shard_not_found(stream.name(), &id))?;
    let adjacent = parse_shard_id(&adjacent).ok_or_else(|| shard_not_found(stream.name(), &adjacent))?;
    stream.merge(number, adjacent).await.map_err(|error| reshard_failure(&stream, &error))?;
    Ok(Vec::new())
}

fn stream_of_token(store: &Store, token: &str) -> Result<(Stream, Option<u64>), ServiceError> {
    let token = Token::read(token, store.clock()).map_err(|error| match error {
        TokenError::Invalid => invalid_argument("NextToken is invalid."),
        TokenError::Expired { .. } => {
            ServiceError::client("ExpiredNextTokenException", "NextToken has expired: it lives 300 seconds.")
        }
    })?;
    let stream = store.stream(&token.stream).filter(|stream| stream.created_ms() == token.created_ms);
    Ok((stream.ok_or_else(|| super::stream_not_found(&token.stream))?, Some(token.shard)))
}

fn shard_number(id: Option<&str>) -> Result<Option<u64>, ServiceError> {
    let Some(id) = id else { return Ok(None) };
    let number = parse_shard_id(id).ok_or_else(|| {
        validate::refuse(id, "exclusiveStartShardId", "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+")
    })?;
    Ok(Some(number))
}

fn passes(
    filter: Option<&ShardFilter>,
    shard: &ShardDescription,
    stream: &Stream,
    (state, now_ms): (&StreamState, i64),
) -> Result<bool, ServiceError> {
    let Some(filter) = filter else { return Ok(true) };
    let was_open_at = |at_ms: i64| shard.created_ms <= at_ms && shard.closed.is_none_or(|closed| closed.at_ms > at_ms);
    // A stream younger than its retention begins where it was made.
    let horizon_ms = state.horizon_ms(now_ms).max(stream.created_ms());
    let timestamp_ms = || -> Result<i64, ServiceError> {
        let timestamp = validate::required(filter.timestamp, "shardFilter.timestamp")?;
        Ok(validate::timestamp_ms(timestamp)?.max(horizon_ms))
    };
    match validate::required(filter.r#type.as_deref(), "shardFilter.type")? {
        "AT_LATEST" => Ok(shard.closed.is_none()),
        "AT_TRIM_HORIZON" => Ok(was_open_at(horizon_ms)),
        "FROM_TRIM_HORIZON" => Ok(true),
        "AT_TIMESTAMP" => Ok(was_open_at(timestamp_ms()?)),
        "FROM_TIMESTAMP" => {
            let from_ms = timestamp_ms()?;
            Ok(shard.closed.is_none_or(|closed| closed.at_ms > from_ms))
        }
        "AFTER_SHARD_ID" => {
            let after = shard_number(Some(validate::required(filter.shard_id.as_deref(), "shardFilter.shardId")?))?;
            Ok(after.is_none_or(|after| shard.number > after))
        }
        other => Err(validate::refuse(
            other,
            "shardFilter.type",
            "Member must satisfy enum value set: [AFTER_SHARD_ID, AT_TRIM_HORIZON, FROM_TRIM_HORIZON, AT_LATEST, \
             AT_TIMESTAMP, FROM_TIMESTAMP]",
        )),
    }
}

fn reshard_failure(stream: &Stream, error: &ReshardError) -> ServiceError {
    match error {
        ReshardError::NoSuchShard(number) => shard_not_found(stream.name(), &shard_id(*number)),
        ReshardError::Closed(number) => invalid_argument(format!(
            "Shard {} in stream {} is not active: it was split or merged before.",
            shard_id(*number),
            stream.name()
        )),
        ReshardError::HashKey => invalid_argument(
            "NewStartingHashKey must be above the shard's StartingHashKey and not above its EndingHashKey.",
        ),
        ReshardError::NotAdjacent => {
            invalid_argument("The shards to merge must be adjacent: their hash key ranges have to touch.")
        }
        ReshardError::TooMany => ServiceError::client(
            "LimitExceededException",
            format!("This would exceed the limit of {SHARDS_MAX} shards in a stream."),
        ),
        ReshardError::Log(error) => log_failure(error),
        ReshardError::Save(error) => io_failure(error),
        ReshardError::Closing => ServiceError::internal("InternalFailureException", "The local cloud is stopping."),
    }
}
