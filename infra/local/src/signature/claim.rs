//! What a request says of its signature: whose it is, when and for what it was made, what it covers.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime};
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::{ALGORITHM, ChunkSigner, Digest, EXPIRES_S_MAX, Head, Payload, Refusal, Service, hex, unhex};
use crate::kinesis::REGION;

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const CHUNKS: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
const CHUNKS_AND_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
const UNSIGNED_CHUNKS: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// A signature with all that it says.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) access_key: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    /// Names in lower case, as they were signed.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: Digest,
    /// As it was signed: `20261122T170000Z`.
    pub(super) signed_at: String,
    signed_at_ms: i64,
    /// Set in presigned URLs.
    expires_s: Option<i64>,
}

impl Claim {
    /// Reads the claim from the `Authorization` header, or from the query.
    pub(super) fn read(head: Head<'_>) -> Result<Self, Refusal> {
        match head.headers.get(http::header::AUTHORIZATION) {
            Some(header) => {
                let text = header.to_str().map_err(|_not_text| Refusal::Incomplete("Authorization is no text."))?;
                Self::from_header(text, head.headers)
            }
            None => Self::from_query(head.uri.query().unwrap_or_default()),
        }
    }

    fn from_header(text: &str, headers: &HeaderMap) -> Result<Self, Refusal> {
        let (algorithm, rest) = text.split_once(' ').ok_or(Refusal::Algorithm)?;
        if algorithm != ALGORITHM {
            return Err(Refusal::Algorithm);
        }
        let fields: BTreeMap<&str, &str> = rest.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let get = |name: &str, missing: &'static str| fields.get(name).copied().ok_or(Refusal::Incomplete(missing));
        let credential = get("Credential", "Authorization header requires 'Credential' parameter.")?;
        let signed = get("SignedHeaders", "Authorization header requires 'SignedHeaders' parameter.")?;
        let signature = get("Signature", "Authorization header requires 'Signature' parameter.")?;
        let (signed_at, signed_at_ms) = time_of(headers).ok_or(Refusal::Incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ))?;
        Self::new((credential, signed, signature), (signed_at, signed_at_ms), None)
    }

    fn from_query(query: &str) -> Result<Self, Refusal> {
        let decoded = |text: &str| String::from_utf8_lossy(&super::canonical::decode(text, true)).into_owned();
        let fields: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|(name, _)| name.starts_with("X-Amz-"))
            .map(|(name, value)| (decoded(name), decoded(value)))
            .collect();
        let get = |name: &str, missing: &'static str| fields.get(name).ok_or(Refusal::Incomplete(missing));
        match fields.get("X-Amz-Algorithm").map(String::as_str) {
            Some(ALGORITHM) => {}
            Some(_) => return Err(Refusal::Algorithm),
            None => return Err(Refusal::Missing),
        }
        let credential = get("X-Amz-Credential", "The query requires X-Amz-Credential.")?;
        let signed = get("X-Amz-SignedHeaders", "The query requires X-Amz-SignedHeaders.")?;
        let signature = get("X-Amz-Signature", "The query requires X-Amz-Signature.")?;
        let signed_at = get("X-Amz-Date", "The query requires X-Amz-Date.")?.clone();
        let expires = get("X-Amz-Expires", "The query requires X-Amz-Expires.")?;
        let expires_s = expires.parse().ok().filter(|seconds| (0..=EXPIRES_S_MAX).contains(seconds));
        let expires_s = expires_s.ok_or(Refusal::Incomplete("X-Amz-Expires must be a number from 0 to 604800."))?;
        let signed_at_ms =
            parse_time(&signed_at).ok_or(Refusal::Incomplete("X-Amz-Date must be in the ISO8601 format."))?;
        Self::new((credential, signed, signature), (signed_at, signed_at_ms), Some(expires_s))
    }

    fn new(
        (credential, signed, signature): (&str, &str, &str),
        (signed_at, signed_at_ms): (String, i64),
        expires_s: Option<i64>,
    ) -> Result<Self, Refusal> {
        // From the end: an access key may contain slashes, a scope not.
        let mut parts = credential.rsplitn(5, '/');
        let mut part = || parts.next().map(str::to_owned);
        let (Some(end), Some(service), Some(region), Some(date), Some(access_key)) =
            (part(), part(), part(), part(), part())
        else {
            return Err(Refusal::Incomplete("Credential must have 5 slash-delimited elements."));
        };
        if end != "aws4_request" {
            return Err(Refusal::Scope { what: "a valid terminator", expected: "aws4_request" });
        }
        if signed_at.get(..8) != Some(date.as_str()) {
            return Err(Refusal::Incomplete(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.",
            ));
        }
        let signature = unhex(signature).ok_or(Refusal::Incomplete("Signature must be 64 hexadecimal digits."))?;
        let signed_headers: Vec<String> = signed.split(';').map(str::to_ascii_lowercase).collect();
        if !signed_headers.iter().any(|name| name == "host") {
            return Err(Refusal::NotSigned { name: "host".to_owned() });
        }
        Ok(Self { access_key, date, region, service, signed_headers, signature, signed_at, signed_at_ms, expires_s })
    }

    /// What the credential is good for, as it is signed.
    pub(super) fn scope(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }

    pub(super) fn check_scope(&self, service: Service) -> Result<(), Refusal> {
        if self.region != REGION {
            return Err(Refusal::Scope { what: "a valid region", expected: REGION });
        }
        if self.service != service.name {
            return Err(Refusal::Scope { what: "correct service", expected: service.name });
        }
        Ok(())
    }

    pub(super) fn check_time(&self, service: Service, now_ms: i64) -> Result<(), Refusal> {
        let (skew_ms, signed, now) = (service.skew_ms(), self.signed_at.clone(), time_text(now_ms));
        let minutes = skew_ms / 60_000;
        if self.signed_at_ms > now_ms.saturating_add(skew_ms) {
            let limit = time_text(now_ms.saturating_add(skew_ms));
            return Err(Refusal::NotYet { signed, limit, now, minutes });
        }
        match self.expires_s {
            Some(expires_s) if now_ms > self.signed_at_ms.saturating_add(expires_s * 1_000) => Err(Refusal::Ended),
            None if self.signed_at_ms < now_ms.saturating_sub(skew_ms) => {
                let limit = time_text(now_ms.saturating_sub(skew_ms));
                Err(Refusal::Expired { signed, limit, now, minutes })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What stands for the body in the canonical request.
    pub(super) fn payload(&self, service: Service, head: Head<'_>, body: Option<&[u8]>) -> Result<String, Refusal> {
        if let Some(body) = body {
            return Ok(hex(&Sha256::digest(body).into()));
        }
        let said = head.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
        match (said, self.expires_s) {
            (Some(said), _) => {
                self.check_signed(head, service)?;
                Ok(said.to_owned())
            }
            (None, Some(_)) => Ok(UNSIGNED.to_owned()),
            (None, None) => Err(Refusal::Incomplete("Missing required header for this request: x-amz-content-sha256")),
        }
    }

    /// S3 wants every `x-amz-` header signed.
    fn check_signed(&self, head: Head<'_>, service: Service) -> Result<(), Refusal> {
        let mut names = head.headers.keys().map(http::HeaderName::as_str);
        let is_bare = |name: &&str| name.starts_with("x-amz-") && !self.signed_headers.iter().any(|it| it == name);
        match names.find(is_bare) {
            Some(name) if service.is_s3() => Err(Refusal::NotSigned { name: name.to_owned() }),
            Some(_) | None => Ok(()),
        }
    }

    /// What has to be checked of the body when it comes.
    pub(super) fn remaining(&self, service: Service, payload: &str, key: Digest) -> Result<Payload, Refusal> {
        if !service.is_s3() {
            return Ok(Payload::Checked);
        }
        match payload {
            UNSIGNED | UNSIGNED_CHUNKS => Ok(Payload::Checked),
            CHUNKS | CHUNKS_AND_TRAILER => {
                let signer = ChunkSigner::new(key, self.signed_at.clone(), self.scope(), self.signature);
                Ok(Payload::Chunks(signer.with_trailer(payload == CHUNKS_AND_TRAILER)))
            }
            hash => {
                let hash = unhex(hash).ok_or(Refusal::Incomplete("x-amz-content-sha256 must be a valid sha256 value"));
                hash.map(Payload::Sha256)
            }
        }
    }
}

/// The time of a request: `X-Amz-Date`, or `Date`.
fn time_of(headers: &HeaderMap) -> Option<(String, i64)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(text) = text("x-amz-date") {
        return Some((text.to_owned(), parse_time(text)?));
    }
    let date = text("date")?;
    let at_ms = parse_time(date).or_else(|| DateTime::parse_from_rfc2822(date).ok().map(|at| at.timestamp_millis()))?;
    Some((time_text(at_ms), at_ms))
}

fn parse_time(text: &str) -> Option<i64> {
    NaiveDateTime::parse_from_str(text, TIME_FORMAT).ok().map(|time| time.and_utc().timestamp_millis())
}

fn time_text(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).unwrap_or_default().format(TIME_FORMAT).to_string()
}
