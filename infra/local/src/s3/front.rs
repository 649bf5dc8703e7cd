//! The door of S3: takes requests signed by anybody, and unwraps `aws-chunked` bodies before the protocol crate.
//!
//! `s3s` refuses a signature that it cannot check, and reads `aws-chunked` only behind one that it has checked. The
//! local cloud knows no secrets, so the signature is taken off here and the body is unwrapped here.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use s3s::StdError;

use super::chunked::{Decoder, Trailer};

/// The trailers of an upload, there once its body has been read to the end.
// Two tasks share it one after the other: the body's stream writes, the operation reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Trailers(Arc<Mutex<Vec<Trailer>>>);

impl Trailers {
    pub(super) fn get(&self, name: &str) -> Option<String> {
        let trailers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        trailers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }

    fn set(&self, trailers: Vec<Trailer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = trailers;
    }
}

/// Makes a request one that `s3s` takes as anonymous and plain.
pub(super) fn admit<B>(request: http::Request<B>) -> http::Request<s3s::Body>
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(AUTHORIZATION);
    if let Some(uri) = without_signature(&parts.uri) {
        parts.uri = uri;
    }
    let body = if is_chunked(&parts.headers) {
        plain_headers(&mut parts);
        let trailers = Trailers::default();
        parts.extensions.insert(trailers.clone());
        unwrap(body, trailers)
    } else {
        s3s::Body::http_body_unsync(body)
    };
    http::Request::from_parts(parts, body)
}

fn is_chunked(headers: &HeaderMap) -> bool {
    let streaming =
        headers.get("x-amz-content-sha256").is_some_and(|value| value.as_bytes().starts_with(b"STREAMING-"));
    let encoded = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    streaming || encoded.flat_map(|value| value.split(',')).any(|coding| coding.trim() == "aws-chunked")
}

/// Says of the headers what will be true of the unwrapped body.
fn plain_headers(parts: &mut Parts) {
    let headers = &mut parts.headers;
    headers.remove("x-amz-content-sha256");
    match headers.remove("x-amz-decoded-content-length") {
        Some(length) => headers.insert(CONTENT_LENGTH, length),
        None => headers.remove(CONTENT_LENGTH),
    };
    let codings: Vec<String> = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|coding| coding.trim().to_owned())
        .filter(|coding| !coding.is_empty() && coding != "aws-chunked")
        .collect();
    headers.remove(CONTENT_ENCODING);
    if let Ok(rest) = HeaderValue::from_str(&codings.join(","))
        && !rest.is_empty()
    {
        headers.insert(CONTENT_ENCODING, rest);
    }
}

fn unwrap<B>(body: B, trailers: Trailers) -> s3s::Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let pieces = body.into_data_stream().map_err(StdError::from).boxed();
    let start = Some((pieces, Decoder::new(), trailers));
    let data = stream::try_unfold(start, |state| async move {
        let Some((mut pieces, mut decoder, trailers)) = state else { return Ok::<_, StdError>(None) };
        match pieces.next().await {
            Some(piece) => {
                let data = decoder.push(&piece?)?;
                Ok(Some((data, Some((pieces, decoder, trailers)))))
            }
            None => {
                trailers.set(decoder.finish()?);
                Ok(Some((Vec::new(), None)))
            }
        }
    });
    let frames =
        data.map_ok(|pieces| stream::iter(pieces.into_iter().map(|piece| Ok::<_, StdError>(Frame::data(piece)))));
    s3s::Body::http_body_unsync(StreamBody::new(frames.try_flatten()))
}

/// The address without the query of a presigned URL; `None` when there is nothing to take off.
fn without_signature(uri: &Uri) -> Option<Uri> {
    const SIGNING: [&str; 9] = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "AWSAccessKeyId",
        "Signature",
    ];
    let query = uri.query()?;
    let name = |pair: &str| pair.split_once('=').map_or_else(|| pair.to_owned(), |(name, _)| name.to_owned());
    let kept: Vec<&str> = query.split('&').filter(|pair| !SIGNING.contains(&name(pair).as_str())).collect();
    if kept.len() == query.split('&').count() {
        return None;
    }
    let mut parts = uri.clone().into_parts();
    let rest = if kept.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), kept.join("&")) };
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};

    use super::{Trailers, admit};

    #[tokio::test]
    async fn signatures_go_and_bodies_are_unwrapped() {
        let request = http::Request::put("/bucket/key?X-Amz-Signature=ab&partNumber=1&X-Amz-Date=x")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=x")
            .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
            .header("x-amz-decoded-content-length", "5")
            .header("content-encoding", "gzip,aws-chunked")
            .body(Full::new(Bytes::from_static(b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:abc=\r\n\r\n")))
            .unwrap();
        let (parts, body) = admit(request).into_parts();
        assert_eq!(parts.uri, "/bucket/key?partNumber=1");
        assert_eq!(parts.headers.get("authorization"), None);
        assert_eq!(parts.headers.get("content-length").unwrap(), "5");
        assert_eq!(parts.headers.get("content-encoding").unwrap(), "gzip");
        assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
        let trailers = parts.extensions.get::<Trailers>().unwrap();
        assert_eq!(trailers.get("x-amz-checksum-crc32").as_deref(), Some("abc="));
    }
}
