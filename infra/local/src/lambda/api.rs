//! Lambda's REST API: `Invoke`, event source mappings, and the look-ups that clients make beside them.
//!
//! Asynchronous events wait in memory, not on disk: those that have not run are lost with the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::function::{Call, Function, FunctionConfig, InvokeError, VERSION, function_arn};
use super::{Lambda, PAYLOAD_BYTES_MAX};
use crate::faults::FunctionFate;

pub(super) mod mappings;

/// An asynchronous event's payload: 1 MB.
const EVENT_BYTES_MAX: usize = 1_024 * 1_024;
/// Asynchronous events that wait or run.
pub(super) const EVENTS_MAX: usize = 10_000;
/// How often an asynchronous event is tried after it failed, and after what pauses.
const EVENT_RETRY_PAUSES: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(120)];
/// Throttled events are tried again after pauses that double from the one to the other, for six hours in all.
const THROTTLE_PAUSE_MIN: Duration = Duration::from_secs(1);
const THROTTLE_PAUSE_MAX: Duration = Duration::from_secs(300);
const EVENT_AGE_MAX: Duration = Duration::from_secs(21_600);

const PREFIX: &str = "/2015-03-31/";
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Room for asynchronous events.
#[derive(Debug, Clone)]
pub(super) struct Events(Arc<Semaphore>);

impl Events {
    /// How many wait or run.
    pub(super) fn waiting(&self) -> usize {
        EVENTS_MAX.saturating_sub(self.0.available_permits())
    }
}

impl Default for Events {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(EVENTS_MAX)))
    }
}

/// The versions of the API that its paths begin with; one of its operations is in each.
const VERSIONS: [&str; 16] = [
    "2014-11-13",
    "2015-03-31",
    "2016-08-19",
    "2017-03-31",
    "2017-10-31",
    "2018-10-31",
    "2019-09-25",
    "2019-09-30",
    "2020-04-22",
    "2020-06-30",
    "2021-07-20",
    "2021-10-31",
    "2021-11-15",
    "2024-08-31",
    "2025-11-30",
    "2025-12-01",
];

/// Whether a request without `X-Amz-Target` is for Lambda and not for S3.
pub(crate) fn is_lambda(path: &str) -> bool {
    let version = path.strip_prefix('/').and_then(|rest| rest.split_once('/'));
    version.is_some_and(|(version, _)| VERSIONS.contains(&version))
}

/// A refusal as the service writes it.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    reason: Option<&'static str>,
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    #[serde(rename = "Reason", skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(rename = "Type")]
    kind: &'a str,
    message: &'a str,
}

/// Which operation a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route<'a> {
    Invoke(&'a str),
    GetFunction(&'a str),
    ListFunctions,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(method: &Method, path: &'a str) -> Self {
        let mut parts = path.strip_prefix(PREFIX).unwrap_or_default().trim_end_matches('/').split('/');
        match (method, parts.next(), parts.next(), parts.next(), parts.next()) {
            (&Method::POST, Some("functions"), Some(name), Some("invocations"), None) => Self::Invoke(name),
            (&Method::GET, Some("functions"), Some(name), None, None) => Self::GetFunction(name),
            (&Method::GET, Some("functions"), None, None, None) => Self::ListFunctions,
            _ => Self::Unknown,
        }
    }
}

impl Lambda {
    /// Answers one request of the REST API, whose body is whole; `path` has its query.
    pub(crate) async fn handle(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Full<Bytes>> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        if let Some(route) = mappings::Route::of(method, path) {
            let answer = self.answer_mappings(route, query, &body).await;
            return with_id(answer.unwrap_or_else(|refusal| refusal.response()));
        }
        let answer = match Route::of(method, path) {
            Route::Invoke(name) => self.invoke(name, headers, body).await,
            Route::GetFunction(name) => self.named(name).map(|function| {
                let configuration = description(function.config());
                json(StatusCode::OK, &serde_json::json!({ "Configuration": configuration }))
            }),
            Route::ListFunctions => {
                let functions: Vec<_> =
                    self.functions().iter().map(|function| description(function.config())).collect();
                Ok(json(StatusCode::OK, &serde_json::json!({ "Functions": functions })))
            }
            Route::Unknown => Err(Refusal {
                status: StatusCode::NOT_FOUND,
                code: "UnknownOperationException",
                message: format!("Lambda {method} {path} is not implemented by the Millrace local cloud"),
                reason: None,
            }),
        };
        with_id(answer.unwrap_or_else(|refusal| refusal.response()))
    }

    async fn invoke(&self, name: &str, headers: &HeaderMap, payload: Bytes) -> Result<Response<Full<Bytes>>, Refusal> {
        let function = self.named(name)?;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let kind = header("x-amz-invocation-type").unwrap_or("RequestResponse");
        let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
        let limit = if kind == "Event" { EVENT_BYTES_MAX } else { PAYLOAD_BYTES_MAX };
        if payload.len() > limit {
            return Err(too_large(payload.len(), limit));
        }
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            let message = format!("Could not parse request body into json: {error}");
            return Err(Refusal::client("InvalidRequestContentException", message));
        }
        let wants_log = header("x-amz-log-type") == Some("Tail");
        let client_context = headers.get("x-amz-client-context").cloned();
        match kind {
            "RequestResponse" => {
                let fate = self.strike(name);
                let call = Call { payload, is_request: true, wants_log, client_context, fate };
                let invoked = function.invoke(call).await;
                let invoked = invoked.map_err(|error| Refusal::of(&error))?;
                let mut response = Response::new(Full::new(invoked.payload));
                let fields = response.headers_mut();
                fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                fields.insert(EXECUTED_VERSION, HeaderValue::from_static(VERSION));
                fields.extend(HeaderValue::from_str(&invoked.request_id).ok().map(|id| (REQUEST_ID, id)));
                if invoked.is_error {
                    fields.insert(FUNCTION_ERROR, HeaderValue::from_static("Unhandled"));
                }
                if wants_log {
                    let log = base64_simd::STANDARD.encode_to_string(invoked.log_tail);
                    fields.extend(HeaderValue::from_str(&log).ok().map(|log| (LOG_RESULT, log)));
                }
                Ok(response)
            }
            "Event" => {
                self.accept(function, Call { payload, client_context, ..Call::default() })?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            "DryRun" => Ok(empty(StatusCode::NO_CONTENT)),
            other => {
                Err(Refusal::client("InvalidParameterValueException", format!("{other} is not an invocation type")))
            }
        }
    }

    /// A fault that strikes an invocation of this function.
    fn strike(&self, function: &str) -> Option<FunctionFate> {
        self.store.faults().strike_function(function, self.store.clock().now_ms())
    }

    /// Takes an asynchronous event, to be run in the background.
    fn accept(&self, function: Function, call: Call) -> Result<(), Refusal> {
        let Ok(permit) = Arc::clone(&self.events.0).try_acquire_owned() else {
            return Err(Refusal::throttled("CallerRateLimitExceeded"));
        };
        tokio::spawn(async move {
            let _while_it_waits = permit;
            run_event(function, call).await;
        });
        Ok(())
    }

    /// A function by its name, its ARN or a part of it, with `$LATEST` or without a version.
    fn named(&self, name: &str) -> Result<Function, Refusal> {
        let name = name.replace("%3A", ":").replace("%3a", ":").replace("%24", "$");
        let not_found = || Refusal {
            status: StatusCode::NOT_FOUND,
            code: "ResourceNotFoundException",
            message: format!("Function not found: {}", function_arn(&name)),
            reason: None,
        };
        let unversioned = name.strip_suffix(&format!(":{VERSION}")).unwrap_or(&name);
        let last = unversioned.rsplit(':').next().unwrap_or_default();
        let is_arn = unversioned.ends_with(&format!("function:{last}"));
        if unversioned != last && !is_arn {
            return Err(not_found());
        }
        self.function(last).ok_or_else(not_found)
    }
}

/// An answer with a request id, its own or a new one.
fn with_id(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let mut id = Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(Uuid::new_v4().hyphenated().encode_lower(&mut id)) {
        response.headers_mut().entry(REQUEST_ID).or_insert(id);
    }
    response
}

/// Runs an asynchronous event: twice more after errors of the function, for six hours while it is throttled.
async fn run_event(function: Function, call: Call) {
    let begun = tokio::time::Instant::now();
    let mut failures = EVENT_RETRY_PAUSES.iter();
    let mut throttle_pause = THROTTLE_PAUSE_MIN;
    let name = function.config().name.as_str();
    while begun.elapsed() < EVENT_AGE_MAX {
        let pause = match function.invoke(call.clone()).await {
            Ok(invoked) if !invoked.is_error => return,
            Ok(invoked) => match failures.next() {
                Some(pause) => *pause,
                None => {
                    tracing::error!(function = name, request_id = invoked.request_id, "gave up an asynchronous event");
                    return;
                }
            },
            Err(InvokeError::Stopped) => return,
            Err(error @ (InvokeError::Throttled(_) | InvokeError::TooLarge { .. } | InvokeError::Start { .. })) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    function = name,
                    "an asynchronous event waits"
                );
                let pause = throttle_pause;
                throttle_pause = (throttle_pause * 2).min(THROTTLE_PAUSE_MAX);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
    tracing::error!(function = name, "gave up an asynchronous event that was too old");
}

impl Refusal {
    fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into(), reason: None }
    }

    fn throttled(reason: &'static str) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "TooManyRequestsException",
            message: "Rate Exceeded.".to_owned(),
            reason: Some(reason),
        }
    }

    fn of(error: &InvokeError) -> Self {
        match error {
            InvokeError::Throttled(throttle) => Self::throttled(throttle.reason()),
            InvokeError::TooLarge { bytes } => too_large(*bytes, PAYLOAD_BYTES_MAX),
            InvokeError::Start { .. } | InvokeError::Stopped => {
                tracing::error!(error = error as &dyn std::error::Error, "a function could not be invoked");
                Self {
                    status: StatusCode::INTERNAL_SERVER_ERROR,
                    code: "ServiceException",
                    message: error.to_string(),
                    reason: None,
                }
            }
        }
    }

    fn response(&self) -> Response<Full<Bytes>> {
        let kind = if self.status.is_server_error() { "Service" } else { "User" };
        let mut response = json(self.status, &RefusalBody { reason: self.reason, kind, message: &self.message });
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(self.code));
        response
    }
}

fn too_large(bytes: usize, limit: usize) -> Refusal {
    let message = format!("{bytes} byte payload is too large for the invocation type (limit {limit} bytes)");
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, code: "RequestTooLargeException", message, reason: None }
}

fn description(config: &FunctionConfig) -> serde_json::Value {
    serde_json::json!({
        "FunctionName": config.name,
        "FunctionArn": config.arn(),
        "Runtime": "provided.al2023",
        "Handler": config.handler,
        "MemorySize": config.memory_mb,
        "Timeout": config.timeout.as_secs(),
        "Version": VERSION,
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Environment": { "Variables": config.environment },
    })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(value).expect("an answer of texts and numbers can be written");
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests;
