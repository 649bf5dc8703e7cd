//! An event of any of the sources, and the request that it stands for.

use std::collections::BTreeMap;

use axum::body::Body;
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use serde::Deserialize;

use super::answer::Form;

/// An HTTP request as Lambda hands it to a function. Members that are `null` count as absent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    version: Option<String>,
    http_method: Option<String>,
    path: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    headers: Option<BTreeMap<String, Option<String>>>,
    multi_value_headers: Option<Lists>,
    query_string_parameters: Option<BTreeMap<String, Option<String>>>,
    multi_value_query_string_parameters: Option<Lists>,
    request_context: Option<Context>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

type Lists = BTreeMap<String, Option<Vec<String>>>;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Context {
    stage: Option<String>,
    http: Option<HttpContext>,
    elb: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct HttpContext {
    method: Option<String>,
}

/// Why an event is no HTTP request. The services send none of these.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// No method, or no name of one.
    #[error("the method is none")]
    Method,
    /// A header that is none.
    #[error("a header is none")]
    Header(#[source] http::Error),
    /// Path and query are no URI.
    #[error("path and query are no URI")]
    Uri(#[source] http::Error),
    /// The body is not the base64 that it is said to be.
    #[error("the body is not base64")]
    Body(#[source] base64_simd::Error),
}

impl Event {
    /// How its source wants to be answered.
    pub(super) fn form(&self) -> Form {
        let is_from_balancer = self.request_context.as_ref().is_some_and(|context| context.elb.is_some());
        if self.version.as_deref() == Some("2.0") {
            Form::HttpApi
        } else if !is_from_balancer {
            Form::RestApi
        } else if self.multi_value_headers.is_some() {
            Form::BalancerMultiValue
        } else {
            Form::Balancer
        }
    }

    /// The request.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub(super) fn into_request(self) -> Result<Request<Body>, Unreadable> {
        let form = self.form();
        let named = self.http_method.as_deref();
        let context = self.request_context.as_ref();
        let method = named.or(context.and_then(|context| context.http.as_ref()?.method.as_deref()));
        let method = method.and_then(|name| Method::from_bytes(name.as_bytes()).ok()).ok_or(Unreadable::Method)?;
        let uri = self.uri(form)?;
        let headers = headers(self.headers, self.multi_value_headers)?;
        let body = match (self.body, self.is_base64_encoded) {
            (Some(text), Some(true)) => {
                Bytes::from(base64_simd::STANDARD.decode_to_vec(text).map_err(Unreadable::Body)?)
            }
            (Some(text), _) => Bytes::from(text),
            (None, _) => Bytes::new(),
        };
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn uri(&self, form: Form) -> Result<Uri, Unreadable> {
        let (path, query) = match form {
            Form::HttpApi => {
                let path = self.raw_path.as_deref().unwrap_or_default();
                let stage = self.request_context.as_ref().and_then(|context| context.stage.as_deref());
                (without_stage(path, stage), self.raw_query_string.clone())
            }
            // API Gateway has decoded the parameters; its `path` is without the stage.
            Form::RestApi => (self.path.as_deref().unwrap_or_default(), Some(encoded(&self.parameters()))),
            // A balancer hands them on as they stand in the URL.
            Form::Balancer | Form::BalancerMultiValue => {
                (self.path.as_deref().unwrap_or_default(), Some(joined(&self.parameters())))
            }
        };
        let mut uri = String::from(if path.starts_with('/') { "" } else { "/" });
        escape_into(&mut uri, path);
        if let Some(query) = query.filter(|query| !query.is_empty()) {
            uri.push('?');
            uri.push_str(&query);
        }
        uri.parse().map_err(|error: http::uri::InvalidUri| Unreadable::Uri(error.into()))
    }

    /// The parameters of a source that gives them as a map: sorted by name, because the order of the URL is lost and the
    /// same URL must give the same event; the signature of a notice last, which covers all before it.
    fn parameters(&self) -> Vec<(&str, &str)> {
        let mut parameters: Vec<(&str, &str)> =
            match (&self.multi_value_query_string_parameters, &self.query_string_parameters) {
                (Some(lists), _) if !lists.is_empty() => pairs(lists),
                (_, Some(singles)) => {
                    singles.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or_default())).collect()
                }
                (_, None) => Vec::new(),
            };
        parameters.sort_by_key(|(name, _)| *name == "sig");
        parameters
    }
}

fn pairs(lists: &Lists) -> Vec<(&str, &str)> {
    let lists = lists.iter().filter_map(|(name, values)| Some((name, values.as_ref()?)));
    lists.flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str()))).collect()
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn joined(parameters: &[(&str, &str)]) -> String {
    parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A path as senders wrote it: API Gateway puts a named stage before it.
fn without_stage<'p>(path: &'p str, stage: Option<&str>) -> &'p str {
    let stage = stage.filter(|stage| *stage != "$default" && !stage.is_empty());
    let rest = stage.and_then(|stage| path.strip_prefix('/')?.strip_prefix(stage));
    rest.filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path)
}

/// Appends a path with those bytes escaped that no path may have: API Gateway decodes some paths.
fn escape_into(uri: &mut String, path: &str) {
    for character in path.chars() {
        let stands = character.is_ascii_graphic()
            && !matches!(character, '"' | '#' | '<' | '>' | '?' | '\\' | '^' | '`' | '{' | '|' | '}');
        if stands {
            uri.push(character);
        } else {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                uri.push_str(&format!("%{byte:02X}"));
            }
        }
    }
}

/// All headers. The map of lists has every value, the other one the last of each.
fn headers(singles: Option<BTreeMap<String, Option<String>>>, lists: Option<Lists>) -> Result<HeaderMap, Unreadable> {
    let mut headers = HeaderMap::new();
    let mut append = |name: &str, value: &str| -> Result<(), http::Error> {
        headers.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
        Ok(())
    };
    let lists = lists.unwrap_or_default();
    for (name, value) in pairs(&lists) {
        append(name, value).map_err(Unreadable::Header)?;
    }
    for (name, value) in singles.unwrap_or_default() {
        if !lists.keys().any(|listed| listed.eq_ignore_ascii_case(&name)) {
            append(&name, value.as_deref().unwrap_or_default()).map_err(Unreadable::Header)?;
        }
    }
    Ok(headers)
}
