//! `POST /v1/ad_requests` and the answers that belong to no route.

use std::io::Write;
use std::time::Duration;

use axum::body::Body;
use events::envelope::Event;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use http::{Method, Request, header};
use serde_json::json;

use crate::rig::{GOOD, NOW_MS, Rig, good, post};
use crate::stream::Mode;

const PATH: &str = "/v1/ad_requests";

#[tokio::test]
async fn an_accepted_request_is_on_the_stream_before_the_answer() {
    let rig = Rig::start(Mode::Take).await;
    let answer = rig.post(PATH, GOOD).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let records = rig.stream.records();
    assert_eq!(records.len(), 1);
    let event = Event::read(&records[0]).unwrap();
    assert_eq!(answer.json(), json!({"event_id": event.envelope.event_id.to_string(), "warnings": []}));
    assert_eq!(event.original_body().unwrap(), GOOD);
    assert_eq!((event.envelope.received_ts, &*event.envelope.endpoint), (NOW_MS, PATH));
    assert_eq!((&*event.envelope.tenant_id, &*event.envelope.auction_id), ("demo", "r-1"));
    let counts = rig.ingest.counters();
    assert_eq!((counts.accepted, counts.accepted_bytes), (1, u64::try_from(GOOD.len()).unwrap()));
}

#[tokio::test]
async fn a_retry_is_the_same_event_and_warnings_are_told() {
    let rig = Rig::start(Mode::Take).await;
    let body = GOOD.replace(r#""id":"r-1""#, r#""id":"r-1","at":3"#);
    let first = rig.post(PATH, body.clone()).await.json();
    let second = rig.post(PATH, body).await.json();
    assert_eq!(first, second);
    assert_eq!(first["warnings"][0]["code"], "at");
    assert_eq!(first["warnings"][0]["severity"], "warning");
}

#[tokio::test]
async fn an_invalid_request_lists_everything_and_repeats_nothing() {
    let rig = Rig::start(Mode::Take).await;
    let body = r#"{"id":"r-1","imp":[{"id":"1","qty":{"multiplier":-3},"bidfloor":"secret"}],"device":{"ip":"secret","geo":{"lat":999.5,"lon":1}},"tmax":"secret"}"#;
    let answer = rig.post(PATH, body).await;
    let problem = answer.check_problem(400, "invalid-request");
    assert_eq!(problem["id"], "r-1");
    assert_eq!(problem["nbr"], 2);
    assert!(problem["event_id"].is_string());
    let errors = problem["errors"].as_array().unwrap();
    let found: Vec<_> =
        errors.iter().map(|error| (error["code"].as_str().unwrap(), error["path"].as_str().unwrap())).collect();
    let expect = [
        ("imp.media_type.required", "/imp/0"),
        ("imp.bidfloor", "/imp/0/bidfloor"),
        ("imp.qty.multiplier", "/imp/0/qty/multiplier"),
        ("imp.qty.sourcetype", "/imp/0/qty/sourcetype"),
        ("channel.missing", ""),
        ("device.ip", "/device/ip"),
        ("geo.range", "/device/geo/lat"),
        ("field.count", "/tmax"),
    ];
    assert_eq!(found, expect);
    assert_eq!(
        errors[2],
        json!({"code": "imp.qty.multiplier", "severity": "error", "path": "/imp/0/qty/multiplier",
        "section": "3.2.31", "message": "must be a number greater than 0"})
    );
    assert!(!answer.text.contains("secret") && !answer.text.contains("999.5"), "{}", answer.text);
    assert!(rig.events().is_empty());
    assert_eq!(rig.ingest.counters().invalid, 1);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused() {
    let rig = Rig::start(Mode::Take).await;
    let deep = [&b"{\"id\":"[..], &b"[".repeat(1_000)].concat();
    let deeper = b"[".repeat(200_000);
    for body in
        [&b""[..], b" ", b"{", b"[]", b"null", b"{}{}", b"\xff\xfe", b"{\"id\":NaN}", b"{\"id\":1e999}", &deep, &deeper]
    {
        let problem = rig.post(PATH, body.to_vec()).await.check_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["code"], "json.syntax");
        assert_eq!(problem["id"], json!(null));
    }
    assert!(rig.events().is_empty());
}

#[tokio::test]
async fn routes_and_methods() {
    let rig = Rig::start(Mode::Take).await;
    let health = rig.call(Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!((health.status.as_u16(), health.text.as_str()), (200, r#"{"status":"ok"}"#));
    let unknown = rig.post("/v1/nothing", GOOD).await.check_problem(404, "unknown-route");
    assert!(unknown["routes"].as_array().unwrap().contains(&json!("POST /v1/ad_requests")));
    for (method, path, allow) in
        [(Method::GET, PATH, "POST"), (Method::DELETE, "/v1/events", "POST"), (Method::POST, "/health", "GET,HEAD")]
    {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let answer = rig.call(request).await;
        answer.check_problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), allow);
    }
    assert_eq!(rig.ingest.counters().misrouted, 4);
}

#[tokio::test]
async fn every_problem_has_a_page() {
    let rig = Rig::start(Mode::Take).await;
    for page in ["invalid-request", "queue-full", "too-large"] {
        let answer = rig.call(Request::get(format!("/problems/{page}")).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200);
    }
    let unknown = rig.call(Request::get("/problems/other").body(Body::empty()).unwrap()).await;
    unknown.check_problem(404, "unknown-route");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn types_encodings_and_sizes() {
    let rig = Rig::start_with(Mode::Take, |_| {}, |settings| settings.body_bytes_max = 4096).await;
    let with = |name: header::HeaderName, value: &str, body: Vec<u8>| {
        Request::post(PATH).header(name, value).body(Body::from(body)).unwrap()
    };
    let plain = || GOOD.as_bytes().to_vec();
    assert_eq!(rig.call(with(header::CONTENT_TYPE, "application/json; charset=UTF-8", plain())).await.status, 200);
    assert_eq!(rig.call(with(header::CONTENT_ENCODING, "gzip", gzip(GOOD.as_bytes()))).await.status, 200);
    assert_eq!(rig.events().len(), 2);
    assert!(rig.events().iter().all(|(_, body)| body == GOOD));

    for content_type in ["text/plain", "application/x-ndjson", "application/x-www-form-urlencoded"] {
        let answer = rig.call(with(header::CONTENT_TYPE, content_type, plain())).await;
        answer.check_problem(415, "unsupported-media-type");
    }
    for encoding in ["compress", "gzip, gzip"] {
        let answer = rig.call(with(header::CONTENT_ENCODING, encoding, gzip(GOOD.as_bytes()))).await;
        answer.check_problem(415, "unsupported-encoding");
        assert_eq!(answer.header("accept-encoding"), "gzip, deflate, br, zstd");
    }
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let corrupt = rig.call(with(header::CONTENT_ENCODING, encoding, plain())).await;
        corrupt.check_problem(400, "corrupt-body");
    }
    let zstd = zstd::stream::encode_all(GOOD.replace("r-1", "r-2").as_bytes(), 3).unwrap();
    assert_eq!(rig.call(with(header::CONTENT_ENCODING, "zstd", zstd)).await.status, 200);
    let bomb = rig.call(with(header::CONTENT_ENCODING, "gzip", gzip(&vec![b' '; 3 << 20]))).await;
    bomb.check_problem(413, "too-large");
    rig.post(PATH, vec![b' '; 4097]).await.check_problem(413, "too-large");
    let chunked = Body::from_stream(stream::iter((0..5).map(|_| Ok::<_, std::io::Error>(" ".repeat(1000)))));
    rig.post(PATH, chunked).await.check_problem(413, "too-large");
    assert_eq!(rig.events().len(), 3);
    let counts = rig.ingest.counters();
    assert_eq!((counts.accepted, counts.undecodable, counts.too_large), (3, 9, 3));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_loses_nothing() {
    const RECORD_BYTES_MAX: usize = 8 * 1024;
    let small = |config: &mut kinesis_producer::Config| {
        config.record_bytes_max = RECORD_BYTES_MAX;
        config.aggregate_bytes_max = RECORD_BYTES_MAX;
        config.buffer_bytes_max = RECORD_BYTES_MAX + 1024;
    };
    let rig = Rig::start_with(Mode::Hold, small, |_| {}).await;
    let mut calls: Vec<_> = (0..100).map(|number| Box::pin(rig.post(PATH, good(&number.to_string())))).collect();
    let mut refused = 0;
    let mut waiting = Vec::new();
    for mut call in calls.drain(..) {
        match futures::poll!(&mut call) {
            std::task::Poll::Ready(answer) => {
                answer.check_problem(503, "queue-full");
                refused += 1;
            }
            std::task::Poll::Pending => waiting.push(call),
        }
    }
    assert!(refused > 0 && !waiting.is_empty(), "{refused} refused");
    rig.stream.set(Mode::Take);
    let answers: Vec<_> = stream::iter(waiting).buffer_unordered(100).collect().await;
    let mut acknowledged: Vec<_> =
        answers.iter().map(|answer| answer.json()["event_id"].as_str().unwrap().to_owned()).collect();
    let mut stored: Vec<_> = rig.events().into_iter().map(|(id, _)| id).collect();
    acknowledged.sort();
    stored.sort();
    assert_eq!(acknowledged, stored);
    let counts = rig.ingest.counters();
    assert_eq!((counts.accepted + counts.queue_full, counts.queue_full), (100, refused));
}

#[tokio::test]
async fn a_stream_that_does_not_take_is_503_and_one_that_cannot_is_413() {
    let impatient = |config: &mut kinesis_producer::Config| config.record_deadline = Duration::from_millis(50);
    let rig = Rig::start_with(Mode::Throttle, impatient, |_| {}).await;
    rig.post(PATH, GOOD).await.check_problem(503, "stream-unavailable");
    rig.stream.set(Mode::Refuse("ResourceNotFoundException"));
    rig.post(PATH, good("r-2")).await.check_problem(503, "stream-unavailable");
    rig.stream.set(Mode::Refuse("ValidationException"));
    rig.post(PATH, good("r-3")).await.check_problem(413, "too-large");
    assert!(rig.events().is_empty());
    let counts = rig.ingest.counters();
    assert_eq!((counts.accepted, counts.unavailable, counts.too_large), (0, 2, 1));
    rig.producer.close().await;
    rig.post(PATH, good("r-4")).await.check_problem(503, "stream-unavailable");
}

#[tokio::test]
async fn a_sender_that_hangs_up_is_counted_and_its_event_stays() {
    let rig = Rig::start(Mode::Hold).await;
    let mut call = Box::pin(rig.call(post(PATH, GOOD)));
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(rig.ingest.counters().abandoned, 1);
    rig.stream.set(Mode::Take);
    rig.producer.flush().await;
    assert_eq!(rig.events().len(), 1);
}
