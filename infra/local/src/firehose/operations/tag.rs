//! Tags of delivery streams.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::firehose::{Firehose, FirehoseError, invalid};

/// Tags of a stream, and characters of a key and of a value.
const MAX_TAGS: usize = 50;
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AddRequest {
    delivery_stream_name: String,
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RemoveRequest {
    delivery_stream_name: String,
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ListRequest {
    delivery_stream_name: String,
    exclusive_start_tag_key: Option<String>,
    limit: Option<usize>,
}

/// Adds tags to those that are there, or replaces them.
pub(super) fn join(tags: &mut BTreeMap<String, String>, given: Vec<Tag>) -> Result<(), FirehoseError> {
    for Tag { key, value } in given {
        let value = value.unwrap_or_default();
        if !(1..=MAX_KEY).contains(&key.chars().count()) || value.chars().count() > MAX_VALUE {
            return Err(FirehoseError::Constraint {
                what: format!("a tag's key has 1 to {MAX_KEY} characters, its value at most {MAX_VALUE}"),
            });
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("keys of tags do not begin with aws:"));
        }
        tags.insert(key, value);
    }
    if tags.len() > MAX_TAGS { Err(FirehoseError::TooManyTags) } else { Ok(()) }
}

pub(super) async fn add(firehose: &Firehose, request: AddRequest) -> Result<Value, FirehoseError> {
    let change = firehose.change(&request.delivery_stream_name, |config| {
        let mut changed = config.clone();
        join(&mut changed.tags, request.tags)?;
        Ok(changed)
    });
    change.await?;
    Ok(json!({}))
}

pub(super) async fn remove(firehose: &Firehose, request: RemoveRequest) -> Result<Value, FirehoseError> {
    let change = firehose.change(&request.delivery_stream_name, |config| {
        let mut changed = config.clone();
        changed.tags.retain(|key, _| !request.tag_keys.contains(key));
        Ok(changed)
    });
    change.await?;
    Ok(json!({}))
}

pub(super) fn list(firehose: &Firehose, request: &ListRequest) -> Result<Value, FirehoseError> {
    let stream = firehose.stream(&request.delivery_stream_name)?;
    let after = request.exclusive_start_tag_key.as_deref().unwrap_or_default();
    let limit = request.limit.unwrap_or(MAX_TAGS).clamp(1, MAX_TAGS);
    let rest: Vec<_> = stream.config.tags.iter().filter(|(key, _)| key.as_str() > after).collect();
    let page = rest.get(..limit).unwrap_or(&rest);
    let tags: Vec<Value> = page.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    Ok(json!({ "Tags": tags, "HasMoreTags": page.len() < rest.len() }))
}
