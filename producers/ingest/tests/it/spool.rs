//! The server as a process, with a spool, before a stream that is gone: what it says, what survives kill -9, what is sent later.

use std::collections::BTreeSet;
use std::path::Path;

use events::envelope::Event;

use crate::process::{PATIENCE, Process};
use crate::rig::good;
use crate::stream::{Mode, Stream};

fn spool(folder: &Path, bytes_max: u64) -> [(&'static str, String); 2] {
    [("SPOOL_DIR", folder.display().to_string()), ("SPOOL_BYTES_MAX", bytes_max.to_string())]
}

fn auctions(stream: &Stream) -> BTreeSet<String> {
    let records = stream.records();
    records.iter().map(|record| Event::read(record).unwrap().envelope.auction_id.into_owned()).collect()
}

async fn until(what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test]
async fn while_the_stream_is_gone_events_are_taken_and_survive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::start(Mode::Take).await;
    let first = Process::start(&stream, &spool(folder.path(), 64 << 20)).await;
    assert_eq!(first.sink_health().await, (200, serde_json::json!({"status": "ok"})));
    stream.set(Mode::Fail);
    let names: BTreeSet<String> = (0..40).map(|number| format!("gone-{number}")).collect();
    let bodies: Vec<String> = names.iter().map(|name| good(name)).collect();
    for (status, answer) in
        futures::future::join_all(bodies.iter().map(|body| first.call("POST", "/v1/ad_requests", body))).await
    {
        assert_eq!(status, 200, "{answer}");
    }
    let (status, health) = first.sink_health().await;
    assert_eq!((status, &health["status"], &health["spool_events"]), (200, &"spooling".into(), &40.into()));
    assert!(auctions(&stream).is_empty());
    first.kill();

    // The next process begins while the stream is still gone, takes more, and sends everything once it is back.
    let second = Process::start(&stream, &spool(folder.path(), 64 << 20)).await;
    assert_eq!(second.call("POST", "/v1/ad_requests", &good("later")).await.0, 200);
    stream.set(Mode::Take);
    until(|| auctions(&stream).len() == 41).await;
    let mut expect = names;
    expect.insert("later".to_owned());
    assert_eq!(auctions(&stream), expect);
    until_healthy(&second).await;
}

async fn until_healthy(process: &Process) {
    let healthy = async {
        while process.sink_health().await.1 != serde_json::json!({"status": "ok"}) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, healthy).await.unwrap();
}

#[tokio::test]
async fn a_full_spool_refuses_with_503_and_what_it_took_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let stream = Stream::start(Mode::Take).await;
    let process = Process::start(&stream, &spool(folder.path(), 1 << 20)).await;
    stream.set(Mode::Fail);
    let padding = "x".repeat(200_000);
    let (mut accepted, mut refused) = (BTreeSet::new(), 0);
    for number in 0..12 {
        let name = format!("large-{number}");
        let body = good(&name).replacen('{', &format!(r#"{{"padding":"{padding}","#), 1);
        match process.call("POST", "/v1/ad_requests", &body).await {
            (200, _) => drop(accepted.insert(name)),
            (503, answer) => {
                assert!(answer.contains("/problems/queue-full"), "{answer}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!accepted.is_empty() && refused > 0, "{} accepted, {refused} refused", accepted.len());
    assert_eq!(process.sink_health().await.0, 503);
    stream.set(Mode::Take);
    until(|| auctions(&stream).len() >= accepted.len()).await;
    assert!(accepted.is_subset(&auctions(&stream)));
}
