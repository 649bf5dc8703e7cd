//! The Runtime API of one execution environment: HTTP/1.1 on a port of its own, as `AWS_LAMBDA_RUNTIME_API` names it.
//!
//! It only translates: each request becomes a [`Call`] to the environment, whose answer becomes the response.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::super::PAYLOAD_BYTES_MAX;

/// Connections of one environment at once; a runtime needs one, or one per worker.
const CONNECTIONS_MAX: usize = 64;
/// The pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const INVOCATION: &str = "/2018-06-01/runtime/invocation/";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";

/// What the runtime gets for an invocation.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) request_id: String,
    pub(super) deadline_ms: i64,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    pub(super) client_context: Option<HeaderValue>,
    pub(super) payload: Bytes,
}

/// What the runtime says about an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The function's response.
    Response(Bytes),
    /// The function's error: its description, and its type where the runtime named one.
    Error { error_type: String, body: Bytes },
    /// A body over the limit; nothing of it was kept.
    TooLarge,
}

/// A request of the runtime.
#[derive(Debug)]
pub(super) enum Call {
    /// It waits for its next event.
    Next { reply: oneshot::Sender<Event> },
    /// It has an answer for an invocation. The reply says whether that invocation is the one under way.
    Answer { request_id: String, answer: Answer, reply: oneshot::Sender<bool> },
    /// It could not initialise.
    InitError { error_type: String, body: Bytes },
    /// An extension wants to be told of the end.
    Register,
}

/// Which request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Next,
    Response(&'a str),
    Error(&'a str),
    InitError,
    Register,
    /// The lifecycle events of an extension; it waits until the environment ends.
    ExtensionNext,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(method: &Method, path: &'a str) -> Self {
        if path == "/2020-01-01/extension/event/next" && method == Method::GET {
            return Self::ExtensionNext;
        }
        if let Some(rest) = path.strip_prefix(INVOCATION) {
            return match (method, rest.split_once('/')) {
                (&Method::GET, None) if rest == "next" => Self::Next,
                (&Method::POST, Some((id, "response"))) => Self::Response(id),
                (&Method::POST, Some((id, "error"))) => Self::Error(id),
                _ => Self::Unknown,
            };
        }
        match (method, path) {
            (&Method::POST, "/2018-06-01/runtime/init/error") => Self::InitError,
            (&Method::POST, "/2020-01-01/extension/register") => Self::Register,
            _ => Self::Unknown,
        }
    }
}

/// Serves one environment until it is aborted; connections end with it.
pub(super) async fn serve(listener: TcpListener, calls: mpsc::Sender<Call>, function: String) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a function");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if stream.set_nodelay(true).is_err() {
            continue;
        }
        let (calls, function) = (calls.clone(), function.clone());
        let service = service_fn(move |request| {
            let (calls, function) = (calls.clone(), function.clone());
            async move { Ok::<_, Infallible>(answer(request, &calls, &function).await) }
        });
        connections.spawn(async move {
            // No time limit between requests: a runtime waits on `next` for as long as nobody calls it.
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(None);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a connection of a function ended early");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, calls: &mpsc::Sender<Call>, function: &str) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let gone = || failure(StatusCode::INTERNAL_SERVER_ERROR, "State.Stopped", "The environment has ended");
    match Route::of(&parts.method, parts.uri.path()) {
        Route::Next => {
            let (reply, event) = oneshot::channel();
            if calls.send(Call::Next { reply }).await.is_err() {
                return gone();
            }
            event.await.map_or_else(|_gone| gone(), |event| event_response(event).unwrap_or_else(|_| gone()))
        }
        Route::Response(id) => {
            let answer = read(body, &parts.headers, None).await;
            deliver(calls, id, answer).await
        }
        Route::Error(id) => {
            let answer = read(body, &parts.headers, Some("Unhandled")).await;
            deliver(calls, id, answer).await
        }
        Route::InitError => match read(body, &parts.headers, Some("Runtime.InitError")).await {
            Some(Answer::Error { error_type, body }) => {
                if calls.send(Call::InitError { error_type, body }).await.is_err() {
                    return gone();
                }
                status(StatusCode::ACCEPTED)
            }
            Some(Answer::Response(_) | Answer::TooLarge) | None => {
                failure(StatusCode::BAD_REQUEST, "InvalidRequest", "The error could not be read")
            }
        },
        Route::Register => {
            if calls.send(Call::Register).await.is_err() {
                return gone();
            }
            registered(function)
        }
        // Lifecycle events are not sent: the end comes by signal. The environment's end ends this wait.
        Route::ExtensionNext => std::future::pending().await,
        Route::Unknown => {
            let message = format!("{} {} is not in this Runtime API", parts.method, parts.uri.path());
            failure(StatusCode::NOT_FOUND, "InvalidRequest", &message)
        }
    }
}

/// Hands an answer to the environment. `None` is a body that broke off: the runtime is gone or will repeat it.
async fn deliver(calls: &mpsc::Sender<Call>, id: &str, answer: Option<Answer>) -> Response<Full<Bytes>> {
    let Some(answer) = answer else {
        return failure(StatusCode::BAD_REQUEST, "InvalidRequest", "The body broke off");
    };
    let is_too_large = answer == Answer::TooLarge;
    let (reply, is_current) = oneshot::channel();
    let call = Call::Answer { request_id: id.to_owned(), answer, reply };
    let is_current = calls.send(call).await.is_ok() && is_current.await.unwrap_or(false);
    if !is_current {
        return failure(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
    }
    if is_too_large {
        let message = format!("Exceeded maximum allowed payload size ({PAYLOAD_BYTES_MAX} bytes).");
        return failure(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", &message);
    }
    status(StatusCode::ACCEPTED)
}

/// Reads an answer. With `error`, it is an error of that type where no header says another.
async fn read(body: Incoming, headers: &HeaderMap, error: Option<&str>) -> Option<Answer> {
    let collected = match Limited::new(body, PAYLOAD_BYTES_MAX).collect().await {
        Ok(collected) => collected,
        Err(error) if error.is::<LengthLimitError>() => return Some(Answer::TooLarge),
        Err(_broken) => return None,
    };
    let named = |headers: &HeaderMap| headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    // A streamed response says at its end that it failed on the way.
    let trailers_type = collected.trailers().and_then(named);
    let body = collected.to_bytes();
    let error_type = match error {
        Some(default) => Some(named(headers).unwrap_or_else(|| default.to_owned())),
        None => trailers_type,
    };
    Some(match error_type {
        Some(error_type) => Answer::Error { error_type, body },
        None => Answer::Response(body),
    })
}

fn event_response(event: Event) -> Result<Response<Full<Bytes>>, header::InvalidHeaderValue> {
    let mut response = Response::new(Full::new(event.payload));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("lambda-runtime-aws-request-id", HeaderValue::from_str(&event.request_id)?);
    headers.insert("lambda-runtime-deadline-ms", HeaderValue::from(event.deadline_ms));
    headers.insert("lambda-runtime-invoked-function-arn", HeaderValue::from_str(&event.function_arn)?);
    headers.insert("lambda-runtime-trace-id", HeaderValue::from_str(&event.trace_id)?);
    if let Some(context) = event.client_context {
        headers.insert("lambda-runtime-client-context", context);
    }
    Ok(response)
}

fn registered(function: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "functionName": function, "functionVersion": super::VERSION, "handler": "" });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    let mut id = Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(Uuid::new_v4().hyphenated().encode_lower(&mut id)) {
        response.headers_mut().insert("lambda-extension-identifier", id);
    }
    response
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"status":"OK"}"#)));
    *response.status_mut() = status;
    response
}

fn failure(status: StatusCode, error_type: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "errorType": error_type, "errorMessage": message });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let check = |method: Method, path: &str, expected: Route<'_>| {
            assert_eq!(Route::of(&method, path), expected, "{method} {path}");
        };
        check(Method::GET, "/2018-06-01/runtime/invocation/next", Route::Next);
        check(Method::POST, "/2018-06-01/runtime/invocation/next", Route::Unknown);
        check(Method::POST, "/2018-06-01/runtime/invocation/7b-2/response", Route::Response("7b-2"));
        check(Method::POST, "/2018-06-01/runtime/invocation/7b-2/error", Route::Error("7b-2"));
        check(Method::GET, "/2018-06-01/runtime/invocation/7b-2/error", Route::Unknown);
        check(Method::POST, "/2018-06-01/runtime/invocation/7b-2/other", Route::Unknown);
        check(Method::POST, "/2018-06-01/runtime/invocation/a/b/response", Route::Unknown);
        check(Method::POST, "/2018-06-01/runtime/init/error", Route::InitError);
        check(Method::POST, "/2020-01-01/extension/register", Route::Register);
        check(Method::GET, "/2020-01-01/extension/event/next", Route::ExtensionNext);
        check(Method::GET, "/2018-06-01/runtime/restore/next", Route::Unknown);
        check(Method::GET, "/", Route::Unknown);
    }
}
