//! What a shard takes and gives per second. The state machines are a package of their own, which the bench's endpoint shares.

pub use shard_limits::{ReadLimiter, WriteLimiter, WriteModel};
