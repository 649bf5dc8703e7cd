//! The door of S3: takes requests signed by anybody, and unwraps `aws-chunked` bodies before the protocol crate.
//!
//! `s3s` refuses a signature that it cannot check, and reads `aws-chunked` only behind one that it has checked. Whether
//! the local cloud checks is up to its owner, so the signature is taken off here and the body is unwrapped here; what
//! is left to check of a body is said by the [`Payload`] among the request's extensions.

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
use sha2::{Digest as _, Sha256};

use super::chunked::{Decoder, Trailer};
use crate::signature::{ChunkSigner, Payload};

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
    let payload = parts.extensions.remove::<Payload>().unwrap_or(Payload::Checked);
    let body = match (is_chunked(&parts.headers), payload) {
        (true, payload) => {
            plain_headers(&mut parts);
            let trailers = Trailers::default();
            parts.extensions.insert(trailers.clone());
            let signer = match payload {
                Payload::Chunks(signer) => Some(signer),
                Payload::Checked | Payload::Sha256(_) => None,
            };
            unwrap(body, trailers, signer)
        }
        (false, Payload::Sha256(expected)) => hashed(body, expected),
        (false, Payload::Checked | Payload::Chunks(_)) => s3s::Body::http_body_unsync(body),
    };
    http::Request::from_parts(parts, body)
}

/// A body whose hash is not the one that was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provided 'x-amz-content-sha256' header does not match what was computed")]
pub(super) struct HashMismatch;

/// A body that breaks off at its end if its hash is another.
fn hashed<B>(body: B, expected: [u8; 32]) -> s3s::Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let pieces = body.into_data_stream().map_err(StdError::from).boxed();
    let frames = stream::try_unfold(Some((pieces, Sha256::new())), move |state| async move {
        let Some((mut pieces, mut hash)) = state else { return Ok::<_, StdError>(None) };
        match pieces.next().await {
            Some(piece) => {
                let piece = piece?;
                hash.update(&piece);
                Ok(Some((Frame::data(piece), Some((pieces, hash)))))
            }
            None if hash.finalize()[..] == expected => Ok(None),
            None => Err(HashMismatch.into()),
        }
    });
    s3s::Body::http_body_unsync(StreamBody::new(frames))
}

/// Sub-resources that `s3s` does not know: it would take a request for one of them as one for the bucket or object
/// itself, and delete or overwrite that.
const NOT_HERE: [&str; 6] = [
    "abac",
    "metadataConfiguration",
    "metadataInventoryTable",
    "metadataJournalTable",
    "metadataTable",
    "renameObject",
];

/// The sub-resource of a request that is not here and that only this place knows.
pub(super) fn not_here(uri: &Uri) -> Option<&'static str> {
    let mut names = uri.query()?.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    let is_object = uri.path().trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    names.find_map(|name| match NOT_HERE.iter().find(|known| **known == name) {
        Some(known) => Some(*known),
        // Buckets have one that `s3s` knows.
        None if is_object && name == "encryption" => Some("encryption"),
        None => None,
    })
}

/// The answer to a request for such a sub-resource.
pub(super) fn not_here_response(method: &http::Method, name: &str) -> http::Response<s3s::Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>NotImplemented</Code><Message>S3 {method} ?{name} is \
         not implemented by the Millrace local cloud</Message></Error>"
    );
    let mut response = http::Response::new(s3s::Body::from(text));
    *response.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
    response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
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

fn unwrap<B>(body: B, trailers: Trailers, signer: Option<ChunkSigner>) -> s3s::Body
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let pieces = body.into_data_stream().map_err(StdError::from).boxed();
    let start = Some((pieces, Decoder::new(signer), trailers));
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

    use super::{Trailers, admit, not_here};

    #[test]
    fn sub_resources_that_would_be_taken_for_the_whole_are_told() {
        for (uri, expected) in [
            ("/bucket", None),
            ("/bucket?metadataConfiguration", Some("metadataConfiguration")),
            ("/bucket/key?renameObject", Some("renameObject")),
            ("/bucket/key?x-id=PutObject", None),
            ("/bucket?encryption", None),
            ("/bucket/?encryption", None),
            ("/bucket/key?encryption=", Some("encryption")),
            ("/bucket/abac?prefix=abac", None),
        ] {
            assert_eq!(not_here(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

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
