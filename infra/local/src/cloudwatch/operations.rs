//! The operations on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use super::CloudWatch;
use super::series::{Datum, MINUTE_MS, MetricKey, StatisticSet};
use crate::cbor;
use crate::wire::{Request, ServiceError};

/// Metrics in one `PutMetricData`, values of one of them, and dimensions.
const METRICS_MAX: usize = 1_000;
const VALUES_MAX: usize = 150;
const DIMENSIONS_MAX: usize = 30;
/// Metrics on a page of `ListMetrics`.
const PAGE_MAX: usize = 500;
/// Points in an answer of `GetMetricStatistics`, and of `GetMetricData`.
const STATISTICS_MAX: usize = 1_440;
const POINTS_MAX: usize = 100_800;
/// Queries of one `GetMetricData`.
const QUERIES_MAX: usize = 500;

/// Seconds since the epoch: in CBOR under tag 1.
#[derive(Debug, Clone, Copy)]
struct Seconds(i64);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Points begin at whole minutes.
        let seconds = self.0 / 1_000;
        if serializer.is_human_readable() {
            serializer.serialize_i64(seconds)
        } else {
            serializer.serialize_newtype_struct(cbor::TIMESTAMP, &seconds)
        }
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Dimension {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutInput {
    namespace: String,
    metric_data: Option<Vec<PutDatum>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutDatum {
    metric_name: String,
    dimensions: Option<Vec<Dimension>>,
    timestamp: Option<f64>,
    value: Option<f64>,
    statistic_values: Option<Statistics>,
    values: Option<Vec<f64>>,
    counts: Option<Vec<f64>>,
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statistics {
    sample_count: f64,
    sum: f64,
    minimum: f64,
    maximum: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListInput {
    namespace: Option<String>,
    metric_name: Option<String>,
    dimensions: Option<Vec<Dimension>>,
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput {
    metrics: Vec<Metric>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    namespace: String,
    metric_name: String,
    dimensions: Option<Vec<Dimension>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticsInput {
    namespace: String,
    metric_name: String,
    dimensions: Option<Vec<Dimension>>,
    start_time: f64,
    end_time: f64,
    period: i64,
    statistics: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StatisticsOutput {
    label: String,
    datapoints: Vec<Datapoint>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Datapoint {
    timestamp: Seconds,
    #[serde(flatten)]
    statistics: BTreeMap<String, f64>,
    unit: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DataInput {
    metric_data_queries: Vec<Query>,
    start_time: f64,
    end_time: f64,
    scan_by: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Query {
    id: String,
    label: Option<String>,
    metric_stat: Option<MetricStat>,
    return_data: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MetricStat {
    metric: Metric,
    period: i64,
    stat: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DataOutput {
    metric_data_results: Vec<DataResult>,
    messages: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DataResult {
    id: String,
    label: String,
    timestamps: Vec<Seconds>,
    values: Vec<f64>,
    status_code: &'static str,
}

#[derive(Serialize)]
struct Empty {}

pub(super) async fn call(
    cloudwatch: &CloudWatch,
    operation: &str,
    request: Request<'_>,
) -> Result<Vec<u8>, ServiceError> {
    match operation {
        "PutMetricData" => {
            let data = put_data(request.parse()?, cloudwatch.now_ms())?;
            cloudwatch.put(data).await.map_err(|error| {
                tracing::error!(%error, "cannot write metrics");
                ServiceError::internal("InternalServiceFault", "The metrics cannot be written.")
            })?;
            request.answer(&Empty {})
        }
        "ListMetrics" => request.answer(&list(cloudwatch, &request.parse()?)?),
        "GetMetricStatistics" => request.answer(&statistics(cloudwatch, request.parse()?)?),
        "GetMetricData" => request.answer(&data(cloudwatch, request.parse()?)?),
        other => Err(ServiceError::not_here("CloudWatch", other)),
    }
}

fn invalid(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterValueException", message)
}

fn put_data(input: PutInput, now_ms: i64) -> Result<Vec<Datum>, ServiceError> {
    if !(1..=255).contains(&input.namespace.len()) || input.namespace.starts_with("AWS/") {
        return Err(invalid("The parameter Namespace is 1 to 255 characters and does not begin with AWS/."));
    }
    let given = input.metric_data.unwrap_or_default();
    if given.len() > METRICS_MAX {
        return Err(invalid(format!("The parameter MetricData has at most {METRICS_MAX} members.")));
    }
    given.into_iter().map(|datum| put_datum(&input.namespace, datum, now_ms)).collect()
}

fn put_datum(namespace: &str, given: PutDatum, now_ms: i64) -> Result<Datum, ServiceError> {
    let values = match (given.value, given.statistic_values, given.values) {
        (Some(value), None, None) => StatisticSet::of(value),
        (None, Some(set), None) => {
            StatisticSet { count: set.sample_count, sum: set.sum, min: set.minimum, max: set.maximum }
        }
        (None, None, Some(values)) => counted(&values, given.counts.as_deref())?,
        _ => return Err(invalid("Exactly one of Value, StatisticValues and Values must be given.")),
    };
    if ![values.count, values.sum, values.min, values.max].into_iter().all(f64::is_finite) {
        return Err(invalid("The parameter Value must be a finite number."));
    }
    let at_ms = given.timestamp.map_or(Ok(now_ms), milliseconds)?;
    let key = key(namespace.to_owned(), given.metric_name, given.dimensions)?;
    Ok(Datum { key, unit: given.unit.unwrap_or_else(|| "None".to_owned()), at_ms, values })
}

/// Values with how often each was seen; once, unless it is said.
fn counted(values: &[f64], counts: Option<&[f64]>) -> Result<StatisticSet, ServiceError> {
    if !(1..=VALUES_MAX).contains(&values.len()) || counts.is_some_and(|counts| counts.len() != values.len()) {
        return Err(invalid(format!("Values has 1 to {VALUES_MAX} members, and Counts as many.")));
    }
    let count = |index: usize| counts.and_then(|counts| counts.get(index)).copied().unwrap_or(1.0);
    let sets = values.iter().enumerate().map(|(index, value)| {
        let count = count(index);
        StatisticSet { count, sum: value * count, ..StatisticSet::of(*value) }
    });
    sets.reduce(StatisticSet::and).ok_or_else(|| invalid("Values is empty."))
}

fn key(namespace: String, name: String, dimensions: Option<Vec<Dimension>>) -> Result<MetricKey, ServiceError> {
    let dimensions = dimensions.unwrap_or_default();
    if !(1..=255).contains(&name.len()) || dimensions.len() > DIMENSIONS_MAX {
        return Err(invalid("MetricName is 1 to 255 characters, and Dimensions has at most 30 members."));
    }
    let pair = |dimension: Dimension| Some((dimension.name, dimension.value.filter(|value| !value.is_empty())?));
    let dimensions: Option<BTreeMap<String, String>> = dimensions.into_iter().map(pair).collect();
    let dimensions = dimensions.ok_or_else(|| invalid("Every dimension has a value."))?;
    Ok(MetricKey { namespace, name, dimensions })
}

/// Milliseconds of a time in seconds, within what a clock can say.
fn milliseconds(seconds: f64) -> Result<i64, ServiceError> {
    let since_epoch = std::time::Duration::try_from_secs_f64(seconds);
    let since_epoch = since_epoch.map_err(|_out_of_range| invalid("A time is out of range."))?;
    i64::try_from(since_epoch.as_millis()).map_err(|_out_of_range| invalid("A time is out of range."))
}

fn list(cloudwatch: &CloudWatch, input: &ListInput) -> Result<ListOutput, ServiceError> {
    let skip: usize = match &input.next_token {
        Some(token) => token.parse().map_err(|_not_ours| invalid("The parameter NextToken is not one."))?,
        None => 0,
    };
    let wanted = input.dimensions.as_deref().unwrap_or_default();
    let has = |key: &MetricKey, dimension: &Dimension| match (key.dimensions.get(&dimension.name), &dimension.value) {
        (Some(found), Some(value)) => found == value,
        (Some(_), None) => true,
        (None, _) => false,
    };
    let is_meant = |key: &&MetricKey| {
        input.namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace)
            && input.metric_name.as_ref().is_none_or(|name| *name == key.name)
            && wanted.iter().all(|dimension| has(key, dimension))
    };
    let series = cloudwatch.series();
    let mut found = series.keys().filter(is_meant).skip(skip);
    let metrics: Vec<Metric> = found.by_ref().take(PAGE_MAX).map(metric).collect();
    let next_token = found.next().is_some().then(|| (skip + PAGE_MAX).to_string());
    Ok(ListOutput { metrics, next_token })
}

fn metric(key: &MetricKey) -> Metric {
    let dimensions = key.dimensions.iter();
    let dimensions =
        dimensions.map(|(name, value)| Dimension { name: name.clone(), value: Some(value.clone()) }).collect();
    Metric { namespace: key.namespace.clone(), metric_name: key.name.clone(), dimensions: Some(dimensions) }
}

/// A period in milliseconds: whole minutes, as nothing finer is kept.
fn period_ms(period_s: i64) -> Result<i64, ServiceError> {
    let period_ms = period_s.saturating_mul(1_000);
    if period_ms <= 0 || period_ms % MINUTE_MS != 0 {
        return Err(invalid("The parameter Period must be a multiple of 60: finer values are not kept here."));
    }
    Ok(period_ms)
}

fn statistics(cloudwatch: &CloudWatch, input: StatisticsInput) -> Result<StatisticsOutput, ServiceError> {
    let names = input.statistics.unwrap_or_default();
    if names.is_empty() {
        return Err(invalid(
            "Statistics must be given: extended ones are not implemented by the Millrace local cloud.",
        ));
    }
    let (range, period_ms) =
        ((milliseconds(input.start_time)?, milliseconds(input.end_time)?), period_ms(input.period)?);
    let label = input.metric_name.clone();
    let key = key(input.namespace, input.metric_name, input.dimensions)?;
    let mut datapoints = Vec::new();
    if let Some(series) = cloudwatch.series().get(&key) {
        for (at_ms, values) in series.periods(range, period_ms) {
            let named = names.iter().map(|name| Some((name.clone(), values.statistic(name)?)));
            let statistics =
                named.collect::<Option<_>>().ok_or_else(|| invalid("Statistics has a member that is none."))?;
            datapoints.push(Datapoint { timestamp: Seconds(at_ms), statistics, unit: series.unit.clone() });
        }
    }
    if datapoints.len() > STATISTICS_MAX {
        let message =
            format!("You have requested {} datapoints, over the limit of {STATISTICS_MAX}.", datapoints.len());
        return Err(ServiceError::client("InvalidParameterCombinationException", message));
    }
    Ok(StatisticsOutput { label, datapoints })
}

fn data(cloudwatch: &CloudWatch, input: DataInput) -> Result<DataOutput, ServiceError> {
    if input.metric_data_queries.len() > QUERIES_MAX {
        return Err(invalid(format!("The parameter MetricDataQueries has at most {QUERIES_MAX} members.")));
    }
    let range = (milliseconds(input.start_time)?, milliseconds(input.end_time)?);
    let is_ascending = input.scan_by.as_deref() == Some("TimestampAscending");
    let mut results = Vec::new();
    let mut points = 0;
    for query in input.metric_data_queries {
        if query.return_data == Some(false) {
            continue;
        }
        let Some(stat) = query.metric_stat else {
            return Err(invalid("Expression is not implemented by the Millrace local cloud; MetricStat is."));
        };
        let label = query.label.unwrap_or_else(|| stat.metric.metric_name.clone());
        let key = key(stat.metric.namespace, stat.metric.metric_name, stat.metric.dimensions)?;
        let periods = match cloudwatch.series().get(&key) {
            Some(series) => series.periods(range, period_ms(stat.period)?),
            None => BTreeMap::new(),
        };
        let values = periods.iter().map(|(at_ms, values)| Some((Seconds(*at_ms), values.statistic(&stat.stat)?)));
        let Some(mut values) = values.collect::<Option<Vec<_>>>() else {
            return Err(invalid(format!("Stat {} is not implemented by the Millrace local cloud.", stat.stat)));
        };
        points += values.len();
        if points > POINTS_MAX {
            return Err(invalid(format!("The answer would have more than {POINTS_MAX} points.")));
        }
        if !is_ascending {
            values.reverse();
        }
        let (timestamps, values) = values.into_iter().unzip();
        results.push(DataResult { id: query.id, label, timestamps, values, status_code: "Complete" });
    }
    Ok(DataOutput { metric_data_results: results, messages: [] })
}
