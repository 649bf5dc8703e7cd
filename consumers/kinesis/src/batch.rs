//! The answer to Lambda: which record of the batch to begin again with.
//!
//! With `ReportBatchItemFailures`, Lambda takes the **lowest** sequence number that is reported, and gives everything from
//! there on once more, what had succeeded too. So one number says it all. Without any, the whole batch is done.

use std::cmp::Ordering;

use aws_lambda_events::event::streams::KinesisEventResponse;

use crate::position::cmp_sequence_numbers;

/// Collects the failures of one batch, of which only the lowest sequence number counts.
///
/// ```
/// use kinesis_consumer::BatchFailures;
///
/// let mut failures = BatchFailures::new();
/// failures.add("49590338271490256608559692540925702759324208523137515618");
/// failures.add("49590338271490256608559692538361571095921575989136588898");
/// let response = failures.into_response();
/// let first = response.batch_item_failures[0].item_identifier.as_deref();
/// assert_eq!(first, Some("49590338271490256608559692538361571095921575989136588898"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchFailures {
    lowest: Option<String>,
}

impl BatchFailures {
    /// A batch in which nothing has failed so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that the Kinesis record with this sequence number, or any user record inside, is to be given again.
    ///
    /// An empty number, as a malformed event might have, is lower than all others and means the whole batch to Lambda.
    pub fn add(&mut self, sequence_number: &str) {
        let is_lower =
            self.lowest.as_deref().is_none_or(|lowest| cmp_sequence_numbers(sequence_number, lowest) == Ordering::Less);
        if is_lower {
            self.lowest = Some(sequence_number.to_owned());
        }
    }

    /// Whether nothing has failed.
    pub fn is_empty(&self) -> bool {
        self.lowest.is_none()
    }

    /// The lowest sequence number that has failed.
    pub fn lowest(&self) -> Option<&str> {
        self.lowest.as_deref()
    }

    /// What the Lambda function returns: at most one failure. The event source mapping must have
    /// `FunctionResponseTypes: ReportBatchItemFailures`, or Lambda takes any answer for a success.
    pub fn into_response(self) -> KinesisEventResponse {
        let mut response = KinesisEventResponse::default();
        response.set_failures(self.lowest);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::BatchFailures;

    #[test]
    fn responses_read_as_lambda_documents_them() {
        let check = |failed: &[&str], expect: &str| {
            let mut failures = BatchFailures::new();
            for sequence_number in failed {
                failures.add(sequence_number);
            }
            assert_eq!(failures.is_empty(), failed.is_empty());
            assert_eq!(serde_json::to_string(&failures.into_response()).unwrap(), expect, "{failed:?}");
        };
        check(&[], r#"{"batchItemFailures":[]}"#);
        check(&["7"], r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#);
        check(&["10", "9", "11"], r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#);
        check(&["9", "10"], r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#);
        // The empty identifier is documented as "the whole batch failed".
        check(&["9", ""], r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#);
    }
}
