//! `/v1/notices`: URLs with resolved macros.

use std::collections::BTreeMap;

use axum::body::Body;
use events::envelope::EventType;
use http::{Method, Request};
use ingest::gateway;
use serde_json::{Value, json};

use crate::rig::{Answer, Rig};
use crate::stream::Mode;

async fn call(rig: &Rig, method: Method, uri: &str, body: &str) -> Answer {
    rig.call(Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_url_is_an_event_and_the_same_url_is_the_same_event() {
    for (name, event_type) in
        [("nurl", EventType::WinNotice), ("burl", EventType::BillingNotice), ("lurl", EventType::LossNotice)]
    {
        let rig = Rig::start(Mode::Take).await;
        let uri = format!("/v1/notices/{name}?auction_id=a&imp_id=1&auction_price=2.50&dsp_id=d&auction_loss=102");
        for method in [Method::GET, Method::POST, Method::GET] {
            let answer = call(&rig, method, &uri, "").await;
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (204, ""));
        }
        let events = rig.typed_events();
        assert_eq!(events.len(), 3);
        assert!(events.iter().all(|(found, id, _)| *found == event_type && *id == events[0].1));
        let body: Value = serde_json::from_str(&events[0].2).unwrap();
        assert_eq!((&body["auction_price"], &body["imp_id"]), (&Value::from(2.5), &Value::from("1")));
        assert_eq!(body["query"], "auction_id=a&auction_loss=102&auction_price=2.50&dsp_id=d&imp_id=1");
    }
}

#[tokio::test]
async fn a_document_is_taken_in_place_of_macros() {
    let rig = Rig::start(Mode::Take).await;
    let body = r#"{"auction_id":"a","imp_id":"1",  "auction_price":1}"#;
    assert_eq!(call(&rig, Method::POST, "/v1/notices/burl", body).await.status, 204);
    assert_eq!(rig.events()[0].1, body);
}

#[tokio::test]
async fn notices_that_say_too_little_are_refused_and_kept() {
    let rig = Rig::start(Mode::Take).await;
    for (uri, code) in [
        ("/v1/notices/nurl", "auction_id.required"),
        ("/v1/notices/burl?auction_id=a&auction_price=1", "imp_id.required"),
        ("/v1/notices/nurl?auction_id=a&auction_price=NaN", "auction_price"),
        ("/v1/notices/nurl?auction_id=a&multiplier=-1", "auction_multiplier"),
        ("/v1/notices/nurl?auction_id=%24%7BAUCTION_ID%7D", "auction_id.required"),
    ] {
        let problem = call(&rig, Method::GET, uri, "").await.check_problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["code"], code, "{uri}");
    }
    assert_eq!((rig.events().len(), rig.refused().len()), (0, 5));
    call(&rig, Method::GET, "/v1/notices/xurl?auction_id=a", "").await.check_problem(404, "unknown-route");
    let long = format!("/v1/notices/nurl?auction_id={}", "a".repeat(9_000));
    call(&rig, Method::GET, &long, "").await.check_problem(414, "uri-too-long");
}

/// The calls that the services make of a function for a URL: HTTP APIs hand on its query as it is, REST APIs as maps of
/// what it says, balancers as maps of what stands in it, of a repeated name all values or the last.
fn function_events(path: &str, query: &str) -> [Value; 4] {
    let decoded: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let raw: Vec<(&str, &str)> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let mut decoded_lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut raw_lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for ((name, value), (raw_name, raw_value)) in decoded.iter().zip(&raw) {
        decoded_lists.entry(name).or_default().push(value);
        raw_lists.entry(raw_name).or_default().push(raw_value);
    }
    let raw_singles: BTreeMap<&str, &str> = raw.into_iter().collect();
    let balancer = json!({"elb": {"targetGroupArn": "arn"}});
    [
        json!({"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": {},
            "requestContext": {"stage": "$default", "http": {"method": "GET"}}}),
        json!({"httpMethod": "GET", "path": path, "headers": {}, "multiValueHeaders": {},
            "multiValueQueryStringParameters": decoded_lists, "requestContext": {"stage": "prod"}}),
        json!({"httpMethod": "GET", "path": path, "headers": {}, "queryStringParameters": raw_singles,
            "requestContext": balancer}),
        json!({"httpMethod": "GET", "path": path, "multiValueHeaders": {},
            "multiValueQueryStringParameters": raw_lists, "requestContext": balancer}),
    ]
}

#[tokio::test]
async fn a_notice_is_the_same_event_by_whichever_front_it_comes() {
    for query in [
        "imp_id=1&auction_price=2.50&auction_id=a",
        "z=%C3%A9+%26&auction_id=a%2Fb&imp_id=1&a=%20&auction_imp_ts=1795000000000",
        "imp_id=1&auction_id=first&auction_id=last&price=1",
        "imp_id=1&id=x&AUCTION_ID=y&price=1",
        "imp_id=1&auction_id=a&seat_id=%24%7BAUCTION_SEAT_ID%7D&auction_price=AUDIT&empty=",
    ] {
        let rig = Rig::start(Mode::Take).await;
        let path = "/v1/notices/burl";
        assert_eq!(call(&rig, Method::GET, &format!("{path}?{query}"), "").await.status, 204, "{query}");
        for event in function_events(path, query) {
            let shown = event.to_string();
            let answer = gateway::call(rig.app.clone(), serde_json::from_value(event).unwrap()).await;
            assert_eq!(serde_json::to_value(answer).unwrap()["statusCode"], 204, "{shown}");
        }
        let events = rig.typed_events();
        assert_eq!(events.len(), 5);
        assert!(events.iter().all(|event| *event == events[0]), "{query}: {events:#?}");
    }
}
