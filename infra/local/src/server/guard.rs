//! Signatures at the door, where they are to be checked: which service a request was signed for, and what each service
//! calls a refusal.

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use uuid::Uuid;

use super::Body;
use crate::signature::{Head, KeyRing, Payload, Refusal, Service, verify};
use crate::wire::{ServiceError, xml_text};

/// The signing name of S3.
pub(super) const S3: Service = Service { name: "s3" };
/// The signing name of Lambda.
pub(super) const LAMBDA: Service = Service { name: "lambda" };
/// The signing name of STS.
pub(super) const STS: Service = Service { name: "sts" };

/// The signing name of SNS.
pub(super) const SNS: Service = Service { name: "sns" };

/// Checks signatures; without keys it lets everybody in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    pub(crate) keys: Option<KeyRing>,
}

impl Guard {
    /// Checks a request whose body is whole, or, at S3, is still to come.
    pub(super) fn admit(
        &self,
        service: Service,
        head: Head<'_>,
        body: Option<&[u8]>,
        now_ms: i64,
    ) -> Result<Payload, Refusal> {
        let Some(keys) = &self.keys else { return Ok(Payload::Checked) };
        verify(keys, service, head, body, now_ms)
    }

    /// [`Guard::admit`] for a request that names its service in `X-Amz-Target`.
    pub(super) fn admit_target(
        &self,
        target: &str,
        head: Head<'_>,
        body: &[u8],
        now_ms: i64,
    ) -> Result<(), ServiceError> {
        let name = match target.split_once('.').map(|(service, _)| service) {
            Some("Kinesis_20131202") => "kinesis",
            Some("Firehose_20150804") => "firehose",
            Some("AWSGlue") => "glue",
            Some("AmazonAthena") => "athena",
            Some("AmazonSQS") => "sqs",
            // Not here, which is said a step later.
            Some(_) | None => return Ok(()),
        };
        let admitted = self.admit(Service { name }, head, Some(body), now_ms);
        admitted.map(drop).map_err(|refusal| json_error(&refusal))
    }
}

/// A refusal as the JSON services put it.
pub(super) fn json_error(refusal: &Refusal) -> ServiceError {
    let code = match refusal {
        Refusal::Missing => "MissingAuthenticationTokenException",
        Refusal::Algorithm | Refusal::Incomplete(_) => "IncompleteSignatureException",
        Refusal::UnknownKey { .. } => "UnrecognizedClientException",
        Refusal::Scope { .. }
        | Refusal::Expired { .. }
        | Refusal::NotYet { .. }
        | Refusal::Ended
        | Refusal::NotSigned { .. }
        | Refusal::Mismatch { .. } => "InvalidSignatureException",
    };
    ServiceError::client(code, refusal.to_string())
}

/// A refusal as STS puts it: code and status.
pub(super) fn query_error(refusal: &Refusal) -> (&'static str, StatusCode) {
    match refusal {
        Refusal::Missing => ("MissingAuthenticationToken", StatusCode::FORBIDDEN),
        Refusal::Algorithm | Refusal::Incomplete(_) => ("IncompleteSignature", StatusCode::BAD_REQUEST),
        Refusal::UnknownKey { .. } => ("InvalidClientTokenId", StatusCode::FORBIDDEN),
        Refusal::Scope { .. }
        | Refusal::Expired { .. }
        | Refusal::NotYet { .. }
        | Refusal::Ended
        | Refusal::NotSigned { .. }
        | Refusal::Mismatch { .. } => ("SignatureDoesNotMatch", StatusCode::FORBIDDEN),
    }
}

/// A refusal as S3 puts it.
pub(super) fn s3_response(refusal: &Refusal) -> Response<Body> {
    let (status, code) = match refusal {
        Refusal::Missing | Refusal::Ended | Refusal::NotSigned { .. } => (StatusCode::FORBIDDEN, "AccessDenied"),
        Refusal::Algorithm => (StatusCode::BAD_REQUEST, "InvalidRequest"),
        Refusal::Incomplete(_) | Refusal::Scope { .. } => (StatusCode::BAD_REQUEST, "AuthorizationHeaderMalformed"),
        Refusal::UnknownKey { .. } => (StatusCode::FORBIDDEN, "InvalidAccessKeyId"),
        Refusal::Expired { .. } | Refusal::NotYet { .. } => (StatusCode::FORBIDDEN, "RequestTimeTooSkewed"),
        Refusal::Mismatch { .. } => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
    };
    let message = match refusal {
        Refusal::UnknownKey { .. } => "The AWS Access Key Id you provided does not exist in our records.".to_owned(),
        Refusal::Missing => "Access Denied".to_owned(),
        Refusal::Expired { .. } | Refusal::NotYet { .. } => {
            format!("The difference between the request time and the current time is too large. {refusal}")
        }
        Refusal::Algorithm
        | Refusal::Incomplete(_)
        | Refusal::Scope { .. }
        | Refusal::Ended
        | Refusal::NotSigned { .. }
        | Refusal::Mismatch { .. } => refusal.to_string(),
    };
    let id = Uuid::new_v4();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{}</Message>\
         <RequestId>{id}</RequestId></Error>",
        xml_text(&message)
    );
    xml(status, text)
}

/// An answer in XML.
pub(super) fn xml(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/xml"));
    response
}
