//! The service's checks of single values, with its wording: all of a request's faults are said at once.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use crate::wire::ServiceError;

use super::StreamRef;

/// Faults named in one answer at most; the rest are only counted, so that 500 bad records do not make a huge answer.
const FAULTS_NAMED_MAX: usize = 20;

/// A pattern as the service's model writes it, and its check.
type Pattern = (&'static str, fn(&str) -> bool);

/// What a text must be.
#[derive(Debug)]
pub(super) struct TextRule {
    /// Characters.
    min: usize,
    max: usize,
    pattern: Option<Pattern>,
}

/// Names of streams, consumers and shards.
pub(super) const NAME: TextRule = TextRule { min: 1, max: 128, pattern: Some(("[a-zA-Z0-9_.-]+", is_name)) };
/// ARNs of streams.
pub(super) const STREAM_ARN: TextRule =
    TextRule { min: 1, max: 2_048, pattern: Some(("arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+", is_stream_arn)) };
/// ARNs of consumers.
pub(super) const CONSUMER_ARN: TextRule = TextRule {
    min: 1,
    max: 2_048,
    pattern: Some((
        "^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+",
        is_consumer_arn,
    )),
};
/// ARNs of streams, consumers, channels and queues.
pub(super) const RESOURCE_ARN: TextRule = TextRule {
    min: 1,
    max: 2_048,
    pattern: Some(("arn:aws.*:kinesis:.*:\\d{12}:.*(stream|channel|queue)/\\S+", is_resource_arn)),
};
/// Sequence numbers.
pub(super) const SEQUENCE_NUMBER: TextRule =
    TextRule { min: 0, max: usize::MAX, pattern: Some(("0|([1-9]\\d{0,128})", is_sequence_number)) };
/// Hash keys.
pub(super) const HASH_KEY: TextRule =
    TextRule { min: 0, max: usize::MAX, pattern: Some(("0|([1-9]\\d{0,38})", is_hash_key)) };
/// Partition keys.
pub(super) const PARTITION_KEY: TextRule = TextRule { min: 1, max: 256, pattern: None };
/// Shard iterators.
pub(super) const ITERATOR: TextRule = TextRule { min: 1, max: 512, pattern: None };
/// Page tokens.
pub(super) const TOKEN: TextRule = TextRule { min: 1, max: 1_048_576, pattern: None };
/// KMS keys.
pub(super) const KEY_ID: TextRule = TextRule { min: 1, max: 2_048, pattern: None };
/// Keys of tags.
pub(super) const TAG_KEY: TextRule = TextRule { min: 1, max: 128, pattern: None };

/// Collects the faults of a request. What a check returns may be used after [`Checks::finish`] has passed.
#[derive(Debug, Default)]
pub(super) struct Checks {
    named: Vec<String>,
    count: usize,
}

impl Checks {
    /// Notes a fault.
    pub(super) fn refuse(&mut self, value: impl Display, field: &str, constraint: impl Display) {
        self.note(|| format!("Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"));
    }

    fn note(&mut self, fault: impl FnOnce() -> String) {
        self.count += 1;
        if self.named.len() < FAULTS_NAMED_MAX {
            self.named.push(fault());
        }
    }

    /// A member that must be there.
    pub(super) fn required<T: Default>(&mut self, field: &str, value: Option<T>) -> T {
        value.unwrap_or_else(|| {
            self.note(|| format!("Value null at '{field}' failed to satisfy constraint: Member must not be null"));
            T::default()
        })
    }

    /// A text that may be missing.
    pub(super) fn text(&mut self, field: &str, value: Option<&str>, rule: &TextRule) {
        let Some(value) = value else { return };
        if let Some((pattern, matches)) = rule.pattern
            && !matches(value)
        {
            let constraint = format_args!("Member must satisfy regular expression pattern: {pattern}");
            self.refuse(shown(value), field, constraint);
        }
        // A text of at most `max` bytes has at most `max` characters: nothing to count for almost every one.
        if value.len() > rule.max && value.chars().count() > rule.max {
            let constraint = format_args!("Member must have length less than or equal to {}", rule.max);
            self.refuse(shown(value), field, constraint);
        }
        // With a least length of 1 at most, emptiness is all there is to ask.
        if value.is_empty() && rule.min > 0 {
            let constraint = format_args!("Member must have length greater than or equal to {}", rule.min);
            self.refuse(value, field, constraint);
        }
    }

    /// A text that must be there.
    pub(super) fn required_text<'a>(&mut self, field: &str, value: Option<&'a str>, rule: &TextRule) -> &'a str {
        self.text(field, value, rule);
        self.required(field, value)
    }

    /// A number that may be missing; `i64::MAX` is no upper bound.
    pub(super) fn number(&mut self, field: &str, value: Option<i64>, min: i64, max: i64) {
        let Some(value) = value else { return };
        if value < min {
            self.refuse(value, field, format_args!("Member must have value greater than or equal to {min}"));
        }
        if value > max {
            self.refuse(value, field, format_args!("Member must have value less than or equal to {max}"));
        }
    }

    /// A number that must be there.
    pub(super) fn required_number(&mut self, field: &str, value: Option<i64>, min: i64, max: i64) -> i64 {
        self.number(field, value, min, max);
        self.required(field, value)
    }

    /// One of some names that stand for values; `None` when it is missing, or refused.
    pub(super) fn choice<T: Copy>(&mut self, field: &str, value: Option<&str>, choices: &[(&str, T)]) -> Option<T> {
        let value = value?;
        let chosen = choices.iter().find(|(name, _)| *name == value).map(|(_, chosen)| *chosen);
        if chosen.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let constraint = format_args!("Member must satisfy enum value set: [{}]", names.join(", "));
            self.refuse(shown(value), field, constraint);
        }
        chosen
    }

    /// One of some names, which must be there.
    pub(super) fn required_choice<T: Copy>(
        &mut self,
        field: &str,
        value: Option<&str>,
        choices: &[(&str, T)],
    ) -> Option<T> {
        self.required(field, value.map(Some));
        self.choice(field, value, choices)
    }

    /// How many items a list or map has.
    pub(super) fn length(&mut self, field: &str, length: usize, min: usize, max: usize) {
        if length < min {
            self.refuse("[]", field, format_args!("Member must have length greater than or equal to {min}"));
        }
        if length > max {
            let value = format_args!("[{length} entries]");
            self.refuse(value, field, format_args!("Member must have length less than or equal to {max}"));
        }
    }

    /// Tags of a request: 1 to 200, each key and value within its length.
    pub(super) fn tags(&mut self, field: &str, tags: &BTreeMap<String, String>) {
        self.length(field, tags.len(), 1, 200);
        for (key, value) in tags {
            if key.is_empty() || key.chars().count() > 128 {
                self.refuse(
                    shown(key),
                    field,
                    "Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member \
                     must have length greater than or equal to 1]",
                );
            }
            if value.chars().count() > 256 {
                self.refuse(
                    shown(value),
                    field,
                    "Map value must satisfy constraint: [Member must have length less than or equal to 256, Member \
                     must have length greater than or equal to 0]",
                );
            }
        }
    }

    /// The keys of tags to take away: 1 to 50.
    pub(super) fn tag_keys(&mut self, keys: &[String]) {
        self.length("tagKeys", keys.len(), 1, 50);
        for (index, key) in (1_usize..).zip(keys) {
            self.text(&format!("tagKeys.{index}.member"), Some(key), &TAG_KEY);
        }
    }

    /// A stream's name and ARN.
    pub(super) fn stream(&mut self, stream: &StreamRef) {
        self.text("streamName", stream.name.as_deref(), &NAME);
        self.text("streamARN", stream.arn.as_deref(), &STREAM_ARN);
    }

    /// `ValidationException` when anything was refused.
    pub(super) fn finish(&self) -> Result<(), ServiceError> {
        if self.count == 0 {
            return Ok(());
        }
        let plural = if self.count == 1 { "" } else { "s" };
        let mut message = format!("{} validation error{plural} detected: {}", self.count, self.named.join("; "));
        if self.count > self.named.len() {
            // Writing to a `String` cannot fail.
            let _written = write!(message, "; and {} more", self.count - self.named.len());
        }
        Err(ServiceError::client("ValidationException", message))
    }
}

/// A value within a message, cut to a bearable length.
fn shown(value: &str) -> &str {
    const SHOWN_BYTES_MAX: usize = 2_048;
    value.get(..value.floor_char_boundary(SHOWN_BYTES_MAX)).unwrap_or(value)
}

fn is_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// The resource in an ARN of Kinesis, whatever its region, with a look at the rest of its shape.
pub(super) fn resource_in_arn(arn: &str) -> Option<&str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [word, partition, service, _region, account, resource] = parts.as_slice() else { return None };
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let is_ours = *word == "arn" && partition.starts_with("aws") && *service == "kinesis" && is_account;
    is_ours.then_some(*resource)
}

fn is_path(resource: &str, kind: &str) -> bool {
    let rest = resource.strip_prefix(kind).and_then(|rest| rest.strip_prefix('/'));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

fn is_stream_arn(text: &str) -> bool {
    resource_in_arn(text).is_some_and(|resource| is_path(resource, "stream"))
}

fn is_resource_arn(text: &str) -> bool {
    let kinds = ["stream", "channel", "queue"];
    resource_in_arn(text).is_some_and(|resource| kinds.iter().any(|kind| is_path(resource, kind)))
}

fn is_consumer_arn(text: &str) -> bool {
    resource_in_arn(text).and_then(consumer_in_resource).is_some()
}

/// The stream's name, the consumer's name and its creation second in `stream/S/consumer/C:1700000000`.
pub(super) fn consumer_in_resource(resource: &str) -> Option<(&str, &str, i64)> {
    let (stream, consumer) = resource.strip_prefix("stream/")?.split_once("/consumer/")?;
    let (name, created) = consumer.rsplit_once(':')?;
    let is_valid = is_name(stream) && is_name(name) && created.bytes().all(|byte| byte.is_ascii_digit());
    if is_valid { created.parse().ok().map(|created_s| (stream, name, created_s)) } else { None }
}

fn is_number(text: &str, digits_max: usize) -> bool {
    let is_canonical = text == "0" || (!text.is_empty() && !text.starts_with('0'));
    is_canonical && text.len() <= digits_max && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_sequence_number(text: &str) -> bool {
    is_number(text, 129)
}

fn is_hash_key(text: &str) -> bool {
    is_number(text, 39)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(check: impl FnOnce(&mut Checks)) -> String {
        let mut checks = Checks::default();
        check(&mut checks);
        checks.finish().map_or_else(|error| error.message, |()| String::new())
    }

    #[test]
    fn texts() {
        let check = |rule: &TextRule, text: &str, is_valid: bool| {
            let message = message(|checks| checks.text("field", Some(text), rule));
            assert_eq!(message.is_empty(), is_valid, "{text}: {message}");
        };
        check(&NAME, "ad-events", true);
        check(&NAME, &"a".repeat(128), true);
        check(&NAME, &"a".repeat(129), false);
        for name in ["", "a b", "a/b", "a@b", "ä"] {
            check(&NAME, name, false);
        }
        check(&PARTITION_KEY, &"é".repeat(256), true);
        check(&PARTITION_KEY, &"é".repeat(257), false);
        check(&PARTITION_KEY, "", false);
        check(&SEQUENCE_NUMBER, &"9".repeat(129), true);
        check(&SEQUENCE_NUMBER, &"9".repeat(130), false);
        for text in ["", "00", "01", "-1", "x"] {
            check(&SEQUENCE_NUMBER, text, false);
        }
        check(&STREAM_ARN, "arn:aws:kinesis:us-east-1:000000000000:stream/raw", true);
        check(&STREAM_ARN, "arn:aws-cn:kinesis:x:123456789012:stream/raw", true);
        for arn in ["", "raw", "arn:aws:firehose:us-east-1:000000000000:stream/raw", "arn:aws:kinesis:r:1:stream/raw"] {
            check(&STREAM_ARN, arn, false);
        }
        check(&CONSUMER_ARN, "arn:aws:kinesis:us-east-1:000000000000:stream/raw/consumer/c:17", true);
        check(&CONSUMER_ARN, "arn:aws:kinesis:us-east-1:000000000000:stream/raw/consumer/c", false);
        check(&CONSUMER_ARN, "arn:aws:kinesis:us-east-1:000000000000:stream/raw", false);
        check(&RESOURCE_ARN, "arn:aws:kinesis:us-east-1:000000000000:channel/c", true);
        check(&RESOURCE_ARN, "arn:aws:kinesis:us-east-1:000000000000:table/c", false);
    }

    #[test]
    fn all_faults_are_said_in_one_sentence() {
        let text = message(|checks| {
            checks.text("streamName", Some(""), &NAME);
            checks.required_number("shardCount", None, 1, 10);
            checks.number("limit", Some(0), 1, 10);
            checks.choice("streamMode", Some("X"), &[("A", 1), ("B", 2)]);
        });
        assert_eq!(
            text,
            "5 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy constraint: \
             Member must have length greater than or equal to 1; Value null at 'shardCount' failed to satisfy \
             constraint: Member must not be null; Value '0' at 'limit' failed to satisfy constraint: Member must have \
             value greater than or equal to 1; Value 'X' at 'streamMode' failed to satisfy constraint: Member must \
             satisfy enum value set: [A, B]"
        );
    }

    #[test]
    fn a_missing_text_is_one_fault() {
        let text = message(|checks| drop(checks.required_text("shardId", None, &NAME).to_owned()));
        assert_eq!(
            text,
            "1 validation error detected: Value null at 'shardId' failed to satisfy constraint: Member must not be null"
        );
        let text = message(|checks| drop(checks.required_text("shardId", Some(""), &NAME).to_owned()));
        assert!(text.starts_with("2 validation errors detected: Value '' at 'shardId'"), "{text}");
    }

    #[test]
    fn many_faults_are_counted() {
        let text = message(|checks| (0..500).for_each(|_| checks.number("limit", Some(0), 1, 10)));
        assert!(text.starts_with("500 validation errors detected"));
        assert!(text.ends_with("; and 480 more"));
    }
}
