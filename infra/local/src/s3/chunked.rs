//! The `aws-chunked` body: what SDKs wrap an upload in to put signatures or a checksum behind the data.
//!
//! `<hex size>[;chunk-signature=…]\r\n<data>\r\n … 0[;…]\r\n[<trailer>: <value>\r\n…]\r\n`. Sizes, the end, and the trailing
//! checksums are checked always, signatures where a [`ChunkSigner`] is given.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::signature::ChunkSigner;

/// The longest line that is read: a chunk's head or one trailer, in bytes.
const MAX_LINE: usize = 8 << 10;
/// The most trailers that are kept; SDKs send one or two.
const MAX_TRAILERS: usize = 16;

/// Why a body is not `aws-chunked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChunkError {
    #[error("a line of the aws-chunked body is longer than 8 KiB")]
    LineTooLong,
    #[error("the size of a chunk is not a hexadecimal number")]
    Size,
    #[error("a chunk is not closed by a line end")]
    Unclosed,
    #[error("a trailer is not a name, a colon and a value")]
    Trailer,
    #[error("the body ends within a chunk")]
    Truncated,
    #[error("the signature of a chunk or of the trailers does not match")]
    Signature,
}

/// A name in lower case, and its value.
pub(super) type Trailer = (String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Data { left: u64 },
    DataEnd,
    Trailers,
    Done,
}

/// Takes the wrapping off, piece by piece.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    buffer: BytesMut,
    trailers: Vec<Trailer>,
    signer: Option<ChunkSigner>,
    /// Of the chunk under way.
    signature: String,
}

impl Decoder {
    /// A decoder that checks signatures if it is given who follows them.
    pub(super) fn new(signer: Option<ChunkSigner>) -> Self {
        let (buffer, trailers, signature) = (BytesMut::new(), Vec::new(), String::new());
        Self { state: State::Head, buffer, trailers, signer, signature }
    }

    /// Takes the next piece of the body, and returns the data that it holds.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Vec<Bytes>, ChunkError> {
        self.buffer.extend_from_slice(piece);
        let mut data = Vec::new();
        loop {
            match self.state {
                State::Data { left } => {
                    let ready = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if ready == 0 {
                        return Ok(data);
                    }
                    let piece = self.buffer.split_to(ready).freeze();
                    if let Some(signer) = &mut self.signer {
                        signer.update(&piece);
                    }
                    data.push(piece);
                    let left = left - ready as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                }
                State::DataEnd => {
                    let Some(line) = self.line()? else { return Ok(data) };
                    if !line.is_empty() {
                        return Err(ChunkError::Unclosed);
                    }
                    self.check_chunk()?;
                    self.state = State::Head;
                }
                State::Head => {
                    let Some(line) = self.line()? else { return Ok(data) };
                    let (size, signature) = chunk_head(&line)?;
                    signature.clone_into(&mut self.signature);
                    self.state = match size {
                        0 => {
                            self.check_chunk()?;
                            State::Trailers
                        }
                        left => State::Data { left },
                    };
                }
                State::Trailers => {
                    let Some(line) = self.line()? else { return Ok(data) };
                    if line.is_empty() {
                        self.check_trailers()?;
                        self.state = State::Done;
                    } else {
                        self.trailer(&line)?;
                    }
                }
                State::Done => {
                    self.buffer.clear();
                    return Ok(data);
                }
            }
        }
    }

    /// The trailers, once the body has ended.
    ///
    /// Some clients leave the last empty line away; the data is whole then all the same.
    pub(super) fn finish(mut self) -> Result<Vec<Trailer>, ChunkError> {
        if self.state == State::Trailers && !self.buffer.is_empty() {
            let line = self.buffer.split().freeze();
            self.trailer(&line)?;
        }
        if self.state == State::Trailers {
            self.check_trailers()?;
        }
        match self.state {
            State::Done | State::Trailers => Ok(self.trailers),
            State::Head | State::Data { .. } | State::DataEnd => Err(ChunkError::Truncated),
        }
    }

    fn check_chunk(&mut self) -> Result<(), ChunkError> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        if signer.ends_chunk(&self.signature) { Ok(()) } else { Err(ChunkError::Signature) }
    }

    fn check_trailers(&mut self) -> Result<(), ChunkError> {
        let Some(signer) = self.signer.as_mut().filter(|signer| signer.has_trailer()) else { return Ok(()) };
        let mut signature = "";
        for (name, value) in &self.trailers {
            if name == "x-amz-trailer-signature" {
                signature = value;
            } else {
                signer.update(format!("{name}:{value}\n").as_bytes());
            }
        }
        if signer.ends_trailers(signature) { Ok(()) } else { Err(ChunkError::Signature) }
    }

    /// The next line without its end, if it is there whole.
    fn line(&mut self) -> Result<Option<Bytes>, ChunkError> {
        let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') else {
            return if self.buffer.len() > MAX_LINE { Err(ChunkError::LineTooLong) } else { Ok(None) };
        };
        if end > MAX_LINE {
            return Err(ChunkError::LineTooLong);
        }
        let mut line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(Some(line))
    }

    fn trailer(&mut self, line: &[u8]) -> Result<(), ChunkError> {
        let line = std::str::from_utf8(line).map_err(|_not_utf8| ChunkError::Trailer)?;
        let (name, value) = line.split_once(':').ok_or(ChunkError::Trailer)?;
        if self.trailers.len() == MAX_TRAILERS {
            return Err(ChunkError::Trailer);
        }
        self.trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Ok(())
    }
}

/// A chunk's size and its signature, which is empty where there is none.
fn chunk_head(head: &[u8]) -> Result<(u64, &str), ChunkError> {
    let head = std::str::from_utf8(head).map_err(|_not_utf8| ChunkError::Size)?;
    let (size, extension) = head.split_once(';').unwrap_or((head, ""));
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ChunkError::Size);
    }
    let size = u64::from_str_radix(size, 16).map_err(|_too_large| ChunkError::Size)?;
    Ok((size, extension.trim().strip_prefix("chunk-signature=").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::{ChunkError, Decoder};

    type Expected<'a> = Result<(&'a str, &'a [(&'a str, &'a str)]), ChunkError>;
    type Decoded = (Vec<u8>, Vec<(String, String)>);

    fn decode(body: &[u8], piece: usize) -> Result<Decoded, ChunkError> {
        let mut decoder = Decoder::new(None);
        let mut data = Vec::new();
        for piece in body.chunks(piece) {
            for bytes in decoder.push(piece)? {
                data.extend_from_slice(&bytes);
            }
        }
        Ok((data, decoder.finish()?))
    }

    #[test]
    fn bodies_however_they_are_cut() {
        let check = |body: &str, expected: Expected<'_>| {
            let expected = expected.map(|(data, trailers)| {
                let trailers = trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
                (data.as_bytes().to_vec(), trailers)
            });
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(decode(body.as_bytes(), piece), expected, "{body:?} by {piece}");
            }
        };
        check("5\r\nhello\r\n0\r\n\r\n", Ok(("hello", &[])));
        check("5\r\nhello\r\n3;chunk-signature=ab\r\n\r\n!\r\n0\r\n\r\n", Ok(("hello\r\n!", &[])));
        check(
            "A\r\n0123456789\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n",
            Ok(("0123456789", &[("x-amz-checksum-crc32", "AAAAAA==")])),
        );
        check("0\r\nX-Amz-Checksum-Crc32: a\r\n", Ok(("", &[("x-amz-checksum-crc32", "a")])));
        check("0\r\n\r\n", Ok(("", &[])));
        check("5\r\nhello\r\n", Err(ChunkError::Truncated));
        check("5\r\nhel", Err(ChunkError::Truncated));
        check("", Err(ChunkError::Truncated));
        check("x\r\n", Err(ChunkError::Size));
        check("-1\r\n", Err(ChunkError::Size));
        check("fffffffffffffffff\r\n", Err(ChunkError::Size));
        check("2\r\nhello\r\n", Err(ChunkError::Unclosed));
        check("0\r\nno colon\r\n\r\n", Err(ChunkError::Trailer));
        check(&"1".repeat(9000), Err(ChunkError::LineTooLong));
    }
}
