//! Load shedding from outside: who is turned away while events wait too long, and who is not; and what is counted.

use std::time::Duration;

use axum::body::Body;
use http::Request;

use crate::rig::{Rig, good, post};
use crate::stream::Mode;

const PATH: &str = "/v1/ad_requests";

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn while_events_wait_too_long_calls_are_turned_away_and_pages_are_not() {
    // Whoever waits at all has waited too long, so that the test needs no time.
    let impatient = |settings: &mut ingest::Settings| settings.wait_max = Duration::ZERO;
    let rig = Rig::start_with(Mode::Hold, |_| {}, impatient).await;
    let mut first = Box::pin(rig.post(PATH, good("r-1")));
    while rig.producer.stats().offered == 0 {
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    for request in [
        post(PATH, good("r-2")),
        post("/v1/events", good("r-3")),
        post("/v1/auctions", "{}"),
        get("/v1/notices/burl?auction_id=a&auction_imp_id=1"),
    ] {
        let answer = rig.call(request).await;
        answer.check_problem(503, "overloaded");
        assert_eq!(answer.header("retry-after"), "1");
    }
    let answer = rig.post("/openrtb2/auction", good("r-4")).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (503, ""));
    for page in ["/health", "/sink-health", "/metrics", "/openapi.json", "/problems/overloaded"] {
        assert_eq!(rig.call(get(page)).await.status, 200, "{page}");
    }
    rig.stream.set(Mode::Take);
    assert_eq!(first.await.status, 200);
    assert_eq!(rig.post(PATH, good("r-5")).await.status, 200, "nobody waits any more");
    let counts = rig.ingest.counters();
    assert_eq!((counts.accepted, counts.shed, rig.events().len()), (2, 5, 2));
}

#[tokio::test]
async fn metrics_tell_latency_by_route_and_status_and_what_is_open() {
    let rig = Rig::start(Mode::Take).await;
    for (path, body) in [(PATH, good("r-1")), (PATH, good("r-2")), (PATH, "{".to_owned()), ("/nowhere", String::new())]
    {
        rig.post(path, body).await;
    }
    let text = rig.call(get("/metrics")).await.text;
    let value = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let count = |route: &str, status: &str| {
        value(&format!("http_request_duration_seconds_count{{route=\"{route}\",status=\"{status}\"}}"))
    };
    assert_eq!([count(PATH, "2xx"), count(PATH, "4xx"), count("other", "4xx")], ["2", "1", "1"]);
    let last = format!("http_request_duration_seconds_bucket{{route=\"{PATH}\",status=\"2xx\",le=\"+Inf\"}}");
    assert_eq!(value(&last), "2");
    let sum = value(&format!("http_request_duration_seconds_sum{{route=\"{PATH}\",status=\"2xx\"}}"));
    assert!(sum.parse::<f64>().unwrap() > 0.0, "{sum}");
    assert_eq!([value("http_requests_open"), value("events_waiting"), value("spool_bytes")], ["1", "0", "0"]);
    assert_eq!(value("events_refused_total{reason=\"shed\"}"), "0");
    // As Prometheus reads it: a name, perhaps labels, a number.
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok() && !name.contains(' '), "{line}");
    }
}
