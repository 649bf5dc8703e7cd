//! Whose a call is, by its headers; for a notice also by its query.

use std::sync::Arc;

use http::{HeaderMap, header};

use crate::counters::Class;
use crate::http::notice::{self, Parameters};
use crate::http::problem::{Kind, Problem};
use crate::ingest::Ingest;
use crate::tenants::{Denied, OverQuota, Tenant};

/// The tenant of a call, which is counted against its quota.
pub(crate) fn tenant(ingest: &Ingest, headers: &HeaderMap) -> Result<Arc<Tenant>, Problem> {
    admit(ingest, ingest.access().by_key(key(headers)))
}

/// The tenant of a notice: by a header, by the parameter `key`, or by `tenant` and a signature.
pub(crate) fn tenant_of_notice(
    ingest: &Ingest,
    headers: &HeaderMap,
    path: &str,
    (query, parameters): (&str, &Parameters),
) -> Result<Arc<Tenant>, Problem> {
    let named = notice::parameter(parameters, "tenant");
    if let (Some(tenant_id), Some((signed, signature))) = (named, notice::signed(path, query)) {
        return admit(ingest, ingest.access().by_signature(tenant_id, &signed, signature));
    }
    let in_query = notice::parameter(parameters, "key").map(str::as_bytes);
    admit(ingest, ingest.access().by_key(key(headers).or(in_query)))
}

fn admit(ingest: &Ingest, found: Result<Arc<Tenant>, Denied>) -> Result<Arc<Tenant>, Problem> {
    let tenant = found.map_err(|denied| {
        ingest.count(Class::Denied);
        Problem::new(match denied {
            Denied::Unknown => Kind::UnknownKey,
            Denied::Signature => Kind::BadSignature,
            Denied::Disabled => Kind::TenantDisabled,
        })
    })?;
    tenant.limiters.request().map_err(|over| over_quota(ingest, over))?;
    Ok(tenant)
}

/// Counts a body against its tenant's quota.
pub(crate) fn take_bytes(ingest: &Ingest, tenant: &Tenant, bytes: usize) -> Result<(), Problem> {
    tenant.limiters.bytes(bytes).map_err(|over| over_quota(ingest, over))
}

fn over_quota(ingest: &Ingest, over: OverQuota) -> Problem {
    ingest.count(Class::OverQuota);
    Problem::over_quota(over.retry_after_s)
}

fn key(headers: &HeaderMap) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer ";
    let bearer = headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes).and_then(|value| {
        let (scheme, key) = value.split_at_checked(SCHEME.len())?;
        scheme.eq_ignore_ascii_case(SCHEME).then_some(key.trim_ascii())
    });
    bearer.or_else(|| headers.get("x-api-key").map(http::HeaderValue::as_bytes))
}
