//! An event source mapping's settings: which stream calls which function, and how.

use std::time::Duration;

use super::destination::{Destination, DestinationError};
use super::filter::FilterError;
use super::{PAYLOAD_BYTES_MAX, TIMEOUT_MAX, is_name_char};

/// The most records in a batch.
pub const BATCH_SIZE_MAX: usize = 10_000;
/// The longest batching window.
pub const BATCHING_WINDOW_MAX: Duration = Duration::from_secs(300);
/// The most lanes in a shard.
pub const PARALLELIZATION_FACTOR_MAX: usize = 10;
/// The most retries that can be asked for.
pub const RETRIES_MAX: u32 = 10_000;
/// The least and the most age of a record that can be asked for.
pub const RECORD_AGE_MIN: Duration = Duration::from_secs(60);
/// A week.
pub const RECORD_AGE_MAX: Duration = Duration::from_secs(604_800);
/// The longest tumbling window.
pub const TUMBLING_WINDOW_MAX: Duration = Duration::from_secs(900);

/// Where a mapping begins in shards that it has no checkpoint of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// At the oldest record kept.
    TrimHorizon,
    /// After the records that are there when the mapping is made. Shards that come later are read whole.
    Latest,
    /// At the first record that arrived then or later, in milliseconds since the epoch.
    AtTimestamp {
        /// When.
        at_ms: i64,
    },
}

/// Which stream calls which function, and in what batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSourceMapping {
    /// Names the checkpoints: 1 to 64 letters, digits, `-`, `_`. Stays the same over restarts.
    pub name: String,
    /// The stream's name.
    pub stream: String,
    /// Where it begins; at the oldest record kept by default.
    pub starting_position: StartingPosition,
    /// Records in a batch, 1 to 10,000; 100 by default.
    pub batch_size: usize,
    /// How long a batch that is not full waits for more, at most 300 s; zero by default: it does not wait.
    pub batching_window: Duration,
    /// Bytes of an event, base64 and metadata included; 6 MiB, or less where a function's memory is small.
    pub payload_bytes_max: usize,
    /// Batches of a shard at once, 1 to 10; 1 by default. The records of a partition key stay in order.
    pub parallelization_factor: usize,
    /// How often a failed batch is tried again before it is given up, at most 10,000 times; `None`, the default: until
    /// it succeeds.
    pub maximum_retry_attempts: Option<u32>,
    /// Records older than this are given up, 60 s to a week; `None`, the default: none are.
    pub maximum_record_age: Option<Duration>,
    /// Whether a failed batch is cut in two, which uses up no retry; off by default.
    pub bisect_batch_on_function_error: bool,
    /// Whether the response's `batchItemFailures` count; on by default.
    pub report_batch_item_failures: bool,
    /// Where given-up records go; nowhere by default, which is logged and counted.
    pub on_failure: Option<Destination>,
    /// Filter patterns, of which one must match; up to five, none by default.
    pub filters: Vec<String>,
    /// The length of tumbling windows, at most 900 s in whole seconds; `None`, the default: there are none.
    pub tumbling_window: Option<Duration>,
    /// When an invocation of a function in this process is cut off and counts as failed, at most 900 s; 60 s by default.
    pub timeout: Duration,
}

/// Why a mapping was refused.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// A setting is out of its range.
    #[error("event source mapping {mapping}: {setting} must be {range}")]
    Setting {
        /// The mapping's name.
        mapping: String,
        /// The setting.
        setting: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// A filter is none.
    #[error("event source mapping {mapping}: cannot use its filters")]
    Filter {
        /// The mapping's name.
        mapping: String,
        /// Why.
        source: FilterError,
    },
    /// The destination of failures is none.
    #[error("event source mapping {mapping}: cannot use its on-failure destination")]
    OnFailure {
        /// The mapping's name.
        mapping: String,
        /// Why.
        source: DestinationError,
    },
    /// There is no such stream.
    #[error("event source mapping {mapping}: there is no stream {stream}")]
    NoStream {
        /// The mapping's name.
        mapping: String,
        /// The stream's name.
        stream: String,
    },
    /// A mapping of this name runs.
    #[error("event source mapping {mapping} runs already")]
    Exists {
        /// The mapping's name.
        mapping: String,
    },
    /// The directory of its checkpoints cannot be used.
    #[error("event source mapping {mapping}: cannot use its checkpoints")]
    Checkpoints {
        /// The mapping's name.
        mapping: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}

impl EventSourceMapping {
    /// A mapping with the service's defaults, but that it reports item failures.
    pub fn new(name: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            stream: stream.into(),
            starting_position: StartingPosition::TrimHorizon,
            batch_size: 100,
            batching_window: Duration::ZERO,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            parallelization_factor: 1,
            maximum_retry_attempts: None,
            maximum_record_age: None,
            bisect_batch_on_function_error: false,
            report_batch_item_failures: true,
            on_failure: None,
            filters: Vec::new(),
            tumbling_window: None,
            timeout: Duration::from_secs(60),
        }
    }

    /// Checks the ranges of all settings.
    ///
    /// # Errors
    /// The first setting that is out of its range.
    pub(super) fn check(&self) -> Result<(), MappingError> {
        let name_is_valid = (1..=64).contains(&self.name.len()) && self.name.bytes().all(is_name_char);
        let is_window = |window: Duration| {
            window >= Duration::from_secs(1) && window <= TUMBLING_WINDOW_MAX && window.subsec_nanos() == 0
        };
        // State goes from one invocation of a shard to the next: there is no "next" beside it.
        let windows_are_alone = self.tumbling_window.is_none() || self.parallelization_factor == 1;
        let checks = [
            (name_is_valid, "name", "1 to 64 letters, digits, - and _"),
            ((1..=BATCH_SIZE_MAX).contains(&self.batch_size), "batch_size", "1 to 10,000"),
            (self.batching_window <= BATCHING_WINDOW_MAX, "batching_window", "0 to 300 s"),
            ((1..=PAYLOAD_BYTES_MAX).contains(&self.payload_bytes_max), "payload_bytes_max", "1 to 6,291,456"),
            (
                (1..=PARALLELIZATION_FACTOR_MAX).contains(&self.parallelization_factor),
                "parallelization_factor",
                "1 to 10",
            ),
            (
                self.maximum_retry_attempts.is_none_or(|retries| retries <= RETRIES_MAX),
                "maximum_retry_attempts",
                "0 to 10,000",
            ),
            (
                self.maximum_record_age.is_none_or(|age| (RECORD_AGE_MIN..=RECORD_AGE_MAX).contains(&age)),
                "maximum_record_age",
                "60 s to 604,800 s",
            ),
            (self.tumbling_window.is_none_or(is_window), "tumbling_window", "1 to 900 whole seconds"),
            (windows_are_alone, "parallelization_factor", "1 with a tumbling window"),
            (!self.timeout.is_zero() && self.timeout <= TIMEOUT_MAX, "timeout", "above 0, up to 900 s"),
        ];
        match checks.into_iter().find(|(is_valid, ..)| !is_valid) {
            Some((_, setting, range)) => Err(MappingError::Setting { mapping: self.name.clone(), setting, range }),
            None => Ok(()),
        }
    }
}
