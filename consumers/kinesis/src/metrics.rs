//! What a function counts, as a line of CloudWatch's embedded metric format: one a batch, never one an event.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

/// Counts of a stage since they were last taken.
#[derive(Debug)]
pub struct StageCounts {
    namespace: &'static str,
    stage: &'static str,
    records: AtomicU64,
    events: AtomicU64,
    failed_events: AtomicU64,
}

impl StageCounts {
    /// Nothing counted yet. `namespace` is that of the metrics, `stage` the value of their one dimension, `Stage`.
    pub fn new(namespace: &'static str, stage: &'static str) -> Self {
        let (records, events, failed_events) = Default::default();
        Self { namespace, stage, records, events, failed_events }
    }

    /// Adds what became of a batch.
    pub fn add(&self, records: usize, events: usize, failed_events: usize) {
        for (counter, count) in [(&self.records, records), (&self.events, events), (&self.failed_events, failed_events)]
        {
            counter.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// Takes the counts as a line for standard output: Kinesis records in, events out, failed events, all by `Stage`.
    /// None when nothing was counted.
    pub fn take_line(&self, now_ms: i64) -> Option<String> {
        let [records, events, failed_events] =
            [&self.records, &self.events, &self.failed_events].map(|counter| counter.swap(0, Ordering::Relaxed));
        let metric = |name: &str| json!({ "Name": name, "Unit": "Count" });
        let line = json!({
            "_aws": { "Timestamp": now_ms, "CloudWatchMetrics": [{
                "Namespace": self.namespace,
                "Dimensions": [["Stage"]],
                "Metrics": [metric("RecordsIn"), metric("EventsOut"), metric("FailedEvents")],
            }] },
            "Stage": self.stage,
            "RecordsIn": records,
            "EventsOut": events,
            "FailedEvents": failed_events,
        });
        (records > 0).then(|| line.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_one_line_once() {
        let counts = StageCounts::new("Ours", "stage");
        assert_eq!(counts.take_line(5), None);
        counts.add(2, 30, 1);
        counts.add(1, 10, 0);
        let line: serde_json::Value = serde_json::from_str(&counts.take_line(5).unwrap()).unwrap();
        assert_eq!((&line["RecordsIn"], &line["EventsOut"], &line["FailedEvents"]), (&json!(3), &json!(40), &json!(1)));
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_u64(), "every metric stands at the root: {metric}");
        }
        assert_eq!((&line["_aws"]["Timestamp"], &directive["Dimensions"]), (&json!(5), &json!([["Stage"]])));
        assert_eq!(counts.take_line(6), None);
    }
}
