//! `ListShards`, `SplitShard` and `MergeShards`.

use serde::{Deserialize, Serialize};

use crate::kinesis::ACCOUNT;
use crate::kinesis::description::{ShardDescription, parse_shard_id, shard_id};
use crate::kinesis::hash_key::{HashKey, HashKeyRange};
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::status::Status;
use crate::kinesis::store::{SHARDS_MAX, Store};
use crate::kinesis::stream::Stream;
use crate::kinesis::stream::reshard::ReshardError;
use crate::wire::{Request, ServiceError};

use super::capacity::{check_account, refuse_on_demand};
use super::filter::{FilterInput, ShardFilter};
use super::token::{Token, TokenKind};
use super::validate::{Checks, HASH_KEY, NAME, TOKEN};
use super::value::Timestamp;
use super::{
    StreamRef, begin, invalid_argument, io_failure, limit_exceeded, not_active, shard_not_found, stream_not_found,
};

/// Shards in one page, as the service caps it whatever is asked.
const PAGE_MAX: i64 = 1_000;
/// What a request may ask for.
const PAGE_ASKED_MAX: i64 = 10_000;

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
    stream_creation: Option<Timestamp>,
    #[serde(rename = "ShardFilter")]
    filter: Option<FilterInput>,
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

/// A page of a stream's shards. The filter of the first page goes on in its token.
pub(super) fn list_shards(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: ListShardsInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.text("nextToken", input.next_token.as_deref(), &TOKEN);
    checks.text("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref(), &NAME);
    checks.number("maxResults", input.max_results, 1, PAGE_ASKED_MAX);
    if let Some(filter) = &input.filter {
        filter.check(&mut checks);
    }
    checks.finish()?;
    let page = usize::try_from(input.max_results.unwrap_or(PAGE_MAX).min(PAGE_MAX)).unwrap_or(1);
    let now_ms = store.clock().now_ms();
    let (stream, after, filter) = match &input.next_token {
        Some(token) => next_page(store, token, &input)?,
        None => first_page(store, &input)?,
    };
    let state = stream.state();
    let horizon_ms = state.horizon_ms(now_ms);
    let is_given =
        |shard: &&ShardDescription| after.is_none_or(|after| shard.number > after) && filter.passes(shard, horizon_ms);
    let mut shards = state.shards.iter().map(|shard| &*shard.description).filter(is_given);
    let given: Vec<&ShardDescription> = shards.by_ref().take(page).collect();
    let next_token = shards.next().and(given.last()).map(|last| {
        let token = Token::new(TokenKind::Shards, now_ms, stream.name().to_owned());
        Token { created_ms: stream.created_ms(), shard: last.number, filter, ..token }.write()
    });
    let shards = given.into_iter().map(ShardOutput::new).collect();
    request.answer(&ListShardsOutput { shards, next_token })
}

type Page = (Stream, Option<u64>, ShardFilter);

fn first_page(store: &Store, input: &ListShardsInput) -> Result<Page, ServiceError> {
    let stream = input.stream.find(store)?;
    // The shards of a stream that is not whole, or is going, are nobody's business.
    match stream.status() {
        Status::Active | Status::Updating => {}
        status @ (Status::Creating | Status::Deleting) => return Err(not_active(&stream, status)),
    }
    check_creation(&stream, input.stream_creation)?;
    let after = input.exclusive_start_shard_id.as_deref().map(|id| {
        parse_shard_id(id).ok_or_else(|| invalid_argument(format!("ExclusiveStartShardId {id} is not a shard's.")))
    });
    let now_ms = store.clock().now_ms();
    // A stream younger than its retention begins where it was made.
    let horizon_ms = stream.state().horizon_ms(now_ms).max(stream.created_ms());
    let filter = input.filter.as_ref().map(|filter| filter.resolve(horizon_ms, now_ms)).transpose()?;
    Ok((stream, after.transpose()?, filter.unwrap_or(ShardFilter::FromTrimHorizon)))
}

fn next_page(store: &Store, token: &str, input: &ListShardsInput) -> Result<Page, ServiceError> {
    let names_stream = input.stream.name.is_some() || input.stream.arn.is_some();
    if names_stream || input.exclusive_start_shard_id.is_some() || input.stream_creation.is_some() {
        return Err(invalid_argument("NextToken and StreamName cannot be provided together."));
    }
    let token = Token::read(token, TokenKind::Shards, store.clock())?;
    let stream = store.stream(&token.name).filter(|stream| stream.created_ms() == token.created_ms);
    Ok((stream.ok_or_else(|| stream_not_found(&token.name))?, Some(token.shard), token.filter))
}

/// A stream that was made at another time is another stream. Whole seconds will do, as some clients send no more.
pub(super) fn check_creation(stream: &Stream, asked: Option<Timestamp>) -> Result<(), ServiceError> {
    let second = |ms: i64| ms.div_euclid(1_000);
    match asked {
        Some(Timestamp(asked_ms)) if second(asked_ms) != second(stream.created_ms()) => {
            Err(stream_not_found(stream.name()))
        }
        Some(_) | None => Ok(()),
    }
}

/// Splits a shard in two.
pub(super) async fn split_shard(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: SplitShardInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let id = checks.required_text("shardToSplit", input.shard.as_deref(), &NAME);
    let at = checks.required_text("newStartingHashKey", input.at.as_deref(), &HASH_KEY);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    refuse_on_demand(&stream)?;
    let number = parse_shard_id(id).ok_or_else(|| shard_not_found(stream.name(), id))?;
    let range = stream.state().shard(number).map(|shard| shard.description.range);
    let range = range.ok_or_else(|| shard_not_found(stream.name(), id))?;
    let at = split_point(&stream, (id, range), at)?;
    check_account(store, 1)?;
    stream.split(number, at).await.map_err(|error| reshard_failure(&stream, &error))?;
    change.made();
    Ok(Vec::new())
}

/// The service wants the new key above the one after the shard's first, and below its last.
fn split_point(stream: &Stream, (id, range): (&str, HashKeyRange), text: &str) -> Result<HashKey, ServiceError> {
    let (start, end) = (range.starting_hash_key.0, range.ending_hash_key.0);
    let is_within = |key: &HashKey| key.0 > start.saturating_add(1) && key.0 < end;
    text.parse().ok().filter(is_within).ok_or_else(|| {
        invalid_argument(format!(
            "NewStartingHashKey {text} used in SplitShard() on shard {id} in stream {} under account {ACCOUNT} is not \
             both greater than one plus the shard's StartingHashKey {start} and less than the shard's EndingHashKey \
             {end}.",
            stream.name()
        ))
    })
}

/// Merges two shards that touch.
pub(super) async fn merge_shards(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: MergeShardsInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let id = checks.required_text("shardToMerge", input.shard.as_deref(), &NAME);
    let adjacent = checks.required_text("adjacentShardToMerge", input.adjacent.as_deref(), &NAME);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    refuse_on_demand(&stream)?;
    let number = parse_shard_id(id).ok_or_else(|| shard_not_found(stream.name(), id))?;
    let adjacent_number = parse_shard_id(adjacent).ok_or_else(|| shard_not_found(stream.name(), adjacent))?;
    stream.merge(number, adjacent_number).await.map_err(|error| {
        if let ReshardError::NotAdjacent = error {
            return invalid_argument(format!(
                "Shards {id} and {adjacent} in stream {} under account {ACCOUNT} are not an adjacent pair of shards \
                 eligible for merging",
                stream.name()
            ));
        }
        reshard_failure(&stream, &error)
    })?;
    change.made();
    Ok(Vec::new())
}

/// What a refused split, merge or scaling says.
pub(super) fn reshard_failure(stream: &Stream, error: &ReshardError) -> ServiceError {
    match error {
        ReshardError::NoSuchShard(number) => shard_not_found(stream.name(), &shard_id(*number)),
        ReshardError::Closed(number) => invalid_argument(format!(
            "Shard {} in stream {} under account {ACCOUNT} has already been merged or split, and thus is not eligible \
             for merging or splitting.",
            shard_id(*number),
            stream.name()
        )),
        ReshardError::HashKey => invalid_argument(
            "NewStartingHashKey must be above the shard's StartingHashKey and not above its EndingHashKey.",
        ),
        ReshardError::NotAdjacent => {
            invalid_argument("The shards to merge must be adjacent: their hash key ranges have to touch.")
        }
        ReshardError::TooMany => {
            limit_exceeded(format!("This would exceed the limit of {SHARDS_MAX} shards in a stream."))
        }
        ReshardError::Save(error) => io_failure(error),
        ReshardError::Closing => ServiceError::internal("InternalFailureException", "The local cloud is stopping."),
    }
}
