//! A small HTTP/1.1 client: one connection, requests that are made before they are timed, answers of a known length or in
//! chunks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// A server that does not answer within this is taken for dead.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read: a `GetRecords` of 10 MiB in base64, with room.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The longest line of a head.
const LINE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    /// The server has said that it closes the connection: some do after each answer.
    is_over: bool,
    answer: Vec<u8>,
}

/// The bytes of a call of Kinesis, in JSON. The signature is not one: no peer checks it, some want to see one.
pub(crate) fn request(operation: &str, body: &str) -> Vec<u8> {
    let credential = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, \
                      Signature=0000000000000000000000000000000000000000000000000000000000000000";
    format!(
        "POST / HTTP/1.1\r\nhost: kinesis.us-east-1.amazonaws.com\r\ncontent-type: application/x-amz-json-1.1\r\n\
         x-amz-target: Kinesis_20131202.{operation}\r\nx-amz-date: 20260101T000000Z\r\nauthorization: {credential}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self { address, stream: connect(address)?, is_over: false, answer: Vec::new() })
    }

    /// Sends a request. Returns the status and the body of its answer.
    pub(crate) fn call(&mut self, request: &[u8]) -> anyhow::Result<(u16, &[u8])> {
        if self.is_over {
            (self.stream, self.is_over) = (connect(self.address)?, false);
        }
        self.stream.get_mut().write_all(request).context("send a request")?;
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status: u16 = status.context("read the status of an answer")?;
        let (mut length, mut is_chunked) = (None, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { bail!("no header: {line}") };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse().context("read the length of an answer")?),
                "connection" => self.is_over = value.trim().eq_ignore_ascii_case("close"),
                "transfer-encoding" => is_chunked = value.trim().eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        self.answer.clear();
        if is_chunked {
            loop {
                let size = self.line()?;
                let size = usize::from_str_radix(size.trim(), 16).context("read the length of a chunk")?;
                self.take(size)?;
                self.line()?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.take(length.context("an answer of unknown length")?)?;
        }
        Ok((status, &self.answer))
    }

    /// [`Connection::call`] for a call that has to succeed.
    pub(crate) fn ask(&mut self, operation: &str, body: &str) -> anyhow::Result<serde_json::Value> {
        let (status, answer) = self.call(&request(operation, body))?;
        ensure!(status == 200, "{operation} answered {status}: {}", String::from_utf8_lossy(answer));
        if answer.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(answer).with_context(|| format!("read the answer of {operation}"))
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stream.by_ref().take(LINE_BYTES_MAX).read_line(&mut line).context("read an answer")?;
        ensure!(line.ends_with("\r\n"), "the server closed the connection");
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn take(&mut self, length: usize) -> anyhow::Result<()> {
        let start = self.answer.len();
        ensure!(start + length <= ANSWER_BYTES_MAX, "an answer of over {ANSWER_BYTES_MAX} bytes");
        self.answer.resize(start + length, 0);
        let rest = self.answer.get_mut(start..).unwrap_or_default();
        self.stream.read_exact(rest).context("read the body of an answer")
    }
}

fn connect(address: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).context("connect to the server")?;
    stream.set_nodelay(true).context("set up a connection")?;
    stream.set_read_timeout(Some(PATIENCE)).context("set up a connection")?;
    stream.set_write_timeout(Some(PATIENCE)).context("set up a connection")?;
    Ok(BufReader::with_capacity(256 * 1024, stream))
}
