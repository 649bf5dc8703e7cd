//! `CreateStream`, `DeleteStream` and `ListStreams`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kinesis::description::StreamMode;
use crate::kinesis::settings::{Distribution, Settings};
use crate::kinesis::status::Status;
use crate::kinesis::store::{SHARDS_MAX, Store};
use crate::kinesis::stream::Stream;
use crate::wire::{Request, ServiceError};

use super::capacity::{self, DISTRIBUTIONS, MODES, ModeInput, check_account, checked_warm};
use super::describe::{StreamSummary, summary};
use super::token::{Token, TokenKind};
use super::validate::{Checks, NAME, TOKEN};
use super::{StreamRef, invalid_argument, limit_exceeded, not_active, store_failure, stream_not_found, tag};

/// An on-demand stream starts with so many shards.
pub(super) const ON_DEMAND_SHARDS: u32 = 4;
/// On-demand streams in an account.
pub(super) const ON_DEMAND_STREAMS_MAX: usize = 50;
/// Streams in `CREATING` at once.
const CREATING_MAX: usize = 5;
/// Streams in one page, whatever is asked for.
const PAGE_MAX: i64 = 100;
/// What a request may ask for.
const PAGE_ASKED_MAX: i64 = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateStreamInput {
    stream_name: Option<String>,
    shard_count: Option<i64>,
    stream_mode_details: Option<ModeInput>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    record_kib_max: Option<i64>,
    record_distribution_strategy: Option<String>,
}

#[derive(Deserialize)]
struct DeleteStreamInput {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "EnforceConsumerDeletion")]
    deletes_consumers: Option<bool>,
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

/// Makes a stream; it is active as soon as it has been `CREATING` for the time that is set.
pub(super) async fn create_stream(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: CreateStreamInput = request.parse()?;
    let (settings, distribution) = checked_settings(&input)?;
    let (name, mode) = (input.stream_name.unwrap_or_default(), settings.mode);
    let mut settings = Settings { distribution: distribution.unwrap_or_default(), ..settings };
    if mode == StreamMode::Provisioned && settings.distribution == Distribution::Auto {
        return Err(invalid_argument("The record distribution strategy AUTO is for on-demand streams only."));
    }
    settings.warm_mibps = input.warm_mibps.map(|asked| checked_warm(store, mode, asked)).transpose()?;
    tag::add(&mut settings.tags, input.tags.unwrap_or_default())?;
    let shards = match (mode, input.shard_count) {
        (StreamMode::Provisioned, Some(count)) => u32::try_from(count).unwrap_or(u32::MAX),
        (StreamMode::Provisioned, None) => {
            return Err(invalid_argument("ShardCount must be given for a stream with provisioned capacity."));
        }
        (StreamMode::OnDemand, Some(_)) => {
            return Err(invalid_argument("ShardCount must not be given for an on-demand stream."));
        }
        (StreamMode::OnDemand, None) => settings.warm_mibps.unwrap_or(0).max(ON_DEMAND_SHARDS),
    };
    check_room(store, mode, usize::try_from(shards).unwrap_or(usize::MAX))?;
    store.create_with(&name, settings, shards).await.map_err(|error| store_failure(&error))?;
    Ok(Vec::new())
}

fn checked_settings(input: &CreateStreamInput) -> Result<(Settings, Option<Distribution>), ServiceError> {
    let mut checks = Checks::default();
    checks.required_text("streamName", input.stream_name.as_deref(), &NAME);
    checks.number("shardCount", input.shard_count, 1, i64::MAX);
    let mode = match &input.stream_mode_details {
        None => Some(StreamMode::Provisioned),
        Some(mode) => checks.required_choice("streamModeDetails.streamMode", mode.stream_mode.as_deref(), MODES),
    };
    if let Some(tags) = &input.tags {
        checks.tags("tags", tags);
    }
    checks.number("warmThroughputMiBps", input.warm_mibps, 0, i64::MAX);
    let record_kib_max = capacity::record_kib(&mut checks, input.record_kib_max);
    let strategy = input.record_distribution_strategy.as_deref();
    let distribution = checks.choice("recordDistributionStrategy", strategy, DISTRIBUTIONS);
    checks.finish()?;
    let settings = Settings::new(mode.unwrap_or(StreamMode::Provisioned));
    Ok((Settings { record_kib_max, ..settings }, distribution))
}

fn check_room(store: &Store, mode: StreamMode, shards: usize) -> Result<(), ServiceError> {
    if shards > SHARDS_MAX {
        return Err(limit_exceeded(format!("This request would exceed the limit of {SHARDS_MAX} shards in a stream.")));
    }
    check_account(store, shards)?;
    let creating = store.list().iter().filter(|stream| stream.status() == Status::Creating).count();
    if creating >= CREATING_MAX {
        return Err(limit_exceeded(format!("The account has {CREATING_MAX} streams in CREATING, its limit.")));
    }
    let is_on_demand = |stream: &&Stream| stream.state().settings.mode == StreamMode::OnDemand;
    let streams = store.list();
    let on_demand_streams = streams.iter().filter(is_on_demand).count();
    if mode == StreamMode::OnDemand && on_demand_streams >= ON_DEMAND_STREAMS_MAX {
        return Err(limit_exceeded(format!("The account has {ON_DEMAND_STREAMS_MAX} on-demand streams, its limit.")));
    }
    Ok(())
}

/// Deletes a stream with its records, and with its consumers if that is asked for.
pub(super) async fn delete_stream(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: DeleteStreamInput = request.parse()?;
    let stream = input.stream.check_and_find(store)?;
    if stream.status() == Status::Deleting {
        return Err(not_active(&stream, Status::Deleting));
    }
    let consumers = stream.state().settings.consumers.len();
    if consumers > 0 && input.deletes_consumers != Some(true) {
        return Err(ServiceError::client(
            "ResourceInUseException",
            format!("Stream {} has {consumers} consumers: ask for EnforceConsumerDeletion.", stream.name()),
        ));
    }
    let was_there = store.delete(stream.name()).await.map_err(|error| store_failure(&error))?;
    if was_there { Ok(Vec::new()) } else { Err(stream_not_found(stream.name())) }
}

/// A page of the streams, by name.
pub(super) fn list_streams(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: ListStreamsInput = request.parse()?;
    let mut checks = Checks::default();
    checks.number("limit", input.limit, 1, PAGE_ASKED_MAX);
    checks.text("exclusiveStartStreamName", input.exclusive_start_stream_name.as_deref(), &NAME);
    checks.text("nextToken", input.next_token.as_deref(), &TOKEN);
    checks.finish()?;
    let page = usize::try_from(input.limit.unwrap_or(PAGE_MAX).min(PAGE_MAX)).unwrap_or(1);
    let after = match input.next_token {
        Some(token) => Some(Token::read(&token, TokenKind::Streams, store.clock())?.name),
        None => input.exclusive_start_stream_name,
    };
    let streams = store.list();
    let is_after = |stream: &&Stream| after.as_deref().is_none_or(|after| stream.name() > after);
    let matching: Vec<&Stream> = streams.iter().filter(is_after).collect();
    let has_more_streams = matching.len() > page;
    let summaries: Vec<StreamSummary> =
        matching.iter().take(page).map(|stream| summary(stream, &stream.state())).collect();
    let stream_names: Vec<String> = matching.iter().take(page).map(|stream| stream.name().to_owned()).collect();
    let last = stream_names.last().filter(|_| has_more_streams);
    let next_token = last.map(|name| Token::new(TokenKind::Streams, store.clock().now_ms(), name.clone()).write());
    request.answer(&ListStreamsOutput { stream_names, stream_summaries: summaries, has_more_streams, next_token })
}
