//! What follows from an invocation: pure rules.

use std::collections::HashMap;
use std::time::Duration;

use aws_lambda_events::event::streams::KinesisEventResponse;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::kinesis::SequenceNumber;

const BACKOFF_MS_MIN: u64 = 100;
const BACKOFF_MS_MAX: u64 = 10_000;

/// What a function reports about a batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    /// The sequence numbers that it names; `None` for an item that names none.
    pub(super) failures: Vec<Option<String>>,
    /// The state of its tumbling window, JSON.
    pub(super) state: Option<Box<RawValue>>,
    /// The answer is not a report at all.
    pub(super) is_unreadable: bool,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "batchItemFailures", default)]
    failures: Option<Vec<Item>>,
    #[serde(default)]
    state: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(rename = "itemIdentifier", default)]
    identifier: Option<String>,
}

impl Report {
    /// Reads a function's answer. No answer, `null` and an object without failures are reports of success; text that is
    /// no such object is none (the documentation does not say; an answer that cannot be read cannot mean success).
    pub(super) fn parse(payload: &[u8]) -> Self {
        if payload.trim_ascii().is_empty() {
            return Self::default();
        }
        match serde_json::from_slice::<Option<Wire>>(payload) {
            Ok(None) => Self::default(),
            Ok(Some(wire)) => {
                let failures = wire.failures.unwrap_or_default();
                let failures = failures.into_iter().map(|item| item.identifier).collect();
                // A null state is no state.
                let state = wire.state.filter(|state| state.get() != "null");
                Self { failures, state, is_unreadable: false }
            }
            Err(_) => Self { is_unreadable: true, ..Self::default() },
        }
    }
}

impl From<KinesisEventResponse> for Report {
    fn from(response: KinesisEventResponse) -> Self {
        let failures = response.batch_item_failures.into_iter().map(|item| item.item_identifier).collect();
        Self { failures, ..Self::default() }
    }
}

/// What an answered invocation says about its batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All records are handled.
    Success,
    /// The first `done` records are handled, at least one; the rest is to come again.
    Partial {
        /// How many.
        done: usize,
    },
    /// No record counts as handled.
    Failure,
}

/// Reads a report: the lowest failed sequence number is where the batch goes on; an identifier that is empty,
/// missing or not of this batch fails all of it. Without reporting, every answer is a success.
pub(super) fn decide(report: &Report, batch: impl Iterator<Item = SequenceNumber>, is_reporting: bool) -> Verdict {
    if !is_reporting {
        return Verdict::Success;
    }
    if report.is_unreadable {
        return Verdict::Failure;
    }
    if report.failures.is_empty() {
        return Verdict::Success;
    }
    let places: HashMap<SequenceNumber, usize> = batch.zip(0..).collect();
    let mut lowest = usize::MAX;
    for failure in &report.failures {
        let identifier = failure.as_deref().unwrap_or_default();
        let place = SequenceNumber::parse(identifier).ok().and_then(|number| places.get(&number));
        let Some(place) = place else { return Verdict::Failure };
        lowest = lowest.min(*place);
    }
    if lowest == 0 { Verdict::Failure } else { Verdict::Partial { done: lowest } }
}

/// How long to wait before the next attempt: 100 ms that double up to 10 s, of which `random` takes up to half away,
/// so that shards that failed together do not come back together.
pub(super) fn backoff(failed_attempts: u32, random: u64) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(7);
    let full_ms = (BACKOFF_MS_MIN << doublings).min(BACKOFF_MS_MAX);
    Duration::from_millis(full_ms - random % (full_ms / 2 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(counter: u64) -> SequenceNumber {
        SequenceNumber::new(1_700_000_000, 0, counter)
    }

    #[test]
    fn responses_as_documented() {
        let check = |json: &str, expected: Verdict| {
            let report = Report::parse(json.as_bytes());
            assert_eq!(decide(&report, (10..15).map(number), true), expected, "{json}");
            assert_eq!(decide(&report, (10..15).map(number), false), Verdict::Success, "{json}");
        };
        let failures = |identifiers: &[String]| {
            let items: Vec<String> =
                identifiers.iter().map(|identifier| format!("{{\"itemIdentifier\":\"{identifier}\"}}")).collect();
            format!("{{\"batchItemFailures\":[{}]}}", items.join(","))
        };
        for success in
            ["", " ", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#, r#"{"other":1}"#]
        {
            check(success, Verdict::Success);
        }
        check(&failures(&[number(12).to_string()]), Verdict::Partial { done: 2 });
        check(&failures(&[number(14).to_string(), number(11).to_string()]), Verdict::Partial { done: 1 });
        check(&failures(&[number(13).to_string(), number(13).to_string()]), Verdict::Partial { done: 3 });
        check(&failures(&[number(10).to_string()]), Verdict::Failure);
        check(&failures(&[String::new()]), Verdict::Failure);
        check(r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Verdict::Failure);
        check(r#"{"batchItemFailures":[{"badKey":"x"}]}"#, Verdict::Failure);
        check(r#"{"batchItemFailures":[{"itemIdentifier":7}]}"#, Verdict::Failure);
        check(r#"{"batchItemFailures":"x"}"#, Verdict::Failure);
        check(&failures(&[number(99).to_string()]), Verdict::Failure);
        check(&failures(&[number(12).to_string(), "garbage".to_owned()]), Verdict::Failure);
        check("\"done\"", Verdict::Failure);
        check("{", Verdict::Failure);
    }

    #[test]
    fn a_state_is_kept_as_it_was_written() {
        let state = |json: &str| Report::parse(json.as_bytes()).state.map(|state| state.get().to_owned());
        assert_eq!(state(r#"{"state": {"sum": 1.50} }"#).as_deref(), Some(r#"{"sum": 1.50}"#));
        assert_eq!(state(r#"{"state":null}"#), None);
        assert_eq!(state("{}"), None);
    }

    #[test]
    fn backoff_doubles_up_to_ten_seconds_and_keeps_at_least_half() {
        let check = |failed: u32, full_ms: u64| {
            assert_eq!(backoff(failed, 0), Duration::from_millis(full_ms), "{failed}");
            let least = (0..=full_ms).map(|random| backoff(failed, random)).min();
            assert_eq!(least, Some(Duration::from_millis(full_ms - full_ms / 2)), "{failed}");
        };
        for (failed, full_ms) in [(1, 100), (2, 200), (5, 1_600), (7, 6_400), (8, 10_000), (u32::MAX, 10_000)] {
            check(failed, full_ms);
        }
    }
}
