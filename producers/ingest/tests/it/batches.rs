//! `POST /v1/events`.

use axum::body::Body;
use futures::StreamExt;
use http::Request;
use serde_json::json;

use crate::rig::{Answer, GOOD, Rig, good};
use crate::stream::Mode;

const PATH: &str = "/v1/events";

async fn post(rig: &Rig, body: String) -> Answer {
    let request = Request::post(PATH).header("content-type", "application/x-ndjson").body(Body::from(body)).unwrap();
    rig.call(request).await
}

#[tokio::test]
async fn each_line_has_its_result() {
    let rig = Rig::start(Mode::Take).await;
    let lines = [&good("a"), "", "{", &good("b"), r#"{"id":"c","imp":[],"dooh":{"id":"s"}}"#, "\u{feff}{}", &good("d")];
    let answer = post(&rig, format!("{}\r\n\n", lines.join("\r\n"))).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    let document = answer.json();
    assert_eq!(
        (&document["accepted"], &document["refused"], &document["unavailable"]),
        (&json!(3), &json!(3), &json!(0))
    );
    let results = document["results"].as_array().unwrap();
    let statuses: Vec<_> =
        results.iter().map(|result| (result["line"].as_u64().unwrap(), result["status"].as_u64().unwrap())).collect();
    assert_eq!(statuses, [(1, 200), (3, 400), (4, 200), (5, 400), (6, 400), (7, 200)]);
    assert_eq!(results[3]["errors"][0]["code"], "imp.required");
    let acknowledged: Vec<_> = results.iter().filter_map(|result| result["event_id"].as_str()).collect();
    let events = rig.events();
    assert_eq!(acknowledged, events.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>());
    assert_eq!(events.into_iter().map(|(_, body)| body).collect::<Vec<_>>(), [good("a"), good("b"), good("d")]);
}

#[tokio::test]
async fn the_lines_of_a_batch_share_records() {
    let rig = Rig::start(Mode::Take).await;
    let body: Vec<_> = (0..500).map(|number| good(&number.to_string())).collect();
    let document = post(&rig, body.join("\n")).await.json();
    assert_eq!(document["accepted"], 500);
    assert_eq!(rig.events().len(), 500);
    let stats = rig.producer.stats();
    assert!(stats.kinesis_records < 50, "{stats:?}");
}

#[tokio::test]
async fn batches_that_are_refused_whole() {
    let rig = Rig::start_with(Mode::Take, |_| {}, |settings| settings.batch_bytes_max = 2_000_000).await;
    for body in ["", "\n\n \r\n"] {
        let problem = post(&rig, body.to_owned()).await.check_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["code"], "batch.empty");
    }
    post(&rig, "1\n".repeat(10_001)).await.check_problem(413, "too-many-lines");
    post(&rig, " ".repeat(2_000_001)).await.check_problem(413, "too-large");
    let json_type = Request::post(PATH).header("content-type", "application/json").body(Body::from(GOOD)).unwrap();
    rig.call(json_type).await.check_problem(415, "unsupported-media-type");
    rig.post("/v1/events?type=nothing", GOOD).await.check_problem(400, "unknown-event-type");
    assert!(rig.events().is_empty());
    assert_eq!(rig.post("/v1/events?type=ad_request", GOOD).await.status, 200);
}

#[tokio::test]
async fn a_long_line_fails_alone_and_garbage_is_answered_briefly() {
    let rig = Rig::start_with(Mode::Take, |_| {}, |settings| settings.body_bytes_max = 2_000).await;
    let long = good(&"x".repeat(2_000));
    let document = post(&rig, [good("a"), long, good("b")].join("\n")).await.json();
    assert_eq!((&document["accepted"], &document["refused"]), (&json!(2), &json!(1)));
    assert_eq!(
        document["results"][1],
        json!({"line": 2, "status": 413, "limit_bytes": 2000, "type": "/problems/too-large"})
    );

    let garbage = format!(r#"{{"id":"r","imp":[{}],"site":{{}}}}"#, ["7"; 100].join(","));
    let answer = post(&rig, vec![garbage; 1_000].join("\n")).await;
    let document = answer.json();
    assert_eq!(document["refused"], 1_000);
    assert_eq!(document["results"][0]["errors"].as_array().unwrap().len(), 100);
    assert_eq!(document["results"][999]["errors"].as_array().unwrap().len(), 1);
    assert_eq!(document["results"][999]["errors_omitted"], 99);
    assert!(answer.text.len() < 3_000_000, "{}", answer.text.len());
}

#[tokio::test]
async fn what_the_stream_does_not_take_is_503_line_by_line() {
    const RECORD_BYTES_MAX: usize = 8 * 1024;
    let small = |config: &mut kinesis_producer::Config| {
        config.record_bytes_max = RECORD_BYTES_MAX;
        config.aggregate_bytes_max = RECORD_BYTES_MAX;
        config.buffer_bytes_max = RECORD_BYTES_MAX + 1024;
        config.record_deadline = std::time::Duration::from_millis(50);
    };
    let rig = Rig::start_with(Mode::Hold, small, |_| {}).await;
    let body: Vec<_> = (0..100).map(|number| good(&number.to_string())).collect();
    let mut call = Box::pin(post(&rig, body.join("\n")));
    assert!(futures::poll!(&mut call).is_pending());
    rig.stream.set(Mode::Take);
    let document = call.await.json();
    let (accepted, unavailable) = (document["accepted"].as_u64().unwrap(), document["unavailable"].as_u64().unwrap());
    assert!(accepted > 0 && unavailable > 0 && accepted + unavailable == 100, "{accepted} {unavailable}");
    assert_eq!(u64::try_from(rig.events().len()).unwrap(), accepted);
    assert_eq!(document["results"][99]["type"], "/problems/queue-full");

    rig.stream.set(Mode::Throttle);
    post(&rig, good("z")).await.check_problem(503, "stream-unavailable");
}

#[tokio::test]
async fn batches_do_not_disturb_each_other() {
    let rig = Rig::start(Mode::Take).await;
    let batch = |batch: usize| (0..50).map(|line| good(&format!("{batch}-{line}"))).collect::<Vec<_>>().join("\n");
    let calls = (0..20).map(|number| post(&rig, batch(number)));
    let answers: Vec<_> = futures::stream::iter(calls).buffer_unordered(20).collect().await;
    assert!(answers.iter().all(|answer| answer.json()["accepted"] == 50));
    let mut ids: Vec<_> = rig.events().into_iter().map(|(id, _)| id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1_000);
}
