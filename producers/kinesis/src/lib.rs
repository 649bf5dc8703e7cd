//! A Kinesis producer: aggregates, keeps within each shard's limits, retries, and tells the outcome of every record.
//!
//! Reading order: [`Producer`] is the handle; `task` owns everything behind it; `pipeline` decides, without any I/O, what to
//! send and when; `kinesis` is the only place that calls the SDK; `spool` is the log on disk.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod config;
mod error;
mod kinesis;
pub mod metrics;
mod pipeline;
mod producer;
mod record;
mod reply;
mod shard_map;
mod spool;
mod stats;
mod task;

pub use config::{Config, ConfigError, ProducerId, WireFormat};
pub use error::{Failure, FailureClass, InvalidRecord, PutError, SendError, ShardMapError, StartError, TrySendError};
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub use pipeline::simulation;
pub use producer::Producer;
pub use record::{Delivered, Delivery, Record, Stored};
pub use spool::{RejectedRecords, SpoolConfig, SpoolError, SpoolPolicy};
pub use stats::Stats;
