//! The document of tenants, which is JSON. Everything in it is checked before anything of it counts.

use std::sync::Arc;

use events::validate::{Policy, Response};
use serde::Deserialize;

use super::quota::{Limiters, Quota};
use super::source::ServiceError;
use super::{Tenant, Tenants};

/// Keys of one tenant that are valid at once: the old one and the new one while senders change over.
const KEYS_MAX: usize = 2;
/// Bytes of the shortest secret for signatures: as long as the hash.
const SECRET_BYTES_MIN: usize = 32;

/// Why a document of tenants is not taken. Never with a key or secret in it.
#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    /// The file cannot be read.
    #[error("read the tenants file")]
    Read(#[source] std::io::Error),
    /// The service that has them did not say.
    #[error("read the tenants from AWS")]
    Service(#[source] ServiceError),
    /// Not JSON of this form.
    #[error("line {line}, column {column} of the tenants is not as described")]
    Form {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A tenant is not valid.
    #[error("tenant {index}: {fault}")]
    Tenant {
        /// Its position in the file, from 0.
        index: usize,
        /// What is wrong.
        fault: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileForm {
    tenants: Vec<TenantForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TenantForm {
    tenant_id: String,
    /// SHA-256 of each key, in hexadecimal.
    keys_sha256: Vec<String>,
    /// Secret of the signatures of notices, in hexadecimal.
    #[serde(default)]
    notice_secret: Option<String>,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    quota: Quota,
    #[serde(default)]
    policy: PolicyForm,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PolicyForm {
    channel_required: Option<bool>,
    dooh_id_or_venuetype_required: Option<bool>,
    dooh_position_required: Option<bool>,
    tolerated_faults_refused: Option<bool>,
    openrtb_debug: Option<bool>,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Tenants, TenantsError> {
    let form: FileForm = serde_json::from_slice(bytes)
        .map_err(|error| TenantsError::Form { line: error.line(), column: error.column() })?;
    let mut tenants = Tenants::default();
    for (index, form) in form.tenants.into_iter().enumerate() {
        add(&mut tenants, form).map_err(|fault| TenantsError::Tenant { index, fault })?;
    }
    Ok(tenants)
}

fn add(tenants: &mut Tenants, form: TenantForm) -> Result<(), &'static str> {
    if !crate::config::is_tenant_id(&form.tenant_id) {
        return Err("tenant_id must be 1 to 64 letters, digits, - or _");
    }
    if form.keys_sha256.len() > KEYS_MAX {
        return Err("keys_sha256 must have at most two keys");
    }
    let notice_secret = match form.notice_secret.as_deref().map(hex) {
        Some(Some(secret)) if secret.len() >= SECRET_BYTES_MIN => Some(secret),
        Some(_) => return Err("notice_secret must be at least 32 bytes in hexadecimal"),
        None => None,
    };
    let policy = policy(&form.policy);
    let tenant = Arc::new(Tenant {
        id: form.tenant_id.clone(),
        policy,
        openrtb_debug: form.policy.openrtb_debug.unwrap_or(false),
        is_disabled: form.disabled,
        quota: form.quota,
        notice_secret,
        limiters: Limiters::new(form.quota),
    });
    for key in &form.keys_sha256 {
        let digest = hex(key).and_then(|digest| <[u8; 32]>::try_from(digest).ok());
        let digest = digest.ok_or("keys_sha256 must be SHA-256 in hexadecimal")?;
        if tenants.by_key.insert(digest, Arc::clone(&tenant)).is_some() {
            return Err("a key must be one tenant's only");
        }
    }
    match tenants.by_id.insert(form.tenant_id, tenant) {
        Some(_) => Err("tenant_id must be unique"),
        None => Ok(()),
    }
}

fn policy(form: &PolicyForm) -> Policy {
    let default = Policy::default();
    let response = |refuses: Option<bool>, default| match refuses {
        Some(true) => Response::Refuse,
        Some(false) => Response::Mark,
        None => default,
    };
    Policy {
        channel_required: form.channel_required.unwrap_or(default.channel_required),
        dooh_id_or_venuetype_required: form
            .dooh_id_or_venuetype_required
            .unwrap_or(default.dooh_id_or_venuetype_required),
        dooh_position: response(form.dooh_position_required, default.dooh_position),
        tolerated_faults: response(form.tolerated_faults_refused, default.tolerated_faults),
    }
}

/// Bytes from hexadecimal.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks_exact(2).map(|pair| Some(pair.first()? << 4 | pair.last()?)).collect()
}
