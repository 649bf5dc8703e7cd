//! The compressed aggregate: the message of an aggregated record, as one zstd frame behind a header of its own.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `8B "AGGZSTD"` |
//! | 8 | 1 | version, 1 |
//! | 9 | 4 | length of the message once decompressed, little-endian |
//! | 13 | 4 | CRC-32 (IEEE) of the 13 bytes before and of all that follows, little-endian |
//! | 17 | | zstd frame, with zstd's own checksum of the message |
//!
//! The first byte begins no UTF-8 text, so a reader that does not know the format cannot take the record for JSON or any
//! text; the next seven name it to whoever looks at the bytes. It is not the magic of the KPL, so KPL readers see one plain
//! record. With the magic there, nothing is a matter of luck any more: whatever is wrong behind it is an error, never a plain
//! record, for it would be handed on as if it were data.

use std::fmt;

use bytes::Bytes;
use zstd::zstd_safe::{CCtx, CParameter, DCtx, compress_bound, get_error_name};

use crate::AggregateBuilder;

/// The eight bytes that open every compressed aggregate.
pub const COMPRESSED_MAGIC: [u8; 8] = *b"\x8BAGGZSTD";

/// Longest message, decompressed, that is packed, and that is unpacked unless a caller allows less: 16 MiB. It leaves room for
/// the largest record that Kinesis takes, 10 MiB, and bounds what a hostile record of a few bytes can cost.
pub const CONTENT_BYTES_MAX: usize = 16 << 20;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 17;

/// Bytes of the header that the checksum covers.
const CHECKED_HEADER_BYTES: usize = 13;

/// Packs aggregates into compressed ones. Holds the state of zstd (about 1 MiB at level 1) and two buffers, so that packing
/// many costs no allocation but that of the result.
///
/// ```
/// use bytes::Bytes;
/// use kinesis_record::{AggregateBuilder, Compressor, Unpacked, unpack};
///
/// let mut builder = AggregateBuilder::new();
/// for count in 0..1000 {
///     builder.push("screen-17", None, Bytes::from(format!(r#"{{"type":"ad_request","count":{count}}}"#)));
/// }
/// let data = Compressor::new(1).compress(&builder)?;
/// assert!(data.len() * 4 < builder.size());
///
/// let Ok(Unpacked::Aggregate(records)) = unpack(&data) else { panic!("just packed") };
/// assert_eq!(records[999].data, r#"{"type":"ad_request","count":999}"#);
/// # Ok::<(), kinesis_record::CompressError>(())
/// ```
pub struct Compressor {
    context: CCtx<'static>,
    message: Vec<u8>,
    frame: Vec<u8>,
}

/// Why an aggregate was not compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CompressError {
    /// The message is longer than readers take.
    #[error("a message of {bytes} bytes, more than {CONTENT_BYTES_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// zstd has no memory left.
    #[error("zstd: {reason}")]
    Zstd {
        /// In the words of zstd.
        reason: &'static str,
    },
}

/// Why the data of a record opens like a compressed aggregate and is none that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The data ends inside the header.
    #[error("cut off after {bytes} bytes, in the header")]
    Header {
        /// Bytes that are there.
        bytes: usize,
    },
    /// Made by a later version of this format.
    #[error("version {version} of the format, this reader knows {VERSION}")]
    Version {
        /// Which.
        version: u8,
    },
    /// The bytes are not those that were written.
    #[error("checksum {computed:08x} in place of {stored:08x}")]
    Checksum {
        /// As the header says.
        stored: u32,
        /// As the bytes say.
        computed: u32,
    },
    /// The message would be longer than the reader allows.
    #[error("a message of {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// Its length, as the header says.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// zstd refuses the frame.
    #[error("zstd: {reason}")]
    Zstd {
        /// In the words of zstd.
        reason: &'static str,
    },
    /// The message is shorter than the header says.
    #[error("a message of {actual} bytes in place of {claimed}")]
    Length {
        /// As the header says.
        claimed: usize,
        /// What came out.
        actual: usize,
    },
    /// What came out is no message.
    #[error("the message is malformed")]
    Message,
}

impl Compressor {
    /// A compressor of a zstd level. Low levels are the ones to use: 1 is fast and already takes most of JSON away. A level that
    /// zstd does not have is taken for the nearest one.
    ///
    /// # Panics
    /// When there is no memory left, as any allocation.
    pub fn new(level: i32) -> Self {
        let mut context = CCtx::create();
        for parameter in [CParameter::CompressionLevel(level), CParameter::ChecksumFlag(true)] {
            context.set_parameter(parameter).expect("a fresh context takes both, and any level");
        }
        Compressor { context, message: Vec::new(), frame: Vec::new() }
    }

    /// The compressed aggregate of what is in `builder`. The same records give the same bytes, as long as level and zstd's
    /// version are the same.
    ///
    /// # Errors
    /// When the message is longer than [`CONTENT_BYTES_MAX`], or zstd has no memory left.
    pub fn compress(&mut self, builder: &AggregateBuilder) -> Result<Bytes, CompressError> {
        let bytes = builder.message_size();
        let Some(length) = u32::try_from(bytes).ok().filter(|_| bytes <= CONTENT_BYTES_MAX) else {
            return Err(CompressError::TooLarge { bytes });
        };
        self.message.clear();
        self.message.reserve_exact(bytes);
        builder.encode_message(&mut self.message);
        self.frame.clear();
        self.frame.reserve(compress_bound(bytes));
        // Begins a new frame, whatever became of the one before.
        let compressed = self.context.compress2(&mut self.frame, &self.message);
        compressed.map_err(|code| CompressError::Zstd { reason: get_error_name(code) })?;
        let mut out = Vec::with_capacity(HEADER_BYTES + self.frame.len());
        out.extend_from_slice(&COMPRESSED_MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&checksum(&out, &self.frame).to_le_bytes());
        out.extend_from_slice(&self.frame);
        Ok(out.into())
    }
}

impl fmt::Debug for Compressor {
    /// The buffers hold records, which have no place in logs.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Compressor").field("buffer_bytes", &self.message.capacity()).finish_non_exhaustive()
    }
}

/// The message inside a compressed aggregate, which `data` opens like.
pub(crate) fn decompress(data: &[u8], content_bytes_max: usize) -> Result<Bytes, DecompressError> {
    let rest = data.get(COMPRESSED_MAGIC.len()..).unwrap_or_default();
    let cut_off = DecompressError::Header { bytes: data.len() };
    // The version comes first: a later one may have another header.
    let (&version, rest) = rest.split_first().ok_or(cut_off)?;
    if version != VERSION {
        return Err(DecompressError::Version { version });
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(cut_off)?;
    let (stored, frame) = rest.split_first_chunk::<4>().ok_or(cut_off)?;
    let stored = u32::from_le_bytes(*stored);
    let computed = checksum(data.get(..CHECKED_HEADER_BYTES).ok_or(cut_off)?, frame);
    if stored != computed {
        return Err(DecompressError::Checksum { stored, computed });
    }
    // More than the address space is more than any limit.
    let claimed = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if claimed > content_bytes_max {
        return Err(DecompressError::TooLarge { bytes: claimed, bytes_max: content_bytes_max });
    }
    // zstd never writes beyond the room it is given, and memory is only taken where it writes.
    let mut message = Vec::with_capacity(claimed);
    let mut context = DCtx::try_create().ok_or(DecompressError::Zstd { reason: "no memory" })?;
    let decompressed = context.decompress(&mut message, frame);
    let actual = decompressed.map_err(|code| DecompressError::Zstd { reason: get_error_name(code) })?;
    if actual != claimed {
        return Err(DecompressError::Length { claimed, actual });
    }
    Ok(message.into())
}

fn checksum(header: &[u8], frame: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(header);
    checksum.update(frame);
    checksum.finalize()
}

#[cfg(test)]
mod tests;
