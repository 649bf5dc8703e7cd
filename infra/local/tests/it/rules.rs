//! Rules that need more than one event, and repairs, by SQL over the tables.

use events::envelope::EventType;
use queries::report::report;
use serde_json::{Value, json};

use crate::running::Running;

/// 2.50 for each thousand was bid, for four people a play, to be shown within an hour.
fn auction(now_ms: i64) -> Vec<Value> {
    vec![
        json!({"id": "a", "imp": [{"id": "1", "tagid": "berlin-1", "banner": {"w": 1, "h": 1}, "exp": 3600,
            "qty": {"multiplier": 4, "sourcetype": 3}}], "dooh": {"id": "berlin-1"}}),
        json!({"event_type": "bid_response", "auction_id": "a", "dsp_id": "d", "outcome": "bid",
            "response": {"id": "a", "seatbid": [{"bid": [{"id": "b", "impid": "1", "price": 2.5, "crid": "c", "adm": "<x/>"}]}]}}),
        json!({"event_type": "auction", "auction_id": "a", "imp_id": "1", "status": "filled", "dsp_id": "d",
            "bid_id": "b", "clearing_cpm": 2.5, "auction_ts": now_ms - 7_200_000}),
    ]
}

/// A notice of that auction that differs in some members, and the rules that it breaks.
fn notices(now_ms: i64) -> Vec<(Value, &'static str)> {
    let shown_ms = now_ms - 7_000_000;
    let of = |event_type: EventType, changes: Value| {
        let mut notice = json!({"event_type": event_type.name(), "auction_id": "a", "imp_id": "1", "auction_price": 2.5,
            "auction_multiplier": 4, "auction_imp_ts": shown_ms});
        for (name, value) in changes.as_object().expect("members") {
            notice[name] = value.clone();
        }
        notice
    };
    let (win, bill) = (EventType::WinNotice, EventType::BillingNotice);
    vec![
        (of(win, json!({})), ""),
        (of(win, json!({"auction_price": 2.51})), "price_above_bid"),
        (of(win, json!({"auction_multiplier": 4.1})), "multiplier_above_requested"),
        (of(win, json!({"auction_imp_ts": now_ms - 7_300_000})), "imp_ts_outside"),
        (of(win, json!({"auction_imp_ts": now_ms})), ""),
        (of(win, json!({"auction_id": "never"})), "orphan"),
        (of(win, json!({"imp_id": "2"})), "orphan"),
        (of(win, json!({"auction_price": 3, "auction_multiplier": 5})), "price_above_bid,multiplier_above_requested"),
        // The price that a loser is told is another's.
        (of(EventType::LossNotice, json!({"dsp_id": "d", "auction_price": 9, "auction_loss": 102})), ""),
        (of(EventType::LossNotice, json!({"dsp_id": "stranger", "auction_loss": 102})), "orphan"),
        // Attempts that the bidder did not take, a test, and the one that counts.
        (of(bill, json!({"attempt": 1, "http_status": 500})), ""),
        (of(bill, json!({"attempt": 2, "http_status": 204})), ""),
        (of(bill, json!({"test": 1})), ""),
        (of(bill, json!({"attempt": 3, "http_status": 200})), "second_billing"),
    ]
}

async fn send(running: &Running, events: &[Value]) -> Vec<String> {
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    let answer = running.http.post("/v1/events", "application/x-ndjson", lines.join("\n")).await.json();
    assert_eq!(answer["accepted"], events.len(), "{answer}");
    let results = answer["results"].as_array().expect("results").iter();
    results.map(|result| result["event_id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_that_break_a_rule_against_their_auction_are_listed() {
    let running = Running::start().await;
    let now_ms = millrace::clock::now_ms();
    send(&running, &auction(now_ms)).await;
    let mut expect = Vec::new();
    for (notice, rules) in notices(now_ms) {
        // One by one: which billing is the second is a matter of when they came.
        let id = send(&running, std::slice::from_ref(&notice)).await.remove(0);
        if !rules.is_empty() {
            expect.push((id, rules.to_owned()));
        }
    }
    running.drain().await;
    let day = |days: i64| {
        let day = chrono::DateTime::from_timestamp_millis(now_ms + days * 86_400_000).expect("a day");
        day.format("%Y-%m-%d").to_string()
    };
    let sql = report("notice_violations").expect("the report").sql(&day(0), &day(1)).expect("days");
    let rows = running.sql(&sql).await;
    let mut found: Vec<(String, String)> =
        rows.iter().map(|row| (row[3].clone().expect("an id"), row[7].clone().expect("rules"))).collect();
    found.sort();
    expect.sort();
    assert_eq!(found, expect);
    running.pipeline.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_read_by_sql_repaired_and_sent_again() {
    let running = Running::start().await;
    // A sender that writes its floor as text.
    let broken = r#"{"id":"r-é","imp":[{"id":"1","banner":{"w":1,"h":1},"bidfloor":"2.50"}],"dooh":{"id":"berlin-1"}}"#;
    assert_eq!(running.post(broken).await, 400);
    running.drain().await;
    let day = chrono::DateTime::from_timestamp_millis(millrace::clock::now_ms()).expect("a day");
    let (first, last) = (day - chrono::Duration::days(1), day + chrono::Duration::days(1));
    let days = [first, last].map(|day| day.format("%Y-%m-%d").to_string());
    let sql = report("failed_events_payloads").expect("the report").sql(&days[0], &days[1]).expect("days");
    let rows = running.sql(&sql).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((rows[0][4].as_deref(), rows[0][5].as_deref()), (Some("imp.bidfloor"), Some("/imp/0/bidfloor")));
    let text = rows[0][8].clone().expect("the text");
    assert_eq!(text, broken);
    assert_eq!(running.post(&text.replace(r#""2.50""#, "2.50")).await, 200);
    running.drain().await;
    assert_eq!(running.number("SELECT imp_bidfloor_cpm_micros FROM imps WHERE auction_id = 'r-é'").await, 2_500_000);
    running.pipeline.stop().await.expect("it stops");
}
