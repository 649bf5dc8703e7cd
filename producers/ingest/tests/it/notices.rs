//! `/v1/notices`: URLs with resolved macros.

use axum::body::Body;
use events::envelope::EventType;
use http::{Method, Request};
use serde_json::Value;

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
        assert_eq!(body["query"], uri.split_once('?').unwrap().1);
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
