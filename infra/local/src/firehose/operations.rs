//! The operations on the wire, with the service's limits.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::destination::StreamConfig;
use super::limiter::Put;
use super::{Firehose, FirehoseError, now_ms};
use crate::wire::{self, ServiceError};

/// The most records of one batch, bytes of one record before base64, and bytes of one batch.
pub(super) const MAX_BATCH_RECORDS: usize = 500;
pub(super) const MAX_RECORD_BYTES: usize = 1_024_000;
pub(super) const MAX_BATCH_BYTES: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateRequest {
    delivery_stream_name: String,
    delivery_stream_type: Option<String>,
    extended_s3_destination_configuration: Option<Value>,
    s3_destination_configuration: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NameRequest {
    delivery_stream_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListRequest {
    limit: Option<usize>,
    exclusive_start_delivery_stream_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRequest {
    delivery_stream_name: String,
    record: Record,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutBatchRequest {
    delivery_stream_name: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    data: String,
}

pub(super) async fn call(firehose: &Firehose, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let answer = match operation {
        "CreateDeliveryStream" => create(firehose, wire::parse(body)?).await?,
        "DescribeDeliveryStream" => {
            let request: NameRequest = wire::parse(body)?;
            let stream = firehose.stream(&request.delivery_stream_name)?;
            json!({ "DeliveryStreamDescription": stream.config.describe() })
        }
        "ListDeliveryStreams" => list(firehose, &wire::parse(body)?),
        "DeleteDeliveryStream" => {
            let request: NameRequest = wire::parse(body)?;
            firehose.delete(&request.delivery_stream_name).await?;
            json!({})
        }
        "PutRecord" => put(firehose, wire::parse(body)?).await?,
        "PutRecordBatch" => put_batch(firehose, wire::parse(body)?).await?,
        other => return Err(ServiceError::not_here("Firehose", other)),
    };
    wire::answer(&answer)
}

async fn create(firehose: &Firehose, request: CreateRequest) -> Result<Value, ServiceError> {
    let name = request.delivery_stream_name;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(allowed) || name.starts_with('.') {
        return Err(validation("DeliveryStreamName is 1 to 64 of a-z A-Z 0-9 _ . -"));
    }
    if request.delivery_stream_type.is_some_and(|kind| kind != "DirectPut") {
        let what = "only DirectPut delivery streams are implemented by the Millrace local cloud".to_owned();
        return Err(FirehoseError::Invalid { what }.into());
    }
    let given = request.extended_s3_destination_configuration.or(request.s3_destination_configuration);
    let Some(destination) = given else {
        let what = "only S3 destinations are implemented by the Millrace local cloud".to_owned();
        return Err(FirehoseError::Invalid { what }.into());
    };
    let config = StreamConfig { name, created_ms: now_ms(), destination };
    config.destination()?;
    let arn = firehose.create(config).await?;
    Ok(json!({ "DeliveryStreamARN": arn }))
}

fn list(firehose: &Firehose, request: &ListRequest) -> Value {
    let after = request.exclusive_start_delivery_stream_name.as_deref().unwrap_or_default();
    let limit = request.limit.unwrap_or(10).clamp(1, 10_000);
    let streams = firehose.streams();
    let rest: Vec<&String> = streams.keys().filter(|name| name.as_str() > after).collect();
    let page = rest.get(..limit).unwrap_or(&rest);
    json!({ "DeliveryStreamNames": page, "HasMoreDeliveryStreams": page.len() < rest.len() })
}

async fn put(firehose: &Firehose, request: PutRequest) -> Result<Value, ServiceError> {
    let data = decode(&request.record)?;
    let stream = firehose.stream(&request.delivery_stream_name)?;
    stream.admit(Put { records: 1, bytes: data.len(), largest: data.len() })?;
    stream.put(vec![data]).await?;
    Ok(json!({ "RecordId": record_id(), "Encrypted": false }))
}

async fn put_batch(firehose: &Firehose, request: PutBatchRequest) -> Result<Value, ServiceError> {
    let count = request.records.len();
    if !(1..=MAX_BATCH_RECORDS).contains(&count) {
        return Err(validation("Records has 1 to 500 members"));
    }
    let records = request.records.iter().map(decode).collect::<Result<Vec<_>, _>>()?;
    let stream = firehose.stream(&request.delivery_stream_name)?;
    let bytes = records.iter().map(Bytes::len).sum();
    let put = Put { records: count, bytes, largest: records.iter().map(Bytes::len).max().unwrap_or(0) };
    if bytes > MAX_BATCH_BYTES {
        stream.note(put);
        let what = "Records size exceeds 4 MB limit".to_owned();
        return Err(FirehoseError::Invalid { what }.into());
    }
    // One sync carries all of a batch: either every record is kept, or the call fails.
    stream.admit(put)?;
    stream.put(records).await?;
    let responses: Vec<Value> = (0..count).map(|_| json!({ "RecordId": record_id() })).collect();
    Ok(json!({ "FailedPutCount": 0, "Encrypted": false, "RequestResponses": responses }))
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

fn validation(message: &str) -> ServiceError {
    ServiceError::client("ValidationException", message)
}
