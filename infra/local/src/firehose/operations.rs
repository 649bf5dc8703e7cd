//! The operations on the wire: those that make, show and take away delivery streams here, the others beside.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{Source, StreamConfig};
use super::{Firehose, FirehoseError, invalid};
use crate::kinesis::stream_arn;
use crate::wire::{self, ServiceError};

mod change;
mod put;
mod tag;

pub(super) use put::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES};

/// What an ARN of a Kinesis stream begins with.
const STREAM_ARN: &str = "arn:aws:kinesis:";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateRequest {
    delivery_stream_name: String,
    delivery_stream_type: Option<String>,
    extended_s3_destination_configuration: Option<Value>,
    s3_destination_configuration: Option<Value>,
    kinesis_stream_source_configuration: Option<Value>,
    delivery_stream_encryption_configuration_input: Option<Value>,
    tags: Option<Vec<tag::Tag>>,
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
    delivery_stream_type: Option<String>,
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
        "PutRecord" => put::record(firehose, wire::parse(body)?).await?,
        "PutRecordBatch" => put::batch(firehose, wire::parse(body)?).await?,
        "UpdateDestination" => change::destination(firehose, wire::parse(body)?).await?,
        "StartDeliveryStreamEncryption" => change::start_encryption(firehose, wire::parse(body)?).await?,
        "StopDeliveryStreamEncryption" => change::stop_encryption(firehose, wire::parse(body)?).await?,
        "TagDeliveryStream" => tag::add(firehose, wire::parse(body)?).await?,
        "UntagDeliveryStream" => tag::remove(firehose, wire::parse(body)?).await?,
        "ListTagsForDeliveryStream" => tag::list(firehose, &wire::parse(body)?)?,
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
    let now_ms = firehose.now_ms();
    let source = source(
        request.delivery_stream_type.as_deref().unwrap_or("DirectPut"),
        request.kinesis_stream_source_configuration,
        now_ms,
    )?;
    let given = match (request.extended_s3_destination_configuration, request.s3_destination_configuration) {
        (Some(_), Some(_)) => {
            return Err(invalid("Exactly one destination configuration is supported for a Firehose").into());
        }
        (Some(given), None) | (None, Some(given)) => given,
        (None, None) => {
            let what = "Exactly one destination configuration is supported for a Firehose, and only S3 destinations are \
                        implemented by the Millrace local cloud";
            return Err(invalid(what).into());
        }
    };
    let encryption = request.delivery_stream_encryption_configuration_input;
    if let Some(encryption) = &encryption {
        change::check_encryption(encryption, source.is_some())?;
    }
    let mut config = StreamConfig {
        name,
        created_ms: now_ms,
        destination: given,
        version: 1,
        updated_ms: None,
        source,
        encryption,
        tags: BTreeMap::new(),
        table: None,
    };
    tag::join(&mut config.tags, request.tags.unwrap_or_default())?;
    // Before whether the name is free: what cannot be is said first.
    config.destination()?;
    let arn = firehose.create(config).await?;
    Ok(json!({ "DeliveryStreamARN": arn }))
}

fn source(kind: &str, given: Option<Value>, now_ms: i64) -> Result<Option<Source>, FirehoseError> {
    let given = match (kind, given) {
        ("DirectPut", None) => return Ok(None),
        ("DirectPut", Some(_)) => {
            return Err(invalid("KinesisStreamSourceConfig is only applicable for KinesisStreamAsSource stream type"));
        }
        ("KinesisStreamAsSource", Some(given)) => given,
        ("KinesisStreamAsSource", None) => {
            return Err(invalid("KinesisStreamSourceConfig is required for KinesisStreamAsSource stream type"));
        }
        (other, _) => {
            return Err(invalid(format!(
                "delivery streams of type {other} are not implemented by the Millrace local cloud"
            )));
        }
    };
    let text = |member: &str| given.get(member).and_then(Value::as_str);
    let missing = |member: &str| FirehoseError::Constraint {
        what: format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"),
    };
    let arn = text("KinesisStreamARN").ok_or_else(|| missing("kinesisStreamSourceConfiguration.kinesisStreamARN"))?;
    text("RoleARN").ok_or_else(|| missing("kinesisStreamSourceConfiguration.roleARN"))?;
    let name = arn.rsplit_once(":stream/").map(|(_, name)| name).filter(|name| stream_arn(name) == arn);
    let not_one =
        || invalid(format!("{arn} is not the ARN of a stream of this account, such as {STREAM_ARN}…:stream/name"));
    let stream = name.ok_or_else(not_one)?.to_owned();
    Ok(Some(Source { stream, given, begun_ms: now_ms }))
}

fn list(firehose: &Firehose, request: &ListRequest) -> Value {
    let after = request.exclusive_start_delivery_stream_name.as_deref().unwrap_or_default();
    let limit = request.limit.unwrap_or(10).clamp(1, 10_000);
    let is_asked = |config: &StreamConfig| match request.delivery_stream_type.as_deref() {
        None => true,
        Some("DirectPut") => config.source.is_none(),
        Some("KinesisStreamAsSource") => config.source.is_some(),
        Some(_) => false,
    };
    let streams = firehose.streams();
    let rest = streams.iter().filter(|(name, stream)| name.as_str() > after && is_asked(&stream.config));
    let rest: Vec<&String> = rest.map(|(name, _)| name).collect();
    let page = rest.get(..limit).unwrap_or(&rest);
    json!({ "DeliveryStreamNames": page, "HasMoreDeliveryStreams": page.len() < rest.len() })
}

fn validation(message: &str) -> ServiceError {
    ServiceError::client("ValidationException", message)
}
