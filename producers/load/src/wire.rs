//! HTTP/1.1 as a client needs it for one request at a time: heads to send, answers to read. No I/O.
//!
//! By hand, because the generator shares its machine with what it measures: one write and mostly one read per call.

use std::io::Write;

use httparse::Status;

/// Headers of an answer that are read.
const HEADERS_MAX: usize = 64;

/// Largest answer, in bytes: that to a batch of 10,000 lines is below 4 MB.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireError {
    /// They are not HTTP/1.
    #[error("the answer is not HTTP/1: {0}")]
    Syntax(httparse::Error),
    /// The length of the body cannot be told.
    #[error("the answer's body has no valid length")]
    Length,
    /// The answer is larger than 16 MiB.
    #[error("the answer is larger than 16 MiB")]
    TooLarge,
}

/// An answer that is whole, as positions in the bytes that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// Where the answer ends.
    pub(crate) end: usize,
    pub(crate) keep_alive: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Plain(std::ops::Range<usize>),
    /// Came in chunks, which are joined here.
    Joined(Vec<u8>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunked,
    UntilClose,
}

/// The start of a POST's head, up to the value of `content-length`.
pub(crate) fn head_start(host: &str, path: &str, content_type: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {content_type}\r\ncontent-length: ").into_bytes()
}

/// Writes a request into `out`, which it clears.
pub(crate) fn write_request(head_start: &[u8], body: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(head_start);
    write!(out, "{}\r\n\r\n", body.len()).expect("a vector takes all bytes");
    out.extend_from_slice(body);
}

/// Reads an answer from the bytes that came so far; `None` if more must come. `is_closed` says that none will.
pub(crate) fn read_answer(bytes: &[u8], is_closed: bool) -> Result<Option<Whole>, WireError> {
    let mut start = 0;
    loop {
        let Some(rest) = bytes.get(start..) else { return Ok(None) };
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut answer = httparse::Response::new(&mut headers);
        let Status::Complete(head_bytes) = answer.parse(rest).map_err(WireError::Syntax)? else { return Ok(None) };
        let body_start = start + head_bytes;
        let status = answer.code.unwrap_or_default();
        if (100..200).contains(&status) {
            start = body_start;
            continue;
        }
        let length = length(status, answer.headers)?;
        let keep_alive = length != Length::UntilClose && keeps_alive(answer.version, answer.headers);
        let whole = |body, end| Whole { status, body, end, keep_alive };
        return match length {
            Length::Known(length) => {
                let end = body_start + length;
                Ok((bytes.len() >= end).then(|| whole(Body::Plain(body_start..end), end)))
            }
            Length::UntilClose => Ok(is_closed.then(|| whole(Body::Plain(body_start..bytes.len()), bytes.len()))),
            Length::Chunked => {
                let chunks = join_chunks(bytes, body_start)?;
                Ok(chunks.map(|Chunks { joined, end }| whole(Body::Joined(joined), end)))
            }
        };
    }
}

fn length(status: u16, headers: &[httparse::Header<'_>]) -> Result<Length, WireError> {
    if status == 204 || status == 304 {
        return Ok(Length::Known(0));
    }
    if values(headers, "transfer-encoding").any(|value| value.eq_ignore_ascii_case("chunked")) {
        return Ok(Length::Chunked);
    }
    let Some(value) = values(headers, "content-length").next() else { return Ok(Length::UntilClose) };
    match value.parse() {
        Ok(length) if length <= ANSWER_BYTES_MAX => Ok(Length::Known(length)),
        Ok(_) => Err(WireError::TooLarge),
        Err(_) => Err(WireError::Length),
    }
}

fn keeps_alive(version: Option<u8>, headers: &[httparse::Header<'_>]) -> bool {
    version == Some(1) && !values(headers, "connection").any(|value| value.eq_ignore_ascii_case("close"))
}

fn values<'h>(headers: &'h [httparse::Header<'_>], name: &str) -> impl Iterator<Item = &'h str> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.filter_map(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
}

/// A body that came in chunks, and where the last one ends.
struct Chunks {
    joined: Vec<u8>,
    end: usize,
}

/// The chunks from `start`; `None` if more must come.
fn join_chunks(bytes: &[u8], start: usize) -> Result<Option<Chunks>, WireError> {
    let mut joined = Vec::new();
    let mut at = start;
    loop {
        let Some(rest) = bytes.get(at..) else { return Ok(None) };
        let Ok(size) = httparse::parse_chunk_size(rest) else { return Err(WireError::Length) };
        let Status::Complete((size_bytes, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).ok().filter(|size| *size <= ANSWER_BYTES_MAX).ok_or(WireError::TooLarge)?;
        let data_start = at + size_bytes;
        if size == 0 {
            return Ok(trailers_end(bytes, data_start).map(|end| Chunks { joined, end }));
        }
        let data_end = data_start + size;
        let (Some(data), Some(line_end)) = (bytes.get(data_start..data_end), bytes.get(data_end..data_end + 2)) else {
            return Ok(None);
        };
        if line_end != b"\r\n" {
            return Err(WireError::Length);
        }
        joined.extend_from_slice(data);
        at = data_end + 2;
    }
}

/// Where the trailers end, with the empty line behind them.
fn trailers_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    loop {
        let rest = bytes.get(at..)?;
        let line_bytes = rest.iter().position(|byte| *byte == b'\n')? + 1;
        at += line_bytes;
        if line_bytes <= 2 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests;
