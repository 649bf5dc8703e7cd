//! What can go wrong, by what the caller does about it.

use std::{error::Error, sync::Arc, time::Duration};

use crate::{config::ConfigError, record::Record, spool::SpoolError};

/// Why a record was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PutError {
    /// The stream refuses it, and would refuse it again: no permission, no such stream, not a valid request.
    #[error("refused by the stream")]
    Refused(#[source] Failure),
    /// Its deadline passed. It may have been stored none the less if the last attempt ended without an answer.
    #[error("not acknowledged within its deadline, after {attempts} attempts")]
    Expired {
        /// Requests that carried it; 0 if it waited for a turn all the time.
        attempts: u32,
        /// What went wrong last, if anything did: with none, the stream was merely slower than the records came.
        #[source]
        last: Option<Failure>,
    },
    /// It was to take the way over the log on disk, which did not take it.
    #[error("not made durable on disk")]
    Spool(#[source] SpoolError),
    /// The producer went away before the record was acknowledged, because its runtime was shut down.
    #[error("the producer went away before the record was acknowledged")]
    Closed,
}

/// Why one attempt failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The service said so.
    #[error("{code}: {message}")]
    Service {
        /// What to do about it.
        class: FailureClass,
        /// The service's name of the error, such as `ProvisionedThroughputExceededException`.
        code: Arc<str>,
        /// The service's words.
        message: Arc<str>,
    },
    /// No answer that could be read: connection refused or lost, or the request took too long. The records may have been
    /// stored.
    #[error("no answer from the service")]
    NoAnswer(#[source] Arc<dyn Error + Send + Sync>),
    /// The answer does not fit the request. The records may have been stored.
    #[error("{sent} records were sent, {answered} answered")]
    WrongCount {
        /// Records in the request.
        sent: usize,
        /// Results in the answer.
        answered: usize,
    },
    /// The request could not be made at all, for instance for want of a region.
    #[error("the request could not be made")]
    NotSent(#[source] Arc<dyn Error + Send + Sync>),
}

/// What to do about a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// Too fast: retried, and the shard's rate is lowered.
    Throttled,
    /// Temporary: retried.
    Temporary,
    /// Refused for good: retrying would not help.
    Refused,
}

impl Failure {
    /// What to do about it.
    pub fn class(&self) -> FailureClass {
        match self {
            Failure::Service { class, .. } => *class,
            Failure::NoAnswer(_) | Failure::WrongCount { .. } => FailureClass::Temporary,
            Failure::NotSent(_) => FailureClass::Refused,
        }
    }

    /// The service's name of the error, if the service answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Failure::Service { code, .. } => Some(code),
            Failure::NoAnswer(_) | Failure::WrongCount { .. } | Failure::NotSent(_) => None,
        }
    }

    pub(crate) fn service(code: &str, message: &str, class: FailureClass) -> Self {
        Failure::Service { class, code: code.into(), message: message.into() }
    }
}

/// A record that Kinesis does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// More than `record_bytes_max`, data and partition key together.
    #[error("{bytes} bytes of data and partition key, more than {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not 1 to 256 characters.
    #[error("a partition key has 1 to 256 characters, this one has {bytes} bytes")]
    PartitionKey {
        /// Its length.
        bytes: usize,
    },
}

/// Why `send` did not accept a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The producer was closed. Here is the record.
    #[error("the producer is closed")]
    Closed(Record),
    /// No stream would take it.
    #[error("invalid record")]
    Invalid(#[source] InvalidRecord),
}

/// Why `try_send` did not accept a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError {
    /// There is no room in the buffer now. Here is the record.
    #[error("the buffer is full")]
    Full(Record),
    /// The producer was closed. Here is the record.
    #[error("the producer is closed")]
    Closed(Record),
    /// No stream would take it.
    #[error("invalid record")]
    Invalid(#[source] InvalidRecord),
}

/// Why a producer could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// A setting is out of its bounds.
    #[error("invalid setting")]
    Config(#[source] ConfigError),
    /// The log on disk could not be opened.
    #[error("open the spool")]
    Spool(#[source] SpoolError),
    /// The shards of the stream could not be read; temporary failures were retried for `tried`.
    #[error("read the shards of stream {stream}, trying for {tried:?}")]
    Shards {
        /// Name or ARN of the stream.
        stream: String,
        /// How long it was tried.
        tried: Duration,
        /// What went wrong last.
        #[source]
        source: ShardMapError,
    },
}

/// Why the shard map could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ShardMapError {
    /// The service could not be asked.
    #[error("list the shards")]
    Call(#[source] Failure),
    /// A shard's hash range is not a pair of numbers below 2^128.
    #[error("shard {shard_id} has no valid hash range")]
    Range {
        /// Which shard.
        shard_id: String,
    },
    /// The open shards do not cover all hash keys exactly once; the listing caught the stream in the middle of a change.
    #[error("the {shards} open shards do not cover every hash key once")]
    Coverage {
        /// How many open shards were listed.
        shards: usize,
    },
}

impl ShardMapError {
    /// Whether it may go away by itself.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            ShardMapError::Call(failure) => failure.class() != FailureClass::Refused,
            ShardMapError::Coverage { .. } => true,
            ShardMapError::Range { .. } => false,
        }
    }
}
