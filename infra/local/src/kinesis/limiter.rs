//! What a shard takes and gives per second. The state machines are a package of their own, which the bench's endpoint shares.

pub use shard_limits::{ReadLimiter, WriteLimiter, WriteModel};
pub(super) use shard_limits::{WRITE_BYTES_PER_S, WRITE_RECORDS_PER_S};
