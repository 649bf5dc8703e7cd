//! Kinesis Data Streams: a durable stream store that keeps to the service's limits, and the service's operations
//! over it.
//!
//! Records lie in one append-only log per shard ([`Store`]); an acknowledgement follows the sync that made its records
//! durable. Readers within the process use [`ShardReader`]; everything else speaks the wire protocol to [`Kinesis`].
//! What is absent: consumers with enhanced fan-out, encryption, `UpdateShardCount`.

mod api;
mod description;
mod frame;
mod hash_key;
mod limiter;
mod log;
mod reader;
mod segment;
mod sequence;
mod store;
mod stream;

pub use api::Kinesis;
pub use description::{ClosedShard, ShardDescription, StreamMode, parse_shard_id, shard_id};
pub use hash_key::{HashKey, HashKeyRange, NotAHashKey};
pub use limiter::{ReadLimiter, WriteLimiter, WriteModel};
pub use log::{LogError, Position, ReadLimit, Tail};
pub use reader::{Batch, Record, ShardReader};
pub use sequence::{NotASequenceNumber, SequenceNumber};
pub use store::{Store, StoreError};
pub use stream::{Stream, StreamChanges, TornTail};

/// The account that everything in the local cloud belongs to.
pub(crate) const ACCOUNT: &str = "000000000000";
/// The region that the local cloud is.
pub(crate) const REGION: &str = "us-east-1";

/// The ARN of a stream.
pub(crate) fn stream_arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}")
}

#[cfg(test)]
mod tests;
