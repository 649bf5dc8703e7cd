//! The Kinesis aggregated record (the format of the Amazon KPL): many user records packed into one Kinesis record.
//!
//! [`AggregateBuilder`] packs and knows the exact size before it encodes; [`unpack`] reads without copying payloads and
//! never panics, whatever the bytes. [`hash_key`] and [`HashRange`] are the arithmetic of shards.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod hash;
mod pack;
mod unpack;
mod wire;

pub use hash::{HashRange, hash_key};
pub use pack::AggregateBuilder;
pub use unpack::{SubRecord, UnpackError, Unpacked, first_outside, unpack};

/// The four bytes that open every aggregated record.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Bytes of the MD5 digest that closes every aggregated record.
pub const DIGEST_BYTES: usize = 16;
