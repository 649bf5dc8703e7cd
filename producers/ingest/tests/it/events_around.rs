//! The events around an ad request: one route and one type of line each; what is refused is kept.

use axum::body::Body;
use events::envelope::EventType;
use http::Request;
use serde_json::{Value, json};

use crate::rig::{GOOD, NOW_MS, Rig, good, post};
use crate::stream::Mode;

/// A type, its route, a good event of it, a bad one, and the rule that the bad one breaks.
type Case = (EventType, &'static str, Value, Value, &'static str);

fn cases() -> Vec<Case> {
    vec![
        (
            EventType::BidRequest,
            "/v1/bid_requests",
            json!({"auction_id": "a", "dsp_id": "d", "tmax_ms": 200}),
            json!({"dsp_id": "d"}),
            "auction_id.required",
        ),
        (
            EventType::BidResponse,
            "/v1/bid_responses",
            json!({"auction_id": "a", "dsp_id": "d", "outcome": "timeout"}),
            json!({"auction_id": "a", "dsp_id": "d"}),
            "outcome",
        ),
        (
            EventType::Auction,
            "/v1/auctions",
            json!({"auction_id": "a", "imp_id": "1", "status": "no_fill"}),
            json!({"auction_id": "a", "imp_id": "1", "status": "filled", "dsp_id": "d"}),
            "bid_id.required",
        ),
        (
            EventType::WinNotice,
            "/v1/win_notices",
            json!({"auction_id": "a", "auction_price": 2.5}),
            json!({"auction_id": "a", "auction_price": "secret"}),
            "auction_price",
        ),
        (
            EventType::LossNotice,
            "/v1/loss_notices",
            json!({"auction_id": "a", "auction_loss": 102}),
            json!({"auction_id": "a", "auction_loss": "secret"}),
            "auction_loss",
        ),
        (
            EventType::BillingNotice,
            "/v1/billing_notices",
            json!({"auction_id": "a", "imp_id": "1", "auction_price": 2.5}),
            json!({"auction_id": "a", "auction_price": 2.5}),
            "imp_id.required",
        ),
        (
            EventType::ProofOfPlay,
            "/v1/proof_of_plays",
            json!({"play_id": "p", "adunit_id": "u", "imp_ts": NOW_MS - 9_000, "play_status": "completed"}),
            json!({"play_id": "p", "adunit_id": "u", "play_status": "completed"}),
            "imp_ts",
        ),
    ]
}

#[tokio::test]
async fn each_type_has_its_route() {
    for (event_type, path, good, bad, code) in cases() {
        let rig = Rig::start(Mode::Take).await;
        let answer = rig.post(path, good.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let [(stored_type, id, body)] = <[_; 1]>::try_from(rig.typed_events()).unwrap();
        assert_eq!((stored_type, body), (event_type, good.to_string()));
        assert_eq!(answer.json(), json!({"event_id": id, "warnings": []}));

        let refused = rig.post(path, bad.to_string()).await;
        let problem = refused.check_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["code"], code, "{path}");
        assert!(!refused.text.contains("secret"));
        assert_eq!(rig.events().len(), 1);
        assert_eq!(rig.refused(), [(code.to_owned(), bad.to_string().into_bytes())]);
    }
}

#[tokio::test]
async fn a_batch_takes_all_types_by_its_query_and_by_its_lines() {
    for (event_type, _, good, bad, code) in cases() {
        let rig = Rig::start(Mode::Take).await;
        let named = |value: &Value| {
            let mut value = value.clone();
            value["event_type"] = json!(event_type.name());
            value.to_string()
        };
        let by_query = format!("{good}\n{bad}");
        let answer = rig.post(&format!("/v1/events?type={}", event_type.name()), by_query).await.json();
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(1), &json!(1)), "{answer}");
        let by_line = [GOOD, &named(&good), &named(&bad), r#"{"event_type":"other"}"#].join("\n");
        let answer = rig.post("/v1/events", by_line).await.json();
        assert_eq!((&answer["accepted"], &answer["refused"]), (&json!(2), &json!(2)), "{answer}");
        assert_eq!(answer["results"][2]["errors"][0]["code"], code);
        assert_eq!(answer["results"][3]["errors"][0]["code"], "event_type");
        let types: Vec<_> = rig.typed_events().into_iter().map(|(event_type, ..)| event_type).collect();
        assert_eq!(types.iter().filter(|found| **found == event_type).count(), 2);
        assert_eq!(types.iter().filter(|found| **found == EventType::AdRequest).count(), 1);
        assert_eq!(rig.refused().len(), 3);
    }
}

#[tokio::test]
async fn what_is_refused_is_kept_byte_for_byte_within_a_quota() {
    let rig = Rig::start(Mode::Take).await;
    let bodies: [&[u8]; 4] = [b"", b"\xff\x00", b"{\"id\":NaN}", b"{\"id\":\"1\",\n\"imp\":[]}"];
    for body in bodies {
        rig.post("/v1/ad_requests", body.to_vec()).await.check_problem(400, "invalid-request");
    }
    let refused = rig.refused();
    assert_eq!(refused.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>(), bodies);
    assert!(rig.events().is_empty());
    assert_eq!((rig.ingest.counters().refused_kept, rig.ingest.counters().refused_lost), (4, 0));

    // A byte a second: whatever time it takes, the first 10 MiB are kept and no more. The key is `secret-key`.
    let rig = Rig::start_for(
        r#"{"tenants":[{"tenant_id":"acme","quota":{"refused_bytes_per_s":1},
            "keys_sha256":["85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa"]}]}"#,
    )
    .await;
    for _ in 0..60 {
        let body = Body::from(vec![b'x'; 250_000]);
        let request = Request::post("/v1/ad_requests").header("x-api-key", "secret-key").body(body).unwrap();
        rig.call(request).await.check_problem(400, "invalid-request");
    }
    let counts = rig.ingest.counters();
    assert_eq!(counts.refused_kept + counts.refused_lost, 60);
    assert_eq!(counts.refused_kept, (10 << 20) / 250_000, "{counts:?}");
    assert_eq!(u64::try_from(rig.refused().len()).unwrap(), counts.refused_kept);
}

#[tokio::test]
async fn a_body_that_is_refused_unread_is_kept_as_it_came() {
    let rig = Rig::start_with(Mode::Take, |_| {}, |settings| settings.body_bytes_max = 2_000).await;
    let gzip = |path: &str, body: &'static str| {
        Request::post(path).header("content-encoding", "gzip").body(Body::from(body)).unwrap()
    };
    rig.call(gzip("/v1/ad_requests", "{}")).await.check_problem(400, "corrupt-body");
    rig.call(gzip("/v1/events", "no gzip")).await.check_problem(400, "corrupt-body");
    let pieces = ["a".repeat(1_500), "b".repeat(1_500)].map(Ok::<_, std::io::Error>);
    let unannounced = Body::from_stream(futures::stream::iter(pieces));
    rig.post("/v1/auctions", unannounced).await.check_problem(413, "too-large");
    rig.post("/openrtb2/auction", "c".repeat(2_001)).await;
    assert_eq!(
        rig.refused(),
        [
            ("body.encoding".to_owned(), b"{}".to_vec()),
            ("body.encoding".to_owned(), b"no gzip".to_vec()),
            ("body.size".to_owned(), vec![b'a'; 1_500]),
            ("body.size".to_owned(), vec![b'c'; 2_000]),
        ]
    );
    assert!(rig.events().is_empty());
}

#[tokio::test]
async fn a_long_line_is_kept_to_the_limit() {
    let rig = Rig::start_with(Mode::Take, |_| {}, |settings| settings.body_bytes_max = 2_000).await;
    rig.post("/v1/events", format!("{}\n{}", good("a"), "x".repeat(3_000))).await;
    assert_eq!(rig.refused(), [("body.size".to_owned(), vec![b'x'; 2_000])]);
}

#[tokio::test]
async fn openrtb_senders_are_answered_without_content() {
    let rig = Rig::start(Mode::Take).await;
    let path = "/openrtb2/auction";
    let long = "x".repeat(300_000);
    for (body, status) in [(GOOD, 204), ("{", 400), (r#"{"id":"1","imp":[]}"#, 400), (long.as_str(), 413)] {
        let answer = rig.post(path, body.to_owned()).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (status, ""), "{body:.40}");
        assert_eq!((answer.header("content-type"), answer.header("x-openrtb-version")), ("", "2.6"));
    }
    let text = Request::post(path).header("content-type", "text/plain").body(Body::from(GOOD)).unwrap();
    let answer = rig.call(text).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (415, ""));
    assert_eq!((rig.events().len(), rig.refused().len()), (1, 3));
    rig.stream.set(Mode::Refuse("ResourceNotFoundException"));
    let answer = rig.post(path, good("r-2")).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
}

#[tokio::test]
async fn health_of_the_stream_and_metrics() {
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    let rig = Rig::start(Mode::Take).await;
    assert_eq!(rig.call(get("/sink-health")).await.status, 200);
    rig.call(post("/v1/ad_requests", GOOD)).await;
    rig.call(post("/v1/auctions", "{}")).await;
    let text = rig.call(get("/metrics")).await.text;
    for line in [
        "events_accepted_total{type=\"ad_request\"} 1",
        "events_accepted_total{type=\"auction\"} 0",
        "events_refused_total{reason=\"invalid\"} 1",
        "failed_events_total{result=\"kept\"} 1",
        "sink_healthy 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    // Every sample has its type before it.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part));
        let name = of_histogram.unwrap_or(name);
        assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
    }
    rig.stream.set(Mode::Refuse("ResourceNotFoundException"));
    rig.post("/v1/ad_requests", good("r-2")).await.check_problem(503, "stream-unavailable");
    rig.call(get("/sink-health")).await.check_problem(503, "stream-unavailable");
    rig.stream.set(Mode::Take);
    assert_eq!(rig.post("/v1/ad_requests", good("r-3")).await.status, 200);
    assert_eq!(rig.call(get("/sink-health")).await.status, 200);
    let lambda = Rig::start_with(Mode::Take, |_| {}, |settings| settings.serves_metrics = false).await;
    lambda.call(get("/metrics")).await.check_problem(404, "unknown-route");
}
