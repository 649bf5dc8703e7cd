//! Runs against a small server that answers as told and keeps what it got.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::screen::screens;
use crate::source::Replay;
use crate::traffic::Traffic;

/// What the server does with its n-th request.
type Behaviour = fn(u64, &str) -> Reply;

enum Reply {
    Answer(String),
    /// Closes the connection without a word.
    HangUp,
    /// Says nothing for ever.
    Silence,
}

#[derive(Default)]
struct Server {
    requests: AtomicU64,
    bodies: Mutex<Vec<String>>,
}

impl Server {
    async fn start(behaviour: Behaviour) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let server = Arc::new(Self::default());
        let serving = Arc::clone(&server);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).serve(stream, behaviour));
            }
        });
        (target, server)
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, behaviour: Behaviour) {
        let mut received = Vec::new();
        loop {
            let request = loop {
                if let Some((request, end)) = whole_request(&received) {
                    received.drain(..end);
                    break request;
                }
                if stream.read_buf(&mut received).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            match behaviour(number, head) {
                Reply::Answer(answer) => {
                    self.bodies.lock().unwrap().push(body.to_owned());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
                Reply::HangUp => return,
                Reply::Silence => std::future::pending().await,
            }
        }
    }
}

fn whole_request(received: &[u8]) -> Option<(String, usize)> {
    let head_end = received.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(received[..head_end].to_vec()).unwrap();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    let end = head_end + length;
    (received.len() >= end).then(|| (String::from_utf8(received[..end].to_vec()).unwrap(), end))
}

fn answer(status: &str, body: &str) -> Reply {
    Reply::Answer(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn config(target: &str, events: u32) -> Config {
    let one = NonZeroU32::MIN;
    Config {
        target: target.to_owned(),
        source: Source::Traffic(Traffic::new(1, &screens(1, 20), 0).unwrap()),
        // As many as all events within a tenth of a second.
        events_per_s: NonZeroU32::new(events * 10).unwrap(),
        duration: Duration::from_millis(100),
        connections: NonZeroUsize::new(4).unwrap(),
        batch: one,
        retry_per_10k: 0,
        seed: 1,
        start_ms: 1_795_000_000_000,
        acks: None,
        answer_timeout: Duration::from_secs(30),
    }
}

async fn run_whole(config: Config) -> Report {
    run(config, Arc::default(), std::future::pending()).await.unwrap()
}

#[tokio::test]
async fn every_event_is_sent_once_and_the_same_seed_sends_the_same() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (target, server) = Server::start(|_, _| answer("200 OK", r#"{"event_id":"a"}"#)).await;
        let report = run_whole(config(&target, 200)).await;
        assert_eq!((report.counts.sent, report.counts.accepted, report.counts.missed), (200, 200, 0));
        assert_eq!((report.latency.calls, report.service_time.calls), (200, 200));
        let mut bodies = server.bodies.lock().unwrap().clone();
        bodies.sort();
        runs.push(bodies);
    }
    assert_eq!(runs[0], runs[1]);
    runs[0].dedup();
    assert_eq!(runs[0].len(), 200);
}

#[tokio::test]
async fn answers_are_counted_by_their_status() {
    let (target, _server) = Server::start(|number, _| match number % 4 {
        0 => answer("200 OK", "{}"),
        1 => answer("400 Bad Request", "{}"),
        2 => answer("503 Service Unavailable", ""),
        _ => answer("429 Too Many Requests", ""),
    })
    .await;
    let counts = run_whole(config(&target, 100)).await.counts;
    assert_eq!((counts.accepted, counts.refused, counts.unavailable, counts.unanswered), (25, 25, 50, 0));
}

#[tokio::test]
async fn retries_and_invalid_requests_are_announced() {
    let (target, server) = Server::start(|_, _| answer("200 OK", "{}")).await;
    let mut config = config(&target, 500);
    config.retry_per_10k = 1_000;
    config.source = Source::Traffic(Traffic::new(1, &screens(1, 20), 1_000).unwrap());
    let counts = run_whole(config).await.counts;
    let mut times = HashMap::new();
    for body in server.bodies.lock().unwrap().iter() {
        *times.entry(body.clone()).or_insert(0_u64) += 1;
    }
    assert_eq!(times.values().map(|times| times - 1).sum::<u64>(), counts.sent_retries);
    assert!(counts.sent_retries > 20 && counts.sent_invalid > 20, "{counts:?}");
}

#[tokio::test]
async fn batches_go_to_their_route_and_count_by_line() {
    let (target, server) = Server::start(|_, head| {
        assert!(head.starts_with("POST /v1/events HTTP/1.1\r\n") && head.contains("application/x-ndjson"), "{head}");
        answer("200 OK", r#"{"accepted":8,"refused":1,"unavailable":1,"results":[]}"#)
    })
    .await;
    let mut config = config(&target, 100);
    config.batch = NonZeroU32::new(10).unwrap();
    let counts = run_whole(config).await.counts;
    assert_eq!((counts.sent, counts.accepted, counts.refused, counts.unavailable), (100, 80, 10, 10));
    assert!(server.bodies.lock().unwrap().iter().all(|body| body.lines().count() == 10));
}

#[tokio::test]
async fn acknowledged_ids_are_written_down() {
    let (target, _server) = Server::start(|number, _| {
        if number % 2 == 0 {
            answer("200 OK", &format!(r#"{{"event_id":"{number}"}}"#))
        } else {
            answer("400 x", r#"{"event_id":"no"}"#)
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&target, 100);
    config.acks = Some(folder.path().join("acks"));
    run_whole(config.clone()).await;
    let text = std::fs::read_to_string(folder.path().join("acks")).unwrap();
    let mut ids: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..100).step_by(2).collect::<Vec<_>>());

    config.acks = Some(folder.path().to_owned());
    let failed = run(config, Arc::default(), std::future::pending()).await;
    assert!(matches!(failed, Err(LoadError::Acks { .. })));
}

#[tokio::test]
async fn a_connection_that_was_given_up_is_made_again() {
    let (target, server) =
        Server::start(|number, _| if number % 5 == 4 { Reply::HangUp } else { answer("200 OK", "") }).await;
    let mut config = config(&target, 20);
    config.connections = NonZeroUsize::MIN;
    let counts = run_whole(config).await.counts;
    assert_eq!((counts.accepted, counts.unanswered), (20, 0));
    assert_eq!(server.bodies.lock().unwrap().len(), 20);
}

#[tokio::test]
async fn a_silent_server_and_none_at_all_show_in_the_counts() {
    let (target, _server) = Server::start(|_, _| Reply::Silence).await;
    let mut config = config(&target, 4);
    config.answer_timeout = Duration::from_millis(20);
    let counts = run_whole(config.clone()).await.counts;
    assert_eq!((counts.sent, counts.unanswered, counts.accepted), (4, 4, 0));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    config.target = listener.local_addr().unwrap().to_string();
    drop(listener);
    let counts = run_whole(config.clone()).await.counts;
    assert_eq!((counts.sent, counts.unanswered), (4, 4));

    config.target = "no port".to_owned();
    let failed = run(config, Arc::default(), std::future::pending()).await;
    assert!(matches!(failed, Err(LoadError::Target { .. })));
}

#[tokio::test]
async fn a_shutdown_ends_a_run_that_would_last() {
    let (target, _server) = Server::start(|_, _| answer("200 OK", "")).await;
    let mut config = config(&target, 1);
    config.events_per_s = NonZeroU32::MIN;
    config.duration = Duration::from_secs(3_600);
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let first_answer = async move {
        while watched.counts().accepted == 0 {
            tokio::task::yield_now().await;
        }
    };
    let report = run(config, progress, first_answer).await.unwrap();
    assert_eq!((report.counts.sent, report.counts.accepted), (1, 1));
}

#[tokio::test]
async fn a_file_is_replayed_to_its_end() {
    let (target, server) = Server::start(|_, _| answer("200 OK", "")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"a\":1}\n{\"b\":2}\n").unwrap();
    let mut config = config(&target, 100);
    config.source = Source::Replay(Replay::read(file.path(), 2).unwrap());
    config.duration = Duration::from_secs(60);
    assert_eq!(run_whole(config).await.counts.accepted, 4);
    let mut bodies = server.bodies.lock().unwrap().clone();
    bodies.sort();
    assert_eq!(bodies, ["{\"a\":1}", "{\"a\":1}", "{\"b\":2}", "{\"b\":2}"]);
}

fn day_source(speed: Option<u32>) -> Source {
    let config = crate::day::DayConfig { seed: 1, start_ms: 1_795_305_600_000, auctions_per_day: 1_000_000 };
    let day = crate::day::Day::new(config, screens(1, 200)).unwrap();
    Source::Day(DaySource::new(day, speed.and_then(NonZeroU32::new)))
}

#[tokio::test]
async fn each_event_of_a_day_goes_to_the_route_of_its_type() {
    let (target, server) = Server::start(|_, head| match head.split(' ').nth(1) {
        // The first event is a request, and the others are told by what they say of themselves.
        Some(path) if path.starts_with("/v1/") && path.ends_with('s') => answer("200 OK", "{}"),
        _ => answer("404 Not Found", "{}"),
    })
    .await;
    // One connection: events arrive in their order.
    let one = NonZeroUsize::MIN;
    let report = run_whole(Config { source: day_source(None), connections: one, ..config(&target, 400) }).await;
    assert_eq!((report.counts.sent, report.counts.accepted), (400, 400));
    let mut day = crate::day::Day::new(
        crate::day::DayConfig { seed: 1, start_ms: 1_795_305_600_000, auctions_per_day: 1_000_000 },
        screens(1, 200),
    )
    .unwrap();
    for body in server.bodies.lock().unwrap().iter() {
        let mut out = Vec::new();
        day.next(&mut out);
        assert_eq!(body.as_bytes(), out);
    }
}

#[tokio::test]
async fn a_day_with_a_speed_keeps_its_own_time_and_ends_with_the_run() {
    let (target, server) =
        Server::start(|_, _| answer("200 OK", r#"{"accepted":20,"refused":0,"unavailable":0}"#)).await;
    let config = Config {
        source: day_source(Some(600)),
        batch: NonZeroU32::new(20).unwrap(),
        duration: Duration::from_millis(500),
        ..config(&target, 1)
    };
    let counts = run_whole(config).await.counts;
    // 300 s of a day of a million requests, at night and by day: some thousand requests with what follows. A slow
    // machine misses some of them.
    let due = counts.sent + counts.missed;
    assert!(due > 5_000 && due % 20 == 0 && counts.sent > 0, "{counts:?}");
    assert!(server.bodies.lock().unwrap().iter().all(|body| body.lines().count() == 20));
}
