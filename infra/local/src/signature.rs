//! Signatures of requests: AWS Signature Version 4, in the header and in the query, checked when that is asked for.
//!
//! Pure: a request's head, the hash of its body and the time go in, a verdict comes out. What a refusal is called on
//! the wire differs between the services; that is the door's business. Version 2 and 4A are not known here.

use hmac::{Hmac, Mac as _};
use http::{HeaderMap, Method, Uri};
use sha2::{Digest as _, Sha256};

mod canonical;
mod chunk;
mod claim;
mod keys;

pub(crate) use chunk::ChunkSigner;
use claim::Claim;
pub use keys::{KeyRing, KeyRingError, LOCAL_ACCESS_KEY};

/// The only algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// How far a request's time may be from ours at most services, in milliseconds.
const SKEW_MS: i64 = 5 * 60 * 1_000;
/// The same at S3.
const S3_SKEW_MS: i64 = 15 * 60 * 1_000;
/// The longest that a presigned URL lasts: seven days.
const EXPIRES_S_MAX: i64 = 7 * 24 * 60 * 60;

/// A hash, or a signature.
pub(crate) type Digest = [u8; 32];

/// How a service has its requests signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its name in a credential's scope.
    pub(crate) name: &'static str,
}

impl Service {
    /// S3 signs paths as they are, names the body's hash in a header, and is patient for longer.
    fn is_s3(self) -> bool {
        self.name == "s3"
    }

    fn skew_ms(self) -> i64 {
        if self.is_s3() { S3_SKEW_MS } else { SKEW_MS }
    }
}

/// The head of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
}

impl<'a> From<&'a http::request::Parts> for Head<'a> {
    fn from(parts: &'a http::request::Parts) -> Self {
        Self { method: &parts.method, uri: &parts.uri, headers: &parts.headers }
    }
}

/// What remains to be checked of a body, once the head was right.
#[derive(Debug, Clone)]
pub(crate) enum Payload {
    /// Nothing: it was hashed before, or is not signed.
    Checked,
    /// Its SHA-256 has to be this.
    Sha256(Digest),
    /// Its chunks are signed, one after the other.
    Chunks(ChunkSigner),
}

/// Why a signature is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("Missing Authentication Token")]
    Missing,
    #[error("The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.")]
    Algorithm,
    #[error("{0}")]
    Incomplete(&'static str),
    #[error("Credential should be scoped to {what}: '{expected}'.")]
    Scope { what: &'static str, expected: &'static str },
    #[error("The security token included in the request is invalid.")]
    UnknownKey { access_key: String },
    #[error("Signature expired: {signed} is now earlier than {limit} ({now} - {minutes} min.)")]
    Expired { signed: String, limit: String, now: String, minutes: i64 },
    #[error("Signature not yet current: {signed} is still later than {limit} ({now} + {minutes} min.)")]
    NotYet { signed: String, limit: String, now: String, minutes: i64 },
    #[error("Request has expired")]
    Ended,
    #[error("There were headers present in the request which were not signed: {name}")]
    NotSigned { name: String },
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.\n\nThe Canonical String for this \
         request should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{string_to_sign}'\n"
    )]
    Mismatch { canonical: String, string_to_sign: String },
}

/// Checks who signed a request's head. `body` is its body where that is at hand; at S3 it comes later, and what has to
/// be checked of it is the answer.
pub(crate) fn verify(
    keys: &KeyRing,
    service: Service,
    head: Head<'_>,
    body: Option<&[u8]>,
    now_ms: i64,
) -> Result<Payload, Refusal> {
    let claim = Claim::read(head)?;
    claim.check_scope(service)?;
    let secret = keys.secret(&claim.access_key);
    let secret = secret.ok_or_else(|| Refusal::UnknownKey { access_key: claim.access_key.clone() })?;
    claim.check_time(service, now_ms)?;
    let payload = claim.payload(service, head, body)?;
    let canonical = canonical::request(service.is_s3(), head, &claim.signed_headers, &payload);
    let hash = hex(&Sha256::digest(&canonical).into());
    let string_to_sign = format!("{ALGORITHM}\n{}\n{}\n{hash}", claim.signed_at, claim.scope());
    let key = signing_key(secret, &claim);
    // In constant time: what is wrong with a signature is not told by how long its refusal takes.
    if mac(&key, string_to_sign.as_bytes()).verify_slice(&claim.signature).is_err() {
        return Err(Refusal::Mismatch { canonical, string_to_sign });
    }
    claim.remaining(service, &payload, key)
}

fn signing_key(secret: &str, claim: &Claim) -> Digest {
    let date = hmac(format!("AWS4{secret}").as_bytes(), claim.date.as_bytes());
    let region = hmac(&date, claim.region.as_bytes());
    hmac(&hmac(&region, claim.service.as_bytes()), b"aws4_request")
}

fn mac(key: &[u8], text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac
}

fn hmac(key: &[u8], text: &[u8]) -> Digest {
    mac(key, text).finalize().into_bytes().into()
}

fn hex(digest: &Digest) -> String {
    crate::s3::hex(digest)
}

/// 64 hexadecimal digits.
fn unhex(text: &str) -> Option<Digest> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests;
