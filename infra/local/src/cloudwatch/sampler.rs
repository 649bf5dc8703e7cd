//! What the services count of themselves, as the metrics that they have at AWS: sampled every minute, and before each
//! question to the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{CloudWatch, Datum, MetricKey, StatisticSet};
use crate::firehose::Firehose;
use crate::kinesis::Store;
use crate::lambda::Lambda;
use crate::meter::Summary;

const INTERVAL: Duration = Duration::from_secs(60);

/// A count that only grows, and what it is called.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    pub(crate) key: MetricKey,
    pub(crate) unit: &'static str,
    pub(crate) total: u64,
}

/// Values since the last sample, or a level now.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) key: MetricKey,
    pub(crate) unit: &'static str,
    pub(crate) values: StatisticSet,
}

/// Turns counts into metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Sampler {
    cloudwatch: CloudWatch,
    store: Store,
    /// What each count was. Held for a sample.
    before: Arc<Mutex<BTreeMap<MetricKey, u64>>>,
}

impl Measured {
    /// What was noted; none when there was nothing.
    pub(crate) fn of_summary(key: MetricKey, unit: &'static str, summary: Summary) -> Option<Self> {
        let values = StatisticSet {
            count: float(summary.count),
            sum: float(summary.sum),
            min: float(summary.min),
            max: float(summary.max),
        };
        (summary.count > 0).then_some(Self { key, unit, values })
    }

    /// A level.
    pub(crate) fn of_level(key: MetricKey, unit: &'static str, value: u64) -> Self {
        Self { key, unit, values: StatisticSet::of(float(value)) }
    }
}

impl MetricKey {
    /// A metric of a service with one dimension.
    pub(crate) fn of(namespace: &str, name: &str, (dimension, value): (&str, &str)) -> Self {
        let dimensions = BTreeMap::from([(dimension.to_owned(), value.to_owned())]);
        Self { namespace: namespace.to_owned(), name: name.to_owned(), dimensions }
    }
}

impl Sampler {
    pub(crate) fn new(cloudwatch: CloudWatch, store: Store) -> Self {
        Self { cloudwatch, store, before: Arc::default() }
    }

    /// Samples all services now.
    pub(crate) fn sample(&self, lambda: &Lambda, firehose: &Firehose) {
        let at_ms = self.cloudwatch.now_ms();
        let mut counted = self.kinesis();
        let (of_functions, mut measured) = lambda.metrics();
        counted.extend(of_functions);
        let (of_deliveries, of_freshness) = firehose.metrics();
        counted.extend(of_deliveries);
        measured.extend(of_freshness);
        let datum =
            |key: MetricKey, unit: &str, values: StatisticSet| Datum { key, unit: unit.to_owned(), at_ms, values };
        let mut data: Vec<Datum> =
            measured.into_iter().map(|measured| datum(measured.key, measured.unit, measured.values)).collect();
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        for count in counted {
            let old = before.insert(count.key.clone(), count.total).unwrap_or(0);
            // A stream that was made again counts from zero.
            let since = if count.total >= old { count.total - old } else { count.total };
            if since > 0 {
                data.push(datum(count.key, count.unit, StatisticSet::of(float(since))));
            }
        }
        drop(before);
        self.cloudwatch.record(data);
    }

    fn kinesis(&self) -> Vec<Counted> {
        let mut counted = Vec::new();
        for stream in self.store.list() {
            for ((name, unit), total) in stream.totals() {
                let key = MetricKey::of("AWS/Kinesis", name, ("StreamName", stream.name()));
                counted.push(Counted { key, unit, total });
            }
        }
        counted
    }
}

/// Samples every minute, and writes to the disk what was not written before. Never returns.
pub(crate) async fn keep_sampling(cloudwatch: CloudWatch, sample: impl Fn()) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        sample();
        cloudwatch.trim();
        if let Err(error) = cloudwatch.flush().await {
            tracing::error!(%error, "cannot write metrics; they are tried again");
        }
    }
}

/// Exact up to 2^53.
fn float(value: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "metrics are floats on the wire; counts stay far below 2^53")]
    let float = value as f64;
    float
}
