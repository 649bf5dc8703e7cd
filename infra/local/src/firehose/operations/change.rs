//! `UpdateDestination`, and encryption: kept and shown, though nothing is encrypted here.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::firehose::config::DESTINATION_ID;
use crate::firehose::{Firehose, FirehoseError, invalid};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct UpdateRequest {
    delivery_stream_name: String,
    current_delivery_stream_version_id: String,
    destination_id: String,
    extended_s3_destination_update: Option<Value>,
    s3_destination_update: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EncryptionRequest {
    delivery_stream_name: String,
    delivery_stream_encryption_configuration_input: Option<Value>,
}

pub(super) async fn destination(firehose: &Firehose, request: UpdateRequest) -> Result<Value, FirehoseError> {
    let ((Some(update), None) | (None, Some(update))) =
        (request.extended_s3_destination_update, request.s3_destination_update)
    else {
        return Err(invalid(
            "Exactly one S3 destination update is needed; others are not implemented by the Millrace local cloud",
        ));
    };
    let (expected, now_ms) = (request.current_delivery_stream_version_id, firehose.now_ms());
    let change = firehose.change(&request.delivery_stream_name, |config| {
        if request.destination_id != DESTINATION_ID {
            return Err(invalid(format!("Destination Id {} not found", request.destination_id)));
        }
        if config.version.to_string() != expected {
            return Err(FirehoseError::VersionMoved { expected, found: config.version });
        }
        config.updated(&update, now_ms)
    });
    change.await?;
    Ok(json!({}))
}

pub(super) async fn start_encryption(firehose: &Firehose, request: EncryptionRequest) -> Result<Value, FirehoseError> {
    let given = request.delivery_stream_encryption_configuration_input;
    let given = given.unwrap_or_else(|| json!({ "KeyType": "AWS_OWNED_CMK" }));
    let change = firehose.change(&request.delivery_stream_name, |config| {
        check_encryption(&given, config.source.is_some())?;
        let mut changed = config.clone();
        changed.encryption = Some(given);
        Ok(changed)
    });
    change.await?;
    Ok(json!({}))
}

pub(super) async fn stop_encryption(firehose: &Firehose, request: EncryptionRequest) -> Result<Value, FirehoseError> {
    let change = firehose.change(&request.delivery_stream_name, |config| {
        let mut changed = config.clone();
        changed.encryption = None;
        Ok(changed)
    });
    change.await?;
    Ok(json!({}))
}

/// Whether a key can be named so, and the stream encrypted at all: that of a source is encrypted there.
pub(super) fn check_encryption(given: &Value, has_source: bool) -> Result<(), FirehoseError> {
    if has_source {
        return Err(invalid(
            "Server-side encryption is not supported for streams with a Kinesis stream as their source.",
        ));
    }
    let has_key = given.get("KeyARN").is_some_and(Value::is_string);
    match (given.get("KeyType").and_then(Value::as_str), has_key) {
        (Some("AWS_OWNED_CMK"), false) | (Some("CUSTOMER_MANAGED_CMK"), true) => Ok(()),
        (Some("AWS_OWNED_CMK"), true) => Err(invalid("KeyARN must be absent when KeyType is AWS_OWNED_CMK")),
        (Some("CUSTOMER_MANAGED_CMK"), false) => {
            Err(invalid("KeyARN is required when KeyType is CUSTOMER_MANAGED_CMK"))
        }
        (_, _) => Err(FirehoseError::Constraint {
            what:
                "Value at 'keyType' failed to satisfy constraint: Member must satisfy enum value set: [AWS_OWNED_CMK, \
                   CUSTOMER_MANAGED_CMK]"
                    .to_owned(),
        }),
    }
}
