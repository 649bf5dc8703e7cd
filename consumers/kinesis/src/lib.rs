//! Reading Kinesis: [`user_records`] takes the user records out of a Kinesis record, aggregated or not; [`BatchReader`] reads a
//! whole batch as a Lambda function is given it, and [`BatchFailures`] turns the outcome into the answer that Lambda
//! understands. [`DedupeWindow`] tells what a producer stored twice, [`StageCounts`] what became of it all.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch;
mod dedupe;
mod metrics;
mod position;
mod reader;
mod user_record;

pub use batch::BatchFailures;
pub use dedupe::{DedupeWindow, Repeats, ShardWindows, SnapshotError, WindowLimits};
pub use kinesis_record::{DecompressError, HashRange, Origin, SpoolMark, UnpackError};
pub use metrics::StageCounts;
pub use position::{Position, cmp_sequence_numbers};
pub use reader::{BatchCounts, BatchItem, BatchReader, ItemOutcome, Unreadable};
pub use user_record::{
    DeaggregateError, InRange, UserRecord, UserRecords, into_user_records, user_records, user_records_in_range,
    user_records_of,
};
