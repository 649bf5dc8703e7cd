//! Reading Kinesis: [`user_records`] takes the user records out of what a Lambda function is given, aggregated or not, and
//! [`BatchFailures`] turns the outcome of a batch into the answer that Lambda understands.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod batch;
mod user_record;

pub use batch::{BatchFailures, cmp_sequence_numbers};
pub use kinesis_record::UnpackError;
pub use user_record::{DeaggregateError, UserRecord, into_user_records, user_records, user_records_of};
