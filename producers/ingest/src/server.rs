//! Connections: accepts them up to a cap, cuts off slow ones, and drains them at the end.
//!
//! `axum::serve` has no time limit for heads, so a few thousand slow senders could hold every connection for ever;
//! this loop gives each connection its limits. HTTP/1.1 and HTTP/2 with prior knowledge share the port: the first
//! bytes of a connection tell which it is; under TLS the handshake does.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::http::front::Front;
use crate::ingest::Ingest;
use crate::tls::Tls;

/// Largest head of a request in bytes, request line included; what API Gateway takes is about 10 KB.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// Largest read buffer of an HTTP/1.1 connection in bytes; it starts at 8 KiB and grows with large bodies.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Requests that one HTTP/2 connection may have open.
const STREAMS_MAX: u32 = 256;

/// Longest time for a TLS handshake: three round trips of a bad line, and our part is a millisecond.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Wait after the system refuses a connection (no file descriptors): closing ones free them meanwhile.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Limits of all connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections served at once; more wait in the system's backlog.
    pub connections_max: usize,
    /// Longest time for a head to arrive, and so also the longest idle time between two requests of a connection.
    /// Behind a load balancer that reuses connections it must be longer than the balancer's idle time.
    pub head_timeout: Duration,
    /// Who may connect.
    pub peers: Peers,
    /// Longest time for open requests to be answered once the server is asked to stop.
    pub drain_timeout: Duration,
}

/// From where a server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// From this machine only, whatever the address it listens on: for the built-in tenant, which has no key.
    Loopback,
    /// From anywhere.
    Any,
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request that was being served was answered.
    Whole,
    /// This many connections were cut off at the end of the drain time.
    CutOff(usize),
}

impl Default for Limits {
    /// From this machine only, 10,000 connections, 75 s for a head (an ALB keeps connections for 60 s), 25 s to drain (ECS kills after 30).
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            head_timeout: Duration::from_secs(75),
            peers: Peers::Loopback,
            drain_timeout: Duration::from_secs(25),
        }
    }
}

/// What is served, and how.
#[derive(Debug, Clone)]
pub struct Server {
    /// The collection API.
    pub ingest: Ingest,
    /// Limits of all connections.
    pub limits: Limits,
    /// The certificate, where connections are to be encrypted.
    pub tls: Option<Tls>,
}

/// Serves until `shutdown` resolves; then accepts no more, answers what is open, and returns.
///
/// Whoever owns the producer behind the collection API closes it after this returns.
pub async fn run(listener: TcpListener, server: Server, shutdown: impl Future<Output = ()>) -> Drained {
    let Server { ingest, limits, tls } = server;
    let front = Front::new(ingest);
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let graceful = GracefulShutdown::new();
    // Dropping the sender tells connections that have sent nothing yet, which `graceful` does not watch.
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                reap(ended);
                continue;
            }
            accepted = accept(&listener, &slots, limits.peers) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => {
                let watcher = graceful.watcher();
                let connection = Connection { front: front.clone(), limits, tls: tls.clone(), watcher };
                let mut stopping = stopping.clone();
                connections.spawn(async move {
                    let _slot = slot;
                    connection.serve(stream, &mut stopping).await;
                });
            }
            Err(error) if is_of_the_sender(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    drop((listener, stop));
    let drained = tokio::time::timeout(limits.drain_timeout, async {
        graceful.shutdown().await;
        while let Some(ended) = connections.join_next().await {
            reap(ended);
        }
    });
    if drained.await.is_ok() {
        return Drained::Whole;
    }
    while let Some(ended) = connections.try_join_next() {
        reap(ended);
    }
    let cut_off = connections.len();
    connections.shutdown().await;
    Drained::CutOff(cut_off)
}

/// The next connection, once there is room for one.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    peers: Peers,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    loop {
        let (stream, peer) = listener.accept().await?;
        if peers == Peers::Any || peer.ip().to_canonical().is_loopback() {
            return Ok((stream, slot));
        }
        tracing::warn!("a connection from another machine was closed: name tenants to serve others");
    }
}

/// Whether accepting failed because the sender is gone already.
fn is_of_the_sender(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// A panic of a handler has been answered by closing the connection; it must still be seen.
fn reap(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a panic");
    }
}

struct Connection {
    front: Front,
    limits: Limits,
    tls: Option<Tls>,
    watcher: Watcher,
}

impl Connection {
    /// Serves until the connection ends. Its errors are the sender's, and show in the counts of bodies at most.
    async fn serve(self, stream: TcpStream, stopping: &mut watch::Receiver<()>) {
        // Answers are small and wait for nothing.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended early");
            return;
        }
        if let Some(tls) = self.tls.clone() {
            let patience = self.limits.head_timeout.min(HANDSHAKE_TIMEOUT);
            let shaken = tokio::select! {
                shaken = tokio::time::timeout(patience, tls.accept(stream)) => shaken,
                _ = stopping.changed() => return,
            };
            match shaken {
                Ok(Ok((stream, is_http2))) => self.serve_http(stream, is_http2).await,
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended in its handshake"),
                Err(_elapsed) => tracing::debug!("a connection took too long for its handshake"),
            }
            return;
        }
        let first = tokio::select! {
            first = tokio::time::timeout(self.limits.head_timeout, starts_http2(&stream)) => first,
            _ = stopping.changed() => return,
        };
        let Ok(Ok(is_http2)) = first else { return };
        self.serve_http(stream, is_http2).await;
    }

    async fn serve_http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, is_http2: bool) {
        let Self { front, limits, watcher, .. } = self;
        let service = service_fn(move |request| {
            let front = front.clone();
            async move { Ok::<_, Infallible>(front.answer(request).await) }
        });
        let io = TokioIo::new(stream);
        let served = if is_http2 {
            watcher.watch(http2_builder(limits).serve_connection(io, service)).await
        } else {
            watcher.watch(http1_builder(limits).serve_connection(io, service)).await
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

fn http1_builder(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        // Looking for the end of a connection whose request is being served means making room to read into, 8 KiB a
        // request. A sender that has gone is noticed when it is answered; its event is on its way in either case.
        .half_close(true)
        .max_header_size(HEAD_BYTES_MAX as usize)
        .max_buf_size(READ_BUFFER_BYTES_MAX);
    builder
}

fn http2_builder(limits: Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(limits.head_timeout)
        .keep_alive_timeout(limits.head_timeout);
    builder
}

/// Whether a connection starts with HTTP/2's preface, of which two bytes tell it from every method we take.
async fn starts_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0; 2];
    let count = stream.peek(&mut first).await?;
    Ok(count == first.len() && first == *b"PR")
}
