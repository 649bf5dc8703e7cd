//! Tags: of streams by their names, and of streams and consumers by their ARNs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kinesis::store::Store;
use crate::wire::{Request, ServiceError};

use super::resource::Resource;
use super::validate::{Checks, RESOURCE_ARN, TAG_KEY};
use super::{StreamRef, change_settings, invalid_argument};

/// Tags of one stream or consumer.
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

#[derive(Deserialize)]
struct ResourceInput {
    #[serde(rename = "ResourceARN")]
    arn: Option<String>,
    #[serde(rename = "Tags")]
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "TagKeys")]
    keys: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListTagsOutput {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListResourceTagsOutput {
    tags: Vec<Tag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

/// Adds tags, or gives them new values.
pub(super) async fn add_tags(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: AddTagsInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let tags = required_tags(&mut checks, input.tags);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    change_settings(&stream, |settings| add(&mut settings.tags, tags)).await?;
    Ok(Vec::new())
}

/// Removes tags; those that are not there are no error.
pub(super) async fn remove_tags(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: RemoveTagsInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let keys = required_keys(&mut checks, input.keys);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    change_settings(&stream, |settings| {
        settings.tags.retain(|key, _| !keys.contains(key));
        Ok(())
    })
    .await?;
    Ok(Vec::new())
}

/// A page of a stream's tags, by key.
pub(super) fn list_tags(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: ListTagsInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.text("exclusiveStartTagKey", input.after.as_deref(), &TAG_KEY);
    checks.number("limit", input.limit, 1, PAGE_MAX);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let page = usize::try_from(input.limit.unwrap_or(PAGE_MAX)).unwrap_or(1);
    let state = stream.state();
    let is_after = |key: &String| input.after.as_ref().is_none_or(|after| key > after);
    let mut tags = state.settings.tags.iter().filter(|(key, _)| is_after(key));
    let page = tags.by_ref().take(page).map(tag).collect();
    request.answer(&ListTagsOutput { tags: page, has_more_tags: tags.next().is_some() })
}

/// Adds tags to a stream or consumer, or gives them new values.
pub(super) async fn tag_resource(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: ResourceInput = request.parse()?;
    let mut checks = Checks::default();
    let arn = checks.required_text("resourceARN", input.arn.as_deref(), &RESOURCE_ARN);
    let tags = required_tags(&mut checks, input.tags);
    checks.finish()?;
    Resource::find(store, arn)?.change(|labels| add(labels.tags, tags)).await?;
    Ok(Vec::new())
}

/// Removes tags from a stream or consumer; those that are not there are no error.
pub(super) async fn untag_resource(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: ResourceInput = request.parse()?;
    let mut checks = Checks::default();
    let arn = checks.required_text("resourceARN", input.arn.as_deref(), &RESOURCE_ARN);
    let keys = required_keys(&mut checks, input.keys);
    checks.finish()?;
    let removal = |tags: &mut BTreeMap<String, String>| tags.retain(|key, _| !keys.contains(key));
    Resource::find(store, arn)?
        .change(|labels| {
            removal(labels.tags);
            Ok(())
        })
        .await?;
    Ok(Vec::new())
}

/// All tags of a stream or consumer, by key.
pub(super) fn list_resource_tags(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: ResourceInput = request.parse()?;
    let mut checks = Checks::default();
    let arn = checks.required_text("resourceARN", input.arn.as_deref(), &RESOURCE_ARN);
    checks.finish()?;
    let tags = Resource::find(store, arn)?.read(|labels| labels.tags.iter().map(tag).collect())?;
    request.answer(&ListResourceTagsOutput { tags })
}

/// Adds tags if there is room for all of them.
pub(super) fn add(all: &mut BTreeMap<String, String>, tags: BTreeMap<String, String>) -> Result<(), ServiceError> {
    let count = all.len() + tags.keys().filter(|key| !all.contains_key(*key)).count();
    if count > TAGS_MAX {
        return Err(invalid_argument(format!("A resource can have {TAGS_MAX} tags; this would make {count}.")));
    }
    all.extend(tags);
    Ok(())
}

fn required_tags(checks: &mut Checks, tags: Option<BTreeMap<String, String>>) -> BTreeMap<String, String> {
    if let Some(tags) = &tags {
        checks.tags("tags", tags);
    }
    checks.required("tags", tags)
}

fn required_keys(checks: &mut Checks, keys: Option<Vec<String>>) -> Vec<String> {
    if let Some(keys) = &keys {
        checks.tag_keys(keys);
    }
    checks.required("tagKeys", keys)
}

fn tag((key, value): (&String, &String)) -> Tag {
    Tag { key: key.clone(), value: value.clone() }
}
