//! The query protocol, a form in and XML out: STS and SNS speak it here, told apart by the version that a form names.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use url::form_urlencoded;
use uuid::Uuid;

use super::faults::Called;
use super::{Body, Cut, Door, guard, sts};
use crate::clock;
use crate::faults::Fate;
use crate::sns;
use crate::wire::{ServiceError, xml_text};

/// The version of STS' API.
const STS_VERSION: &str = "2011-06-15";

/// Whether a request without `X-Amz-Target` is in the query protocol.
pub(super) fn is_query(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    method == Method::POST && path == "/" && content_type.starts_with(b"application/x-www-form-urlencoded")
}

impl Door {
    /// Answers a request in the query protocol: which service and operation it is for, its body says.
    pub(super) async fn answer_query(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (parts, body) = request.into_parts();
        let (_room, body) = match self.body(body).await {
            Ok(body) => body,
            Err(error) => return Ok(refusal("", &error)),
        };
        let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
        let action = form.get("Action").map(String::as_str).unwrap_or_default();
        match form.get("Version").map(String::as_str) {
            Some(sns::VERSION) => {
                let called = Called::of_sns(action);
                let answer = self.answer_sns(&parts, &body, action, &form);
                match self.fate(&called) {
                    Fate::Throttle => Ok(refusal(sns::NAMESPACE, &called.throttled())),
                    Fate::Fail => Ok(refusal(sns::NAMESPACE, &called.failed())),
                    fate @ (Fate::Answer | Fate::Delay(_) | Fate::Hang | Fate::Cut) => {
                        super::carry_out(fate, answer).await
                    }
                }
            }
            None | Some(STS_VERSION) => Ok(self.answer_sts(&parts, &body)),
            Some(other) => {
                let message = format!("{action} of version {other} is not implemented by the Millrace local cloud");
                Ok(refusal("", &ServiceError::client("InvalidAction", message)))
            }
        }
    }

    async fn answer_sns(
        &self,
        parts: &http::request::Parts,
        body: &Bytes,
        action: &str,
        form: &BTreeMap<String, String>,
    ) -> Response<Body> {
        if let Err(refused) = self.guard.admit(guard::SNS, parts.into(), Some(body), clock::now_ms()) {
            let (code, status) = guard::query_error(&refused);
            let error = ServiceError { status: status.as_u16(), code, message: refused.to_string() };
            return refusal(sns::NAMESPACE, &error);
        }
        match self.services.sns.call(action, form).await {
            Ok(xml) => guard::xml(StatusCode::OK, xml),
            Err(sns::SnsError { status, code, message }) => {
                refusal(sns::NAMESPACE, &ServiceError { status, code, message })
            }
        }
    }

    fn answer_sts(&self, parts: &http::request::Parts, body: &Bytes) -> Response<Body> {
        match self.guard.admit(guard::STS, parts.into(), Some(body), clock::now_ms()) {
            Ok(_checked) => sts::answer(body),
            Err(refusal) => sts::refused(&refusal),
        }
    }
}

/// An error as the query protocol writes it.
fn refusal(namespace: &str, error: &ServiceError) -> Response<Body> {
    let kind = if error.status >= 500 { "Receiver" } else { "Sender" };
    let text = format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error>\
         <RequestId>{}</RequestId></ErrorResponse>",
        error.code,
        xml_text(&error.message),
        Uuid::new_v4()
    );
    let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    guard::xml(status, text)
}
