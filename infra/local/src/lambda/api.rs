//! Lambda's REST API: which operation a request is, `Invoke`, and refusals as the service writes them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde::Serialize;
use url::form_urlencoded;
use uuid::Uuid;

use super::events::AcceptError;
use super::function::{Call, Function, InvokeError, VERSION, function_arn};
use super::{Lambda, PAYLOAD_BYTES_MAX};
use crate::faults::FunctionFate;

pub(super) mod functions;
pub(super) mod mappings;
mod settings;

/// An asynchronous event's payload: 1 MB.
const EVENT_BYTES_MAX: usize = 1_024 * 1_024;
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

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
    CreateFunction,
    ListFunctions,
    GetFunction(&'a str),
    GetFunctionConfiguration(&'a str),
    UpdateFunctionCode(&'a str),
    UpdateFunctionConfiguration(&'a str),
    DeleteFunction(&'a str),
    PutConcurrency(&'a str),
    GetConcurrency(&'a str),
    DeleteConcurrency(&'a str),
    PutEventInvoke(&'a str),
    UpdateEventInvoke(&'a str),
    GetEventInvoke(&'a str),
    DeleteEventInvoke(&'a str),
    ListEventInvokes(&'a str),
    GetAccountSettings,
    Unknown,
}

impl<'a> Route<'a> {
    fn of(method: &Method, path: &'a str) -> Self {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["2016-08-19", "account-settings"]) => Self::GetAccountSettings,
            ("PUT", ["2017-10-31", "functions", name, "concurrency"]) => Self::PutConcurrency(name),
            ("DELETE", ["2017-10-31", "functions", name, "concurrency"]) => Self::DeleteConcurrency(name),
            ("GET", ["2019-09-30", "functions", name, "concurrency"]) => Self::GetConcurrency(name),
            ("PUT", ["2019-09-25", "functions", name, "event-invoke-config"]) => Self::PutEventInvoke(name),
            ("POST", ["2019-09-25", "functions", name, "event-invoke-config"]) => Self::UpdateEventInvoke(name),
            ("GET", ["2019-09-25", "functions", name, "event-invoke-config"]) => Self::GetEventInvoke(name),
            ("DELETE", ["2019-09-25", "functions", name, "event-invoke-config"]) => Self::DeleteEventInvoke(name),
            ("GET", ["2019-09-25", "functions", name, "event-invoke-config", "list"]) => Self::ListEventInvokes(name),
            (method, ["2015-03-31", "functions", rest @ ..]) => Self::of_functions(method, rest),
            _ => Self::Unknown,
        }
    }

    fn of_functions(method: &str, rest: &[&'a str]) -> Self {
        match (method, rest) {
            ("POST", []) => Self::CreateFunction,
            ("GET", []) => Self::ListFunctions,
            ("GET", [name]) => Self::GetFunction(name),
            ("DELETE", [name]) => Self::DeleteFunction(name),
            ("GET", [name, "configuration"]) => Self::GetFunctionConfiguration(name),
            ("PUT", [name, "configuration"]) => Self::UpdateFunctionConfiguration(name),
            ("PUT", [name, "code"]) => Self::UpdateFunctionCode(name),
            ("POST", [name, "invocations"]) => Self::Invoke(name),
            _ => Self::Unknown,
        }
    }
}

/// The longest body of a request: one that may bring code is longer than the others.
pub(crate) fn body_bytes_max(method: &Method, path: &str) -> Option<usize> {
    let has_code = matches!(Route::of(method, path), Route::CreateFunction | Route::UpdateFunctionCode(_));
    has_code.then_some(functions::CODE_BODY_BYTES_MAX)
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
        let route = Route::of(method, path);
        let checked = if route == Route::Unknown { Ok(()) } else { check_qualifier(query) };
        let answer = match checked {
            Ok(()) => self.answer(route, (method, path, query), headers, body).await,
            Err(refusal) => Err(refusal),
        };
        with_id(answer.unwrap_or_else(|refusal| refusal.response()))
    }

    async fn answer(
        &self,
        route: Route<'_>,
        (method, path, query): (&Method, &str, &str),
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let ok = |value: serde_json::Value| json(StatusCode::OK, &value);
        match route {
            Route::Invoke(name) => self.invoke(name, headers, body).await,
            Route::CreateFunction => {
                let made = self.create_from_archive(&body).await?;
                Ok(json(StatusCode::CREATED, &made))
            }
            Route::ListFunctions => Ok(ok(self.list_functions(query))),
            Route::GetFunction(name) => self.get_function(name).map(ok),
            Route::GetFunctionConfiguration(name) => self.named(name).map(|function| ok(self.description(&function))),
            Route::UpdateFunctionCode(name) => self.update_code(name, &body).await.map(ok),
            Route::UpdateFunctionConfiguration(name) => self.update_configuration(name, &body).await.map(ok),
            Route::DeleteFunction(name) => {
                self.delete_function(name).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Route::PutConcurrency(name) => self.put_concurrency(name, &body).await.map(ok),
            Route::GetConcurrency(name) => self.get_concurrency(name).map(ok),
            Route::DeleteConcurrency(name) => {
                self.delete_concurrency(name).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Route::PutEventInvoke(name) => self.set_event_invoke(name, &body, false).await.map(ok),
            Route::UpdateEventInvoke(name) => self.set_event_invoke(name, &body, true).await.map(ok),
            Route::GetEventInvoke(name) => self.get_event_invoke(name).map(ok),
            Route::DeleteEventInvoke(name) => {
                self.delete_event_invoke(name).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Route::ListEventInvokes(name) => self.list_event_invokes(name).map(ok),
            Route::GetAccountSettings => Ok(ok(self.account_settings())),
            Route::Unknown => Err(Refusal {
                status: StatusCode::NOT_FOUND,
                code: "UnknownOperationException",
                message: format!("Lambda {method} {path} is not implemented by the Millrace local cloud"),
                reason: None,
            }),
        }
    }

    async fn invoke(&self, name: &str, headers: &HeaderMap, payload: Bytes) -> Result<Response<Full<Bytes>>, Refusal> {
        let function = self.named(name)?;
        self.check_is_active(&function)?;
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
                let fate = self.strike(function.name());
                let call = Call { payload, is_request: true, wants_log, client_context, fate, ..Call::default() };
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
                let id = self.accept(&function, &payload).await?;
                let mut response = empty(StatusCode::ACCEPTED);
                response.headers_mut().extend(HeaderValue::from_str(&id).ok().map(|id| (REQUEST_ID, id)));
                Ok(response)
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

    /// Takes an asynchronous event, to be run in the background: on disk when this returns its id.
    async fn accept(&self, function: &Function, payload: &Bytes) -> Result<String, Refusal> {
        // JSON is text.
        let payload = String::from_utf8_lossy(payload).into();
        self.events.accept(function.name(), payload).await.map_err(|error| match error {
            AcceptError::Full => Refusal::throttled("CallerRateLimitExceeded"),
            AcceptError::Disk(error) => {
                tracing::error!(%error, function = function.name(), "an asynchronous event was not accepted");
                Refusal::service(format!("The event is not accepted: {error}"))
            }
        })
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

/// The only version that there is.
fn check_qualifier(query: &str) -> Result<(), Refusal> {
    let qualifier = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "Qualifier");
    match qualifier {
        Some((_, qualifier)) if qualifier != VERSION => Err(Refusal {
            status: StatusCode::NOT_FOUND,
            ..Refusal::client(
                "ResourceNotFoundException",
                format!("Function not found: there is no version {qualifier}"),
            )
        }),
        Some(_) | None => Ok(()),
    }
}

impl Refusal {
    fn client(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, message: message.into(), reason: None }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::client("InvalidParameterValueException", message)
    }

    fn conflict(message: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, ..Self::client("ResourceConflictException", message) }
    }

    fn service(message: impl Into<String>) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, ..Self::client("ServiceException", message) }
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
                Self::service(error.to_string())
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
