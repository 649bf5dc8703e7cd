//! The listeners: plain and TLS beside each other, HTTP/1.1 and HTTP/2 on both, connections bounded and ended in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Door, READ_TIMEOUT};

/// Connections at once on all listeners; more wait in the listeners' queues.
const CONNECTIONS_MAX: usize = 4_096;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be accepted, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An address that is listened on.
pub(crate) struct Listener {
    pub(crate) tcp: TcpListener,
    /// Set where it speaks TLS.
    pub(crate) tls: Option<TlsAcceptor>,
}

/// What all listeners share.
struct Hall {
    door: Arc<Door>,
    builder: auto::Builder<TokioExecutor>,
    connections: Arc<Semaphore>,
    graceful: GracefulShutdown,
    cut_off: CancellationToken,
}

/// One connection, before its handshake.
struct Guest {
    door: Arc<Door>,
    builder: auto::Builder<TokioExecutor>,
    watcher: Watcher,
    tls: Option<TlsAcceptor>,
}

/// Serves until `stop`, then lets the requests under way end, for 5 s at most.
pub(super) async fn serve(listeners: Vec<Listener>, door: Arc<Door>, stop: &CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(READ_TIMEOUT));
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (graceful, cut_off) = (GracefulShutdown::new(), CancellationToken::new());
    let hall = Hall { door, builder, connections, graceful, cut_off };
    join_all(listeners.into_iter().map(|listener| stop.run_until_cancelled(accept(listener, &hall)))).await;
    if timeout(SHUTDOWN_GRACE, hall.graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut off");
    }
    hall.cut_off.cancel();
}

async fn accept(listener: Listener, hall: &Hall) {
    loop {
        let permit = Arc::clone(&hall.connections).acquire_owned().await.expect("the semaphore is never closed");
        let stream: TcpStream = match listener.tcp.accept().await {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            continue;
        }
        let guest = Guest {
            door: Arc::clone(&hall.door),
            builder: hall.builder.clone(),
            watcher: hall.graceful.watcher(),
            tls: listener.tls.clone(),
        };
        let cut_off = hall.cut_off.clone();
        tokio::spawn(async move {
            if let Some(Err(error)) = cut_off.run_until_cancelled(guest.welcome(stream)).await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(permit);
        });
    }
}

type Ended = Result<(), Box<dyn std::error::Error + Send + Sync>>;

impl Guest {
    async fn welcome(self, stream: TcpStream) -> Ended {
        let Some(tls) = self.tls.clone() else { return self.serve(stream).await };
        let handshake = timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
        let stream = handshake.map_err(|elapsed| io::Error::new(io::ErrorKind::TimedOut, elapsed))??;
        // On the heap: two kinds of connection in one future would make each as large as both.
        Box::pin(self.serve(stream)).await
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: S) -> Ended {
        let Self { door, builder, watcher, tls: _ } = self;
        let service = service_fn(move |request| {
            let door = Arc::clone(&door);
            async move { door.answer(request).await }
        });
        watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await
    }
}
