//! `PutRecord` and `PutRecords`: the hot path. Texts are borrowed from the body; data goes from base64 straight into
//! the frame that is written.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::kinesis::description::shard_id;
use crate::kinesis::hash_key::{HashKey, NotAHashKey};
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::store::Store;
use crate::kinesis::stream::put::{PutEntry, PutOutcome};
use crate::wire::{self, ServiceError};

use super::{find_stream, invalid_argument, rate_exceeded, throttled, validate};

/// Records in one request.
const RECORDS_MAX: usize = 500;
/// Data and partition key of one record: 1 MiB.
const RECORD_BYTES_MAX: usize = 1_024 * 1_024;
/// Data and partition keys of one request: 10 MiB.
const REQUEST_BYTES_MAX: usize = 10 * 1_024 * 1_024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsInput<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    records: Option<Vec<RecordInput<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordInput<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordInput<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

/// A text that is borrowed from the body unless it has escapes, also within an `Option`.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsOutput<'a> {
    failed_record_count: usize,
    records: Vec<RecordOutput<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RecordOutput<'a> {
    #[serde(rename_all = "PascalCase")]
    Put { sequence_number: SequenceNumber, shard_id: ShardId },
    #[serde(rename_all = "PascalCase")]
    Failed { error_code: &'a str, error_message: Cow<'a, str> },
}

/// A shard id that is written without being made a `String` first.
struct ShardId(u64);

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "shardId-{:012}", self.0)
    }
}

impl Serialize for ShardId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Puts up to 500 records; each has its own outcome.
pub(super) async fn put_records(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: PutRecordsInput<'_> = parse(body)?;
    let stream = find_stream(store, text(input.stream_name.as_ref()), text(input.stream_arn.as_ref()))?;
    let records = validate::required(input.records, "records")?;
    let length_constraint = match records.len() {
        0 => Some("Member must have length greater than or equal to 1"),
        1..=RECORDS_MAX => None,
        _ => Some("Member must have length less than or equal to 500"),
    };
    if let Some(constraint) = length_constraint {
        return Err(validate::refuse(format_args!("[{} entries]", records.len()), "records", constraint));
    }
    let mut entries = Vec::with_capacity(records.len());
    for (index, record) in (1_usize..).zip(&records) {
        entries.push(entry(record, || format!("records.{index}.member."))?);
    }
    if entries.iter().map(|entry| entry.bytes).sum::<usize>() > REQUEST_BYTES_MAX {
        return Err(invalid_argument("Records size exceeds 10 MB limit"));
    }
    let outcomes = stream.put(&entries).await.map_err(|_not_base64| not_base64())?;
    let records: Vec<RecordOutput<'_>> =
        outcomes.iter().map(|outcome| record_output(stream.name(), *outcome)).collect();
    let failed_record_count = records.iter().filter(|record| matches!(record, RecordOutput::Failed { .. })).count();
    wire::answer(&PutRecordsOutput { failed_record_count, records })
}

/// Puts one record; a throttled one is an error of the whole call.
pub(super) async fn put_record(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: PutRecordInput<'_> = parse(body)?;
    let stream = find_stream(store, text(input.stream_name.as_ref()), text(input.stream_arn.as_ref()))?;
    let record = RecordInput {
        data: input.data,
        partition_key: input.partition_key,
        explicit_hash_key: input.explicit_hash_key,
    };
    let entry = entry(&record, String::new)?;
    let outcomes = stream.put(&[entry]).await.map_err(|_not_base64| not_base64())?;
    match outcomes.first() {
        Some(PutOutcome::Put { shard, sequence_number }) => {
            wire::answer(&RecordOutput::Put { sequence_number: *sequence_number, shard_id: ShardId(*shard) })
        }
        Some(PutOutcome::Throttled { shard }) => Err(throttled(stream.name(), &shard_id(*shard))),
        Some(PutOutcome::Failed) | None => {
            Err(ServiceError::internal("InternalFailureException", "Internal Service Failure"))
        }
    }
}

fn record_output(stream: &str, outcome: PutOutcome) -> RecordOutput<'static> {
    match outcome {
        PutOutcome::Put { shard, sequence_number } => RecordOutput::Put { sequence_number, shard_id: ShardId(shard) },
        PutOutcome::Throttled { shard } => RecordOutput::Failed {
            error_code: "ProvisionedThroughputExceededException",
            error_message: rate_exceeded(stream, &shard_id(shard)).into(),
        },
        PutOutcome::Failed => {
            RecordOutput::Failed { error_code: "InternalFailure", error_message: "Internal Service Failure".into() }
        }
    }
}

/// Checks a record. `place` names it within the request.
fn entry<'a>(record: &'a RecordInput<'_>, place: impl Fn() -> String) -> Result<PutEntry<'a>, ServiceError> {
    let field = |name: &str| format!("{}{name}", place());
    let Some(Text(data)) = &record.data else { return validate::required(None, &field("data")) };
    let Some(Text(key)) = &record.partition_key else { return validate::required(None, &field("partitionKey")) };
    validate::partition_key(|| field("partitionKey"), key)?;
    let data_bytes = match data.len() {
        0 => 0,
        _ => base64_simd::STANDARD.decoded_length(data.as_bytes()).map_err(|_not_base64| not_base64())?,
    };
    if data_bytes > RECORD_BYTES_MAX {
        let constraint = format!("Member must have length less than or equal to {RECORD_BYTES_MAX}");
        return Err(validate::refuse(format_args!("[{data_bytes} bytes]"), &field("data"), &constraint));
    }
    let bytes = data_bytes + key.len();
    if bytes > RECORD_BYTES_MAX {
        let message = format!("Data and partition key of {} have {bytes} bytes, over 1 MiB", field("data"));
        return Err(invalid_argument(message));
    }
    let hash_key = match &record.explicit_hash_key {
        None => HashKey::of(key),
        Some(Text(explicit)) => explicit_hash_key(explicit, || field("explicitHashKey"))?,
    };
    Ok(PutEntry { partition_key: key, hash_key, data_base64: data, bytes })
}

fn explicit_hash_key(explicit: &str, field: impl FnOnce() -> String) -> Result<HashKey, ServiceError> {
    explicit.parse().map_err(|error| match error {
        NotAHashKey::Shape => validate::refuse(
            explicit,
            &field(),
            "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})",
        ),
        NotAHashKey::Range => invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {explicit}"
        )),
    })
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ServiceError> {
    serde_json::from_slice(body).map_err(|error| ServiceError::client("SerializationException", error.to_string()))
}

fn not_base64() -> ServiceError {
    ServiceError::client("SerializationException", "Data is not base64")
}

fn text<'a>(text: Option<&'a Text<'_>>) -> Option<&'a str> {
    text.map(|Text(text)| text.as_ref())
}
