//! A Kinesis endpoint that counts: plain HTTP or TLS, one thread, nothing stored. It runs in a process of its own, so that what it costs
//! is not taken for the producer's.
//!
//! `GET /tally` tells what was counted, and `POST /down`, `/up` and `/reset` begin and end an outage and a measurement.

mod delay;
mod shards;
mod tls;
mod wire;

use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use shard_limits::WriteModel;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use self::{delay::Delay, shards::Shards};
pub(crate) use self::{
    shards::{Tally, stamp},
    wire::PutRecords,
};

/// How the endpoint behaves.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EndpointOptions {
    /// Shards of the one stream; any stream name means it.
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: u32,
    /// How shards limit writes: smooth, hard-window or burst. Not at all without it.
    #[arg(long, value_parser = model)]
    pub(crate) model: Option<WriteModel>,
    /// Round trip that is pretended, half of it before and half after the records are counted.
    #[arg(long, default_value_t = 0)]
    pub(crate) round_trip_ms: u64,
    /// Unpack every aggregate with its digest, and read the time stamp in each payload, instead of only counting.
    #[arg(long)]
    pub(crate) reads_payloads: bool,
}

fn model(name: &str) -> anyhow::Result<WriteModel> {
    WriteModel::named(name).context("no such model: smooth, hard-window or burst")
}

#[derive(Debug)]
struct Endpoint {
    half_trip: Duration,
    delay: Delay,
    started: Instant,
    /// Connections share it on one thread; it is never held across an await.
    shards: Mutex<Shards>,
}

/// Serves until the process is ended. The address is printed, for whoever started it.
///
/// # Errors
/// When no port can be listened on.
#[expect(clippy::print_stdout, reason = "the parent process reads the address")]
pub(crate) async fn serve(options: &EndpointOptions) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listen on loopback")?;
    println!("{}", listener.local_addr().context("read the address")?);
    let endpoint = Arc::new(Endpoint {
        half_trip: Duration::from_millis(options.round_trip_ms) / 2,
        delay: Delay::start()?,
        started: Instant::now(),
        shards: Mutex::new(Shards::new(options)),
    });
    let tls = tls::acceptor()?;
    loop {
        let (stream, _) = listener.accept().await.context("accept a connection")?;
        stream.set_nodelay(true).context("set up a connection")?;
        let (endpoint, tls) = (Arc::clone(&endpoint), tls.clone());
        drop(tokio::spawn(async move {
            // One port for both: a TLS connection begins with a byte that no HTTP method does.
            if !tls::begins(&stream).await {
                connection(endpoint, stream).await;
            } else if let Ok(stream) = tls.accept(stream).await {
                connection(endpoint, stream).await;
            }
        }));
    }
}

async fn connection(endpoint: Arc<Endpoint>, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(move |request| {
        let endpoint = Arc::clone(&endpoint);
        async move { Ok::<_, Infallible>(endpoint.answer(request).await) }
    });
    // Clients close connections as they like; what was counted stays counted.
    drop(http1::Builder::new().max_buf_size(1 << 20).serve_connection(TokioIo::new(stream), service).await);
}

impl Endpoint {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let arrived_us = micros_now();
        let path = request.uri().path().to_owned();
        let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
        let operation = target.and_then(|target| target.rsplit('.').next()).unwrap_or_default().to_owned();
        let body = match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => return answer(400, wire::error("SerializationException")),
        };
        if path != "/" {
            return answer(200, self.control(&path));
        }
        self.delay.pause(self.half_trip).await;
        let (status, text) = self.call(&operation, &body, arrived_us);
        self.delay.pause(self.half_trip).await;
        answer(status, text)
    }

    fn call(&self, operation: &str, body: &[u8], arrived_us: u64) -> (u16, String) {
        let mut shards = self.shards.lock().expect("nobody panics with the shards");
        if shards.is_down {
            return (500, wire::error("InternalFailure"));
        }
        let now_ms = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        match operation {
            "PutRecords" => match serde_json::from_slice::<PutRecords<'_>>(body) {
                Ok(put) => (200, shards.put_records(&put, now_ms, arrived_us)),
                Err(_) => (400, wire::error("SerializationException")),
            },
            "PutRecord" => match serde_json::from_slice(body) {
                Ok(entry) => shards.put_record(&entry, now_ms, arrived_us),
                Err(_) => (400, wire::error("SerializationException")),
            },
            "ListShards" => (200, shards.list()),
            "DescribeStream" => (200, shards.describe("StreamDescription")),
            "DescribeStreamSummary" => (200, shards.describe("StreamDescriptionSummary")),
            _ => (400, wire::error("UnknownOperationException")),
        }
    }

    fn control(&self, path: &str) -> String {
        let mut shards = self.shards.lock().expect("nobody panics with the shards");
        match path {
            "/down" => shards.is_down = true,
            "/up" => shards.is_down = false,
            "/reset" => shards.reset(),
            _ => {}
        }
        shards.tally().to_string()
    }
}

fn answer(status: u16, text: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    response.body(Full::new(text.into())).expect("status and header are valid")
}

/// The clock that all processes of this machine share, in microseconds.
#[expect(clippy::disallowed_methods, reason = "two processes compare their times")]
pub(crate) fn micros_now() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX)
}
