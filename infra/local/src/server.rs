//! The one door of the local cloud: HTTP/1.1 and HTTP/2, plain and with TLS, each request handed to its service.
//!
//! The JSON services are told by `X-Amz-Target`, and Kinesis speaks CBOR too; Lambda is told by its paths, the query
//! protocol by its content type; whatever has neither is S3. Any credentials are taken, unless signatures are to be checked. Connections, bodies, the bytes of all bodies together and the time for
//! each are bounded.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::athena::Athena;
use crate::clock;
use crate::cloudwatch::{self, CloudWatch, Sampler};
use crate::faults::{Fate, FaultService};
use crate::firehose::Firehose;
use crate::glue::Glue;
use crate::kinesis::{self, Answer, Kinesis, Subscription};
use crate::lambda::{Lambda, api};
use crate::s3::S3;
use crate::sns::Sns;
use crate::sqs::{self, Sqs};
use crate::vault::Vault;
use crate::wire::{self, Protocol, ServiceError};

mod admin;
mod faults;
mod guard;
mod listen;
mod query;
mod sts;

use faults::Called;
pub(crate) use guard::Guard;
pub(crate) use listen::Listener;

/// The longest body of a JSON service: 10 MiB of records are 13.4 MiB of base64.
const JSON_BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Bodies of JSON services in memory at once, in KiB: 512 MiB. More wait.
const JSON_BODIES_KIB_MAX: usize = 512 * 1_024;
/// Senders that are slower with their headers or with a JSON body are cut off.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How a request of Smithy RPC v2 with CBOR is told.
const RPC_PROTOCOL: &str = "smithy-protocol";
const RPC_CBOR: &str = "rpc-v2-cbor";
const RPC_CONTENT_TYPE: &str = "application/cbor";

type Body = UnsyncBoxBody<Bytes, BrokenBody>;

/// An answer's body broke off while it was read from the disk.
#[derive(Debug, thiserror::Error)]
#[error("the body of an answer broke off")]
struct BrokenBody(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The connection is cut before its answer, as a fault that was asked for.
#[derive(Debug, thiserror::Error)]
#[error("cut by a fault that was asked for")]
struct Cut;

/// The services behind the door.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) kinesis: Kinesis,
    pub(crate) firehose: Firehose,
    pub(crate) glue: Glue,
    pub(crate) athena: Athena,
    pub(crate) s3: S3,
    pub(crate) lambda: Lambda,
    pub(crate) vault: Vault,
    pub(crate) sqs: Sqs,
    pub(crate) sns: Sns,
    pub(crate) cloudwatch: CloudWatch,
    pub(crate) sampler: Sampler,
}

impl Services {
    /// Turns what the services counted into metrics.
    pub(crate) fn sample(&self) {
        self.sampler.sample(&self.lambda, &self.firehose);
    }
}

/// What all connections share.
struct Door {
    services: Arc<Services>,
    guard: Guard,
    body_kib: Semaphore,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
}

/// Serves on all listeners until `stop`, then lets the requests under way end, for 5 s at most.
pub(crate) async fn serve(listeners: Vec<Listener>, services: Arc<Services>, guard: Guard, stop: CancellationToken) {
    let door = Door { services, guard, body_kib: Semaphore::new(JSON_BODIES_KIB_MAX) };
    listen::serve(listeners, Arc::new(door), &stop).await;
}

impl Door {
    /// An error cuts the connection, which only a fault that was asked for does.
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let target = request.headers().get("x-amz-target").map(HeaderValue::as_bytes);
        let Some(target) = target else {
            let path = request.uri().path();
            if let Some(target) = rpc_target(path, request.headers()) {
                return Ok(rpc_response(self.answer_service(target, request).await));
            }
            if path.starts_with(admin::PREFIX) {
                return Ok(self.answer_admin(request).await);
            }
            if api::is_lambda(path) {
                let called = Called::of_lambda(request.method(), path);
                return self.answer_or_strike(Some(called), request, |door, request| door.answer_lambda(request)).await;
            }
            if query::is_query(request.method(), path, request.headers()) {
                return self.answer_query(request).await;
            }
            let called = Called::of_s3(&request);
            return self.answer_or_strike(Some(called), request, |door, request| door.answer_s3(request)).await;
        };
        let target = String::from_utf8_lossy(target).into_owned();
        let called = Called::of_target(&target);
        self.answer_or_strike(called, request, |door, request| door.answer_service(target, request)).await
    }

    /// Answers, unless a fault that was asked for strikes.
    async fn answer_or_strike<'a, F>(
        &'a self,
        called: Option<Called>,
        request: Request<Incoming>,
        answer: impl FnOnce(&'a Self, Request<Incoming>) -> F,
    ) -> Result<Response<Body>, Cut>
    where
        F: Future<Output = Response<Body>>,
    {
        let Some(called) = called else { return Ok(answer(self, request).await) };
        match self.fate(&called) {
            Fate::Throttle => Ok(refuse(&called, called.throttled(), request).await),
            Fate::Fail => Ok(refuse(&called, called.failed(), request).await),
            fate @ (Fate::Answer | Fate::Delay(_) | Fate::Hang | Fate::Cut) => {
                carry_out(fate, answer(self, request)).await
            }
        }
    }

    /// What becomes of a call.
    fn fate(&self, called: &Called) -> Fate {
        let kinesis = &self.services.kinesis;
        kinesis.faults().strike(called.service, &called.operation, kinesis.store().clock().now_ms())
    }

    async fn answer_admin(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let (_room, body) = match self.body(body).await {
            Ok(body) => body,
            Err(error) => return response(Err(error), Protocol::Json, None),
        };
        let (status, body) = admin::answer(&self.services, (&parts.method, parts.uri.path()), &body).await;
        let mut answer = response(Ok(body), Protocol::Json, None);
        *answer.status_mut() = status;
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }

    async fn answer_service(&self, target: String, request: Request<Incoming>) -> Response<Body> {
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let protocol = protocol_of(content_type.as_ref());
        let result = match check_method(request.method()) {
            Ok(()) => self.answer_target(&target, request, protocol).await,
            Err(error) => Err(error),
        };
        let mut response = match result {
            Ok(Answer::Whole(body)) => response(Ok(body), protocol, content_type),
            Ok(Answer::Events(subscription)) => events_response(*subscription),
            Err(error) => response(Err(error), protocol, content_type),
        };
        if target.starts_with(cloudwatch::TARGET) {
            add_older_code(response.headers_mut(), |code| Some(code.trim_end_matches("Exception").to_owned()));
        } else if target.starts_with(sqs::TARGET) {
            add_older_code(response.headers_mut(), |code| sqs::older_code(code).map(str::to_owned));
        }
        response
    }

    async fn answer_target(
        &self,
        target: &str,
        request: Request<Incoming>,
        protocol: Protocol,
    ) -> Result<Answer, ServiceError> {
        let (parts, body) = request.into_parts();
        let (_room, body) = self.body(body).await?;
        self.guard.admit_target(target, (&parts).into(), &body, clock::now_ms())?;
        let services = &self.services;
        match (target.split_once('.'), protocol) {
            (Some(("Kinesis_20131202", operation)), _) => {
                services.kinesis.answer(operation, wire::Request { protocol, body: &body }).await
            }
            (Some((cloudwatch::TARGET, operation)), _) => {
                if !operation.starts_with("Put") {
                    services.sample();
                }
                services.cloudwatch.call(operation, wire::Request { protocol, body: &body }).await.map(Answer::Whole)
            }
            (target, Protocol::Json) => self.answer_json(target, &body).await.map(Answer::Whole),
            (_, Protocol::Cbor) => {
                let message = format!("{target} is served in JSON, not in CBOR.");
                Err(ServiceError { status: 415, code: "UnsupportedMediaTypeException", message })
            }
        }
    }

    async fn answer_json(&self, target: Option<(&str, &str)>, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let services = &self.services;
        match target {
            Some(("Firehose_20150804", operation)) => services.firehose.call(operation, body).await,
            Some(("AWSGlue", operation)) => services.glue.call(operation, body).await,
            Some(("secretsmanager", operation)) => services.vault.call_secrets(operation, body).await,
            Some(("AmazonSSM", operation)) => services.vault.call_parameters(operation, body).await,
            Some(("AmazonAthena", operation)) => services.athena.call(operation, body).await,
            Some((sqs::TARGET, operation)) => services.sqs.call(operation, body).await,
            Some((service, operation)) => Err(ServiceError::not_here(service, operation)),
            None => Err(ServiceError::client("UnknownOperationException", "X-Amz-Target names no service")),
        }
    }

    /// Reads a body of bounded size, within the room that all bodies share.
    async fn body(&self, body: Incoming) -> Result<(SemaphorePermit<'_>, Bytes), ServiceError> {
        self.body_up_to(body, JSON_BODY_BYTES_MAX).await
    }

    async fn body_up_to(&self, body: Incoming, most: usize) -> Result<(SemaphorePermit<'_>, Bytes), ServiceError> {
        let size = body.size_hint();
        let announced = usize::try_from(size.lower()).unwrap_or(usize::MAX);
        if announced > most {
            return Err(body_too_large(most));
        }
        // A body that does not say its length may have all that is allowed.
        let bytes = if size.exact().is_some() { announced } else { most };
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let room = self.body_kib.acquire_many(kib).await.expect("the semaphore is never closed");
        Ok((room, read_body(body, most).await?))
    }

    async fn answer_lambda(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let most = api::body_bytes_max(&parts.method, parts.uri.path()).unwrap_or(JSON_BODY_BYTES_MAX);
        match self.body_up_to(body, most).await {
            Ok((_room, body)) => {
                if let Err(refusal) = self.guard.admit(guard::LAMBDA, (&parts).into(), Some(&body), clock::now_ms()) {
                    let error = ServiceError { status: 403, ..guard::json_error(&refusal) };
                    return response(Err(error), Protocol::Json, None);
                }
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let answer = self.services.lambda.handle(&parts.method, path, &parts.headers, body).await;
                answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
            Err(error) => response(Err(error), Protocol::Json, None),
        }
    }

    async fn answer_s3(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        match self.guard.admit(guard::S3, (&parts).into(), None, clock::now_ms()) {
            Ok(payload) => parts.extensions.insert(payload),
            Err(refusal) => return guard::s3_response(&refusal),
        };
        match self.services.s3.handle(Request::from_parts(parts, body)).await {
            Ok(response) => response.map(|body| body.map_err(BrokenBody).boxed_unsync()),
            Err(error) => {
                tracing::error!(?error, "S3 could not answer");
                let error = ServiceError::internal("InternalFailure", "S3 could not answer");
                response(Err(error), Protocol::Json, None)
            }
        }
    }
}

/// Answers a call that is not refused, as its fate is.
async fn carry_out(fate: Fate, answer: impl Future<Output = Response<Body>>) -> Result<Response<Body>, Cut> {
    match fate {
        Fate::Answer | Fate::Throttle | Fate::Fail => Ok(answer.await),
        Fate::Delay(delay) => {
            let answer = answer.await;
            sleep(delay).await;
            Ok(answer)
        }
        Fate::Hang => std::future::pending().await,
        Fate::Cut => {
            answer.await;
            Err(Cut)
        }
    }
}

/// A refusal that was asked for, in the words and the form of the service.
async fn refuse(called: &Called, error: ServiceError, request: Request<Incoming>) -> Response<Body> {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    // A request that is not read to its end would take its connection with it.
    let _read = read_body(request.into_body(), JSON_BODY_BYTES_MAX).await;
    if called.service != FaultService::S3 {
        return response(Err(error), protocol_of(content_type.as_ref()), content_type);
    }
    let body = faults::s3_error_body(&error);
    let mut answer = response(Err(error), Protocol::Json, None);
    *answer.body_mut() = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

fn check_method(method: &Method) -> Result<(), ServiceError> {
    if method == Method::POST {
        return Ok(());
    }
    Err(ServiceError::client("UnknownOperationException", format!("{method} is not POST")))
}

/// The target of a request of Smithy RPC v2, which names service and operation in its path.
fn rpc_target(path: &str, headers: &HeaderMap) -> Option<String> {
    let (service, operation) = path.strip_prefix("/service/")?.split_once("/operation/")?;
    let is_rpc = headers.get(RPC_PROTOCOL).is_some_and(|value| value == RPC_CBOR);
    is_rpc.then(|| format!("{service}.{operation}"))
}

fn rpc_response(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(RPC_CONTENT_TYPE));
    headers.insert(RPC_PROTOCOL, HeaderValue::from_static(RPC_CBOR));
    response
}

/// An error of a service that once spoke the query protocol: clients know it by its older name.
fn add_older_code(headers: &mut HeaderMap, older: impl FnOnce(&str) -> Option<String>) {
    let Some(code) = headers.get("x-amzn-errortype").and_then(|code| code.to_str().ok()) else { return };
    let sender = if code.ends_with("Fault") { "Receiver" } else { "Sender" };
    let Some(older) = older(code) else { return };
    let older = format!("{older};{sender}");
    if let Ok(older) = HeaderValue::from_str(&older) {
        headers.insert("x-amzn-query-error", older);
    }
}

/// CBOR says so; whatever says nothing, or anything else, is taken for JSON.
fn protocol_of(content_type: Option<&HeaderValue>) -> Protocol {
    let is_cbor = content_type
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-amz-cbor") || value == RPC_CONTENT_TYPE);
    if is_cbor { Protocol::Cbor } else { Protocol::Json }
}

async fn read_body(body: Incoming, most: usize) -> Result<Bytes, ServiceError> {
    match timeout(READ_TIMEOUT, Limited::new(body, most).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(body_too_large(most)),
        Ok(Err(error)) => Err(ServiceError::client("SerializationException", format!("The body broke off: {error}"))),
        Err(_elapsed) => Err(ServiceError {
            status: 408,
            code: "RequestTimeout",
            message: format!("The body took longer than {} s.", READ_TIMEOUT.as_secs()),
        }),
    }
}

fn body_too_large(most: usize) -> ServiceError {
    let message = format!("The body is over {most} bytes.");
    ServiceError { status: 413, code: "RequestEntityTooLargeException", message }
}

/// The messages of a subscription, as they come.
fn events_response(subscription: Subscription) -> Response<Body> {
    let messages = stream::unfold(subscription, async |mut subscription| {
        let message = subscription.next().await?;
        Some((Ok(Frame::data(Bytes::from(message))), subscription))
    });
    let mut response = Response::new(StreamBody::new(messages).boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kinesis::EVENT_STREAM));
    set_request_id(response.headers_mut());
    response
}

/// A whole answer. The content type goes back as it came where it is one of the protocol's.
fn response(
    result: Result<Vec<u8>, ServiceError>,
    protocol: Protocol,
    content_type: Option<HeaderValue>,
) -> Response<Body> {
    let (status, code, body) = match result {
        Ok(body) => (StatusCode::OK, None, body),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = ErrorBody { code: error.code, message: &error.message };
            (status, Some(error.code), protocol.write(&body).unwrap_or_default())
        }
    };
    let is_known = |value: &HeaderValue| value.as_bytes().starts_with(b"application/x-amz-");
    let content_type = content_type.filter(is_known).unwrap_or(HeaderValue::from_static(protocol.content_type()));
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(code) = code {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
    }
    set_request_id(headers);
    response
}

fn set_request_id(headers: &mut HeaderMap) {
    let mut id = Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(Uuid::new_v4().hyphenated().encode_lower(&mut id)) {
        headers.insert("x-amzn-requestid", id);
    }
}
