//! `GetShardIterator` and `GetRecords`, with the shard's read limits.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::kinesis::ACCOUNT;
use crate::kinesis::description::{parse_shard_id, shard_id};
use crate::kinesis::hash_key::HashKeyRange;
use crate::kinesis::log::run::Run;
use crate::kinesis::log::{LogError, ReadLimit};
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::store::Store;
use crate::kinesis::stream::{self, Shard, Stream, StreamState};
use crate::wire::{self, Protocol, Request, ServiceError};

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
struct GetRecordsOutput<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<RecordOutput<'a>>>,
    next_shard_iterator: Option<String>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

/// A record as an answer or event gives it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordOutput<'a> {
    sequence_number: SequenceNumber,
    approximate_arrival_timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<DataOutput<'a>>,
    /// Streams that distribute records themselves take them without one.
    #[serde(skip_serializing_if = "str::is_empty")]
    partition_key: Cow<'a, str>,
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
    let run = read_kept(&stream, &shard, (token.counter, limit), now_ms).await;
    let run = run.map_err(|error| log_failure(&error))?;
    shard.gave(run.records().map(|record| record.bytes()).sum(), now_ms);
    let tail = shard.log.tail();
    let next = run.next();
    let is_at_end = next >= tail.next_counter;
    // Asked after the tail: a shard is closed only after the state that names its children is in place.
    let is_finished = tail.is_closed && is_at_end;
    let state = stream.state();
    let output = GetRecordsOutput {
        records: Some(record_outputs(&run, &shard, &state)),
        next_shard_iterator: (!is_finished).then(|| iterator(&stream, &shard, next, now_ms)),
        millis_behind_latest: if is_at_end { 0 } else { behind_ms(&run, now_ms) },
        child_shards: if is_finished { children(&state, token.shard) } else { Vec::new() },
    };
    match request.protocol {
        Protocol::Json => output.into_json(),
        Protocol::Cbor => request.answer(&output),
    }
}

impl GetRecordsOutput<'_> {
    /// Writes the data's base64 straight into the answer: megabytes, in which a JSON writer would look for something to
    /// escape. All that is not data is left to it.
    fn into_json(mut self) -> Result<Vec<u8>, ServiceError> {
        let mut records = self.records.take().unwrap_or_default();
        let data = records.iter().filter_map(|record| record.data.as_ref());
        let data_bytes: usize = data.map(|data| data.0.len()).sum();
        let mut json = Vec::with_capacity(data_bytes / 3 * 4 + records.len() * 320 + 1_024);
        json.extend_from_slice(b"{\"Records\":[");
        for (index, record) in records.iter_mut().enumerate() {
            json.extend_from_slice(if index == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
            if let Some(DataOutput(data)) = record.data.take() {
                base64_simd::STANDARD.encode_append(data, &mut json);
            }
            json.push(b'"');
            extend_object(&mut json, record)?;
        }
        json.push(b']');
        extend_object(&mut json, &self)?;
        Ok(json)
    }
}

/// Goes on with an object that has members by those of another one, and ends it.
fn extend_object<T: Serialize>(json: &mut Vec<u8>, members: &T) -> Result<(), ServiceError> {
    let start = json.len();
    wire::append(json, members)?;
    if let Some(brace) = json.get_mut(start) {
        *brace = b',';
    }
    Ok(())
}

/// How far the last of these records lies behind `now_ms`; 0 when there is none.
pub(super) fn behind_ms(run: &Run, now_ms: i64) -> i64 {
    run.last_arrival_ms().map_or(0, |arrival_ms| now_ms.saturating_sub(arrival_ms).max(0))
}

/// Reads what retention keeps: segments are freed as a whole, and may begin with records that have expired.
pub(in crate::kinesis) async fn read_kept(
    stream: &Stream,
    shard: &Shard,
    (from, limit): (u64, ReadLimit),
    now_ms: i64,
) -> Result<Run, LogError> {
    let run = stream::read(&shard.log, from, limit).await?;
    let horizon_ms = stream.state().horizon_ms(now_ms);
    if run.first_arrival_ms().is_none_or(|first_ms| first_ms >= horizon_ms) {
        return Ok(run);
    }
    let kept = shard.counter_at(horizon_ms).await?;
    stream::read(&shard.log, kept, limit).await
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

/// The records of a shard of a stream in this state.
pub(super) fn record_outputs<'a>(run: &'a Run, shard: &Shard, state: &StreamState) -> Vec<RecordOutput<'a>> {
    let encryption_type = state.settings.encryption_key.as_ref().map(|_| "KMS");
    let mut outputs = Vec::with_capacity(run.len());
    outputs.extend(run.records().map(|record| RecordOutput {
        sequence_number: shard.description.sequence_number(record.counter),
        approximate_arrival_timestamp: Timestamp(record.arrival_ms),
        data: Some(DataOutput(record.data())),
        partition_key: record.partition_key(),
        encryption_type,
    }));
    outputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_by_hand_is_json_by_serde() {
        let check = |records: &[(&str, &[u8])], next_shard_iterator: Option<&str>| {
            let output = || GetRecordsOutput {
                records: Some(
                    (1..)
                        .zip(records)
                        .map(|(counter, (key, data))| RecordOutput {
                            sequence_number: SequenceNumber::new(1, 2, counter),
                            approximate_arrival_timestamp: Timestamp(1_700_000_000_001),
                            data: Some(DataOutput(data)),
                            partition_key: Cow::Borrowed(key),
                            encryption_type: key.is_empty().then_some("KMS"),
                        })
                        .collect(),
                ),
                next_shard_iterator: next_shard_iterator.map(str::to_owned),
                millis_behind_latest: 5,
                child_shards: Vec::new(),
            };
            let json = output().into_json().unwrap();
            let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json, serde_json::to_value(output()).unwrap());
        };
        check(&[], Some("it"));
        check(&[("k", b"")], None);
        check(&[("quoted \"\\ \u{1}é", b"hello"), ("", &[0xff; 1_000])], Some("it"));
    }
}
