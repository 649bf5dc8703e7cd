//! What follows from an invocation: pure rules.

use std::collections::HashMap;
use std::time::Duration;

use aws_lambda_events::event::streams::KinesisEventResponse;

use crate::kinesis::SequenceNumber;

const BACKOFF_MS_MIN: u64 = 100;
const BACKOFF_MS_MAX: u64 = 10_000;

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

/// Reads a response: the lowest failed sequence number is where the batch goes on; an identifier that is empty,
/// missing or not of this batch fails all of it. Without reporting, every answer is a success.
pub(super) fn decide(
    response: &KinesisEventResponse,
    sequence_numbers: &[SequenceNumber],
    is_reporting: bool,
) -> Verdict {
    if !is_reporting || response.batch_item_failures.is_empty() {
        return Verdict::Success;
    }
    let places: HashMap<SequenceNumber, usize> = sequence_numbers.iter().copied().zip(0..).collect();
    let mut lowest = usize::MAX;
    for failure in &response.batch_item_failures {
        let identifier = failure.item_identifier.as_deref().unwrap_or_default();
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
        let batch: Vec<SequenceNumber> = (10..15).map(number).collect();
        let check = |json: &str, expected: Verdict| {
            let response: KinesisEventResponse = serde_json::from_str(json).unwrap();
            assert_eq!(decide(&response, &batch, true), expected, "{json}");
            assert_eq!(decide(&response, &batch, false), Verdict::Success, "{json}");
        };
        let failures = |identifiers: &[String]| {
            let items: Vec<String> =
                identifiers.iter().map(|identifier| format!("{{\"itemIdentifier\":\"{identifier}\"}}")).collect();
            format!("{{\"batchItemFailures\":[{}]}}", items.join(","))
        };
        check(r#"{"batchItemFailures":[]}"#, Verdict::Success);
        check(&failures(&[number(12).to_string()]), Verdict::Partial { done: 2 });
        check(&failures(&[number(14).to_string(), number(11).to_string()]), Verdict::Partial { done: 1 });
        check(&failures(&[number(13).to_string(), number(13).to_string()]), Verdict::Partial { done: 3 });
        check(&failures(&[number(10).to_string()]), Verdict::Failure);
        check(&failures(&[String::new()]), Verdict::Failure);
        check(r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Verdict::Failure);
        check(r#"{"batchItemFailures":[{"badKey":"x"}]}"#, Verdict::Failure);
        check(&failures(&[number(99).to_string()]), Verdict::Failure);
        check(&failures(&[number(12).to_string(), "garbage".to_owned()]), Verdict::Failure);
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
