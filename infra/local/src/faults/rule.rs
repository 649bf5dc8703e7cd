//! A rule: what fails, whom it strikes, how often and how long.

use serde::{Deserialize, Serialize};

/// Rules at once.
pub(super) const RULES_MAX: usize = 64;
/// The longest delay.
const DELAY_MS_MAX: u64 = 600_000;
/// The farthest that one jump moves the clock: 400 days, past the longest retention.
const JUMP_MS_MAX: i64 = 400 * 86_400_000;

/// What is struck, or happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The whole call is throttled, by the service's own error.
    Throttle,
    /// The whole call fails with status 500.
    InternalError,
    /// Single records of `PutRecords` are throttled; the others are put.
    Record,
    /// The answer comes late by `delay_ms`.
    Slow,
    /// No answer comes, and the connection stays open.
    Hang,
    /// The call is carried out, and the connection is cut before its answer.
    CutAfterCommit,
    /// A batch is handed to its function a second time after it was handled.
    Duplicate,
    /// A function's process is killed `delay_ms` into its invocation. One that runs in this process has its answer
    /// taken away after its work.
    Kill,
    /// A function's process is stopped `delay_ms` into its invocation, until its timeout ends it. For one that runs in
    /// this process the invocation fails before its work.
    Freeze,
    /// A write of the disk fails as on a full one. Nothing of it is acknowledged.
    DiskFull,
    /// The widest shard of a stream is split.
    Split,
    /// The two neighbouring shards of a stream that are narrowest together are merged.
    Merge,
    /// The clock of streams and mappings jumps by `jump_ms`.
    ClockJump,
}

/// What a kind is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Call,
    Record,
    Function,
    Disk,
    Action,
}

/// A service whose calls are struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultService {
    /// Kinesis Data Streams.
    Kinesis,
    /// Firehose.
    Firehose,
    /// S3, over HTTP. Firehose and Athena use the objects from within.
    S3,
    /// The Glue Data Catalog.
    Glue,
    /// Athena.
    Athena,
    /// Lambda's API: `Invoke` and the rest.
    Lambda,
    /// SQS, over HTTP. SNS and Lambda send from within.
    Sqs,
    /// SNS, over HTTP. Lambda publishes from within.
    Sns,
}

/// When what fails how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What happens.
    pub kind: FaultKind,
    /// Services whose calls are struck; Kinesis alone when nothing is said.
    #[serde(default = "kinesis")]
    pub services: Vec<FaultService>,
    /// Their operations, such as `PutRecords` or `PutObject`; empty means all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// For kinds of functions: the functions or mappings. For `split` and `merge`: the streams. Empty means all.
    #[serde(default)]
    pub names: Vec<String>,
    /// How likely each call, record, invocation or write is struck, or, for what happens by itself, each second: 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How long the rule holds, in milliseconds; without it, until the rules are set again. What happens by itself
    /// happens once then.
    #[serde(default)]
    pub duration_ms: Option<i64>,
    /// For `slow`, `kill` and `freeze`: after how many milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// For `clock_jump`: by how many milliseconds; back, when it is negative.
    #[serde(default)]
    pub jump_ms: i64,
    /// Starts the row of random numbers.
    #[serde(default)]
    pub seed: u64,
}

/// Why rules are refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FaultError {
    /// More rules than there may be.
    #[error("{count} rules are over the limit of {RULES_MAX}")]
    TooMany {
        /// How many were given.
        count: usize,
    },
    /// Not between 0 and 1.
    #[error("the probability {probability} is not between 0 and 1")]
    Probability {
        /// What was given.
        probability: f64,
    },
    /// Longer than ten minutes.
    #[error("the delay of {delay_ms} ms is over the limit of {DELAY_MS_MAX} ms")]
    Delay {
        /// What was given.
        delay_ms: u64,
    },
    /// A jump of nothing, or too far.
    #[error("a clock_jump needs a jump_ms other than 0, of at most {JUMP_MS_MAX} either way; it is {jump_ms}")]
    Jump {
        /// What was given.
        jump_ms: i64,
    },
}

fn always() -> f64 {
    1.0
}

fn kinesis() -> Vec<FaultService> {
    vec![FaultService::Kinesis]
}

impl FaultKind {
    pub(super) fn family(self) -> Family {
        match self {
            Self::Throttle | Self::InternalError | Self::Slow | Self::Hang | Self::CutAfterCommit => Family::Call,
            Self::Record => Family::Record,
            Self::Duplicate | Self::Kill | Self::Freeze => Family::Function,
            Self::DiskFull => Family::Disk,
            Self::Split | Self::Merge | Self::ClockJump => Family::Action,
        }
    }
}

impl FaultRule {
    /// A rule that always strikes every call of Kinesis, or whatever the kind is about.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            services: kinesis(),
            operations: Vec::new(),
            names: Vec::new(),
            probability: always(),
            duration_ms: None,
            delay_ms: 0,
            jump_ms: 0,
            seed: 0,
        }
    }

    pub(super) fn check(&self) -> Result<(), FaultError> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(FaultError::Probability { probability: self.probability });
        }
        if self.delay_ms > DELAY_MS_MAX {
            return Err(FaultError::Delay { delay_ms: self.delay_ms });
        }
        let jumps = (1..=JUMP_MS_MAX).contains(&self.jump_ms.saturating_abs());
        if self.kind == FaultKind::ClockJump && !jumps {
            return Err(FaultError::Jump { jump_ms: self.jump_ms });
        }
        Ok(())
    }

    /// Whether calls of this operation are meant.
    pub(super) fn means(&self, service: FaultService, operation: &str) -> bool {
        let is_operation = self.operations.is_empty() || self.operations.iter().any(|meant| meant == operation);
        is_operation && self.services.contains(&service)
    }

    /// Whether this function or stream is meant.
    pub(super) fn means_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|meant| meant == name)
    }
}
