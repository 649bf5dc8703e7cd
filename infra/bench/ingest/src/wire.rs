//! One keep-alive connection of HTTP/1.1: a request out, its answer back. Written by hand, because callers share the machine
//! with what is measured: one write and mostly one read a call.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use httparse::Status;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The server sends about six headers.
const HEADERS_MAX: usize = 32;
/// Largest answer: that to a batch of a thousand lines is 150 KB.
const ANSWER_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer<'c> {
    pub(crate) status: u16,
    pub(crate) body: &'c [u8],
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect to the server")?;
        stream.set_nodelay(true).context("set up a connection")?;
        Ok(Connection { stream, received: Vec::with_capacity(4096) })
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn call(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.stream.write_all(request).await.context("send a request")?;
        self.received.clear();
        loop {
            let read = self.stream.read_buf(&mut self.received).await.context("read an answer")?;
            ensure!(read > 0, "the server closed a connection in the middle of a call");
            if let Some(whole) = whole(&self.received)? {
                let body = self.received.get(whole.body_start..whole.end).unwrap_or_default();
                return Ok(Answer { status: whole.status, body });
            }
            ensure!(self.received.len() < ANSWER_BYTES_MAX, "an answer has more than {ANSWER_BYTES_MAX} bytes");
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Whole {
    status: u16,
    body_start: usize,
    end: usize,
}

/// Where an answer ends, once all of it is there.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<Whole>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut headers);
    let Status::Complete(body_start) = answer.parse(bytes).context("read an answer's head")? else { return Ok(None) };
    let status = answer.code.unwrap_or_default();
    let length = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = match length {
        Some(header) => std::str::from_utf8(header.value)?.parse().context("read an answer's length")?,
        None => {
            ensure!(status == 204, "an answer has no length");
            0_usize
        }
    };
    let end = body_start.saturating_add(length);
    Ok((bytes.len() >= end).then_some(Whole { status, body_start, end }))
}

#[cfg(test)]
mod tests {
    use super::{Whole, whole};

    #[test]
    fn answers_are_whole_or_not_yet() {
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx: y\r\n\r\n{}";
        for end in 0..text.len() {
            assert_eq!(whole(&text[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(whole(text).unwrap(), Some(Whole { status: 200, body_start: 44, end: 46 }));
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().status, 204);
        assert!(whole(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(whole(b"SSH-2.0\r\n\r\n").is_err());
    }
}
