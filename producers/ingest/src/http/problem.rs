//! Answers that are not 2xx: one `application/problem+json` shape (RFC 9457) for all of them.
//!
//! A problem says the rule, the place and what must hold. It never repeats a value of the request, apart from the
//! request's own id: values may be personal, and answers end in other people's logs.

use axum::body::Body;
use axum::response::Response;
use events::event_id::EventId;
use events::violation::Violation;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::http::routes::ROUTES;

/// Seconds after which a sender may try again: long enough for a queue of one shard's second to drain.
pub(crate) const RETRY_AFTER_S: u64 = 1;

/// Longest `BidRequest.id` that an answer repeats, in bytes; real ids are 36 to 64.
const ID_BYTES_MAX: usize = 256;

/// What is wrong, as a class: each has one status and one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    InvalidRequest,
    CorruptBody,
    IncompleteBody,
    UnknownRoute,
    MethodNotAllowed,
    SlowBody,
    TooLarge,
    RatioTooLarge,
    TooManyLines,
    UriTooLong,
    UnsupportedMediaType,
    UnsupportedEncoding,
    UnknownEventType,
    UnknownKey,
    BadSignature,
    TenantDisabled,
    OverQuota,
    QueueFull,
    StreamUnavailable,
    Overloaded,
    Unwritable,
}

/// An answer that is not 2xx.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    request_id: Option<String>,
    event_id: Option<EventId>,
    limit_bytes: Option<usize>,
    retry_after_s: Option<u64>,
    errors: Vec<Violation>,
}

#[derive(Serialize)]
struct Document<'p> {
    r#type: &'p str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Option<&'p str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbr: Option<u8>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'p [Violation],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    routes: &'p [String],
}

impl Kind {
    /// All kinds, in the order of their status.
    pub(crate) const ALL: [Kind; 21] = [
        Kind::InvalidRequest,
        Kind::CorruptBody,
        Kind::IncompleteBody,
        Kind::UnknownEventType,
        Kind::UnknownKey,
        Kind::BadSignature,
        Kind::TenantDisabled,
        Kind::UnknownRoute,
        Kind::MethodNotAllowed,
        Kind::SlowBody,
        Kind::TooLarge,
        Kind::RatioTooLarge,
        Kind::TooManyLines,
        Kind::UriTooLong,
        Kind::UnsupportedMediaType,
        Kind::UnsupportedEncoding,
        Kind::OverQuota,
        Kind::Unwritable,
        Kind::QueueFull,
        Kind::StreamUnavailable,
        Kind::Overloaded,
    ];

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Kind::InvalidRequest | Kind::CorruptBody | Kind::IncompleteBody | Kind::UnknownEventType => {
                StatusCode::BAD_REQUEST
            }
            Kind::UnknownKey | Kind::BadSignature => StatusCode::UNAUTHORIZED,
            Kind::TenantDisabled => StatusCode::FORBIDDEN,
            Kind::UriTooLong => StatusCode::URI_TOO_LONG,
            Kind::OverQuota => StatusCode::TOO_MANY_REQUESTS,
            Kind::UnknownRoute => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Kind::TooLarge | Kind::RatioTooLarge | Kind::TooManyLines => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UnsupportedMediaType | Kind::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unwritable => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::QueueFull | Kind::StreamUnavailable | Kind::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Title, path of the page that explains it, and the explanation.
    #[expect(clippy::too_many_lines, reason = "a table that the compiler holds complete")]
    pub(crate) fn text(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kind::InvalidRequest => (
                "Invalid request",
                "/problems/invalid-request",
                "The body breaks the rules that `errors` names. It is no event; send a corrected body.",
            ),
            Kind::CorruptBody => (
                "Corrupt body",
                "/problems/corrupt-body",
                "The body is not what its Content-Encoding says, or ends too early.",
            ),
            Kind::IncompleteBody => {
                ("Incomplete body", "/problems/incomplete-body", "The body ended before its announced length.")
            }
            Kind::UnknownEventType => (
                "Unknown event type",
                "/problems/unknown-event-type",
                "The query parameter `type` must be a type of event, such as `ad_request`, or absent for that one.",
            ),
            Kind::UnknownRoute => ("Not found", "/problems/unknown-route", "There is no such route; see `routes`."),
            Kind::MethodNotAllowed => (
                "Method not allowed",
                "/problems/method-not-allowed",
                "The route takes other methods; see the Allow header and `routes`.",
            ),
            Kind::SlowBody => ("Body too slow", "/problems/slow-body", "The body did not arrive in time."),
            Kind::TooLarge => (
                "Body too large",
                "/problems/too-large",
                "The body, after decompression, is above the limit of this route, `limit_bytes`.",
            ),
            Kind::TooManyLines => {
                ("Too many lines", "/problems/too-many-lines", "A batch takes at most 10,000 lines; send several.")
            }
            Kind::RatioTooLarge => (
                "Compressed too much",
                "/problems/compression-ratio",
                "The body is more than 250 times as large as what was sent; send it with less compression.",
            ),
            Kind::UriTooLong => {
                ("URI too long", "/problems/uri-too-long", "The path and query must have at most 8,192 bytes.")
            }
            Kind::UnknownKey => (
                "Unknown key",
                "/problems/unknown-key",
                "Send a valid key as `Authorization: Bearer KEY` or `X-Api-Key: KEY`.",
            ),
            Kind::BadSignature => (
                "Bad signature",
                "/problems/bad-signature",
                "The notice's `sig`, its last parameter, must be the HMAC-SHA-256 of the path and query before it.",
            ),
            Kind::TenantDisabled => {
                ("Tenant disabled", "/problems/tenant-disabled", "The key is known, and its tenant may not send now.")
            }
            Kind::OverQuota => (
                "Over quota",
                "/problems/over-quota",
                "More was sent than the tenant may send. Nothing was kept; send it again after Retry-After.",
            ),
            Kind::UnsupportedMediaType => (
                "Unsupported media type",
                "/problems/unsupported-media-type",
                "Send application/json for one event and application/x-ndjson to /v1/events.",
            ),
            Kind::UnsupportedEncoding => (
                "Unsupported content encoding",
                "/problems/unsupported-encoding",
                "Send the body as it is, or compressed once with gzip, deflate, br or zstd.",
            ),
            Kind::Unwritable => (
                "Internal error",
                "/problems/internal",
                "The event could not be written as a record. This is a fault of the service.",
            ),
            Kind::QueueFull => (
                "Queue full",
                "/problems/queue-full",
                "More events wait for the stream than may wait. Nothing was kept; send it again after Retry-After.",
            ),
            Kind::StreamUnavailable => (
                "Stream unavailable",
                "/problems/stream-unavailable",
                "The stream did not take the event in time. Send the same bytes again after Retry-After: \
                 if it was taken after all, the repeat is recognised as the same event.",
            ),
            Kind::Overloaded => (
                "Overloaded",
                "/problems/overloaded",
                "More comes in than is taken on: too many bodies at once, or events wait too long for the stream. Nothing was \
                 kept; send it again after Retry-After.",
            ),
        }
    }
}

impl Problem {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, request_id: None, event_id: None, limit_bytes: None, retry_after_s: None, errors: Vec::new() }
    }

    /// A body above the limit of its route.
    pub(crate) fn too_large(limit_bytes: usize) -> Self {
        Self { limit_bytes: Some(limit_bytes), ..Self::new(Kind::TooLarge) }
    }

    /// A call above its tenant's quota.
    pub(crate) fn over_quota(retry_after_s: u64) -> Self {
        Self { retry_after_s: Some(retry_after_s), ..Self::new(Kind::OverQuota) }
    }

    /// A body that breaks rules.
    pub(crate) fn invalid(request_id: Option<String>, event_id: Option<EventId>, errors: Vec<Violation>) -> Self {
        Self { request_id, event_id, errors, ..Self::new(Kind::InvalidRequest) }
    }

    /// The answer.
    pub(crate) fn into_response(self) -> Response {
        let (title, page, detail) = self.kind.text();
        let status = self.kind.status();
        let is_invalid = self.kind == Kind::InvalidRequest;
        let lists_routes = matches!(self.kind, Kind::UnknownRoute | Kind::MethodNotAllowed);
        let id = self.request_id.as_deref().filter(|id| id.len() <= ID_BYTES_MAX);
        let routes: Vec<String> =
            if lists_routes { ROUTES.iter().flat_map(|route| route.names()).collect() } else { Vec::new() };
        let document = Document {
            r#type: page,
            title,
            status: status.as_u16(),
            detail,
            id: is_invalid.then_some(id),
            event_id: self.event_id,
            limit_bytes: self.limit_bytes,
            // OpenRTB's no-bid reason 2: invalid request.
            nbr: is_invalid.then_some(2),
            errors: &self.errors,
            routes: &routes,
        };
        let body = serde_json::to_vec(&document).expect("a document of strings and numbers can be written");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(self.retry_after_s.unwrap_or(RETRY_AFTER_S)));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.kind == Kind::UnsupportedEncoding {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br, zstd"));
        }
        response
    }

    /// The answer as OpenRTB has it: the same status and headers, and no content.
    pub(crate) fn into_empty_response(self) -> Response {
        let mut response = self.into_response();
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
        response
    }
}
