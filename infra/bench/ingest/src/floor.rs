//! What the machine allows: a server of the same HTTP library that reads each body and answers, and does nothing else. A
//! collection API that cost nothing would be as quick.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

/// As long as the collection API's own; to a batch, as if it were of a hundred events.
const ANSWER: &[u8] = br#"{"event_id":"00000000-0000-8000-8000-000000000000","accepted":100}"#;

/// Serves until the process is ended.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) fn serve(address: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.context("listen")?;
        loop {
            let (stream, _) = listener.accept().await.context("accept a connection")?;
            stream.set_nodelay(true).context("set up a connection")?;
            drop(tokio::spawn(connection(stream)));
        }
    })
}

async fn connection(stream: TcpStream) {
    let mut first = [0; 2];
    let is_http2 = stream.peek(&mut first).await.is_ok_and(|_| first == *b"PR");
    let io = TokioIo::new(stream);
    // Callers close connections as they like.
    if is_http2 {
        drop(http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(answer)).await);
    } else {
        drop(http1::Builder::new().serve_connection(io, service_fn(answer)).await);
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match request.into_body().collect().await {
        Ok(_body) => StatusCode::OK,
        Err(_) => StatusCode::BAD_REQUEST,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER)));
    *response.status_mut() = status;
    Ok(response)
}
