//! The routes, and the only place that reads the clock.

pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod front;
mod metrics;
mod notice;
mod openapi;
pub(crate) mod problem;
pub(crate) mod routes;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use events::envelope::EventType;
use events::event_id::EventId;
use events::violation::Violation;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;

use crate::accept::{Door, Refused};
use crate::batch;
use crate::counters::Class;
use crate::http::body::{NotReceived, Rules};
use crate::http::problem::{Kind, Problem};
use crate::http::routes::{ROUTES, Route, Serves};
use crate::ingest::{Ingest, NotOffered};
use crate::tenants::Tenant;

/// The collection API as a router; `GET /openapi.json` describes it. The server and both Lambda front ends serve this
/// one.
///
/// A 2xx to an event is sent after the event is durable on the stream, never before.
pub fn app(ingest: Ingest) -> Router {
    uncounted(ingest.clone()).layer(axum::middleware::from_fn_with_state(ingest, counted))
}

/// The same without the counts of calls and their times.
pub(crate) fn uncounted(ingest: Ingest) -> Router {
    let mut router = Router::new();
    for route in &ROUTES {
        router = router.route(route.path, serve(route));
    }
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(ingest.clone(), limit_uri))
        .with_state(ingest)
}

fn serve(route: &'static Route) -> MethodRouter<Ingest> {
    match route.serves {
        Serves::Single(event_type) => post(async move |State(ingest): State<Ingest>, request: Request| {
            single(&ingest, request, event_type, route.path).await
        }),
        Serves::Batch => post(async |State(ingest): State<Ingest>, request: Request| events(&ingest, request).await),
        Serves::OpenRtb => post(async move |State(ingest): State<Ingest>, request: Request| {
            openrtb(&ingest, request, route.path).await
        }),
        Serves::Notice => get(notice).post(notice),
        Serves::Health => get(health),
        Serves::SinkHealth => get(sink_health),
        Serves::Metrics => get(metrics_text),
        Serves::OpenApi => get(async || json(StatusCode::OK, &openapi::document())),
        Serves::ProblemPage => get(problem_page),
    }
}

async fn limit_uri(State(ingest): State<Ingest>, request: Request, next: Next) -> Response {
    if is_uri_too_long(request.uri()) {
        return refuse(&ingest, Kind::UriTooLong);
    }
    next.run(request).await
}

fn is_uri_too_long(uri: &Uri) -> bool {
    uri.path_and_query().map_or(0, |uri| uri.as_str().len()) > notice::URI_BYTES_MAX
}

async fn counted(State(ingest): State<Ingest>, request: Request, next: Next) -> Response {
    let (route, arrived) = (routes::find(request.uri().path()), Instant::now());
    let _open = ingest.latencies().open();
    let response = next.run(request).await;
    let route = route.map(|(index, _)| index);
    ingest.latencies().answered(route, response.status().as_u16(), arrived.elapsed());
    response
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

async fn single<B>(
    ingest: &Ingest,
    request: http::Request<B>,
    event_type: EventType,
    endpoint: &'static str,
) -> Response
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    match take_single(ingest, request, event_type, endpoint).await {
        Ok((event_id, warnings)) => json(StatusCode::OK, &Accepted { event_id, warnings: &warnings }),
        Err((problem, _)) => problem.into_response(),
    }
}

/// As OpenRTB has it: no content, whatever the answer, unless the tenant wants to be told what is wrong.
async fn openrtb<B>(ingest: &Ingest, request: http::Request<B>, endpoint: &'static str) -> Response
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut response = match take_single(ingest, request, EventType::AdRequest, endpoint).await {
        Ok(_accepted) => empty(StatusCode::NO_CONTENT),
        Err((problem, tenant)) if tenant.as_ref().is_some_and(|tenant| tenant.openrtb_debug) => problem.into_response(),
        Err((problem, _)) => problem.into_empty_response(),
    };
    response.headers_mut().insert("x-openrtb-version", HeaderValue::from_static("2.6"));
    response
}

/// Why a call is not accepted, and whose it is where that is known.
type NotTaken = (Problem, Option<Arc<Tenant>>);

async fn take_single<B>(
    ingest: &Ingest,
    request: http::Request<B>,
    event_type: EventType,
    endpoint: &'static str,
) -> Result<(EventId, Vec<Violation>), NotTaken>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let rules = rules(ingest, &["application/json"], ingest.settings().body_bytes_max);
    let (head, body) = request.into_parts();
    let tenant = match admit(ingest).and_then(|()| auth::tenant(ingest, &head.headers)) {
        Ok(tenant) => tenant,
        Err(problem) => {
            body::throw_away(&head.headers, body, rules).await;
            return Err((problem, None));
        }
    };
    let taken = async {
        let body = match body::receive(&head.headers, body, rules).await {
            Ok(body) => body,
            Err(failed) => return Err(not_received(ingest, &tenant, failed, rules, (event_type, endpoint)).await),
        };
        auth::take_bytes(ingest, &tenant, body.bytes.len())?;
        take(ingest, &tenant, body, (event_type, endpoint)).await
    };
    taken.await.map_err(|problem| (problem, Some(Arc::clone(&tenant))))
}

/// Turns a call away while events wait too long. Said before anything of the body is read, because it is what costs least.
fn admit(ingest: &Ingest) -> Result<(), Problem> {
    if ingest.admits(Instant::now()) {
        return Ok(());
    }
    ingest.count(class(Kind::Overloaded));
    Err(Problem::new(Kind::Overloaded))
}

/// Validates one body, puts it on the stream, and waits until it is durable; a refused one likewise, as a failed event.
async fn take(
    ingest: &Ingest,
    tenant: &Tenant,
    body: body::Received<'_>,
    (event_type, endpoint): (EventType, &'static str),
) -> Result<(EventId, Vec<Violation>), Problem> {
    let now = ingest.now();
    let door = Door { tenant_id: &tenant.id, policy: tenant.policy, endpoint, event_type, received_ts: now.ts_ms };
    match ingest.offer(&body.bytes, &door, now.at) {
        Ok(offered) => {
            // The producer has its own copy and its own bound; the body's memory goes to the next call.
            drop(body);
            ingest.settle(offered).await.map_err(|unsent| Problem::new(unsent.kind()))
        }
        Err(NotOffered::Unsent(unsent)) => Err(Problem::new(unsent.kind())),
        Err(NotOffered::Unwritable) => Err(Problem::new(Kind::Unwritable)),
        Err(NotOffered::Refused(refused)) => {
            let delivery = ingest.keep(tenant, &refused, (&body.bytes, body.bytes.len()), &door);
            drop(body);
            ingest.settle_refused(delivery).await;
            Err(Problem::invalid(refused.request_id, Some(refused.event_id), refused.violations))
        }
    }
}

async fn events<B>(ingest: &Ingest, request: http::Request<B>) -> Response
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    match take_batch(ingest, request).await {
        Ok(results) => {
            let mut response = Response::new(Body::from(results));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(problem) => problem.into_response(),
    }
}

async fn take_batch<B>(ingest: &Ingest, request: http::Request<B>) -> Result<Vec<u8>, Problem>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    const MEDIA_TYPES: &[&str] = &["application/x-ndjson", "application/ndjson", "application/jsonl"];
    let rules = rules(ingest, MEDIA_TYPES, ingest.settings().batch_bytes_max);
    let (head, body) = request.into_parts();
    let admitted = admit(ingest).and_then(|()| auth::tenant(ingest, &head.headers)).and_then(|tenant| {
        let event_type = batch::event_type(head.uri.query());
        event_type.map(|event_type| (tenant, event_type)).ok_or_else(|| {
            ingest.count(Class::Invalid);
            Problem::new(Kind::UnknownEventType)
        })
    });
    let (tenant, event_type) = match admitted {
        Ok(admitted) => admitted,
        Err(problem) => {
            body::throw_away(&head.headers, body, rules).await;
            return Err(problem);
        }
    };
    let body = match body::receive(&head.headers, body, rules).await {
        Ok(body) => body,
        Err(failed) => return Err(not_received(ingest, &tenant, failed, rules, (event_type, "/v1/events")).await),
    };
    auth::take_bytes(ingest, &tenant, body.bytes.len())?;
    batch::take(ingest, &tenant, body, event_type).await
}

async fn notice(State(ingest): State<Ingest>, Path(name): Path<String>, request: Request) -> Response {
    match take_notice(&ingest, &name, request).await {
        Ok(_accepted) => empty(StatusCode::NO_CONTENT),
        Err(problem) => problem.into_response(),
    }
}

async fn take_notice(ingest: &Ingest, name: &str, request: Request) -> Result<(EventId, Vec<Violation>), Problem> {
    const ENDPOINT: &str = "/v1/notices";
    let rules = rules(ingest, &["application/json", "text/plain"], ingest.settings().body_bytes_max);
    let (head, body) = request.into_parts();
    let event_type = notice::event_type(name).ok_or_else(|| {
        ingest.count(Class::Misrouted);
        Problem::new(Kind::UnknownRoute)
    })?;
    admit(ingest)?;
    let query = head.uri.query().unwrap_or_default();
    let parameters = notice::parameters(query);
    let tenant = auth::tenant_of_notice(ingest, &head.headers, head.uri.path(), (query, &parameters))?;
    let has_macros = parameters.iter().any(|(name, _)| !matches!(name.as_str(), "key" | "tenant" | "sig"));
    let received = if head.method == Method::POST && !has_macros {
        // The members as a document, as the route of the event's type takes it.
        match body::receive(&head.headers, body, rules).await {
            Ok(body) => body,
            Err(failed) => return Err(not_received(ingest, &tenant, failed, rules, (event_type, ENDPOINT)).await),
        }
    } else {
        body::Received::made(notice::body(&parameters))
    };
    auth::take_bytes(ingest, &tenant, received.bytes.len())?;
    take(ingest, &tenant, received, (event_type, ENDPOINT)).await
}

/// Says whether events are taken, as far as is known, and whether they wait on disk for the stream.
async fn sink_health(State(ingest): State<Ingest>) -> Response {
    if !ingest.takes_data() {
        return Problem::new(Kind::StreamUnavailable).into_response();
    }
    let stream = ingest.stream_stats();
    if stream.spool_backlog == 0 {
        return json(StatusCode::OK, &serde_json::json!({"status": "ok"}));
    }
    let spooling = serde_json::json!({
        "status": "spooling",
        "spool_events": stream.spool_backlog,
        "spool_bytes": stream.spool_disk_bytes,
    });
    json(StatusCode::OK, &spooling)
}

async fn metrics_text(State(ingest): State<Ingest>) -> Response {
    if !ingest.settings().serves_metrics {
        return refuse(&ingest, Kind::UnknownRoute);
    }
    let mut response = Response::new(Body::from(metrics::text(&ingest)));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// Says that the process serves, and whether it does so with tenants that may have changed meanwhile. It does not say that
/// the stream takes data.
async fn health(State(ingest): State<Ingest>) -> Response {
    if ingest.access().is_stale() {
        return json(StatusCode::OK, &serde_json::json!({"status": "ok", "tenants": "stale"}));
    }
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

/// What a sender is told of its body, which is counted. One that is refused for its bytes is kept, up to the size of an
/// event.
async fn not_received(
    ingest: &Ingest,
    tenant: &Tenant,
    failed: NotReceived<'_>,
    rules: Rules<'_>,
    (event_type, endpoint): (EventType, &'static str),
) -> Problem {
    let kind = failed.kind;
    ingest.count(class(kind));
    if !failed.kept.is_empty() {
        let kept = failed.kept.slice(..failed.kept.len().min(ingest.settings().body_bytes_max));
        let received_ts = ingest.now().ts_ms;
        let door = Door { tenant_id: &tenant.id, policy: tenant.policy, endpoint, event_type, received_ts };
        let refused =
            if kind == Kind::CorruptBody { Refused::of_encoding(&kept, &door) } else { Refused::of_size(&kept, &door) };
        let delivery = ingest.keep(tenant, &refused, (&kept, failed.bytes), &door);
        drop((kept, failed));
        ingest.settle_refused(delivery).await;
    }
    if kind == Kind::TooLarge { Problem::too_large(rules.bytes_max) } else { Problem::new(kind) }
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Refuses a whole call, and counts why.
fn refuse(ingest: &Ingest, kind: Kind) -> Response {
    ingest.count(class(kind));
    Problem::new(kind).into_response()
}

fn class(kind: Kind) -> Class {
    match kind {
        Kind::InvalidRequest | Kind::UnknownEventType => Class::Invalid,
        Kind::UnknownKey | Kind::BadSignature | Kind::TenantDisabled => Class::Denied,
        Kind::OverQuota => Class::OverQuota,
        Kind::TooLarge | Kind::RatioTooLarge | Kind::TooManyLines | Kind::UriTooLong => Class::TooLarge,
        Kind::CorruptBody | Kind::UnsupportedMediaType | Kind::UnsupportedEncoding => Class::Undecodable,
        Kind::IncompleteBody | Kind::SlowBody => Class::Incomplete,
        Kind::UnknownRoute | Kind::MethodNotAllowed => Class::Misrouted,
        Kind::QueueFull => Class::QueueFull,
        Kind::Overloaded => Class::Shed,
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
