//! Operations on streams as a whole.

use serde::{Deserialize, Serialize};

use crate::kinesis::description::{RETENTION_HOURS_MAX, StreamMode, parse_shard_id};
use crate::kinesis::store::{SHARDS_MAX, Store};
use crate::kinesis::stream::{Stream, StreamState};
use crate::wire::{self, ServiceError};

use super::shard::{Seconds, ShardOutput};
use super::{StreamRef, invalid_argument, io_failure, store_failure, stream_not_found, validate};

/// An on-demand stream starts with so many shards.
const ON_DEMAND_SHARDS: i64 = 4;
/// On-demand streams in an account.
const ON_DEMAND_STREAMS_MAX: usize = 50;
/// The least and the default retention.
const RETENTION_HOURS_MIN: i64 = 24;
const PAGE_DEFAULT: i64 = 100;
const PAGE_MAX: i64 = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStreamInput {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ModeInput {
    stream_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreamsInput {
    limit: Option<i64>,
    exclusive_start_stream_name: Option<String>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListStreamsOutput {
    stream_names: Vec<String>,
    stream_summaries: Vec<StreamSummary>,
    has_more_streams: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct DescribeStreamInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "Limit")]
    limit: Option<i64>,
    #[serde(rename = "ExclusiveStartShardId")]
    exclusive_start_shard_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeOutput {
    stream_mode: StreamMode,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamSummary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeOutput,
    stream_creation_timestamp: Seconds,
}

/// What `DescribeStream` and `DescribeStreamSummary` both say.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    #[serde(flatten)]
    summary: StreamSummary,
    retention_period_hours: u32,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: [&'static str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescription {
    #[serde(flatten)]
    description: Description,
    shards: Vec<ShardOutput>,
    has_more_shards: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescriptionSummary {
    #[serde(flatten)]
    description: Description,
    open_shard_count: usize,
    consumer_count: usize,
    max_record_size_in_ki_b: u32,
}

#[derive(Deserialize)]
struct RetentionInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "RetentionPeriodHours")]
    hours: Option<i64>,
}

/// Makes a stream; it is active at once.
pub(super) async fn create_stream(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: CreateStreamInput = wire::parse(body)?;
    let name = validate::required(input.stream_name, "streamName")?;
    validate::stream_name("streamName", &name)?;
    let mode = match input.stream_mode_details.and_then(|details| details.stream_mode).as_deref() {
        None | Some("PROVISIONED") => StreamMode::Provisioned,
        Some("ON_DEMAND") => StreamMode::OnDemand,
        Some(other) => {
            let constraint = "Member must satisfy enum value set: [PROVISIONED, ON_DEMAND]";
            return Err(validate::refuse(other, "streamModeDetails.streamMode", constraint));
        }
    };
    let shards = match mode {
        StreamMode::Provisioned => {
            validate::within(validate::required(input.shard_count, "shardCount")?, "shardCount", 1, 100_000)?
        }
        StreamMode::OnDemand if input.shard_count.is_some() => {
            return Err(invalid_argument("ShardCount must not be given for an on-demand stream."));
        }
        StreamMode::OnDemand => ON_DEMAND_SHARDS,
    };
    let exceeds = |what: String| ServiceError::client("LimitExceededException", what);
    let shards = u32::try_from(shards).unwrap_or(u32::MAX);
    if usize::try_from(shards).unwrap_or(usize::MAX) > SHARDS_MAX {
        return Err(exceeds(format!("This request would exceed the limit of {SHARDS_MAX} shards in a stream.")));
    }
    let is_on_demand = |stream: &Stream| stream.state().settings.mode == StreamMode::OnDemand;
    let on_demand_streams = store.list().iter().filter(|stream| is_on_demand(stream)).count();
    if mode == StreamMode::OnDemand && on_demand_streams >= ON_DEMAND_STREAMS_MAX {
        return Err(exceeds(format!("The account has {ON_DEMAND_STREAMS_MAX} on-demand streams, its limit.")));
    }
    store.create(&name, mode, shards).await.map_err(|error| store_failure(&error))?;
    Ok(Vec::new())
}

/// Deletes a stream with its records.
pub(super) async fn delete_stream(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let stream = wire::parse::<StreamRef>(body)?.find(store)?;
    let was_there = store.delete(stream.name()).await.map_err(|error| store_failure(&error))?;
    if was_there { Ok(Vec::new()) } else { Err(stream_not_found(stream.name())) }
}

/// A page of the streams, by name.
pub(super) fn list_streams(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    let input: ListStreamsInput = wire::parse(body)?;
    let page = validate::within(input.limit.unwrap_or(PAGE_DEFAULT), "limit", 1, PAGE_MAX)?;
    let page = usize::try_from(page).unwrap_or(1);
    // The token is the name after which the next page starts; the service's is opaque, so nobody looks into it.
    let after = input.next_token.or(input.exclusive_start_stream_name);
    let streams = store.list();
    let is_after = |stream: &&Stream| after.as_deref().is_none_or(|after| stream.name() > after);
    let matching: Vec<&Stream> = streams.iter().filter(is_after).collect();
    let has_more_streams = matching.len() > page;
    let summaries: Vec<StreamSummary> =
        matching.iter().take(page).map(|stream| summary(stream, &stream.state())).collect();
    let stream_names: Vec<String> = summaries.iter().map(|summary| summary.stream_name.clone()).collect();
    let next_token = stream_names.last().filter(|_| has_more_streams).cloned();
    wire::answer(&ListStreamsOutput { stream_names, stream_summaries: summaries, has_more_streams, next_token })
}

/// A stream with a page of its shards.
pub(super) fn describe_stream(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        stream_description: StreamDescription,
    }
    let input: DescribeStreamInput = wire::parse(body)?;
    let page = validate::within(input.limit.unwrap_or(PAGE_DEFAULT), "limit", 1, PAGE_MAX)?;
    let page = usize::try_from(page).unwrap_or(1);
    let stream = input.stream.find(store)?;
    let after = match input.exclusive_start_shard_id.as_deref() {
        None => None,
        Some(id) => Some(parse_shard_id(id).ok_or_else(|| super::shard_not_found(stream.name(), id))?),
    };
    let state = stream.state();
    let descriptions = state.shards.iter().map(|shard| &*shard.description);
    let mut shards = descriptions.filter(|shard| after.is_none_or(|after| shard.number > after));
    let page: Vec<ShardOutput> = shards.by_ref().take(page).map(ShardOutput::new).collect();
    let has_more_shards = shards.next().is_some();
    let description = description(&stream, &state);
    wire::answer(&Output { stream_description: StreamDescription { description, shards: page, has_more_shards } })
}

/// A stream without its shards.
pub(super) fn describe_stream_summary(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        stream_description_summary: StreamDescriptionSummary,
    }
    let stream = wire::parse::<StreamRef>(body)?.find(store)?;
    let state = stream.state();
    wire::answer(&Output {
        stream_description_summary: StreamDescriptionSummary {
            description: description(&stream, &state),
            open_shard_count: state.open().len(),
            consumer_count: 0,
            max_record_size_in_ki_b: 1_024,
        },
    })
}

/// The account's limits and how much of them is used.
pub(super) fn describe_limits(store: &Store) -> Result<Vec<u8>, ServiceError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Output {
        shard_limit: usize,
        open_shard_count: usize,
        on_demand_stream_count: usize,
        on_demand_stream_count_limit: usize,
    }
    let states: Vec<_> = store.list().iter().map(Stream::state).collect();
    wire::answer(&Output {
        shard_limit: SHARDS_MAX,
        open_shard_count: states.iter().map(|state| state.open().len()).sum(),
        on_demand_stream_count: states.iter().filter(|state| state.settings.mode == StreamMode::OnDemand).count(),
        on_demand_stream_count_limit: ON_DEMAND_STREAMS_MAX,
    })
}

/// Keeps records longer.
pub(super) async fn increase_retention(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    set_retention(store, body, |now, hours| hours >= now, "Requested retention period must be greater than the current")
        .await
}

/// Keeps records shorter; what is too old is deleted at once.
pub(super) async fn decrease_retention(store: &Store, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
    set_retention(store, body, |now, hours| hours <= now, "Requested retention period must be less than the current")
        .await
}

async fn set_retention(
    store: &Store,
    body: &[u8],
    is_allowed: fn(u32, u32) -> bool,
    refusal: &str,
) -> Result<Vec<u8>, ServiceError> {
    let input: RetentionInput = wire::parse(body)?;
    let stream = input.stream.find(store)?;
    let hours = validate::required(input.hours, "retentionPeriodHours")?;
    if !(RETENTION_HOURS_MIN..=i64::from(RETENTION_HOURS_MAX)).contains(&hours) {
        return Err(invalid_argument(format!(
            "Retention period must be between {RETENTION_HOURS_MIN} and {RETENTION_HOURS_MAX} hours, not {hours}."
        )));
    }
    let hours = u32::try_from(hours).unwrap_or(RETENTION_HOURS_MAX);
    let now = stream.state().settings.retention_hours;
    if !is_allowed(now, hours) {
        return Err(invalid_argument(format!("{refusal} retention period of {now} hours, not {hours}.")));
    }
    stream.set(|settings| settings.retention_hours = hours).await.map_err(|error| io_failure(&error))?;
    stream.trim(store.clock().now_ms()).await.map_err(|error| io_failure(&error))?;
    Ok(Vec::new())
}

fn summary(stream: &Stream, state: &StreamState) -> StreamSummary {
    StreamSummary {
        stream_name: stream.name().to_owned(),
        stream_arn: stream.arn(),
        stream_status: "ACTIVE",
        stream_mode_details: ModeOutput { stream_mode: state.settings.mode },
        stream_creation_timestamp: Seconds(stream.created_ms()),
    }
}

fn description(stream: &Stream, state: &StreamState) -> Description {
    Description {
        summary: summary(stream, state),
        retention_period_hours: state.settings.retention_hours,
        enhanced_monitoring: [Monitoring { shard_level_metrics: [] }],
        encryption_type: "NONE",
    }
}
