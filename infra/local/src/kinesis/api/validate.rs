//! The service's checks of single values, with its wording.

use std::fmt::Display;
use std::time::Duration;

use crate::kinesis::{ACCOUNT, REGION};
use crate::wire::ServiceError;

const STREAM_NAME_LENGTH_MAX: usize = 128;
/// Characters, not bytes.
const PARTITION_KEY_LENGTH_MAX: usize = 256;

/// `ValidationException` for one value.
pub(super) fn refuse(value: impl Display, field: &str, constraint: &str) -> ServiceError {
    ServiceError::client(
        "ValidationException",
        format!("1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"),
    )
}

/// The value, or `ValidationException` when the request does not have it.
pub(super) fn required<T>(value: Option<T>, field: &str) -> Result<T, ServiceError> {
    value.ok_or_else(|| {
        let message = format!(
            "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
        );
        ServiceError::client("ValidationException", message)
    })
}

/// A number within its range.
pub(super) fn within(value: i64, field: &str, min: i64, max: i64) -> Result<i64, ServiceError> {
    if value < min {
        return Err(refuse(value, field, &format!("Member must have value greater than or equal to {min}")));
    }
    if value > max {
        return Err(refuse(value, field, &format!("Member must have value less than or equal to {max}")));
    }
    Ok(value)
}

/// 1 to 128 letters, digits, `_`, `.`, `-`.
pub(super) fn stream_name(field: &str, name: &str) -> Result<(), ServiceError> {
    if name.is_empty() {
        return Err(refuse(name, field, "Member must have length greater than or equal to 1"));
    }
    if name.chars().count() > STREAM_NAME_LENGTH_MAX {
        let constraint = format!("Member must have length less than or equal to {STREAM_NAME_LENGTH_MAX}");
        return Err(refuse(name, field, &constraint));
    }
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if !name.bytes().all(is_allowed) {
        return Err(refuse(name, field, "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"));
    }
    Ok(())
}

/// 1 to 256 characters.
pub(super) fn partition_key(field: impl FnOnce() -> String, key: &str) -> Result<(), ServiceError> {
    if key.is_empty() {
        return Err(refuse(key, &field(), "Member must have length greater than or equal to 1"));
    }
    // A text of at most 256 bytes has at most 256 characters: nothing to count for almost every key.
    let is_too_long = key.len() > PARTITION_KEY_LENGTH_MAX && key.chars().count() > PARTITION_KEY_LENGTH_MAX;
    if is_too_long {
        return Err(refuse(key, &field(), "Member must have length less than or equal to 256"));
    }
    Ok(())
}

/// A time in seconds since the epoch, to the nearest millisecond: a float holds 1700000000.001 as slightly less.
pub(super) fn timestamp_ms(seconds: f64) -> Result<i64, ServiceError> {
    let since_epoch = Duration::try_from_secs_f64(seconds).map_err(|error| {
        ServiceError::client("InvalidArgumentException", format!("Timestamp {seconds} is not a time: {error}."))
    })?;
    let half_a_millisecond = Duration::from_micros(500);
    Ok(i64::try_from(since_epoch.saturating_add(half_a_millisecond).as_millis()).unwrap_or(i64::MAX))
}

/// The stream's name in an ARN of this account and region.
pub(super) fn name_in_arn(arn: &str) -> Result<&str, ServiceError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let [arn_word, partition, service, region, account, resource] = parts.as_slice() else {
        return Err(refuse_arn(arn));
    };
    let Some(name) = resource.strip_prefix("stream/") else { return Err(refuse_arn(arn)) };
    if *arn_word != "arn" || !partition.starts_with("aws") || *service != "kinesis" {
        return Err(refuse_arn(arn));
    }
    if *region != REGION || *account != ACCOUNT {
        return Err(ServiceError::client(
            "ResourceNotFoundException",
            format!("Stream {name} is not of account {ACCOUNT} in {REGION}, which is all that this local cloud has."),
        ));
    }
    Ok(name)
}

fn refuse_arn(arn: &str) -> ServiceError {
    refuse(arn, "streamARN", "Member must satisfy regular expression pattern: arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names() {
        let check =
            |name: &str, is_valid: bool| assert_eq!(stream_name("streamName", name).is_ok(), is_valid, "{name}");
        check("ad-events", true);
        check(&"a".repeat(128), true);
        check(&"a".repeat(129), false);
        for name in ["", "a b", "a/b", "a@b", "ä"] {
            check(name, false);
        }
        let error = stream_name("streamName", "a b").unwrap_err();
        assert_eq!(error.code, "ValidationException");
        assert_eq!(
            error.message,
            "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        );
    }

    #[test]
    fn partition_keys_are_counted_in_characters() {
        let check = |key: &str, is_valid: bool| {
            assert_eq!(partition_key(|| "partitionKey".to_owned(), key).is_ok(), is_valid, "{key}");
        };
        check("k", true);
        check(&"é".repeat(256), true);
        check(&"é".repeat(257), false);
        check(&"k".repeat(257), false);
        check("", false);
    }

    #[test]
    fn timestamps() {
        assert_eq!(timestamp_ms(1_700_000_000.001).unwrap(), 1_700_000_000_001);
        assert_eq!(timestamp_ms(0.0).unwrap(), 0);
        for seconds in [-1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert_eq!(timestamp_ms(seconds).unwrap_err().code, "InvalidArgumentException");
        }
    }

    #[test]
    fn arns() {
        let check = |arn: &str, expected: Result<&str, &str>| {
            assert_eq!(name_in_arn(arn).map_err(|error| error.code), expected, "{arn}");
        };
        check("arn:aws:kinesis:us-east-1:000000000000:stream/raw", Ok("raw"));
        check("arn:aws:kinesis:eu-west-1:000000000000:stream/raw", Err("ResourceNotFoundException"));
        check("arn:aws:kinesis:us-east-1:123456789012:stream/raw", Err("ResourceNotFoundException"));
        check("arn:aws:firehose:us-east-1:000000000000:stream/raw", Err("ValidationException"));
        check("raw", Err("ValidationException"));
        check("", Err("ValidationException"));
    }
}
