//! The one door of the local cloud: an HTTP/1.1 and HTTP/2 listener that hands each request to its service.
//!
//! The JSON services are told by `X-Amz-Target`, Lambda by its paths; whatever has neither is S3. Any credentials are taken. Connections,
//! bodies, the bytes of all bodies together and the time for each are bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::athena::Athena;
use crate::firehose::Firehose;
use crate::glue::Glue;
use crate::kinesis::Kinesis;
use crate::lambda::{Lambda, api};
use crate::s3::S3;
use crate::wire::ServiceError;

/// Connections at once; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// The longest body of a JSON service: 10 MiB of records are 13.4 MiB of base64.
const JSON_BODY_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Bodies of JSON services in memory at once, in KiB: 512 MiB. More wait.
const JSON_BODIES_KIB_MAX: usize = 512 * 1_024;
/// Senders that are slower with their headers or with a JSON body are cut off.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests under way may take at shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be accepted, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const JSON: &str = "application/x-amz-json-1.1";

type Body = UnsyncBoxBody<Bytes, BrokenBody>;

/// An answer's body broke off while it was read from the disk.
#[derive(Debug, thiserror::Error)]
#[error("the body of an answer broke off")]
struct BrokenBody(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The services behind the door.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) kinesis: Kinesis,
    pub(crate) firehose: Firehose,
    pub(crate) glue: Glue,
    pub(crate) athena: Athena,
    pub(crate) s3: S3,
    pub(crate) lambda: Lambda,
}

/// What all connections share.
struct Door {
    services: Arc<Services>,
    body_kib: Semaphore,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    message: &'a str,
}

/// Serves until `stop`, then lets the requests under way end, for 5 s at most.
pub(crate) async fn serve(listener: TcpListener, services: Arc<Services>, stop: CancellationToken) {
    let door = Arc::new(Door { services, body_kib: Semaphore::new(JSON_BODIES_KIB_MAX) });
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    let cut_off = CancellationToken::new();
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(READ_TIMEOUT));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await.expect("the semaphore is never closed");
        let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
        let stream: TcpStream = match accepted {
            Ok((stream, _peer)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            continue;
        }
        let door = Arc::clone(&door);
        let service = service_fn(move |request| {
            let door = Arc::clone(&door);
            async move { Ok::<_, Infallible>(door.answer(request).await) }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let (connection, cut_off) = (graceful.watch(connection), cut_off.clone());
        tokio::spawn(async move {
            if let Some(Err(error)) = cut_off.run_until_cancelled(connection).await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests under way were cut off");
    }
    cut_off.cancel();
}

impl Door {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let target = request.headers().get("x-amz-target").map(HeaderValue::as_bytes);
        let Some(target) = target else {
            let is_lambda = api::is_lambda(request.uri().path());
            return if is_lambda { self.answer_lambda(request).await } else { self.answer_s3(request).await };
        };
        let target = String::from_utf8_lossy(target).into_owned();
        let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
        let result = match check_json(request.method(), content_type.as_ref()) {
            Ok(()) => self.answer_json(&target, request).await,
            Err(error) => Err(error),
        };
        json_response(result, content_type)
    }

    async fn answer_json(&self, target: &str, request: Request<Incoming>) -> Result<Vec<u8>, ServiceError> {
        let (_room, body) = self.body(request.into_body()).await?;
        let services = &self.services;
        match target.split_once('.') {
            Some(("Kinesis_20131202", operation)) => services.kinesis.call(operation, &body).await,
            Some(("Firehose_20150804", operation)) => services.firehose.call(operation, &body).await,
            Some(("AWSGlue", operation)) => services.glue.call(operation, &body).await,
            Some(("AmazonAthena", operation)) => services.athena.call(operation, &body).await,
            Some((service, operation)) => Err(ServiceError::not_here(service, operation)),
            None => Err(ServiceError::client("UnknownOperationException", format!("no service in target {target}"))),
        }
    }

    /// Reads a body of bounded size, within the room that all bodies share.
    async fn body(&self, body: Incoming) -> Result<(SemaphorePermit<'_>, Bytes), ServiceError> {
        let size = body.size_hint();
        let announced = usize::try_from(size.lower()).unwrap_or(usize::MAX);
        if announced > JSON_BODY_BYTES_MAX {
            return Err(body_too_large());
        }
        // A body that does not say its length may have all that is allowed.
        let bytes = if size.exact().is_some() { announced } else { JSON_BODY_BYTES_MAX };
        let kib = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let room = self.body_kib.acquire_many(kib).await.expect("the semaphore is never closed");
        Ok((room, read_body(body).await?))
    }

    async fn answer_lambda(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        match self.body(body).await {
            Ok((_room, body)) => {
                let answer = self.services.lambda.handle(&parts.method, parts.uri.path(), &parts.headers, body).await;
                answer.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
            Err(error) => json_response(Err(error), None),
        }
    }

    async fn answer_s3(&self, request: Request<Incoming>) -> Response<Body> {
        match self.services.s3.handle(request).await {
            Ok(response) => response.map(|body| body.map_err(BrokenBody).boxed_unsync()),
            Err(error) => {
                tracing::error!(?error, "S3 could not answer");
                let error = ServiceError::internal("InternalFailure", "S3 could not answer");
                json_response(Err(error), None)
            }
        }
    }
}

/// The protocol is JSON 1.0 or 1.1 by POST.
fn check_json(method: &Method, content_type: Option<&HeaderValue>) -> Result<(), ServiceError> {
    if method != Method::POST {
        return Err(ServiceError::client("UnknownOperationException", format!("{method} is not POST")));
    }
    let is_cbor = content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/x-amz-cbor"));
    if is_cbor {
        let message = "CBOR is not served by the Millrace local cloud, only JSON; AWS SDKs for Java use JSON with \
                       AWS_CBOR_DISABLE=true";
        return Err(ServiceError { status: 415, code: "UnsupportedMediaTypeException", message: message.to_owned() });
    }
    Ok(())
}

async fn read_body(body: Incoming) -> Result<Bytes, ServiceError> {
    match timeout(READ_TIMEOUT, Limited::new(body, JSON_BODY_BYTES_MAX).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(body_too_large()),
        Ok(Err(error)) => Err(ServiceError::client("SerializationException", format!("The body broke off: {error}"))),
        Err(_elapsed) => Err(ServiceError {
            status: 408,
            code: "RequestTimeout",
            message: format!("The body took longer than {} s.", READ_TIMEOUT.as_secs()),
        }),
    }
}

fn body_too_large() -> ServiceError {
    let message = format!("The body is over {JSON_BODY_BYTES_MAX} bytes.");
    ServiceError { status: 413, code: "RequestEntityTooLargeException", message }
}

fn json_response(result: Result<Vec<u8>, ServiceError>, content_type: Option<HeaderValue>) -> Response<Body> {
    let (status, code, body) = match result {
        Ok(body) => (StatusCode::OK, None, body),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = ErrorBody { code: error.code, message: &error.message };
            (status, Some(error.code), serde_json::to_vec(&body).unwrap_or_default())
        }
    };
    let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/x-amz-json");
    let content_type = content_type.filter(is_json).unwrap_or(HeaderValue::from_static(JSON));
    let mut response = Response::new(Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    if let Some(code) = code {
        headers.insert("x-amzn-errortype", HeaderValue::from_static(code));
    }
    let mut id = Uuid::encode_buffer();
    if let Ok(id) = HeaderValue::from_str(Uuid::new_v4().hyphenated().encode_lower(&mut id)) {
        headers.insert("x-amzn-requestid", id);
    }
    response
}
