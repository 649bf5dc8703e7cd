//! The Kinesis aggregated record (the format of the Amazon KPL): many user records packed into one Kinesis record.
//!
//! [`AggregateBuilder`] packs and knows the exact size before it encodes; [`Compressor`] packs into a fraction of it, for
//! readers of this crate. [`unpack`] and [`unpack_aggregate`] read both without copying payloads and never panic, whatever the
//! bytes. [`Origin`] marks aggregates so that repeats are found. [`hash_key`] and [`HashRange`] are the arithmetic of shards.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod aggregate;
mod compressed;
mod hash;
mod md5;
mod origin;
mod pack;
mod spool_mark;
mod unpack;
mod wire;

pub use aggregate::{Aggregate, RecordRef, RecordRefs, SubRecords};
pub use compressed::{COMPRESSED_MAGIC, CONTENT_BYTES_MAX, CompressError, Compressor, DecompressError};
pub use hash::{HashRange, hash_key, hash_keys};
pub use origin::Origin;
pub use pack::{AggregateBuilder, UnsealedAggregate, seal};
pub use spool_mark::SpoolMark;
pub use unpack::{
    CheckedData, SubRecord, UnpackError, Unpacked, check_digests, first_outside, opens_like_aggregate, unpack,
    unpack_aggregate,
};

/// The four bytes that open every aggregated record.
pub const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Bytes of the MD5 digest that closes every aggregated record.
pub const DIGEST_BYTES: usize = 16;
