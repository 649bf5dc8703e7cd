//! An answer in the form that the source of the event takes.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

/// Which members an answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    HttpApi,
    RestApi,
    /// An ALB whose target group takes one value a header.
    Balancer,
    /// An ALB whose target group takes lists.
    BalancerMultiValue,
}

/// What a function returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    status_code: u16,
    /// Code and reason, which an ALB asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<String, Vec<String>>>,
    body: String,
    is_base64_encoded: bool,
}

impl Answer {
    pub(super) fn empty(status: StatusCode, form: Form) -> Self {
        Self::new(status, &HeaderMap::new(), Bytes::new(), form)
    }

    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes, form: Form) -> Self {
        let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            lists.entry(name.as_str().to_owned()).or_default().push(value);
        }
        let (headers, multi_value_headers) = match form {
            Form::RestApi | Form::BalancerMultiValue => (None, Some(lists)),
            Form::HttpApi | Form::Balancer => {
                (Some(lists.into_iter().map(|(name, values)| (name, values.join(", "))).collect()), None)
            }
        };
        let status_description = match form {
            Form::Balancer | Form::BalancerMultiValue => {
                Some(format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Unknown")))
            }
            Form::HttpApi | Form::RestApi => None,
        };
        // Every answer of the router is text; what would not be still arrives whole.
        let (body, is_base64_encoded) = match String::from_utf8(body.into()) {
            Ok(text) => (text, false),
            Err(bytes) => (base64_simd::STANDARD.encode_to_string(bytes.as_bytes()), true),
        };
        Self { status_code: status.as_u16(), status_description, headers, multi_value_headers, body, is_base64_encoded }
    }
}
