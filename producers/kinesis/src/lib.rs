//! A Kinesis producer: aggregates, keeps within each shard's limits, retries, and tells the outcome of every record.
//!
//! Reading order: [`Producer`] is the handle; `task` owns everything behind it; `pipeline` decides, without any I/O, what to
//! send and when; `kinesis` is the only place that calls the SDK.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod config;
mod error;
mod kinesis;
mod pipeline;
mod producer;
mod record;
mod shard_map;
mod stats;
mod task;

pub use config::{Config, ConfigError, ProducerId};
pub use error::{Failure, FailureClass, InvalidRecord, PutError, SendError, ShardMapError, StartError, TrySendError};
pub use producer::Producer;
pub use record::{Delivered, Delivery, Record};
pub use stats::Stats;
