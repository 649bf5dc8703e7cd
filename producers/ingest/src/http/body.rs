//! Receives the body of a call: type, encoding, size, time and memory are bounded before a byte is read as JSON.
//!
//! The limit of size is on the *decompressed* bytes and holds inside decompression, so that a small bomb costs
//! no more than the limit. Reading is by hand and not by layers because most bodies arrive whole in one frame, which
//! is then handed on without a copy.

use std::io::Read;
use std::time::Duration;

use axum::body::HttpBody;
use bytes::{Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::http::problem::Kind;

/// Memory is reserved in units of this many bytes, because a semaphore counts 32-bit permits at a time.
const RESERVE_UNIT_BYTES: usize = 1024;

/// Bytes that are read and thrown away behind the point where a body is refused. A sender that is still writing sees
/// its connection reset, and not the answer, if the server closes before it has read them; four times the largest
/// body of the default settings lets honest senders finish.
const DISCARD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Memory that is reserved at first for a body whose length is not announced.
const UNANNOUNCED_BYTES: usize = 256 * 1024;

/// What a route takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'r> {
    /// The media types that are taken; an absent one is too.
    pub(crate) media_types: &'static [&'static str],
    /// Largest body after decompression.
    pub(crate) bytes_max: usize,
    /// Longest time from the end of the head to the end of the body.
    pub(crate) timeout: Duration,
    /// Memory that all bodies of the process share, in units of 1,024 bytes.
    pub(crate) memory: &'r Semaphore,
}

/// A whole body, decompressed, and the memory that is reserved for it.
#[derive(Debug)]
pub(crate) struct Received<'r> {
    pub(crate) bytes: Bytes,
    _memory: [Option<SemaphorePermit<'r>>; 2],
}

/// A body that is not taken.
#[derive(Debug)]
pub(crate) struct NotReceived<'r> {
    pub(crate) kind: Kind,
    /// What was sent, as it came, up to the limit of size; nothing where the fault is not in the body's bytes.
    pub(crate) kept: Bytes,
    /// How many bytes were sent, as far as that is known.
    pub(crate) bytes: usize,
    _memory: Option<SemaphorePermit<'r>>,
}

/// What is kept of a body that is refused for the length it announces, in bytes: enough to see what it is.
const ANNOUNCED_KEPT_BYTES_MAX: usize = 16 * 1024;

impl From<Kind> for NotReceived<'_> {
    fn from(kind: Kind) -> Self {
        Self { kind, kept: Bytes::new(), bytes: 0, _memory: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// Memory that bodies may take together, for [`Rules::memory`].
pub(crate) fn memory(bytes_max: usize) -> Semaphore {
    Semaphore::new((bytes_max / RESERVE_UNIT_BYTES).min(Semaphore::MAX_PERMITS))
}

/// Receives a body, or says what is wrong with it. What is left of a refused one is read on and thrown away, in the
/// same time and up to [`DISCARD_BYTES_MAX`], unless its sender waits to be asked for it (`Expect: 100-continue`).
pub(crate) async fn receive<'r, B>(
    headers: &HeaderMap,
    mut body: B,
    rules: Rules<'r>,
) -> Result<Received<'r>, NotReceived<'r>>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let deadline = Instant::now() + rules.timeout;
    let mut failed = match receive_until(headers, &mut body, rules, deadline).await {
        Ok(received) => return Ok(received),
        Err(failed) => failed,
    };
    if !headers.contains_key(header::EXPECT) {
        let is_unread = failed.kind == Kind::TooLarge && failed.kept.is_empty();
        let mut first = BytesMut::new();
        let keep_bytes = if is_unread { ANNOUNCED_KEPT_BYTES_MAX } else { 0 };
        // Whether it ended or time is up: the refusal stands.
        drop(tokio::time::timeout_at(deadline, discard(&mut body, &mut first, keep_bytes)).await);
        if is_unread {
            failed.kept = first.freeze();
        }
    }
    Err(failed)
}

/// Reads the body of a call that is refused for something else, in the same way and for the same reason.
pub(crate) async fn throw_away<B>(headers: &HeaderMap, mut body: B, rules: Rules<'_>)
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if !headers.contains_key(header::EXPECT) {
        drop(tokio::time::timeout(rules.timeout, discard(&mut body, &mut BytesMut::new(), 0)).await);
    }
}

impl Received<'_> {
    /// A body that was made here and not received.
    pub(crate) fn made(text: String) -> Self {
        Self { bytes: Bytes::from(text), _memory: [None, None] }
    }
}

async fn receive_until<'r, B>(
    headers: &HeaderMap,
    body: &mut B,
    rules: Rules<'r>,
    deadline: Instant,
) -> Result<Received<'r>, NotReceived<'r>>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    if !is_media_type_taken(headers, rules.media_types) {
        return Err(Kind::UnsupportedMediaType.into());
    }
    let encoding = encoding(headers).ok_or(Kind::UnsupportedEncoding)?;
    let announced = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if let Some(bytes) = announced.filter(|bytes| *bytes > rules.bytes_max) {
        return Err(NotReceived { bytes, ..Kind::TooLarge.into() });
    }
    let unannounced = rules.bytes_max.min(UNANNOUNCED_BYTES);
    let mut raw_memory = reserve(rules.memory, announced.unwrap_or(unannounced))?;
    let mut whole = Bytes::new();
    let raw = match tokio::time::timeout_at(deadline, collect(body, rules, &mut raw_memory, &mut whole)).await {
        Ok(Ok(raw)) => raw,
        Ok(Err(Kind::TooLarge)) => {
            let bytes = whole.len();
            return Err(NotReceived { kind: Kind::TooLarge, kept: whole, bytes, _memory: Some(raw_memory) });
        }
        Ok(Err(kind)) => return Err(kind.into()),
        Err(_elapsed) => return Err(Kind::SlowBody.into()),
    };
    match encoding {
        Encoding::Identity => Ok(Received { bytes: raw, _memory: [Some(raw_memory), None] }),
        Encoding::Gzip | Encoding::Deflate | Encoding::Brotli | Encoding::Zstd => {
            let bytes = match decompress(encoding, &raw, rules.bytes_max) {
                Ok(bytes) => bytes,
                Err(kind) => {
                    let bytes = raw.len();
                    return Err(NotReceived { kind, kept: raw, bytes, _memory: Some(raw_memory) });
                }
            };
            let memory = reserve(rules.memory, bytes.len())?;
            Ok(Received { bytes, _memory: [Some(raw_memory), Some(memory)] })
        }
    }
}

/// Whether the content type is one of those taken. Parameters such as a charset do not matter: JSON is UTF-8.
fn is_media_type_taken(headers: &HeaderMap, media_types: &[&str]) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(value) = values.next() else { return true };
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    values.next().is_none() && media_types.iter().any(|media_type| essence.eq_ignore_ascii_case(media_type))
}

/// The encoding, unless it is unknown or more than one.
fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Some(Encoding::Identity) };
    let name = value.to_str().ok()?.trim();
    if values.next().is_some() {
        return None;
    }
    let is = |expected| name.eq_ignore_ascii_case(expected);
    if is("gzip") || is("x-gzip") {
        return Some(Encoding::Gzip);
    }
    let others = [
        ("identity", Encoding::Identity),
        ("deflate", Encoding::Deflate),
        ("br", Encoding::Brotli),
        ("zstd", Encoding::Zstd),
    ];
    others.into_iter().find(|(expected, _)| is(expected)).map(|(_, encoding)| encoding)
}

fn reserve(memory: &Semaphore, bytes: usize) -> Result<SemaphorePermit<'_>, Kind> {
    let Ok(units) = u32::try_from(bytes.div_ceil(RESERVE_UNIT_BYTES)) else { return Err(Kind::Overloaded) };
    let Ok(permit) = memory.try_acquire_many(units) else { return Err(Kind::Overloaded) };
    Ok(permit)
}

/// The bytes of a body; without a copy where they come in one frame. Of one that is too large, `first` is what came within
/// the limit.
async fn collect<'r, B>(
    body: &mut B,
    rules: Rules<'r>,
    memory: &mut SemaphorePermit<'r>,
    first: &mut Bytes,
) -> Result<Bytes, Kind>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Kind::IncompleteBody) };
        // Trailers carry nothing for us.
        let Ok(data) = frame.into_data() else { continue };
        let bytes = whole.len() + joined.len() + data.len();
        if bytes > rules.bytes_max {
            *first = if joined.is_empty() { whole } else { joined.freeze() };
            return Err(Kind::TooLarge);
        }
        let reserved_bytes = memory.num_permits() * RESERVE_UNIT_BYTES;
        if bytes > reserved_bytes {
            // Twice as much each time, so that the semaphore is asked a few times only.
            let more = reserved_bytes.max(data.len()).min(rules.bytes_max.saturating_sub(reserved_bytes));
            memory.merge(reserve(rules.memory, more)?);
        }
        if whole.is_empty() && joined.is_empty() {
            whole = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut whole));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { whole } else { joined.freeze() })
}

/// Reads on to the end of the body or of the patience with it, and keeps the first bytes at most.
async fn discard<B>(body: &mut B, first: &mut BytesMut, keep_bytes: usize)
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut left = DISCARD_BYTES_MAX;
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref().filter(|_| first.len() < keep_bytes) {
            first.extend_from_slice(data.get(..keep_bytes - first.len()).unwrap_or(data));
        }
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// Bytes up to which any ratio of compression is taken; NDJSON of one screen compresses well.
const RATIO_FREE_BYTES: usize = 256 * 1024;
/// A body is at most this many times what was sent. gzip reaches 1,032, the others more; real bodies stay below 50.
const RATIO_MAX: usize = 250;
/// Largest window of zstd, as a power of two: the 8 MiB that RFC 8878 asks of every reader.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Buffer of the brotli reader in bytes.
const BROTLI_BUFFER_BYTES: usize = 4096;

/// Decompresses a whole body, up to the limits of size and ratio.
fn decompress(encoding: Encoding, raw: &[u8], bytes_max: usize) -> Result<Bytes, Kind> {
    match encoding {
        Encoding::Identity => Ok(Bytes::copy_from_slice(raw)),
        // Of any number of members.
        Encoding::Gzip => read_limited(MultiGzDecoder::new(raw), raw.len(), bytes_max),
        // The name means zlib (RFC 9110), and some senders send the bare stream: zlib's first two bytes tell.
        Encoding::Deflate if is_zlib(raw) => read_limited(ZlibDecoder::new(raw), raw.len(), bytes_max),
        Encoding::Deflate => read_limited(DeflateDecoder::new(raw), raw.len(), bytes_max),
        Encoding::Brotli => {
            read_limited(brotli_decompressor::Decompressor::new(raw, BROTLI_BUFFER_BYTES), raw.len(), bytes_max)
        }
        Encoding::Zstd => {
            let Ok(mut decoder) = zstd::stream::read::Decoder::new(raw) else { return Err(Kind::CorruptBody) };
            if decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).is_err() {
                return Err(Kind::CorruptBody);
            }
            read_limited(decoder, raw.len(), bytes_max)
        }
    }
}

fn is_zlib(raw: &[u8]) -> bool {
    const METHOD_DEFLATE: u8 = 8;
    let [first, second, ..] = raw else { return false };
    first & 0x0f == METHOD_DEFLATE && u16::from_be_bytes([*first, *second]) % 31 == 0
}

fn read_limited(mut reader: impl Read, raw_bytes: usize, bytes_max: usize) -> Result<Bytes, Kind> {
    const RATIO_TYPICAL: usize = 4;
    let ratio_max = raw_bytes.saturating_mul(RATIO_MAX).max(RATIO_FREE_BYTES);
    let limit = bytes_max.min(ratio_max);
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::with_capacity(raw_bytes.saturating_mul(RATIO_TYPICAL).min(limit));
    let read = (&mut reader).take(one_more).read_to_end(&mut bytes);
    if bytes.len() > limit {
        return Err(if limit == bytes_max { Kind::TooLarge } else { Kind::RatioTooLarge });
    }
    match read {
        Ok(_) => Ok(Bytes::from(bytes)),
        Err(_corrupt) => Err(Kind::CorruptBody),
    }
}

#[cfg(test)]
mod tests;
