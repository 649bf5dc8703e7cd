//! The embedded metric format: metrics within a log line of a function.
//!
//! A line that is no such object, or that breaks one of the format's rules, is a log line and nothing else, as at AWS.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::series::{Datum, MetricKey, StatisticSet};

/// Metrics in one directive, dimensions in one set, values of one metric.
const METRICS_MAX: usize = 100;
const DIMENSIONS_MAX: usize = 30;
const VALUES_MAX: usize = 100;
/// Characters of a namespace, and of the value of a dimension.
const TEXT_MAX: usize = 1_024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    timestamp: i64,
    cloud_watch_metrics: Vec<Directive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: String,
    dimensions: Vec<Vec<String>>,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: String,
    unit: Option<String>,
}

/// The metrics of a line; none for one that has none.
pub(crate) fn metrics(line: &str) -> Vec<Datum> {
    // Nearly all lines end here.
    if !line.starts_with('{') || !line.contains("\"_aws\"") {
        return Vec::new();
    }
    let Ok(Value::Object(root)) = serde_json::from_str::<Value>(line) else { return Vec::new() };
    let Some(Ok(metadata)) = root.get("_aws").cloned().map(serde_json::from_value::<Metadata>) else {
        return Vec::new();
    };
    let directives = metadata.cloud_watch_metrics.iter();
    directives.filter_map(|directive| of_directive(directive, &root, metadata.timestamp)).flatten().collect()
}

fn of_directive(directive: &Directive, root: &Map<String, Value>, at_ms: i64) -> Option<Vec<Datum>> {
    let namespace_is_valid = (1..=TEXT_MAX).contains(&directive.namespace.chars().count());
    if !namespace_is_valid || directive.metrics.len() > METRICS_MAX {
        return None;
    }
    let mut data = Vec::new();
    for names in &directive.dimensions {
        let dimensions = dimensions(names, root)?;
        for metric in &directive.metrics {
            let Some(values) = root.get(&metric.name).and_then(values) else { continue };
            let (namespace, name) = (directive.namespace.clone(), metric.name.clone());
            let key = MetricKey { namespace, name, dimensions: dimensions.clone() };
            data.push(Datum { key, unit: metric.unit.clone().unwrap_or_else(|| "None".to_owned()), at_ms, values });
        }
    }
    Some(data)
}

fn dimensions(names: &[String], root: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    if names.len() > DIMENSIONS_MAX {
        return None;
    }
    let value = |name: &String| {
        let value = root.get(name)?.as_str()?;
        (1..=TEXT_MAX).contains(&value.chars().count()).then(|| (name.clone(), value.to_owned()))
    };
    names.iter().map(value).collect()
}

/// A number, or up to 100 of them.
fn values(value: &Value) -> Option<StatisticSet> {
    match value {
        Value::Number(number) => number.as_f64().map(StatisticSet::of),
        Value::Array(numbers) if numbers.len() <= VALUES_MAX => {
            let numbers: Option<Vec<f64>> = numbers.iter().map(Value::as_f64).collect();
            StatisticSet::all(numbers?)
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(change: impl FnOnce(&mut Value)) -> Vec<Datum> {
        let mut line = json!({
            "_aws": { "Timestamp": 1_700_000_000_123_i64, "CloudWatchMetrics": [{
                "Namespace": "Millrace", "Dimensions": [["Function"], []],
                "Metrics": [{ "Name": "Events", "Unit": "Count" }, { "Name": "Took" }, { "Name": "Absent" }],
            }] },
            "Function": "enrich", "Events": 7, "Took": [1.5, 2.5], "other": "text",
        });
        change(&mut line);
        metrics(&line.to_string())
    }

    #[test]
    fn each_set_of_dimensions_is_a_metric() {
        let found = line(|_| {});
        let said: Vec<_> = found
            .iter()
            .map(|datum| {
                let key = &datum.key;
                let values = (datum.values.count, datum.values.sum);
                (key.name.as_str(), key.dimensions.len(), datum.unit.as_str(), values)
            })
            .collect();
        let (events, took) = ((1.0, 7.0), (2.0, 4.0));
        let expected = [
            ("Events", 1, "Count", events),
            ("Took", 1, "None", took),
            ("Events", 0, "Count", events),
            ("Took", 0, "None", took),
        ];
        assert_eq!(said, expected);
        assert_eq!((found[0].at_ms, found[0].key.namespace.as_str()), (1_700_000_000_123, "Millrace"));
        assert_eq!(found[0].key.dimensions["Function"], "enrich");
    }

    #[test]
    fn lines_that_break_the_rules_are_log_lines() {
        for text in ["", "text", "{\"_aws\"", "{\"a\":\"_aws\"}", "{\"_aws\":5}", "{\"_aws\":{}}", "[\"_aws\"]"] {
            assert_eq!(metrics(text), [], "{text}");
        }
        let none = |change: fn(&mut Value)| assert_eq!(line(change), []);
        none(|line| line["Function"] = json!(5));
        none(|line| line["_aws"]["CloudWatchMetrics"][0]["Namespace"] = json!(""));
        none(|line| line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([vec!["Function"; 31]]));
        none(|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"] = json!(vec![json!({ "Name": "Events" }); 101]));
        none(|line| {
            line["Events"] = json!("7");
            line["Took"] = json!(vec![1; 101]);
        });
    }
}
