//! The routes, and the only place that reads the clock.

pub(crate) mod body;
pub(crate) mod problem;

use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use events::event_id::EventId;
use events::violation::Violation;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::batch;
use crate::counters::Class;
use crate::http::body::Rules;
use crate::http::problem::{Kind, Problem};
use crate::ingest::{Ingest, NotOffered, Received};

/// The collection API as a router: `POST /v1/ad_requests`, `POST /v1/events`, `GET /health` and the pages that
/// explain its problems. The server and both Lambda front ends serve this one.
///
/// A 2xx is sent after the event is durable on the stream, never before.
pub fn app(ingest: Ingest) -> Router {
    Router::new()
        .route("/v1/ad_requests", post(ad_request))
        .route("/v1/events", post(events))
        .route("/health", get(health))
        .route("/problems/{problem}", get(problem_page))
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(ingest)
}

/// The system's time in milliseconds since the epoch, UTC; 0 for a clock before 1970.
pub fn system_clock_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the rim: everything behind it takes the time as an argument")]
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

#[derive(Serialize)]
struct Accepted<'a> {
    event_id: EventId,
    warnings: &'a [Violation],
}

async fn ad_request(State(ingest): State<Ingest>, request: Request) -> Response {
    const ENDPOINT: &str = "/v1/ad_requests";
    let rules = rules(&ingest, &["application/json"], ingest.settings().body_bytes_max);
    let (head, body) = request.into_parts();
    let body = match body::receive(&head.headers, body, rules).await {
        Ok(body) => body,
        Err(kind) => return refuse_body(&ingest, kind, rules.bytes_max),
    };
    let offered = ingest.offer(&body.bytes, &ingest.door(ENDPOINT), now(&ingest));
    // The producer has its own copy and its own bound; the body's memory goes to the next call.
    drop(body);
    let settled = match offered {
        Ok(offered) => ingest.settle(offered).await,
        Err(NotOffered::Unsent(unsent)) => Err(unsent),
        Err(NotOffered::Refused(refused)) => {
            return Problem::invalid(refused.request_id, Some(refused.event_id), refused.violations).into_response();
        }
        Err(NotOffered::Unwritable) => return Problem::new(Kind::Unwritable).into_response(),
    };
    match settled {
        Ok((event_id, warnings)) => json(StatusCode::OK, &Accepted { event_id, warnings: &warnings }),
        Err(unsent) => Problem::new(unsent.kind()).into_response(),
    }
}

async fn events(State(ingest): State<Ingest>, request: Request) -> Response {
    const MEDIA_TYPES: &[&str] = &["application/x-ndjson", "application/ndjson", "application/jsonl"];
    let (head, body) = request.into_parts();
    if !batch::is_type_known(head.uri.query()) {
        return refuse(&ingest, Kind::UnknownEventType);
    }
    let rules = rules(&ingest, MEDIA_TYPES, ingest.settings().batch_bytes_max);
    let body = match body::receive(&head.headers, body, rules).await {
        Ok(body) => body,
        Err(kind) => return refuse_body(&ingest, kind, rules.bytes_max),
    };
    let received = now(&ingest);
    match batch::take(&ingest, body, received).await {
        Ok(results) => {
            let mut response = Response::new(Body::from(results));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

/// Says that the process serves. It does not say that the stream takes data.
async fn health() -> Response {
    json(StatusCode::OK, &serde_json::json!({"status": "ok"}))
}

async fn problem_page(State(ingest): State<Ingest>, Path(name): Path<String>) -> Response {
    let is_named = |kind: &&Kind| kind.text().1.strip_prefix("/problems/") == Some(&name);
    let Some(kind) = Kind::ALL.iter().find(is_named) else { return refuse(&ingest, Kind::UnknownRoute) };
    let (title, _, detail) = kind.text();
    Response::new(Body::from(format!("{title} ({})\n\n{detail}\n", kind.status())))
}

async fn unknown_route(State(ingest): State<Ingest>) -> Response {
    refuse(&ingest, Kind::UnknownRoute)
}

async fn method_not_allowed(State(ingest): State<Ingest>) -> Response {
    refuse(&ingest, Kind::MethodNotAllowed)
}

fn rules<'i>(ingest: &'i Ingest, media_types: &'static [&'static str], bytes_max: usize) -> Rules<'i> {
    Rules { media_types, bytes_max, timeout: ingest.settings().body_timeout, memory: ingest.memory() }
}

fn now(ingest: &Ingest) -> Received {
    Received { ts_ms: (ingest.settings().clock_ms)(), at: Instant::now() }
}

/// Refuses a call for its body, and counts why.
fn refuse_body(ingest: &Ingest, kind: Kind, bytes_max: usize) -> Response {
    if kind == Kind::TooLarge {
        ingest.count(class(kind));
        return Problem::too_large(bytes_max).into_response();
    }
    refuse(ingest, kind)
}

/// Refuses a whole call, and counts why.
fn refuse(ingest: &Ingest, kind: Kind) -> Response {
    ingest.count(class(kind));
    Problem::new(kind).into_response()
}

fn class(kind: Kind) -> Class {
    match kind {
        Kind::InvalidRequest | Kind::UnknownEventType => Class::Invalid,
        Kind::TooLarge | Kind::TooManyLines => Class::TooLarge,
        Kind::CorruptBody | Kind::UnsupportedMediaType | Kind::UnsupportedEncoding => Class::Undecodable,
        Kind::IncompleteBody | Kind::SlowBody => Class::Incomplete,
        Kind::UnknownRoute | Kind::MethodNotAllowed => Class::Misrouted,
        Kind::QueueFull | Kind::Overloaded => Class::QueueFull,
        Kind::StreamUnavailable | Kind::Unwritable => Class::Unavailable,
    }
}

fn json<T: Serialize>(status: StatusCode, document: &T) -> Response {
    let body = serde_json::to_vec(document).expect("a document of strings and numbers can be written");
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
