//! `GetShardIterator` and `GetRecords`, with the shard's read limits.

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::kinesis::ACCOUNT;
use crate::kinesis::description::{parse_shard_id, shard_id};
use crate::kinesis::hash_key::HashKeyRange;
use crate::kinesis::log::{Position, ReadLimit};
use crate::kinesis::reader::Record;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::store::Store;
use crate::kinesis::stream::{Shard, Stream, StreamState};
use crate::wire::{self, ServiceError};

use super::shard::Seconds;
use super::token::{TOKEN_LIFE_MS, Token, TokenError};
use super::{StreamRef, invalid_argument, log_failure, shard_not_found, stream_not_found, throttled, validate};

/// Records in one answer.
const RECORDS_MAX: i64 = 10_000;
/// Data and partition keys in one answer: 10 MiB.
const ANSWER_BYTES_MAX: usize = 10 * 1_024 * 1_024;

#[derive(Deserialize)]
struct GetShardIteratorInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "ShardId")]
    shard_id: Option<String>,
    #[serde(rename = "ShardIteratorType")]
    iterator_type: Option<String>,
    #[serde(rename = "StartingSequenceNumber")]
    starting_sequence_number: Option<String>,
    #[serde(rename = "Timestamp")]
    timestamp_s: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetShardIteratorOutput {
    shard_iterator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecordsInput {
    shard_iterator: Option<String>,
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecordsOutput {
    records: Vec<RecordOutput>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RecordOutput {
    sequence_number: SequenceNumber,
    approximate_arrival_timestamp: Seconds,
    #[serde(serialize_with = "base64")]
    data: Bytes,
    partition_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChildShard {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: HashKeyRange,
}

/// Where to start reading a shard.
pub(super) async fn get_shard_iterator(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: GetShardIteratorInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let id = validate::required(input.shard_id.as_deref(), "shardId")?;
    let iterator_type = validate::required(input.iterator_type.as_deref(), "shardIteratorType")?;
    let state = stream.state();
    let shard = parse_shard_id(id).and_then(|number| state.shard(number));
    let shard = shard.ok_or_else(|| shard_not_found(stream.name(), id))?;
    let now_ms = store.clock().now_ms();
    if !shard.admit_iterator(now_ms) {
        return Err(throttled(stream.name(), id));
    }
    let counter = match iterator_type {
        "TRIM_HORIZON" => shard.log.horizon(),
        "LATEST" => shard.log.tail().next_counter,
        "AT_SEQUENCE_NUMBER" => starting_counter(&stream, shard, &input)?,
        "AFTER_SEQUENCE_NUMBER" => starting_counter(&stream, shard, &input)?.saturating_add(1),
        "AT_TIMESTAMP" => counter_at(shard, input.timestamp_s, now_ms).await?,
        other => {
            return Err(validate::refuse(
                other,
                "shardIteratorType",
                "Member must satisfy enum value set: [AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, \
                 AT_SEQUENCE_NUMBER, TRIM_HORIZON]",
            ));
        }
    };
    wire::answer(&GetShardIteratorOutput { shard_iterator: iterator(&stream, shard, counter, now_ms) })
}

/// Records from an iterator on, and the iterator after them.
pub(super) async fn get_records(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: GetRecordsInput = wire::parse(body)?;
    let text = validate::required(input.shard_iterator, "shardIterator")?;
    let records_max = validate::within(input.limit.unwrap_or(RECORDS_MAX), "limit", 1, i64::MAX)?;
    if records_max > RECORDS_MAX {
        return Err(invalid_argument(format!("Limit {records_max} is over the limit of {RECORDS_MAX} records")));
    }
    let token = Token::read(&text, store.clock()).map_err(token_failure)?;
    let stream = store
        .stream(&token.stream)
        .filter(|stream| stream.created_ms() == token.created_ms)
        .ok_or_else(|| stream_not_found(&token.stream))?;
    let state = stream.state();
    let shard = state.shard(token.shard).ok_or_else(|| shard_not_found(stream.name(), &shard_id(token.shard)))?;
    let now_ms = store.clock().now_ms();
    if !shard.admit_read(now_ms) {
        return Err(throttled(stream.name(), &shard.description.id()));
    }
    let limit = ReadLimit { records: usize::try_from(records_max).unwrap_or(1), bytes: ANSWER_BYTES_MAX };
    let batch = shard.reader().read(Position::at(token.counter), limit).await.map_err(|error| log_failure(&error))?;
    shard.gave(batch.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum());
    let tail = shard.log.tail();
    let next = batch.next.counter();
    let is_at_end = next >= tail.next_counter;
    let behind_ms = batch.records.last().map(|last| now_ms.saturating_sub(last.arrival_ms).max(0));
    // Asked after the tail: a shard is closed only after the state that names its children is in place.
    let is_finished = tail.is_closed && is_at_end;
    wire::answer(&GetRecordsOutput {
        next_shard_iterator: (!is_finished).then(|| iterator(&stream, shard, next, now_ms)),
        millis_behind_latest: if is_at_end { 0 } else { behind_ms.unwrap_or(0) },
        child_shards: if is_finished { children(&stream.state(), token.shard) } else { Vec::new() },
        records: batch.records.into_iter().map(record_output).collect(),
    })
}

fn iterator(stream: &Stream, shard: &Shard, counter: u64, issued_ms: i64) -> String {
    let token = Token {
        issued_ms,
        created_ms: stream.created_ms(),
        shard: shard.description.number,
        counter,
        stream: stream.name().to_owned(),
    };
    token.write()
}

fn starting_counter(stream: &Stream, shard: &Shard, input: &GetShardIteratorInput) -> Result<u64, ServiceError> {
    let Some(text) = input.starting_sequence_number.as_deref() else {
        return Err(invalid_argument("Must either specify a StartingSequenceNumber or another ShardIteratorType."));
    };
    let sequence_number = SequenceNumber::parse(text).ok().filter(|number| shard.description.owns(*number));
    sequence_number.map(|number| number.counter()).ok_or_else(|| {
        invalid_argument(format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {} in stream {} under account {ACCOUNT} \
             is invalid because it did not come from this stream.",
            shard.description.id(),
            stream.name()
        ))
    })
}

async fn counter_at(shard: &Shard, timestamp_s: Option<f64>, now_ms: i64) -> Result<u64, ServiceError> {
    let Some(timestamp_s) = timestamp_s else {
        return Err(invalid_argument("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP."));
    };
    let timestamp_ms = validate::timestamp_ms(timestamp_s)?;
    if timestamp_ms > now_ms {
        return Err(invalid_argument(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
             timestampInMillis: {timestamp_ms}, currentTimestampInMillis: {now_ms}"
        )));
    }
    shard.counter_at(timestamp_ms).await.map_err(|error| log_failure(&error))
}

fn token_failure(error: TokenError) -> ServiceError {
    match error {
        TokenError::Invalid => invalid_argument("Invalid ShardIterator."),
        TokenError::Expired { issued_ms, now_ms } => ServiceError::client(
            "ExpiredIteratorException",
            format!(
                "Iterator expired. The iterator was created at time {issued_ms} ms while right now it is {now_ms} ms, \
                 which is further in the future than the tolerated delay of {TOKEN_LIFE_MS} milliseconds."
            ),
        ),
    }
}

fn children(state: &StreamState, parent: u64) -> Vec<ChildShard> {
    let is_child = |shard: &&Shard| shard.description.parents.contains(&parent);
    let children = state.shards.iter().filter(is_child);
    children
        .map(|shard| ChildShard {
            shard_id: shard.description.id(),
            parent_shards: shard.description.parents.iter().map(|number| shard_id(*number)).collect(),
            hash_key_range: shard.description.range,
        })
        .collect()
}

fn record_output(record: Record) -> RecordOutput {
    RecordOutput {
        sequence_number: record.sequence_number,
        approximate_arrival_timestamp: Seconds(record.arrival_ms),
        data: record.data,
        partition_key: record.partition_key,
    }
}

fn base64<S: Serializer>(data: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(data))
}
