//! `DescribeStream`, `DescribeStreamSummary` and `DescribeLimits`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::kinesis::description::{StreamMode, parse_shard_id};
use crate::kinesis::settings::{Distribution, ShardMetric};
use crate::kinesis::status::Status;
use crate::kinesis::store::{ACCOUNT_SHARDS_MAX, Store};
use crate::kinesis::stream::{Stream, StreamState};
use crate::wire::{Request, ServiceError};

use super::StreamRef;
use super::capacity::{WarmThroughput, warm_throughput};
use super::shard::ShardOutput;
use super::stream::ON_DEMAND_STREAMS_MAX;
use super::validate::{Checks, NAME};
use super::value::Timestamp;

/// Shards in one page, whatever is asked for.
const PAGE_MAX: i64 = 100;
/// What a request may ask for.
const PAGE_ASKED_MAX: i64 = 10_000;

#[derive(Deserialize)]
struct DescribeStreamInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "Limit")]
    limit: Option<i64>,
    #[serde(rename = "ExclusiveStartShardId")]
    exclusive_start_shard_id: Option<String>,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeOutput {
    stream_mode: StreamMode,
}

/// A stream in a list.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct StreamSummary {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeOutput,
    stream_creation_timestamp: Timestamp,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: BTreeSet<ShardMetric>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    warm_throughput: Option<WarmThroughput>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    record_kib_max: u32,
    channel_count: u32,
    queue_count: u32,
    /// On-demand streams only.
    #[serde(skip_serializing_if = "Option::is_none")]
    record_distribution_strategy: Option<Distribution>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamOutput {
    stream_description: StreamDescription,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeStreamSummaryOutput {
    stream_description_summary: StreamDescriptionSummary,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeLimitsOutput {
    shard_limit: usize,
    open_shard_count: usize,
    on_demand_stream_count: usize,
    on_demand_stream_count_limit: usize,
    channel_count: u32,
    channel_count_limit: u32,
}

/// A stream with a page of its shards.
pub(super) fn describe_stream(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: DescribeStreamInput = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.number("limit", input.limit, 1, PAGE_ASKED_MAX);
    checks.text("exclusiveStartShardId", input.exclusive_start_shard_id.as_deref(), &NAME);
    checks.finish()?;
    let page = usize::try_from(input.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX)).unwrap_or(1);
    let stream = input.stream.find(store)?;
    let after = match input.exclusive_start_shard_id.as_deref() {
        None => None,
        Some(id) => Some(parse_shard_id(id).ok_or_else(|| super::shard_not_found(stream.name(), id))?),
    };
    let state = stream.state();
    // Until it is whole it has none to show.
    let is_whole = stream.status() != Status::Creating;
    let descriptions = state.shards.iter().filter(|_| is_whole).map(|shard| &*shard.description);
    let mut shards = descriptions.filter(|shard| after.is_none_or(|after| shard.number > after));
    let page: Vec<ShardOutput> = shards.by_ref().take(page).map(ShardOutput::new).collect();
    let has_more_shards = shards.next().is_some();
    let description = description(&stream, &state);
    let stream_description = StreamDescription { description, shards: page, has_more_shards };
    request.answer(&DescribeStreamOutput { stream_description })
}

/// A stream without its shards.
pub(super) fn describe_stream_summary(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let stream = request.parse::<StreamRef>()?.check_and_find(store)?;
    let state = stream.state();
    let is_on_demand = state.settings.mode == StreamMode::OnDemand;
    request.answer(&DescribeStreamSummaryOutput {
        stream_description_summary: StreamDescriptionSummary {
            description: description(&stream, &state),
            open_shard_count: state.open().len(),
            consumer_count: state.settings.consumers.len(),
            warm_throughput: state.settings.warm_mibps.map(|target| warm_throughput(&stream, target)),
            record_kib_max: state.settings.record_kib_max,
            channel_count: 0,
            queue_count: 0,
            record_distribution_strategy: is_on_demand.then_some(state.settings.distribution),
        },
    })
}

/// The account's limits and how much of them is used.
pub(super) fn describe_limits(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let Nothing {} = request.parse()?;
    let states: Vec<_> = store.list().iter().map(Stream::state).collect();
    request.answer(&DescribeLimitsOutput {
        shard_limit: ACCOUNT_SHARDS_MAX,
        open_shard_count: states.iter().map(|state| state.open().len()).sum(),
        on_demand_stream_count: states.iter().filter(|state| state.settings.mode == StreamMode::OnDemand).count(),
        on_demand_stream_count_limit: ON_DEMAND_STREAMS_MAX,
        channel_count: 0,
        channel_count_limit: 0,
    })
}

/// A stream in a list.
pub(super) fn summary(stream: &Stream, state: &StreamState) -> StreamSummary {
    StreamSummary {
        stream_name: stream.name().to_owned(),
        stream_arn: stream.arn(),
        stream_status: stream.status().name(),
        stream_mode_details: ModeOutput { stream_mode: state.settings.mode },
        stream_creation_timestamp: Timestamp(stream.created_ms()),
    }
}

fn description(stream: &Stream, state: &StreamState) -> Description {
    let settings = &state.settings;
    Description {
        summary: summary(stream, state),
        retention_period_hours: settings.retention_hours,
        enhanced_monitoring: [Monitoring { shard_level_metrics: settings.metrics.clone() }],
        encryption_type: if settings.encryption_key.is_some() { "KMS" } else { "NONE" },
        key_id: settings.encryption_key.clone(),
    }
}
