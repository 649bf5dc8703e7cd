//! Which shards `ListShards` gives.

use serde::Deserialize;

use crate::kinesis::description::{ShardDescription, parse_shard_id};
use crate::wire::ServiceError;

use super::invalid_argument;
use super::validate::{Checks, NAME};
use super::value::Timestamp;

/// The filter of a request.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FilterInput {
    r#type: Option<String>,
    shard_id: Option<String>,
    timestamp: Option<Timestamp>,
}

/// A filter, with times within what the stream keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardFilter {
    /// All that are kept.
    FromTrimHorizon,
    /// Open now.
    AtLatest,
    /// Open at this time.
    AtTimestamp(i64),
    /// Open at this time or later.
    FromTimestamp(i64),
    /// With a number above this one.
    AfterShard(u64),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    AfterShardId,
    AtTrimHorizon,
    FromTrimHorizon,
    AtLatest,
    AtTimestamp,
    FromTimestamp,
}

const KINDS: &[(&str, Kind)] = &[
    ("AFTER_SHARD_ID", Kind::AfterShardId),
    ("AT_TRIM_HORIZON", Kind::AtTrimHorizon),
    ("FROM_TRIM_HORIZON", Kind::FromTrimHorizon),
    ("AT_LATEST", Kind::AtLatest),
    ("AT_TIMESTAMP", Kind::AtTimestamp),
    ("FROM_TIMESTAMP", Kind::FromTimestamp),
];

impl FilterInput {
    /// Checks the shape.
    pub(super) fn check(&self, checks: &mut Checks) {
        checks.required_choice("shardFilter.type", self.r#type.as_deref(), KINDS);
        checks.text("shardFilter.shardId", self.shard_id.as_deref(), &NAME);
    }

    /// What was asked for, where nothing before `horizon_ms` is kept and the time is `now_ms`.
    pub(super) fn resolve(&self, horizon_ms: i64, now_ms: i64) -> Result<ShardFilter, ServiceError> {
        let kind = KINDS.iter().find(|(name, _)| self.r#type.as_deref() == Some(*name)).map(|(_, kind)| *kind);
        let timestamp_ms = || -> Result<i64, ServiceError> {
            let Some(Timestamp(timestamp_ms)) = self.timestamp else {
                return Err(invalid_argument("The ShardFilter needs a Timestamp."));
            };
            if timestamp_ms > now_ms {
                return Err(invalid_argument("The Timestamp of the ShardFilter is in the future."));
            }
            Ok(timestamp_ms.max(horizon_ms))
        };
        match kind {
            Some(Kind::AtLatest) => Ok(ShardFilter::AtLatest),
            Some(Kind::AtTrimHorizon) => Ok(ShardFilter::AtTimestamp(horizon_ms)),
            Some(Kind::FromTrimHorizon) | None => Ok(ShardFilter::FromTrimHorizon),
            Some(Kind::AtTimestamp) => Ok(ShardFilter::AtTimestamp(timestamp_ms()?)),
            Some(Kind::FromTimestamp) => Ok(ShardFilter::FromTimestamp(timestamp_ms()?)),
            Some(Kind::AfterShardId) => {
                let number = self.shard_id.as_deref().and_then(parse_shard_id);
                let number = number.ok_or_else(|| invalid_argument("The ShardFilter needs the ShardId of a shard."))?;
                Ok(ShardFilter::AfterShard(number))
            }
        }
    }
}

impl ShardFilter {
    /// Whether a shard of a stream that keeps nothing before `horizon_ms` is given.
    pub(super) fn passes(self, shard: &ShardDescription, horizon_ms: i64) -> bool {
        let is_open_from = |at_ms: i64| shard.closed.is_none_or(|closed| closed.at_ms >= at_ms);
        match self {
            Self::FromTrimHorizon => is_open_from(horizon_ms),
            Self::AtLatest => shard.closed.is_none(),
            Self::AtTimestamp(at_ms) => shard.created_ms <= at_ms && is_open_from(at_ms),
            Self::FromTimestamp(from_ms) => is_open_from(from_ms.max(horizon_ms)),
            Self::AfterShard(number) => shard.number > number,
        }
    }

    /// As it lies in a token.
    pub(super) fn to_code(self) -> (u8, i64) {
        match self {
            Self::FromTrimHorizon => (0, 0),
            Self::AtLatest => (1, 0),
            Self::AtTimestamp(at_ms) => (2, at_ms),
            Self::FromTimestamp(from_ms) => (3, from_ms),
            Self::AfterShard(number) => (4, number.cast_signed()),
        }
    }

    /// Back from a token.
    pub(super) fn from_code(code: u8, value: i64) -> Option<Self> {
        match code {
            0 => Some(Self::FromTrimHorizon),
            1 => Some(Self::AtLatest),
            2 => Some(Self::AtTimestamp(value)),
            3 => Some(Self::FromTimestamp(value)),
            4 => Some(Self::AfterShard(value.cast_unsigned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kinesis::HashKeyRange;
    use crate::kinesis::description::ClosedShard;

    use super::*;

    #[test]
    fn each_filter_passes_its_shards() {
        // 0 lives 100..200, 1 lives 200.. and 2 lives 200..200, a shard in between.
        let shard = |number: u64, created_ms: i64, closed_ms: Option<i64>| {
            let closed = closed_ms.map(|at_ms| ClosedShard { next_counter: 1, at_ms });
            ShardDescription { closed, ..ShardDescription::new(number, HashKeyRange::new(0, 9), created_ms) }
        };
        let shards = [shard(0, 100, Some(200)), shard(1, 200, None), shard(2, 200, Some(200))];
        let check = |filter: ShardFilter, horizon_ms: i64, expected: &[u64]| {
            let passed: Vec<u64> =
                shards.iter().filter(|shard| filter.passes(shard, horizon_ms)).map(|shard| shard.number).collect();
            assert_eq!(passed, expected, "{filter:?} {horizon_ms}");
            let (code, value) = filter.to_code();
            assert_eq!(ShardFilter::from_code(code, value), Some(filter));
        };
        check(ShardFilter::FromTrimHorizon, 100, &[0, 1, 2]);
        check(ShardFilter::FromTrimHorizon, 201, &[1]);
        check(ShardFilter::AtLatest, 100, &[1]);
        check(ShardFilter::AtTimestamp(99), 0, &[]);
        check(ShardFilter::AtTimestamp(150), 100, &[0]);
        check(ShardFilter::AtTimestamp(200), 100, &[0, 1, 2]);
        check(ShardFilter::AtTimestamp(201), 100, &[1]);
        check(ShardFilter::FromTimestamp(150), 100, &[0, 1, 2]);
        check(ShardFilter::FromTimestamp(150), 201, &[1]);
        check(ShardFilter::AfterShard(0), 100, &[1, 2]);
    }
}
