//! `GetShardIterator` and `GetRecords`, with the shard's read limits.

use serde::{Deserialize, Serialize};

use crate::kinesis::ACCOUNT;
use crate::kinesis::description::{parse_shard_id, shard_id};
use crate::kinesis::hash_key::HashKeyRange;
use crate::kinesis::log::{LogError, Position, ReadLimit};
use crate::kinesis::reader::{Batch, Record};
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::store::Store;
use crate::kinesis::stream::{Shard, Stream, StreamState};
use crate::wire::{Request, ServiceError};

use super::token::{Token, TokenKind};
use super::validate::{Checks, ITERATOR, NAME, SEQUENCE_NUMBER};
use super::value::{DataOutput, Timestamp};
use super::{
    StreamRef, dry_run, invalid_argument, log_failure, name_in_arn, shard_not_found, stream_not_found, throttled,
};

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
    timestamp: Option<Timestamp>,
    #[serde(rename = "DryRun")]
    is_dry_run: Option<bool>,
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
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "DryRun")]
    is_dry_run: Option<bool>,
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

/// A record as an answer or event gives it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordOutput {
    sequence_number: SequenceNumber,
    approximate_arrival_timestamp: Timestamp,
    data: DataOutput,
    /// Streams that distribute records themselves take them without one.
    #[serde(skip_serializing_if = "String::is_empty")]
    partition_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

/// A shard that follows one that has ended.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChildShard {
    shard_id: String,
    parent_shards: Vec<String>,
    hash_key_range: HashKeyRange,
}

/// Where a reader asks to start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start {
    AfterSequenceNumber,
    AtSequenceNumber,
    AtTimestamp,
    Latest,
    TrimHorizon,
}

/// The starts with their names.
pub(super) const STARTS: &[(&str, Start)] = &[
    ("AFTER_SEQUENCE_NUMBER", Start::AfterSequenceNumber),
    ("LATEST", Start::Latest),
    ("AT_TIMESTAMP", Start::AtTimestamp),
    ("AT_SEQUENCE_NUMBER", Start::AtSequenceNumber),
    ("TRIM_HORIZON", Start::TrimHorizon),
];

/// Where to start reading a shard.
pub(super) async fn get_shard_iterator(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: GetShardIteratorInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let id = checks.required_text("shardId", input.shard_id.as_deref(), &NAME);
    let start = checks.required_choice("shardIteratorType", input.iterator_type.as_deref(), STARTS);
    checks.text("startingSequenceNumber", input.starting_sequence_number.as_deref(), &SEQUENCE_NUMBER);
    checks.finish()?;
    let stream = input.stream.find_serving(store)?;
    let shard = find_shard(&stream, id)?;
    let now_ms = store.clock().now_ms();
    let starting_point = StartingPoint {
        start: start.unwrap_or(Start::Latest),
        sequence_number: input.starting_sequence_number.as_deref(),
        timestamp: input.timestamp,
    };
    let counter = starting_point.counter(&stream, &shard, now_ms).await?;
    if input.is_dry_run == Some(true) {
        return Err(dry_run());
    }
    if !shard.admit_iterator(now_ms) {
        return Err(throttled(stream.name(), id));
    }
    request.answer(&GetShardIteratorOutput { shard_iterator: iterator(&stream, &shard, counter, now_ms) })
}

/// A place in a shard, as requests name it.
#[derive(Debug)]
pub(super) struct StartingPoint<'a> {
    pub(super) start: Start,
    pub(super) sequence_number: Option<&'a str>,
    pub(super) timestamp: Option<Timestamp>,
}

impl StartingPoint<'_> {
    /// The counter of the first record to read.
    pub(super) async fn counter(&self, stream: &Stream, shard: &Shard, now_ms: i64) -> Result<u64, ServiceError> {
        match self.start {
            Start::TrimHorizon => Ok(shard.log.horizon()),
            Start::Latest => Ok(shard.log.tail().next_counter),
            Start::AtSequenceNumber => self.sequence_counter(stream, shard),
            Start::AfterSequenceNumber => Ok(self.sequence_counter(stream, shard)?.saturating_add(1)),
            Start::AtTimestamp => {
                let Some(Timestamp(at_ms)) = self.timestamp else {
                    let message = "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP.";
                    return Err(invalid_argument(message));
                };
                if at_ms > now_ms {
                    return Err(invalid_argument(format!(
                        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
                         timestampInMillis: {at_ms}, currentTimestampInMillis: {now_ms}"
                    )));
                }
                shard.counter_at(at_ms).await.map_err(|error| log_failure(&error))
            }
        }
    }

    fn sequence_counter(&self, stream: &Stream, shard: &Shard) -> Result<u64, ServiceError> {
        let Some(text) = self.sequence_number else {
            return Err(invalid_argument("Must either specify a StartingSequenceNumber or another ShardIteratorType."));
        };
        let sequence_number = SequenceNumber::parse(text).ok().filter(|number| shard.description.owns(*number));
        sequence_number.map(|number| number.counter()).ok_or_else(|| {
            invalid_argument(format!(
                "StartingSequenceNumber {text} used in GetShardIterator on shard {} in stream {} under account \
                 {ACCOUNT} is invalid because it did not come from this stream.",
                shard.description.id(),
                stream.name()
            ))
        })
    }
}

/// The shard of a stream with this id.
pub(super) fn find_shard(stream: &Stream, id: &str) -> Result<Shard, ServiceError> {
    let state = stream.state();
    let shard = parse_shard_id(id).and_then(|number| state.shard(number));
    shard.cloned().ok_or_else(|| shard_not_found(stream.name(), id))
}

/// Records from an iterator on, and the iterator after them.
pub(super) async fn get_records(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: GetRecordsInput = request.parse()?;
    let mut checks = Checks::default();
    let text = checks.required_text("shardIterator", input.shard_iterator.as_deref(), &ITERATOR);
    checks.number("limit", input.limit, 1, i64::MAX);
    checks.text("streamARN", input.stream_arn.as_deref(), &super::validate::STREAM_ARN);
    checks.finish()?;
    let records_max = input.limit.unwrap_or(RECORDS_MAX);
    if records_max > RECORDS_MAX {
        return Err(invalid_argument(format!("Limit {records_max} is over the limit of {RECORDS_MAX} records")));
    }
    let token = Token::read(text, TokenKind::Iterator, store.clock())?;
    if let Some(arn) = &input.stream_arn
        && name_in_arn(arn)? != token.name
    {
        return Err(invalid_argument("The ShardIterator is of another stream than StreamARN."));
    }
    let stream = store.stream(&token.name).filter(|stream| stream.created_ms() == token.created_ms);
    let stream = stream.ok_or_else(|| stream_not_found(&token.name))?;
    let shard = find_shard(&stream, &shard_id(token.shard))?;
    if input.is_dry_run == Some(true) {
        return Err(dry_run());
    }
    let now_ms = store.clock().now_ms();
    if !shard.admit_read(now_ms) {
        return Err(throttled(stream.name(), &shard.description.id()));
    }
    let limit = ReadLimit { records: usize::try_from(records_max).unwrap_or(1), bytes: ANSWER_BYTES_MAX };
    let batch = read_kept(&stream, &shard, (Position::at(token.counter), limit), now_ms).await;
    let batch = batch.map_err(|error| log_failure(&error))?;
    shard.gave(batch.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum());
    let tail = shard.log.tail();
    let next = batch.next.counter();
    let is_at_end = next >= tail.next_counter;
    // Asked after the tail: a shard is closed only after the state that names its children is in place.
    let is_finished = tail.is_closed && is_at_end;
    let state = stream.state();
    request.answer(&GetRecordsOutput {
        next_shard_iterator: (!is_finished).then(|| iterator(&stream, &shard, next, now_ms)),
        millis_behind_latest: if is_at_end { 0 } else { behind_ms(&batch.records, now_ms) },
        child_shards: if is_finished { children(&state, token.shard) } else { Vec::new() },
        records: batch.records.into_iter().map(|record| record_output(record, &state)).collect(),
    })
}

/// How far the last of these records lies behind `now_ms`; 0 when there is none.
pub(super) fn behind_ms(records: &[Record], now_ms: i64) -> i64 {
    records.last().map_or(0, |last| now_ms.saturating_sub(last.arrival_ms).max(0))
}

/// Reads what retention keeps: segments are freed as a whole, and may begin with records that have expired.
pub(super) async fn read_kept(
    stream: &Stream,
    shard: &Shard,
    (from, limit): (Position, ReadLimit),
    now_ms: i64,
) -> Result<Batch, LogError> {
    let batch = shard.reader().read(from, limit).await?;
    let horizon_ms = stream.state().horizon_ms(now_ms);
    if batch.records.first().is_none_or(|first| first.arrival_ms >= horizon_ms) {
        return Ok(batch);
    }
    let kept = shard.counter_at(horizon_ms).await?;
    shard.reader().read(Position::at(kept), limit).await
}

fn iterator(stream: &Stream, shard: &Shard, counter: u64, issued_ms: i64) -> String {
    let token = Token::new(TokenKind::Iterator, issued_ms, stream.name().to_owned());
    Token { created_ms: stream.created_ms(), shard: shard.description.number, counter, ..token }.write()
}

/// The shards that follow one that has ended.
pub(super) fn children(state: &StreamState, parent: u64) -> Vec<ChildShard> {
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

/// A record of a stream in this state.
pub(super) fn record_output(record: Record, state: &StreamState) -> RecordOutput {
    RecordOutput {
        sequence_number: record.sequence_number,
        approximate_arrival_timestamp: Timestamp(record.arrival_ms),
        data: DataOutput(record.data),
        partition_key: record.partition_key,
        encryption_type: state.settings.encryption_key.as_ref().map(|_| "KMS"),
    }
}
