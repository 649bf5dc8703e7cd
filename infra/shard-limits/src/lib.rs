//! What a Kinesis shard takes and gives per second: pure state machines that are told the time. The local cloud enforces them,
//! and the bench's counting endpoint does, so that both mean the same by a limit.

mod read;
mod tank;
mod write;

pub use read::{READ_BYTES_PER_S, READ_CALLS_PER_S, ReadLimiter};
pub use tank::Tank;
pub use write::{WRITE_BYTES_PER_S, WRITE_RECORDS_PER_S, WriteLimiter, WriteModel};
