//! Tags of streams: add, list, remove.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kinesis::store::Store;
use crate::wire::{self, ServiceError};

use super::{StreamRef, invalid_argument, io_failure, validate};

/// Tags of one stream.
const TAGS_MAX: usize = 50;
const PAGE_MAX: i64 = 50;

#[derive(Deserialize)]
struct AddTagsInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "Tags")]
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RemoveTagsInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "TagKeys")]
    keys: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ListTagsInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "ExclusiveStartTagKey")]
    after: Option<String>,
    #[serde(rename = "Limit")]
    limit: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListTagsOutput {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

/// Adds tags, or gives them new values.
pub(super) async fn add_tags(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: AddTagsInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let tags = validate::required(input.tags, "tags")?;
    for (key, value) in &tags {
        if key.is_empty() || key.chars().count() > 128 {
            return Err(validate::refuse(key, "tags", "Map keys must have length between 1 and 128"));
        }
        if value.chars().count() > 256 {
            return Err(validate::refuse(value, "tags", "Map values must have length less than or equal to 256"));
        }
    }
    let mut all = stream.state().settings.tags.clone();
    all.extend(tags.clone());
    if all.len() > TAGS_MAX {
        return Err(invalid_argument(format!("A stream can have {TAGS_MAX} tags; this would make {}.", all.len())));
    }
    stream.set(|settings| settings.tags.extend(tags)).await.map_err(|error| io_failure(&error))?;
    Ok(Vec::new())
}

/// Removes tags; those that are not there are no error.
pub(super) async fn remove_tags(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: RemoveTagsInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let keys = validate::required(input.keys, "tagKeys")?;
    let removal = stream.set(|settings| settings.tags.retain(|key, _| !keys.contains(key)));
    removal.await.map_err(|error| io_failure(&error))?;
    Ok(Vec::new())
}

/// A page of a stream's tags, by key.
pub(super) fn list_tags(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: ListTagsInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let page = validate::within(input.limit.unwrap_or(PAGE_MAX), "limit", 1, PAGE_MAX)?;
    let page = usize::try_from(page).unwrap_or(1);
    let state = stream.state();
    let is_after = |key: &String| input.after.as_ref().is_none_or(|after| key > after);
    let mut tags = state.settings.tags.iter().filter(|(key, _)| is_after(key));
    let page = tags.by_ref().take(page).map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
    wire::answer(&ListTagsOutput { tags: page, has_more_tags: tags.next().is_some() })
}
