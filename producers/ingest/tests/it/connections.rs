//! The server: slow senders, the cap on connections, HTTP/2, draining.

use std::net::SocketAddr;
use std::time::Duration;

use ingest::Server;
use ingest::server::{Drained, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::rig::{GOOD, Rig, call_on};
use crate::stream::Mode;

struct Served {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Drained>,
}

async fn serve(rig: &Rig, limits: Limits) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move { stopped.await.unwrap_or(()) };
    let running =
        tokio::spawn(ingest::run(listener, Server { ingest: rig.ingest.clone(), limits, tls: None }, shutdown));
    Served { address, stop, running }
}

impl Served {
    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        self.running.await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

fn request(body: &str) -> Vec<u8> {
    format!("POST /v1/ad_requests HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Reads one answer with its body; what comes before the connection closes if that is earlier.
async fn read_answer(connection: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !is_whole(&answer) && connection.read_buf(&mut answer).await.unwrap() > 0 {}
    String::from_utf8(answer).unwrap()
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head_end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8(answer[..head_end].to_vec()).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
    answer.len() >= head_end + 4 + length.parse::<usize>().unwrap()
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let rig = Rig::start(Mode::Take).await;
    let served = serve(&rig, Limits::default()).await;
    let mut connection = served.connect().await;
    for _ in 0..3 {
        connection.write_all(&request(GOOD)).await.unwrap();
        assert!(read_answer(&mut connection).await.starts_with("HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(served.stop().await, Drained::Whole);
    assert_eq!(rig.events().len(), 3);
}

#[tokio::test]
async fn slow_heads_and_silent_connections_are_cut_off() {
    let rig = Rig::start(Mode::Take).await;
    let limits = Limits { head_timeout: Duration::from_millis(50), ..Limits::default() };
    let served = serve(&rig, limits).await;
    for first in ["", "P", "POST /v1/ad_requests HTTP/1.1\r\nx: "] {
        let mut connection = served.connect().await;
        connection.write_all(first.as_bytes()).await.unwrap();
        let answer = read_answer(&mut connection).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{first}: {answer}");
    }
    assert_eq!(served.stop().await, Drained::Whole);
}

#[tokio::test]
async fn slow_bodies_are_answered_and_cut_off() {
    let quick = |settings: &mut ingest::Settings| settings.body_timeout = Duration::from_millis(50);
    let rig = Rig::start_with(Mode::Take, |_| {}, quick).await;
    let served = serve(&rig, Limits::default()).await;
    let mut connection = served.connect().await;
    connection.write_all(b"POST /v1/ad_requests HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{").await.unwrap();
    let answer = read_answer(&mut connection).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("/problems/slow-body"), "{answer}");
    assert_eq!(rig.ingest.counters().incomplete, 1);
    assert_eq!(served.stop().await, Drained::Whole);
}

#[tokio::test]
async fn large_heads_are_refused() {
    let rig = Rig::start(Mode::Take).await;
    let served = serve(&rig, Limits::default()).await;
    let mut connection = served.connect().await;
    let head = format!("POST /v1/ad_requests HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    connection.write_all(head.as_bytes()).await.unwrap();
    assert!(read_answer(&mut connection).await.starts_with("HTTP/1.1 431 "));
    let mut connection = served.connect().await;
    let head = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(200));
    connection.write_all(head.as_bytes()).await.unwrap();
    assert!(read_answer(&mut connection).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_a_place() {
    let rig = Rig::start(Mode::Take).await;
    let served = serve(&rig, Limits { connections_max: 1, ..Limits::default() }).await;
    let mut first = served.connect().await;
    first.write_all(&request(GOOD)).await.unwrap();
    assert!(read_answer(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = served.connect().await;
    second.write_all(&request(GOOD)).await.unwrap();
    first.write_all(&request(GOOD)).await.unwrap();
    assert!(read_answer(&mut first).await.starts_with("HTTP/1.1 200"));
    assert_eq!(rig.events().len(), 2, "the second connection was not served meanwhile");
    drop(first);
    assert!(read_answer(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served() {
    let rig = Rig::start(Mode::Take).await;
    let served = serve(&rig, Limits::default()).await;
    let io = hyper_util::rt::TokioIo::new(served.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let driving = tokio::spawn(connection);
    let uri = format!("http://{}/v1/ad_requests", served.address);
    let answer = sender.send_request(http::Request::post(uri).body(GOOD.to_owned()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200);
    drop((sender, answer));
    driving.await.unwrap().unwrap();
    assert_eq!(served.stop().await, Drained::Whole);
}

#[tokio::test]
async fn draining_answers_what_is_open_and_accepts_no_more() {
    let rig = Rig::start(Mode::Hold).await;
    let served = serve(&rig, Limits::default()).await;
    let silent = served.connect().await;
    let mut open = served.connect().await;
    open.write_all(&request(GOOD)).await.unwrap();
    while rig.producer.stats().offered == 0 {
        tokio::task::yield_now().await;
    }
    let address = served.address;
    let stopping = tokio::spawn(served.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    rig.stream.set(Mode::Take);
    let answer = read_answer(&mut open).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(stopping.await.unwrap(), Drained::Whole);
    drop(silent);
    assert_eq!(rig.events().len(), 1);
}

#[tokio::test]
async fn what_does_not_drain_in_time_is_cut_off() {
    let rig = Rig::start(Mode::Hold).await;
    let served = serve(&rig, Limits { drain_timeout: Duration::from_millis(20), ..Limits::default() }).await;
    let mut open = served.connect().await;
    open.write_all(&request(GOOD)).await.unwrap();
    while rig.producer.stats().offered == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(served.stop().await, Drained::CutOff(1));
    assert_eq!(rig.ingest.counters().abandoned, 1);
}

/// The server matches the routes of events by hand, ahead of the router.
#[tokio::test]
async fn the_server_answers_as_the_router_does() {
    let rig = Rig::start(Mode::Take).await;
    let served = serve(&rig, Limits::default()).await;
    let long = format!("/v1/ad_requests?{}", "x".repeat(9_000));
    let mut statuses = Vec::new();
    for (method, path, body) in [
        ("POST", "/v1/ad_requests", GOOD),
        ("POST", "/v1/ad_requests?x=y", GOOD),
        ("POST", "/v1/ad_requests", "{}"),
        ("POST", "/v1/ad_requests/", GOOD),
        ("POST", "/V1/ad_requests", GOOD),
        ("GET", "/v1/ad_requests", ""),
        ("PUT", "/v1/events", GOOD),
        ("POST", "/v1/events", GOOD),
        ("POST", "/v1/events?type=nothing", GOOD),
        ("POST", "/openrtb2/auction", GOOD),
        ("POST", "/openrtb2/auction", "["),
        ("POST", "/v1/auctions", "{}"),
        ("GET", "/v1/notices/burl?auction_id=a&auction_imp_id=1", ""),
        ("GET", "/health", ""),
        ("POST", "/health", ""),
        ("GET", "/nowhere", ""),
        ("POST", &long, GOOD),
        ("GET", &long, ""),
    ] {
        let request = http::Request::builder().method(method).uri(path).body(axum::body::Body::from(body)).unwrap();
        let expect = rig.call(request).await;
        let (head, text) = call_on(served.connect().await, method, path, body).await;
        assert_eq!(head.split(' ').nth(1), Some(expect.status.as_str()), "{method} {path:.40}: {head:.200}");
        assert_eq!(text, expect.text, "{method} {path:.40}");
        // On the wire a 204 has no length.
        for (name, value) in expect.headers.iter().filter(|(name, _)| *name != "content-length") {
            let line = format!("{name}: {}", value.to_str().unwrap());
            assert!(head.lines().any(|found| found == line), "{method} {path:.40}: {line} in {head}");
        }
        statuses.push(expect.status.as_u16());
    }
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [200, 204, 400, 404, 405, 414]);
}
