//! A queue's attributes: what may be set, within what range, and how they are shown.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::wire::ServiceError;

use super::{not_implemented, queue_name};

/// The largest message, and the default: 1 MiB.
pub(super) const MESSAGE_BYTES_MAX: usize = 1_048_576;

const RANGES: [(&str, RangeInclusive<u64>); 5] = [
    ("VisibilityTimeout", 0..=43_200),
    ("MessageRetentionPeriod", 60..=1_209_600),
    ("MaximumMessageSize", 1_024..=1_048_576),
    ("ReceiveMessageWaitTimeSeconds", 0..=20),
    ("DelaySeconds", 0..=900),
];

/// Attributes that are kept and shown and change nothing here, where nobody's permissions are asked.
const KEPT: [&str; 2] = ["Policy", "SqsManagedSseEnabled"];

/// All names that a queue's attributes have at the service; those that a queue does not have are left out of answers.
pub(super) const ATTRIBUTES: [&str; 22] = [
    "All",
    "Policy",
    "VisibilityTimeout",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
    "ApproximateNumberOfMessagesDelayed",
    "DelaySeconds",
    "ReceiveMessageWaitTimeSeconds",
    "RedrivePolicy",
    "FifoQueue",
    "ContentBasedDeduplication",
    "KmsMasterKeyId",
    "KmsDataKeyReusePeriodSeconds",
    "DeduplicationScope",
    "FifoThroughputLimit",
    "RedriveAllowPolicy",
    "SqsManagedSseEnabled",
];

/// What a queue does with its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) visibility_s: u64,
    pub(super) retention_s: u64,
    pub(super) bytes_max: u64,
    pub(super) wait_s: u64,
    pub(super) delay_s: u64,
    pub(super) redrive: Option<Redrive>,
    /// What is kept as it was set.
    #[serde(default)]
    kept: BTreeMap<String, String>,
}

/// When messages go to another queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Redrive {
    /// The other queue's name.
    pub(super) queue: String,
    pub(super) receives_max: u32,
    /// As it was set.
    text: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    /// A number, or a number as text: both are seen.
    max_receive_count: serde_json::Value,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            visibility_s: 30,
            retention_s: 345_600,
            bytes_max: 1_048_576,
            wait_s: 0,
            delay_s: 0,
            redrive: None,
            kept: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// These, with what is given anew.
    pub(super) fn with(mut self, given: &BTreeMap<String, String>) -> Result<Self, ServiceError> {
        for (name, value) in given {
            let field = match name.as_str() {
                "VisibilityTimeout" => &mut self.visibility_s,
                "MessageRetentionPeriod" => &mut self.retention_s,
                "MaximumMessageSize" => &mut self.bytes_max,
                "ReceiveMessageWaitTimeSeconds" => &mut self.wait_s,
                "DelaySeconds" => &mut self.delay_s,
                "RedrivePolicy" => {
                    self.redrive = redrive(value)?;
                    continue;
                }
                "FifoQueue" if value == "false" => continue,
                "FifoQueue" | "ContentBasedDeduplication" | "DeduplicationScope" | "FifoThroughputLimit" => {
                    return Err(no_fifo());
                }
                kept if KEPT.contains(&kept) => {
                    self.kept.insert(name.clone(), value.clone());
                    self.kept.retain(|_, value| !value.is_empty());
                    continue;
                }
                "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" | "RedriveAllowPolicy" => {
                    return Err(not_implemented(&format!("SQS attribute {name}")));
                }
                _ => return Err(ServiceError::client("InvalidAttributeName", format!("Unknown Attribute {name}."))),
            };
            let range = RANGES.iter().find(|(limited, _)| limited == name).map(|(_, range)| range.clone());
            match (value.parse::<u64>().ok(), range) {
                (Some(number), Some(range)) if range.contains(&number) => *field = number,
                _ => return Err(invalid(name)),
            }
        }
        Ok(self)
    }

    /// All of them, by the service's names.
    pub(super) fn show(&self) -> BTreeMap<String, String> {
        let mut shown = self.kept.clone();
        let numbers = [self.visibility_s, self.retention_s, self.bytes_max, self.wait_s, self.delay_s];
        shown.extend(RANGES.iter().zip(numbers).map(|((name, _), number)| ((*name).to_owned(), number.to_string())));
        shown.entry("SqsManagedSseEnabled".to_owned()).or_insert_with(|| "true".to_owned());
        shown.extend(self.redrive.as_ref().map(|redrive| ("RedrivePolicy".to_owned(), redrive.text.clone())));
        shown
    }

    pub(super) fn bytes_max(&self) -> usize {
        usize::try_from(self.bytes_max).unwrap_or(MESSAGE_BYTES_MAX)
    }
}

/// What is said of queues that keep order.
pub(super) fn no_fifo() -> ServiceError {
    not_implemented("FIFO queues of SQS")
}

fn redrive(text: &str) -> Result<Option<Redrive>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let invalid = || invalid("RedrivePolicy");
    let policy: RedrivePolicy = serde_json::from_str(text).map_err(|_not_one| invalid())?;
    let number = policy.max_receive_count.as_u64();
    let number = number.or_else(|| policy.max_receive_count.as_str().and_then(|text| text.parse().ok()));
    let receives_max =
        number.and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=1_000).contains(number));
    let queue = queue_name(&policy.dead_letter_target_arn).ok_or_else(invalid)?.to_owned();
    Ok(Some(Redrive { queue, receives_max: receives_max.ok_or_else(invalid)?, text: text.to_owned() }))
}

fn invalid(name: &str) -> ServiceError {
    ServiceError::client("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn attributes_are_within_their_ranges() {
        let check = |name: &str, value: &str, expected: &str| {
            let result = Settings::default().with(&given(&[(name, value)]));
            match expected {
                "" => assert_eq!(result.unwrap().show()[name], value, "{name}"),
                code => assert_eq!(result.unwrap_err().code, code, "{name} {value}"),
            }
        };
        for (name, range) in RANGES {
            check(name, &range.start().to_string(), "");
            check(name, &range.end().to_string(), "");
            check(name, &(range.end() + 1).to_string(), "InvalidAttributeValue");
            check(name, "x", "InvalidAttributeValue");
        }
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":"3"}"#;
        check("RedrivePolicy", policy, "");
        check("RedrivePolicy", &policy.replace("\"3\"", "1001"), "InvalidAttributeValue");
        check("RedrivePolicy", &policy.replace("arn:aws:sqs", "arn:aws:sns"), "InvalidAttributeValue");
        check("Policy", "{}", "");
        check("FifoQueue", "true", "UnsupportedOperation");
        check("KmsMasterKeyId", "k", "UnsupportedOperation");
        check("Colour", "red", "InvalidAttributeName");
        let set = Settings::default().with(&given(&[("RedrivePolicy", policy), ("Policy", "{}")])).unwrap();
        let cleared = set.with(&given(&[("RedrivePolicy", ""), ("Policy", "")])).unwrap();
        assert_eq!(cleared, Settings::default());
    }
}
