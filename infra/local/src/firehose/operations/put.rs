//! `PutRecord` and `PutRecordBatch`, with the service's limits.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::firehose::limiter::Put;
use crate::firehose::stream::Stream;
use crate::firehose::{Firehose, FirehoseError, invalid};
use crate::wire::ServiceError;

use super::validation;

/// The most records of one batch, bytes of one record before base64, and bytes of one batch.
pub(in crate::firehose) const MAX_BATCH_RECORDS: usize = 500;
pub(in crate::firehose) const MAX_RECORD_BYTES: usize = 1_024_000;
pub(in crate::firehose) const MAX_BATCH_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutRequest {
    delivery_stream_name: String,
    record: Record,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutBatchRequest {
    delivery_stream_name: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    data: String,
}

pub(super) async fn record(firehose: &Firehose, request: PutRequest) -> Result<Value, ServiceError> {
    let data = decode(&request.record)?;
    let stream = direct(firehose, &request.delivery_stream_name)?;
    stream.admit(Put { records: 1, bytes: data.len(), largest: data.len() })?;
    stream.put(vec![data]).await?;
    Ok(json!({ "RecordId": record_id(), "Encrypted": stream.config.encryption.is_some() }))
}

pub(super) async fn batch(firehose: &Firehose, request: PutBatchRequest) -> Result<Value, ServiceError> {
    let count = request.records.len();
    if !(1..=MAX_BATCH_RECORDS).contains(&count) {
        return Err(validation("Records has 1 to 500 members"));
    }
    let records = request.records.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let stream = direct(firehose, &request.delivery_stream_name)?;
    let bytes = records.iter().map(Bytes::len).sum();
    let put = Put { records: count, bytes, largest: records.iter().map(Bytes::len).max().unwrap_or(0) };
    if bytes > MAX_BATCH_BYTES {
        stream.note(put);
        return Err(invalid("Records size exceeds 4 MB limit").into());
    }
    // One commit carries all of a batch: either every record is kept, or the call fails.
    stream.admit(put)?;
    stream.put(records).await?;
    let responses: Vec<Value> = (0..count).map(|_| json!({ "RecordId": record_id() })).collect();
    let is_encrypted = stream.config.encryption.is_some();
    Ok(json!({ "FailedPutCount": 0, "Encrypted": is_encrypted, "RequestResponses": responses }))
}

/// The stream of this name, which takes records from callers.
fn direct(firehose: &Firehose, name: &str) -> Result<Stream, FirehoseError> {
    let stream = firehose.stream(name)?;
    if stream.config.source.is_some() {
        return Err(invalid("This operation is not permitted on KinesisStreamAsSource delivery stream type."));
    }
    Ok(stream)
}

fn decode(record: &Record) -> Result<Bytes, ServiceError> {
    let data = base64_simd::STANDARD.decode_to_vec(record.data.as_bytes());
    let data = data.map_err(|error| ServiceError::client("SerializationException", format!("Data: {error}")))?;
    if data.len() > MAX_RECORD_BYTES {
        return Err(validation("Data has at most 1,024,000 bytes"));
    }
    Ok(data.into())
}

fn record_id() -> String {
    Uuid::new_v4().simple().to_string()
}
