//! How much a stream takes: its shards, its mode, its warm throughput, its largest record.

use serde::{Deserialize, Serialize};

use crate::kinesis::ACCOUNT;
use crate::kinesis::description::StreamMode;
use crate::kinesis::settings::{Distribution, RECORD_KIB_DEFAULT, RECORD_KIB_MAX, Settings, admit_change};
use crate::kinesis::store::{ACCOUNT_SHARDS_MAX, SHARDS_MAX, Store};
use crate::kinesis::stream::Stream;
use crate::wire::{Request, ServiceError};

use super::shard::reshard_failure;
use super::stream::ON_DEMAND_SHARDS;
use super::validate::Checks;
use super::{StreamRef, begin, change_settings, invalid_argument, limit_exceeded};

/// `UpdateShardCount` calls of one stream within 24 hours.
pub(super) const SCALINGS_MAX: usize = 10;
/// `UpdateStreamMode` calls of one stream within 24 hours.
pub(super) const MODE_CHANGES_MAX: usize = 2;
/// The most warm throughput of one stream: 10 GiB/s.
const WARM_MIBPS_MAX: i64 = 10_240;

/// The modes with their names.
pub(super) const MODES: &[(&str, StreamMode)] =
    &[("PROVISIONED", StreamMode::Provisioned), ("ON_DEMAND", StreamMode::OnDemand)];
/// The distribution strategies with their names.
pub(super) const DISTRIBUTIONS: &[(&str, Distribution)] =
    &[("AUTO", Distribution::Auto), ("USER_PARTITION_KEY", Distribution::UserPartitionKey)];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModeInput {
    pub(super) stream_mode: Option<String>,
}

/// One input for all: each operation looks at what is its own.
#[derive(Deserialize)]
struct Input {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "TargetShardCount")]
    target_shard_count: Option<i64>,
    #[serde(rename = "ScalingType")]
    scaling_type: Option<String>,
    #[serde(rename = "StreamModeDetails")]
    mode: Option<ModeInput>,
    #[serde(rename = "WarmThroughputMiBps")]
    warm_mibps: Option<i64>,
    #[serde(rename = "MaxRecordSizeInKiB")]
    record_kib_max: Option<i64>,
    #[serde(rename = "RecordDistributionStrategy")]
    distribution: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ShardCountOutput {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_count: usize,
    target_shard_count: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct WarmOutput {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    warm_throughput: WarmThroughput,
}

/// What a stream was scaled for, and what it takes.
#[derive(Serialize)]
pub(super) struct WarmThroughput {
    #[serde(rename = "TargetMiBps")]
    pub(super) target_mibps: u32,
    #[serde(rename = "CurrentMiBps")]
    pub(super) current_mibps: u32,
}

/// Splits and merges until there are as many even shards as asked for.
pub(super) async fn update_shard_count(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let target = checks.required_number("targetShardCount", input.target_shard_count, 1, i64::MAX);
    checks.required_choice("scalingType", input.scaling_type.as_deref(), &[("UNIFORM_SCALING", ())]);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    refuse_on_demand(&stream)?;
    let current = stream.state().open().len();
    let target = checked_target(store, current, target)?;
    let now_ms = store.clock().now_ms();
    change_settings(&stream, |settings| {
        if admit_change(&mut settings.recent.shard_counts, SCALINGS_MAX, now_ms) {
            return Ok(());
        }
        Err(limit_exceeded(format!(
            "Stream {} under account {ACCOUNT} was scaled {SCALINGS_MAX} times within 24 hours.",
            stream.name()
        )))
    })
    .await?;
    stream.scale(target).await.map_err(|error| reshard_failure(&stream, &error))?;
    change.made();
    request.answer(&ShardCountOutput {
        stream_name: stream.name().to_owned(),
        stream_arn: stream.arn(),
        current_shard_count: current,
        target_shard_count: target,
    })
}

fn checked_target(store: &Store, current: usize, target: i64) -> Result<u32, ServiceError> {
    let counts = format!("Current open shard count: {current}, Target shard count: {target}");
    let asked = usize::try_from(target).unwrap_or(usize::MAX);
    if asked > SHARDS_MAX {
        return Err(limit_exceeded(format!("A stream has {SHARDS_MAX} open shards at most. {counts}")));
    }
    if asked > current.saturating_mul(2) {
        let refusal = "UpdateShardCount cannot scale up over double your current open shard count.";
        return Err(limit_exceeded(format!("{refusal} {counts}")));
    }
    if asked.saturating_mul(2) < current {
        let refusal = "UpdateShardCount cannot scale down below half your current open shard count.";
        return Err(limit_exceeded(format!("{refusal} {counts}")));
    }
    check_account(store, asked.saturating_sub(current))?;
    u32::try_from(target).map_err(|_too_large| limit_exceeded(counts))
}

/// Whether the account has room for more open shards.
pub(super) fn check_account(store: &Store, more: usize) -> Result<(), ServiceError> {
    let open: usize = store.list().iter().map(|stream| stream.state().open().len()).sum();
    if open.saturating_add(more) <= ACCOUNT_SHARDS_MAX {
        return Ok(());
    }
    Err(limit_exceeded(format!(
        "This request would exceed the shard limit for the account {ACCOUNT}. Current shard count for the account: \
         {open}. Limit: {ACCOUNT_SHARDS_MAX}. Number of additional shards that would have resulted from this request: \
         {more}."
    )))
}

/// `ValidationException` for what only streams with provisioned capacity can do.
pub(super) fn refuse_on_demand(stream: &Stream) -> Result<(), ServiceError> {
    match stream.state().settings.mode {
        StreamMode::Provisioned => Ok(()),
        StreamMode::OnDemand => Err(ServiceError::client(
            "ValidationException",
            format!("Request is invalid. Stream {} under account {ACCOUNT} is in On-Demand mode.", stream.name()),
        )),
    }
}

/// Says who decides how many shards there are; those that are there stay.
pub(super) async fn update_stream_mode(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.required("streamARN", input.stream.arn.as_ref().map(|_| ()));
    checks.required("streamModeDetails", input.mode.as_ref().map(|_| ()));
    let name = input.mode.as_ref().and_then(|mode| mode.stream_mode.as_deref());
    let mode = checks.required_choice("streamModeDetails.streamMode", name, MODES);
    checks.number("warmThroughputMiBps", input.warm_mibps, 0, i64::MAX);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    let mode = mode.unwrap_or(StreamMode::Provisioned);
    let warm_mibps = input.warm_mibps.map(|asked| checked_warm(store, mode, asked)).transpose()?;
    let (now_ms, warm_before) = (store.clock().now_ms(), stream.state().settings.warm_mibps);
    change_settings(&stream, |settings| {
        if settings.mode != mode && !admit_change(&mut settings.recent.modes, MODE_CHANGES_MAX, now_ms) {
            return Err(limit_exceeded(format!(
                "The mode of stream {} was changed {MODE_CHANGES_MAX} times within 24 hours.",
                stream.name()
            )));
        }
        set_mode(settings, mode, warm_mibps);
        Ok(())
    })
    .await?;
    if let Some(asked) = warm_mibps {
        warm_up(&stream, (warm_before, asked), now_ms).await?;
    }
    change.made();
    Ok(Vec::new())
}

fn set_mode(settings: &mut Settings, mode: StreamMode, warm_mibps: Option<u32>) {
    settings.mode = mode;
    match mode {
        StreamMode::OnDemand => settings.warm_mibps = warm_mibps.or(settings.warm_mibps),
        // Both belong to on-demand streams.
        StreamMode::Provisioned => {
            settings.warm_mibps = None;
            settings.distribution = Distribution::UserPartitionKey;
        }
    }
}

/// Scales an on-demand stream before its load comes.
pub(super) async fn update_warm_throughput(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let asked = checks.required_number("warmThroughputMiBps", input.warm_mibps, 0, i64::MAX);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    let settings = &stream.state().settings;
    let (warm_mibps, warm_before) = (checked_warm(store, settings.mode, asked)?, settings.warm_mibps);
    change_settings(&stream, |settings| {
        settings.warm_mibps = Some(warm_mibps);
        Ok(())
    })
    .await?;
    warm_up(&stream, (warm_before, warm_mibps), store.clock().now_ms()).await?;
    change.made();
    request.answer(&WarmOutput {
        stream_name: stream.name().to_owned(),
        stream_arn: stream.arn(),
        warm_throughput: warm_throughput(&stream, warm_mibps),
    })
}

/// What a stream was scaled for, and what its shards take: 1 MiB/s each.
pub(super) fn warm_throughput(stream: &Stream, target_mibps: u32) -> WarmThroughput {
    let shards = stream.state().open().len();
    WarmThroughput { target_mibps, current_mibps: u32::try_from(shards).unwrap_or(u32::MAX) }
}

/// A warm throughput that this account can give a stream of this mode.
pub(super) fn checked_warm(store: &Store, mode: StreamMode, asked: i64) -> Result<u32, ServiceError> {
    if mode != StreamMode::OnDemand {
        return Err(invalid_argument("Warm throughput is for on-demand streams only."));
    }
    if !store.account().is_advantage(store.clock().now_ms()) {
        return Err(invalid_argument("Warm throughput needs MinimumThroughputBillingCommitment to be enabled."));
    }
    if asked > WARM_MIBPS_MAX {
        return Err(limit_exceeded(format!("A stream has {WARM_MIBPS_MAX} MiB/s of warm throughput at most.")));
    }
    if usize::try_from(asked).unwrap_or(usize::MAX) > SHARDS_MAX {
        return Err(limit_exceeded(format!("A stream has {SHARDS_MAX} open shards at most in this local cloud.")));
    }
    u32::try_from(asked).map_err(|_negative| invalid_argument("Warm throughput cannot be negative."))
}

/// Gives a stream at least as many shards as it is to take MiB/s. Who asks for no more than before gives back what is above
/// that and above the last hour's peak.
async fn warm_up(stream: &Stream, (before, asked): (Option<u32>, u32), now_ms: i64) -> Result<(), ServiceError> {
    let open = u32::try_from(stream.state().open().len()).unwrap_or(u32::MAX);
    let wanted = asked.max(ON_DEMAND_SHARDS);
    let shards = if before.is_some_and(|before| asked <= before) {
        wanted.max(stream.hour_peak(now_ms).shards()).min(open.max(wanted))
    } else {
        wanted.max(open)
    };
    if shards == open { Ok(()) } else { stream.scale(shards).await.map_err(|error| reshard_failure(stream, &error)) }
}

/// Says how large a record may be.
pub(super) async fn update_max_record_size(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    let asked = required_record_kib(&mut checks, input.record_kib_max);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    change_settings(&stream, |settings| {
        settings.record_kib_max = asked;
        Ok(())
    })
    .await?;
    change.made();
    Ok(Vec::new())
}

fn required_record_kib(checks: &mut Checks, asked: Option<i64>) -> u32 {
    checks.required("maxRecordSizeInKiB", asked);
    record_kib(checks, asked)
}

/// A record size within its range; the default when none is given.
pub(super) fn record_kib(checks: &mut Checks, asked: Option<i64>) -> u32 {
    checks.number("maxRecordSizeInKiB", asked, RECORD_KIB_DEFAULT.into(), RECORD_KIB_MAX.into());
    asked.and_then(|asked| u32::try_from(asked).ok()).unwrap_or(RECORD_KIB_DEFAULT)
}

/// Says how records find their shards.
pub(super) async fn update_distribution(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.required("streamARN", input.stream.arn.as_ref().map(|_| ()));
    let strategy = input.distribution.as_deref();
    let distribution = checks.required_choice("recordDistributionStrategy", strategy, DISTRIBUTIONS);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    change_settings(&stream, |settings| {
        if settings.mode != StreamMode::OnDemand {
            return Err(invalid_argument("The record distribution strategy is for on-demand streams only."));
        }
        settings.distribution = distribution.unwrap_or_default();
        Ok(())
    })
    .await?;
    change.made();
    Ok(Vec::new())
}
