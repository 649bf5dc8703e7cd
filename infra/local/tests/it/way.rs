//! The whole way, from HTTP to an SQL answer.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::running::{Running, corpus};

/// Bodies that are easily changed on the way: white space, escapes, numbers as written, repeated keys.
const BODIES: [&str; 7] = [
    r#"{"id":"plain","imp":[{"id":"1","banner":{}}],"dooh":{"id":"berlin-1"}}"#,
    r#"{"id":"numbers","imp":[{"id":"1","banner":{},"bidfloor":2.50,"qty":{"multiplier":1.42e1}}],"dooh":{"id":"berlin-1"}}"#,
    r#"  {"id" : "spaces" , "imp":[ {"id":"1","video":{"mimes":["video/mp4"]}} ],	"dooh":{"id":"kathmandu-1"}}  "#,
    "{\n  \"id\": \"lines\",\r\n  \"imp\": [{\"id\": \"1\", \"banner\": {}}],\n  \"dooh\": {\"id\": \"berlin-1\"}\n}\n",
    r#"{"id":"escapes \u00e9 é \\ \" \/ 😀","imp":[{"id":"1","banner":{}}],"site":{"page":"https://x/?a=1&b=<2>"}}"#,
    r#"{"id":"repeated","id":"repeated","imp":[{"id":"1","banner":{}}],"app":{"id":"a"},"ext":{"z":1,"a":2,"z":3}}"#,
    r#"{"id":"imps","imp":[{"id":"1","banner":{}},{"id":"2","tagid":"kathmandu-1","audio":{"mimes":["audio/mp4"]}}],"dooh":{"id":"berlin-1"},"unknown":{"kept":true}}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_request_is_one_row_with_its_bytes() {
    let running = Running::start().await;
    for body in BODIES {
        assert_eq!(running.post(body).await, 200, "{body}");
    }
    running.drain().await;
    let mut expect: Vec<String> = BODIES.iter().map(|body| (*body).to_owned()).collect();
    expect.sort();
    assert_eq!(bodies(&running).await, expect);
    assert_eq!(running.number("SELECT count(*) FROM imps").await, 8);
    assert!(running.audit().await.balances);
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_say_what_the_screens_table_knows() {
    let running = Running::start().await;
    for body in BODIES {
        running.post(body).await;
    }
    running.drain().await;
    let rows = running
        .sql(
            "SELECT adunit_id, imp_qty_multiplier_e4, multiplier_source, floor_cost_micros, screen_known, city, tz, \
             local_hour IS NOT NULL FROM imps WHERE auction_id IN ('numbers', 'spaces', 'imps') ORDER BY 1, 2",
        )
        .await;
    let text: Vec<String> = rows
        .iter()
        .map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("null")).collect::<Vec<_>>().join("|"))
        .collect();
    // 2.50 / 1000 x 14.2 = 0.0355 of the floor's currency.
    assert_eq!(
        text,
        [
            "berlin-1|40000|screen|0|true|Berlin|Europe/Berlin|true",
            "berlin-1|142000|request|35500|true|Berlin|Europe/Berlin|true",
            "kathmandu-1|15000|screen|0|true|Kathmandu|Asia/Kathmandu|true",
            "kathmandu-1|15000|screen|0|true|Kathmandu|Asia/Kathmandu|true",
        ]
    );
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_one_row_and_another_body_is_another_event() {
    let running = Running::start().await;
    let [first, second] = [BODIES[0], BODIES[1]];
    for body in [first, second, first] {
        assert_eq!(running.post(body).await, 200);
    }
    running.drain().await;
    // After a publication, so that the repeat meets a published row.
    let other_body = first.replace("\"banner\":{}", "\"banner\":{\"w\":1}");
    for body in [first, &other_body] {
        assert_eq!(running.post(body).await, 200);
    }
    running.drain().await;
    assert_eq!(running.number("SELECT count(*) FROM ad_requests").await, 3);
    let audit = running.audit().await;
    assert!(audit.balances, "{audit:?}");
    assert_eq!((audit.total.accepted, audit.total.duplicates), (5, 2));
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_becomes_a_failed_event_with_its_bytes() {
    let running = Running::start().await;
    assert_eq!(running.post(BODIES[0]).await, 200);
    let kinesis = aws_sdk_kinesis::Client::new(running.pipeline.aws());
    for data in [&b"not an event"[..], b"\xff\xfe\x00", b"{\"event_id\":1}"] {
        let blob = aws_sdk_kinesis::primitives::Blob::new(data);
        let put = kinesis.put_record().stream_name("ad-events").partition_key("k").data(blob);
        put.send().await.expect("the stream takes any bytes");
    }
    running.drain().await;
    let rows = running.sql("SELECT payload, error_code, processor FROM failed_events ORDER BY payload_bytes").await;
    let payloads: Vec<Vec<u8>> = rows.iter().map(|row| decode(row[0].as_deref().expect("a payload"))).collect();
    assert_eq!(payloads, [&b"\xff\xfe\x00"[..], b"not an event", b"{\"event_id\":1}"]);
    let audit = running.audit().await;
    assert!(audit.balances, "{audit:?}");
    assert_eq!((audit.total.accepted, audit.total.rows, audit.total.failed), (4, 1, 3));
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_event_is_a_row_of_its_table_and_refusals_are_failed_events() {
    let running = Running::start().await;
    let now_ms = millrace::clock::now_ms();
    let play = format!(
        r#"{{"play_id":"p","adunit_id":"berlin-1","imp_ts":{now_ms},"play_status":"completed","multiplier":4}}"#
    );
    let bids = r#"{"auction_id":"a","dsp_id":"d","outcome":"bid","response":{"id":"a","seatbid":[{"seat":"s","bid":[{"id":"b1","impid":"1","price":2.5,"adm":"x","crid":"c"},{"id":"b2","impid":"1","price":1,"adm":"x","crid":"c"}]}]}}"#;
    for (path, body) in [
        ("/v1/bid_requests", r#"{"auction_id":"a","dsp_id":"d"}"#),
        ("/v1/bid_responses", bids),
        (
            "/v1/auctions",
            r#"{"auction_id":"a","imp_id":"1","status":"filled","dsp_id":"d","bid_id":"b1","clearing_cpm":2.4}"#,
        ),
        ("/v1/win_notices", r#"{"auction_id":"a","auction_price":2.4}"#),
        ("/v1/loss_notices", r#"{"auction_id":"a","auction_loss":102}"#),
        ("/v1/billing_notices", r#"{"auction_id":"a","imp_id":"1","auction_price":2.4,"auction_multiplier":4}"#),
        ("/v1/proof_of_plays", play.as_str()),
        ("/v1/ad_requests", BODIES[0]),
    ] {
        // Twice: the repeat is a duplicate in whichever table it is.
        for _ in 0..2 {
            let answer = running.http.post(path, "application/json", body.to_owned()).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        let refused = running.http.post(path, "application/json", r#"{"not":"one"}"#).await;
        assert_eq!(refused.status, 400, "{path}");
    }
    running.drain().await;
    for (table, rows) in [
        ("bid_requests", 1),
        ("bid_responses", 1),
        ("bids", 2),
        ("auctions", 1),
        ("notices", 3),
        ("proof_of_plays", 1),
        ("ad_requests", 1),
    ] {
        assert_eq!(running.number(&format!("SELECT count(*) FROM {table}")).await, rows, "{table}");
    }
    let billed = "SELECT auction_price_cpm_micros * auction_multiplier_e4 / 10000000 FROM notices WHERE event_type = 'billing_notice'";
    assert_eq!(running.number(billed).await, 9_600);
    let place = "SELECT city, venuetype_parent, local_hour IS NOT NULL FROM proof_of_plays";
    let row: Vec<String> = running.sql(place).await.remove(0).into_iter().flatten().collect();
    assert_eq!(row, ["Berlin", "1", "true"]);
    let kept = "SELECT count(*) FROM failed_events WHERE processor = 'ingest' AND payload_bytes = 13";
    assert_eq!(running.number(kept).await, 8);
    let audit = running.audit().await;
    assert!(audit.balances, "{audit:?}");
    assert_eq!((audit.total.accepted, audit.total.rows, audit.total.duplicates, audit.total.failed), (16, 8, 8, 0));
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_valid_corpus_is_accepted_each_exactly_once_and_byte_identical() {
    let Some(valid) = corpus("valid_bid_requests.ndjson") else { return };
    let running = Running::start().await;
    let lines: Vec<&str> = valid.lines().collect();
    // Half as single requests, half as batches: both ways in.
    let (singles, batched) = lines.split_at(lines.len() / 2);
    for line in singles {
        assert_eq!(running.post(line).await, 200, "{line}");
    }
    for batch in batched.chunks(100) {
        let answer = running.http.post("/v1/events", "application/x-ndjson", Bytes::from(batch.join("\n"))).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json()["accepted"], batch.len(), "{}", answer.json());
    }
    running.drain().await;
    let mut expect: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    expect.sort();
    assert_eq!(bodies(&running).await, expect);
    assert_eq!(running.number("SELECT count(DISTINCT event_id) FROM ad_requests").await, 1284);
    assert!(running.audit().await.balances);
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_invalid_corpus_is_refused_and_leaves_nothing() {
    let (Some(structural), Some(invalid)) =
        (corpus("structurally_invalid_bid_requests.ndjson"), corpus("invalid_bid_requests.ndjson"))
    else {
        return;
    };
    let running = Running::start().await;
    let mut statuses = BTreeMap::new();
    for line in structural.lines().chain(invalid.lines()) {
        let case: serde_json::Value = serde_json::from_str(line).expect("the corpus is JSON");
        let is_ours = case["scope"].as_str().is_none_or(|scope| matches!(scope, "openrtb" | "json"));
        if is_ours {
            let raw = case["raw_body"].as_str().map(str::to_owned);
            let status = running.post(&raw.unwrap_or_else(|| case["request"].to_string())).await;
            *statuses.entry(status).or_insert(0) += 1;
            assert_eq!(status, 400, "{line}");
        }
    }
    assert!(statuses[&400] > 46, "{statuses:?}");
    running.drain().await;
    assert_eq!(running.number("SELECT count(*) FROM ad_requests").await, 0);
    running.pipeline.stop().await.expect("it stops");
}

/// All bodies in the table, sorted.
async fn bodies(running: &Running) -> Vec<String> {
    let rows = running.sql("SELECT body FROM ad_requests").await;
    let mut bodies: Vec<String> = rows.into_iter().filter_map(|mut row| row.remove(0)).collect();
    bodies.sort();
    bodies
}

fn decode(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).expect("base64")
}
