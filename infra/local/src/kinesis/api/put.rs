//! `PutRecord` and `PutRecords`: the hot path. Texts are borrowed from the body; data goes from base64 straight into
//! the frame that is written.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::faults::Faults;
use crate::kinesis::block::Payload;
use crate::kinesis::description::shard_id;
use crate::kinesis::hash_key::HashKey;
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::settings::{Distribution, Settings};
use crate::kinesis::store::Store;
use crate::kinesis::stream::Stream;
use crate::kinesis::stream::put::{PutEntry, PutOutcome};
use crate::wire::{Request, ServiceError};

use super::validate::{Checks, HASH_KEY, NAME, PARTITION_KEY, SEQUENCE_NUMBER, STREAM_ARN};
use super::value::DataInput;
use super::{dry_run, find_stream, invalid_argument, rate_exceeded, serving, throttled};

/// Records in one request.
pub(in crate::kinesis) const RECORDS_MAX: usize = 500;
/// Data of one record of any stream: 10 MiB.
const DATA_BYTES_MAX: usize = 10 * 1_024 * 1_024;
/// Data and partition keys of one request: 10 MiB.
pub(in crate::kinesis) const REQUEST_BYTES_MAX: usize = 10 * 1_024 * 1_024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsInput<'a> {
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    #[serde(borrow)]
    records: Option<Vec<RecordInput<'a>>>,
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RecordInput<'a> {
    #[serde(borrow)]
    data: Option<DataInput<'a>>,
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
    data: Option<DataInput<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    /// Checked and not needed: the records of a shard are in the order in which their puts came.
    #[serde(borrow)]
    sequence_number_for_ordering: Option<Text<'a>>,
    dry_run: Option<bool>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordOutput {
    sequence_number: SequenceNumber,
    shard_id: ShardId,
    #[serde(skip_serializing_if = "Option::is_none")]
    encryption_type: Option<&'static str>,
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
pub(super) async fn put_records(store: &Store, faults: &Faults, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: PutRecordsInput<'_> = request.parse()?;
    let mut checks = Checks::default();
    let (name, arn) = (text(input.stream_name.as_ref()), text(input.stream_arn.as_ref()));
    checks.text("streamName", name, &NAME);
    checks.text("streamARN", arn, &STREAM_ARN);
    if let Some(records) = &input.records {
        checks.length("records", records.len(), 1, RECORDS_MAX);
    }
    let records = checks.required("records", input.records);
    let mut sizes = Vec::with_capacity(records.len());
    for (index, record) in (1_usize..).zip(&records) {
        sizes.push(check(&mut checks, record, || format!("records.{index}.member."))?);
    }
    checks.finish()?;
    let stream = serving(find_stream(store, name, arn)?)?;
    let state = stream.state();
    let mut entries = Vec::with_capacity(records.len());
    for (index, (record, bytes)) in (1_usize..).zip(records.iter().zip(sizes)) {
        entries.push(entry(&state.settings, (record, bytes), || format!("records.{index}.member."))?);
    }
    let request_bytes = entries.iter().map(|entry| entry.bytes).sum::<usize>();
    stream.note_put(&entries, request_bytes, store.clock().now_ms());
    if request_bytes > REQUEST_BYTES_MAX {
        return Err(invalid_argument("Records size exceeds 10 MB limit"));
    }
    if input.dry_run == Some(true) {
        return Err(dry_run());
    }
    let struck = faults.strike_records(entries.len(), store.clock().now_ms()).unwrap_or_default();
    let outcomes = put_unstruck(&stream, &entries, &struck).await.map_err(|_not_base64| not_base64())?;
    let records: Vec<RecordOutput<'_>> =
        outcomes.iter().map(|outcome| record_output(stream.name(), *outcome)).collect();
    let failed_record_count = records.iter().filter(|record| matches!(record, RecordOutput::Failed { .. })).count();
    request.answer(&PutRecordsOutput { failed_record_count, records, encryption_type: encryption(&state.settings) })
}

/// Puts one record; a throttled one is an error of the whole call.
pub(super) async fn put_record(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: PutRecordInput<'_> = request.parse()?;
    let mut checks = Checks::default();
    let (name, arn) = (text(input.stream_name.as_ref()), text(input.stream_arn.as_ref()));
    checks.text("streamName", name, &NAME);
    checks.text("streamARN", arn, &STREAM_ARN);
    let ordering = text(input.sequence_number_for_ordering.as_ref());
    checks.text("sequenceNumberForOrdering", ordering, &SEQUENCE_NUMBER);
    let record = RecordInput {
        data: input.data,
        partition_key: input.partition_key,
        explicit_hash_key: input.explicit_hash_key,
    };
    let bytes = check(&mut checks, &record, String::new)?;
    checks.finish()?;
    let stream = serving(find_stream(store, name, arn)?)?;
    let state = stream.state();
    let entry = entry(&state.settings, (&record, bytes), String::new)?;
    if input.dry_run == Some(true) {
        return Err(dry_run());
    }
    stream.note_put(&[entry], entry.bytes, store.clock().now_ms());
    let outcomes = stream.put(&[entry]).await.map_err(|_not_base64| not_base64())?;
    match outcomes.first() {
        Some(PutOutcome::Put { shard, sequence_number }) => request.answer(&PutRecordOutput {
            sequence_number: *sequence_number,
            shard_id: ShardId(*shard),
            encryption_type: encryption(&state.settings),
        }),
        Some(PutOutcome::Throttled { shard }) => Err(throttled(stream.name(), &shard_id(*shard))),
        Some(PutOutcome::Failed) | None => {
            Err(ServiceError::internal("InternalFailureException", "Internal Service Failure"))
        }
    }
}

/// Puts what no fault strikes; a struck record is throttled by the shard that it would have gone to.
async fn put_unstruck(
    stream: &Stream,
    entries: &[PutEntry<'_>],
    struck: &[bool],
) -> Result<Vec<PutOutcome>, base64_simd::Error> {
    if !struck.contains(&true) {
        return stream.put(entries).await;
    }
    let is_struck = |index: usize| struck.get(index).copied().unwrap_or(false);
    let left: Vec<PutEntry<'_>> =
        entries.iter().enumerate().filter(|(index, _)| !is_struck(*index)).map(|(_, entry)| *entry).collect();
    let mut outcomes = stream.put(&left).await?.into_iter();
    let state = stream.state();
    let all = entries.iter().enumerate().map(|(index, entry)| {
        let throttled = PutOutcome::Throttled { shard: state.shard_of(entry.hash_key).unwrap_or(0) };
        if is_struck(index) { throttled } else { outcomes.next().unwrap_or(PutOutcome::Failed) }
    });
    Ok(all.collect())
}

fn encryption(settings: &Settings) -> Option<&'static str> {
    settings.encryption_key.as_ref().map(|_| "KMS")
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

/// Checks a record's shape. `place` names it within the request. Returns the length of its data.
fn check(checks: &mut Checks, record: &RecordInput<'_>, place: impl Fn() -> String) -> Result<usize, ServiceError> {
    let field = |name: &str| format!("{}{name}", place());
    let Some(data) = &record.data else {
        checks.required(&field("data"), None::<()>);
        return Ok(0);
    };
    let data_bytes = data.length().ok_or_else(not_base64)?;
    if data_bytes > DATA_BYTES_MAX {
        refuse_data(checks, data_bytes, &field("data"), DATA_BYTES_MAX);
    }
    // The field's name is made for those that are refused alone.
    if let Some(Text(key)) = &record.partition_key
        && (key.is_empty() || key.len() > 256)
    {
        checks.text(&field("partitionKey"), Some(key), &PARTITION_KEY);
    }
    if let Some(Text(explicit)) = &record.explicit_hash_key
        && explicit.parse::<HashKey>().is_err()
    {
        checks.text(&field("explicitHashKey"), Some(explicit), &HASH_KEY);
    }
    Ok(data_bytes)
}

fn refuse_data(checks: &mut Checks, bytes: usize, field: &str, bytes_max: usize) {
    let value = format_args!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]");
    checks.refuse(value, field, format_args!("Member must have length less than or equal to {bytes_max}"));
}

/// What a stream with these settings is to put, for a record whose shape was checked.
fn entry<'a>(
    settings: &Settings,
    (record, data_bytes): (&'a RecordInput<'_>, usize),
    place: impl Fn() -> String,
) -> Result<PutEntry<'a>, ServiceError> {
    let mut checks = Checks::default();
    let field = |name: &str| format!("{}{name}", place());
    let key = text(record.partition_key.as_ref());
    if key.is_none() && settings.distribution == Distribution::UserPartitionKey {
        checks.required(&field("partitionKey"), None::<()>);
    }
    let bytes_max = usize::try_from(settings.record_kib_max).unwrap_or(usize::MAX).saturating_mul(1_024);
    if data_bytes > bytes_max {
        refuse_data(&mut checks, data_bytes, &field("data"), bytes_max);
    }
    checks.finish()?;
    let (key, data) = (key.unwrap_or_default(), record.data.as_ref());
    let bytes = data_bytes + key.len();
    if bytes > bytes_max {
        return Err(invalid_argument(format!(
            "Data and partition key of {} have {bytes} bytes, over the stream's {bytes_max}",
            field("data")
        )));
    }
    let hash_key = match text(record.explicit_hash_key.as_ref()) {
        None => HashKey::of(key),
        // Its shape was checked: what does not parse is too large.
        Some(explicit) => explicit.parse().map_err(|_too_large| {
            invalid_argument(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was \
                 {explicit}"
            ))
        })?,
    };
    let data = data.map_or(Payload::Raw(&[]), DataInput::payload);
    Ok(PutEntry { partition_key: key, hash_key, data, bytes })
}

fn not_base64() -> ServiceError {
    ServiceError::client("SerializationException", "Data is not base64")
}

fn text<'a>(text: Option<&'a Text<'_>>) -> Option<&'a str> {
    text.map(|Text(text)| text.as_ref())
}
