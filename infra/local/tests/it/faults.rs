//! What a person or a crash does to it: kill -9, a directory in use or of another version, a busy port.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;

use crate::http::Http;
use crate::running::{self, Running};

/// Events that each sender sends at most; the kill comes long before.
const EVENTS_MAX: usize = 20_000;
/// Acknowledged events before the kill.
const KILL_AFTER: usize = 400;

fn millrace(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.arg("up").arg("--data-dir").arg(data_dir).args(["--screens", "50", "--shards", "2"]);
    command.args(["--publish-interval", "1"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Two free ports: bound once and given back.
fn free_addresses() -> [String; 2] {
    let listeners = [(), ()].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("an address").to_string())
}

/// A started process that is killed with the test.
struct Up {
    child: Child,
    ingest: String,
}

impl Up {
    async fn start(data_dir: &Path) -> Self {
        let [cloud, ingest] = free_addresses();
        let child = millrace(data_dir).args(["--cloud", &cloud, "--ingest", &ingest]).spawn().expect("it starts");
        let mut up = Self { child, ingest };
        let http = up.http();
        for _ in 0..600 {
            let request = http::Request::get(format!("http://{}/health", up.ingest)).body(Full::default());
            if http.send(request.expect("a request")).await.is_ok_and(|answer| answer.status == 200) {
                return up;
            }
            assert!(up.child.try_wait().expect("its state").is_none(), "it ended before it was ready");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it was not ready in a minute");
    }

    fn http(&self) -> Http {
        Http::new(self.ingest.parse().expect("an address"))
    }

    /// SIGKILL: nothing of it gets to say goodbye.
    fn kill(mut self) {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Already killed and waited for, or the test failed before.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn event(round: usize, sender: usize, number: usize) -> String {
    format!(r#"{{"id":"{round}-{sender}-{number}","imp":[{{"id":"1","banner":{{}}}}],"dooh":{{"id":"s-{sender}"}}}}"#)
}

/// Sends until the process dies; returns the ids that were acknowledged.
async fn send_until_killed(up: Up, round: usize) -> Vec<String> {
    let (acknowledged, mut progress) = tokio::sync::mpsc::unbounded_channel();
    for sender in 0..4 {
        let (http, acknowledged, ingest) = (up.http(), acknowledged.clone(), up.ingest.clone());
        tokio::spawn(async move {
            for number in 0..EVENTS_MAX {
                let request = http::Request::post(format!("http://{ingest}/v1/ad_requests"))
                    .body(Full::new(Bytes::from(event(round, sender, number))))
                    .expect("a request");
                let Ok(answer) = http.send(request).await else { return };
                assert_eq!(answer.status, 200);
                let id = answer.json()["event_id"].as_str().expect("an id").to_owned();
                if acknowledged.send(id).is_err() {
                    return;
                }
            }
        });
    }
    drop(acknowledged);
    let mut ids = Vec::new();
    let mut up = Some(up);
    while let Some(id) = progress.recv().await {
        ids.push(id);
        if ids.len() == KILL_AFTER
            && let Some(up) = up.take()
        {
            up.kill();
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_that_was_acknowledged_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let up = Up::start(dir.path()).await;
        acknowledged.extend(send_until_killed(up, round).await);
    }
    assert!(acknowledged.len() >= 3 * KILL_AFTER);
    let running = Running::start_in(dir.path()).await;
    running.drain().await;
    let rows = running.sql("SELECT event_id FROM ad_requests").await;
    let ids: BTreeSet<String> = rows.iter().filter_map(|row| row[0].clone()).collect();
    assert_eq!(ids.len(), rows.len(), "no event is there twice");
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !ids.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are not in the table", lost.len(), acknowledged.len());
    let audit = running.audit().await;
    assert!(audit.balances, "{audit:?}");
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_arrives_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Running::start_in(dir.path()).await;
    assert_eq!(first.post(&event(0, 0, 0)).await, 200);
    first.pipeline.stop().await.expect("it stops");
    let second = Running::start_in(dir.path()).await;
    assert_eq!(second.number("SELECT count(*) FROM ad_requests").await, 1);
    assert_eq!(second.post(&event(0, 0, 0)).await, 200);
    second.drain().await;
    assert_eq!(second.number("SELECT count(*) FROM ad_requests").await, 1, "a retry after a restart is the same event");
    second.pipeline.stop().await.expect("it stops");
}

/// Runs `millrace up` where it cannot start, and returns its one line.
fn refusal(data_dir: &Path, arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = millrace(data_dir).args(arguments).output().expect("it runs");
    assert!(!status.success());
    let text = String::from_utf8(stderr).expect("text");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_use_is_said_in_one_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let running = Running::start_in(dir.path()).await;
    let said = refusal(dir.path(), &["--cloud", "127.0.0.1:0", "--ingest", "127.0.0.1:0"]);
    assert!(said.contains("in use by another process"), "{said}");
    assert_eq!(running.post(&event(0, 0, 0)).await, 200, "the one that has it is not disturbed");
    running.pipeline.stop().await.expect("it stops");
}

#[test]
fn a_directory_of_a_newer_version_is_not_touched() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("VERSION"), "99\n").expect("written");
    let said = refusal(dir.path(), &["--cloud", "127.0.0.1:0", "--ingest", "127.0.0.1:0"]);
    assert!(said.contains("newer"), "{said}");
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).expect("listed").map(|entry| entry.expect("read").file_name()).collect();
    assert_eq!(left, ["VERSION"]);
    assert_eq!(std::fs::read_to_string(dir.path().join("VERSION")).expect("read"), "99\n");
}

#[test]
fn a_busy_port_is_said_with_the_option_to_change_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = busy.local_addr().expect("an address").to_string();
    let said = refusal(dir.path(), &["--cloud", "127.0.0.1:0", "--ingest", &address]);
    assert!(said.contains(&address) && said.contains("--ingest"), "{said}");
    let said = refusal(dir.path(), &["--cloud", &address, "--ingest", "127.0.0.1:0"]);
    assert!(said.contains(&address) && said.contains("--cloud"), "{said}");
}

/// More than the sockets between a client and the server hold: the client is still writing when it is refused.
const FAR_OVER_THE_LIMIT: usize = 8 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_clear_answer_and_leaves_nothing() {
    let running = Running::start().await;
    let check = async |path: &str, content_type: &str, body: Vec<u8>, status: u16, says: &str| {
        let answer = running.http.post(path, content_type, body).await;
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert!(String::from_utf8_lossy(&answer.body).contains(says), "{says}: {answer:?}");
    };
    let json = "application/json";
    check("/v1/ad_requests", json, b"{".to_vec(), 400, "json.syntax").await;
    check("/v1/ad_requests", json, vec![b'['; 100_000], 400, "json.syntax").await;
    check("/v1/ad_requests", json, b"\xff{}".to_vec(), 400, "json.syntax").await;
    check("/v1/ad_requests", json, b"".to_vec(), 400, "json.syntax").await;
    check("/v1/ad_requests", json, br#"{"id":7,"imp":"x"}"#.to_vec(), 400, "imp.required").await;
    check("/v1/ad_requests", json, vec![b' '; FAR_OVER_THE_LIMIT], 413, "\"limit_bytes\":4194304").await;
    check("/v1/events", "application/x-ndjson", vec![b' '; FAR_OVER_THE_LIMIT], 413, "\"limit_bytes\":4194304").await;
    check("/v1/ad_requests", "text/xml", b"<x/>".to_vec(), 415, "").await;
    check("/v1/nothing", json, b"{}".to_vec(), 404, "/v1/ad_requests").await;
    let answer = running.http.get("/v1/ad_requests").await;
    assert_eq!((answer.status, &answer.headers["allow"]), (405, &http::HeaderValue::from_static("POST")));
    running.drain().await;
    assert_eq!(running::number_of_rows(&running).await, 0);
    running.pipeline.stop().await.expect("it stops");
}
