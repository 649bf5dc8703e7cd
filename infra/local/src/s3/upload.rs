//! Receiving a body: into a temporary file, counted, hashed, and compared with what the client said of it.

use std::io;

use futures::StreamExt as _;
use http::StatusCode;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};
use tokio::io::AsyncWriteExt as _;

use super::chunked::ChunkError;
use super::front::{HashMismatch, Trailers};
use super::hex;
use super::protocol::io_error;
use super::store::{Store, Temporary};

/// The most that one request puts, in bytes: 5 GiB, as at AWS.
const MAX_PUT_BYTES: u64 = 5 << 30;
/// Bytes are collected to this many before they go to the file.
const WRITE_BUFFER: usize = 1 << 20;
const ALGORITHMS: [&str; 5] = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"];

/// What the client says of a body, from the headers.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub(super) content_length: Option<i64>,
    pub(super) content_md5: Option<String>,
    pub(super) checksums: Checksum,
    /// The algorithm of a checksum that comes behind the body.
    pub(super) algorithm: Option<String>,
    pub(super) trailers: Option<Trailers>,
}

/// A body that has arrived whole.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) file: Temporary,
    pub(super) md5: String,
    pub(super) checksums: Checksum,
}

pub(super) async fn receive(store: &Store, body: Option<StreamingBlob>, claims: Claims) -> S3Result<Received> {
    let file = store.temporary();
    let mut writer = tokio::fs::File::create(&file.path).await.map_err(io_error)?;
    writer.set_max_buf_size(WRITE_BUFFER);
    let mut md5 = Md5::new();
    let mut hasher = hasher(&claims);
    let mut size: u64 = 0;
    if let Some(mut body) = body {
        while let Some(bytes) = body.next().await {
            let bytes = bytes.map_err(broken_off)?;
            size = size.saturating_add(bytes.len() as u64);
            if size > MAX_PUT_BYTES {
                return Err(s3_error!(EntityTooLarge));
            }
            md5.update(&bytes);
            hasher.update(&bytes);
            writer.write_all(&bytes).await.map_err(io_error)?;
        }
    }
    writer.flush().await.map_err(io_error)?;
    if claims.content_length.is_some_and(|length| u64::try_from(length) != Ok(size)) {
        return Err(s3_error!(IncompleteBody, "the body has {size} bytes, not as many as were announced"));
    }
    let md5 = md5.finalize();
    if claims.content_md5.as_ref().is_some_and(|claimed| *claimed != base64_simd::STANDARD.encode_to_string(md5)) {
        return Err(s3_error!(BadDigest, "Content-MD5 is not that of the body"));
    }
    let checksums = hasher.finalize();
    for name in ALGORITHMS {
        let trailer = claims.trailers.as_ref().and_then(|trailers| trailers.get(&format!("x-amz-checksum-{name}")));
        if let Some(claimed) = trailer.as_ref().or(checksum(&claims.checksums, name).as_ref())
            && checksum(&checksums, name).as_ref() != Some(claimed)
        {
            return Err(s3_error!(BadDigest, "the {name} checksum is not that of the body"));
        }
    }
    Ok(Received { file, md5: hex(&md5), checksums })
}

/// What is said of a body that did not come to its end.
fn broken_off(error: StdError) -> S3Error {
    let message = error.to_string();
    if error.is::<HashMismatch>() {
        // The crate does not know this one.
        let mut mismatch = S3Error::with_message(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()), message);
        mismatch.set_status_code(StatusCode::BAD_REQUEST);
        mismatch
    } else if error.downcast_ref() == Some(&ChunkError::Signature) {
        s3_error!(SignatureDoesNotMatch, "{message}")
    } else {
        s3_error!(io::Error::other(error), IncompleteBody, "the body broke off")
    }
}

/// Computes what the client has sent, or has announced to send behind the body.
fn hasher(claims: &Claims) -> ChecksumHasher {
    let wanted = |name: &str| {
        let algorithm = claims.algorithm.as_deref().is_some_and(|algorithm| algorithm.eq_ignore_ascii_case(name));
        algorithm || checksum(&claims.checksums, name).is_some()
    };
    ChecksumHasher {
        crc32: wanted("crc32").then(Default::default),
        crc32c: wanted("crc32c").then(Default::default),
        sha1: wanted("sha1").then(Default::default),
        sha256: wanted("sha256").then(Default::default),
        crc64nvme: wanted("crc64nvme").then(Default::default),
    }
}

pub(super) fn checksum(checksums: &Checksum, name: &str) -> Option<String> {
    match name {
        "crc32" => checksums.checksum_crc32.clone(),
        "crc32c" => checksums.checksum_crc32c.clone(),
        "crc64nvme" => checksums.checksum_crc64nvme.clone(),
        "sha1" => checksums.checksum_sha1.clone(),
        "sha256" => checksums.checksum_sha256.clone(),
        _ => None,
    }
}

/// The verified checksums by name, to be kept with the object.
pub(super) fn kept(checksums: &Checksum) -> std::collections::BTreeMap<String, String> {
    ALGORITHMS.iter().filter_map(|name| Some(((*name).to_owned(), checksum(checksums, name)?))).collect()
}

/// The kept checksums, as an answer says them.
pub(super) fn said(kept: &std::collections::BTreeMap<String, String>) -> Checksum {
    let get = |name: &str| kept.get(name).cloned();
    Checksum {
        checksum_crc32: get("crc32"),
        checksum_crc32c: get("crc32c"),
        checksum_crc64nvme: get("crc64nvme"),
        checksum_sha1: get("sha1"),
        checksum_sha256: get("sha256"),
        ..Checksum::default()
    }
}
