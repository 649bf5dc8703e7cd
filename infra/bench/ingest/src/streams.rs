//! HTTP/2 with prior knowledge: many callers share a connection, and so the reads and writes of both ends.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, client::conn::http2, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{calls::Call, wire::Answer};

/// A caller's part of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    sender: http2::SendRequest<Full<Bytes>>,
    authority: String,
    received: Bytes,
}

impl Stream {
    /// Opens a connection, of which clones are streams.
    pub(crate) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect to the server")?;
        stream.set_nodelay(true).context("set up a connection")?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.context("begin HTTP/2")?;
        // It ends with its last stream; what goes wrong before shows in the calls.
        drop(tokio::spawn(async move { drop(connection.await) }));
        Ok(Stream { sender, authority: address.to_string(), received: Bytes::new() })
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn call(&mut self, call: &mut Call) -> anyhow::Result<Answer<'_>> {
        let request = Request::post(format!("http://{}{}", self.authority, call.path))
            .header(header::CONTENT_TYPE, call.content_type)
            .body(Full::new(Bytes::copy_from_slice(call.next_body())))
            .context("write a request")?;
        self.sender.ready().await.context("wait for a stream")?;
        let answer = self.sender.send_request(request).await.context("send a request")?;
        let status = answer.status().as_u16();
        self.received = answer.into_body().collect().await.context("read an answer")?.to_bytes();
        Ok(Answer { status, body: &self.received })
    }
}
