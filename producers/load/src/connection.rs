//! One keep-alive connection: a request out, its answer back.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{self, ANSWER_BYTES_MAX, Body, Whole, WireError};

/// Room that is made before each read; most answers are below it.
const READ_BYTES: usize = 2048;

/// A connection that opens when it is first needed, and again after it was lost.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    received: Vec<u8>,
}

/// An answer and its body, which mostly lies in the connection's buffer.
#[derive(Debug)]
pub(crate) struct Answer<'c> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'c, [u8]>,
}

/// Why there is no answer. Whether the request was served is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The connection could not be made or was lost.
    #[error("the connection was lost")]
    Lost(#[from] io::Error),
    /// Something came that is no answer.
    #[error(transparent)]
    Wire(#[from] WireError),
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, received: Vec::new() }
    }

    /// Sends a request and waits for its answer.
    ///
    /// If a connection that was used before closes without a byte, the request is sent once more on a new one: the
    /// server had given up the idle connection, and repeats of an event are recognised.
    pub(crate) async fn call(&mut self, request: &[u8]) -> Result<Answer<'_>, CallError> {
        let was_open = self.stream.is_some();
        let mut answered = self.try_call(request).await;
        if was_open && self.received.is_empty() && matches!(answered, Err(CallError::Lost(_))) {
            answered = self.try_call(request).await;
        }
        let Whole { status, body, .. } = answered?;
        let body = match body {
            Body::Plain(range) => Cow::Borrowed(self.received.get(range).unwrap_or_default()),
            Body::Joined(joined) => Cow::Owned(joined),
        };
        Ok(Answer { status, body })
    }

    /// Gives the connection up, as after an answer that did not come in time.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    async fn try_call(&mut self, request: &[u8]) -> Result<Whole, CallError> {
        self.received.clear();
        // Out of its place while in use: a call that fails or is dropped half-way leaves no connection behind.
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(request).await?;
        let whole = self.receive(&mut stream).await?;
        if whole.keep_alive && whole.end == self.received.len() {
            self.stream = Some(stream);
        }
        Ok(whole)
    }

    async fn receive(&mut self, stream: &mut TcpStream) -> Result<Whole, CallError> {
        loop {
            self.received.reserve(READ_BYTES);
            let is_closed = stream.read_buf(&mut self.received).await? == 0;
            if let Some(whole) = wire::read_answer(&self.received, is_closed)? {
                return Ok(whole);
            }
            if is_closed {
                return Err(CallError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            if self.received.len() > ANSWER_BYTES_MAX {
                return Err(CallError::Wire(WireError::TooLarge));
            }
        }
    }
}
