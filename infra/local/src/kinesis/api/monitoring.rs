//! `EnableEnhancedMonitoring` and `DisableEnhancedMonitoring`.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::kinesis::settings::ShardMetric;
use crate::kinesis::store::Store;
use crate::wire::{Request, ServiceError};

use super::validate::Checks;
use super::{StreamRef, begin, change_settings};

/// All metrics, each with its name; `None` is all of them.
const METRICS: &[(&str, Option<ShardMetric>)] = &[
    ("IncomingBytes", Some(ShardMetric::IncomingBytes)),
    ("IncomingRecords", Some(ShardMetric::IncomingRecords)),
    ("OutgoingBytes", Some(ShardMetric::OutgoingBytes)),
    ("OutgoingRecords", Some(ShardMetric::OutgoingRecords)),
    ("WriteProvisionedThroughputExceeded", Some(ShardMetric::WriteProvisionedThroughputExceeded)),
    ("ReadProvisionedThroughputExceeded", Some(ShardMetric::ReadProvisionedThroughputExceeded)),
    ("IteratorAgeMilliseconds", Some(ShardMetric::IteratorAgeMilliseconds)),
    ("ALL", None),
];

type Metrics = BTreeSet<ShardMetric>;

#[derive(Deserialize)]
struct Input {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "ShardLevelMetrics")]
    metrics: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    stream_name: String,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    current_shard_level_metrics: Metrics,
    desired_shard_level_metrics: Metrics,
}

/// Adds metrics per shard.
pub(super) async fn enable(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    change(store, request, |now, asked| now | asked).await
}

/// Takes metrics per shard away.
pub(super) async fn disable(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    change(store, request, |now, asked| now - asked).await
}

async fn change(
    store: &Store,
    request: Request<'_>,
    combine: fn(&Metrics, &Metrics) -> Metrics,
) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    if let Some(names) = &input.metrics {
        checks.length("shardLevelMetrics", names.len(), 1, 7);
    }
    let names = checks.required("shardLevelMetrics", input.metrics);
    let mut asked = Metrics::new();
    for name in names.iter().take(8) {
        match checks.choice("shardLevelMetrics", Some(name), METRICS) {
            Some(Some(metric)) => drop(asked.insert(metric)),
            Some(None) => asked.extend(METRICS.iter().filter_map(|(_, metric)| *metric)),
            None => {}
        }
    }
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let change = begin(&stream)?;
    let (current, desired) = change_settings(&stream, |settings| {
        let current = settings.metrics.clone();
        settings.metrics = combine(&current, &asked);
        Ok((current, settings.metrics.clone()))
    })
    .await?;
    change.made();
    request.answer(&Output {
        stream_name: stream.name().to_owned(),
        stream_arn: stream.arn(),
        current_shard_level_metrics: current,
        desired_shard_level_metrics: desired,
    })
}
