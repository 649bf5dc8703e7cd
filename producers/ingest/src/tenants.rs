//! Who may send: tenants with their keys, quotas and policies, from a document that may change while the process runs.
//!
//! Keys are stored as SHA-256 of themselves and looked up by it, so that a comparison tells nothing of a key. A key must
//! be long and random, as `openssl rand -hex 32` makes it: a hash does not protect one that can be guessed.

mod file;
mod quota;
pub mod source;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use events::validate::Policy;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

pub use file::TenantsError;
pub use quota::Quota;
pub(crate) use quota::{Limiters, OverQuota};
use source::Source;

/// One tenant, and what it may do.
#[derive(Debug)]
pub struct Tenant {
    pub(crate) id: String,
    pub(crate) policy: Policy,
    /// What invalid answers of `/openrtb2/*` have a body for.
    pub(crate) openrtb_debug: bool,
    is_disabled: bool,
    quota: Quota,
    notice_secret: Option<Vec<u8>>,
    pub(crate) limiters: Limiters,
}

/// All tenants, by key and by name.
#[derive(Debug, Default)]
pub struct Tenants {
    by_key: HashMap<[u8; 32], Arc<Tenant>>,
    by_id: HashMap<String, Arc<Tenant>>,
    /// Whether there may be newer ones that cannot be read.
    is_stale: AtomicBool,
}

/// Who may send.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Anybody who reaches the process is the built-in tenant.
    BuiltIn(Arc<Tenant>),
    /// Those whom the file names.
    Named(watch::Receiver<Arc<Tenants>>),
}

/// Why a call is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No key, or one that nobody has.
    Unknown,
    /// The tenant is switched off.
    Disabled,
    /// The signature of a notice is not its tenant's.
    Signature,
}

impl Tenant {
    /// The tenant of a process that knows no others.
    pub(crate) fn built_in(id: String, policy: Policy, quota: Quota) -> Self {
        let limiters = Limiters::new(quota);
        Self { id, policy, openrtb_debug: false, is_disabled: false, quota, notice_secret: None, limiters }
    }
}

impl Tenants {
    /// Reads the document of tenants.
    ///
    /// # Errors
    /// What is wrong in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, TenantsError> {
        file::parse(bytes)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Lets tenants whose quota is as before keep what they have used of it.
    fn keep_quotas_of(&mut self, before: &Tenants) {
        let mut kept = HashMap::new();
        for (id, tenant) in &self.by_id {
            if let Some(old) = before.by_id.get(id).filter(|old| old.quota == tenant.quota) {
                kept.insert(id.clone(), old.limiters.clone());
            }
        }
        let keep = |tenant: &Arc<Tenant>| match kept.get(&tenant.id) {
            Some(limiters) => Arc::new(Tenant {
                id: tenant.id.clone(),
                notice_secret: tenant.notice_secret.clone(),
                limiters: limiters.clone(),
                ..**tenant
            }),
            None => Arc::clone(tenant),
        };
        self.by_id = self.by_id.iter().map(|(id, tenant)| (id.clone(), keep(tenant))).collect();
        let by_id = &self.by_id;
        let renewed = |tenant: &Arc<Tenant>| by_id.get(&tenant.id).map_or_else(|| Arc::clone(tenant), Arc::clone);
        self.by_key = self.by_key.iter().map(|(key, tenant)| (*key, renewed(tenant))).collect();
    }
}

impl Access {
    /// Whether tenants may have changed and the change cannot be read: those of before count on.
    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Access::BuiltIn(_) => false,
            Access::Named(tenants) => tenants.borrow().is_stale.load(Ordering::Relaxed),
        }
    }

    /// Whose a call is, by its key.
    pub(crate) fn by_key(&self, key: Option<&[u8]>) -> Result<Arc<Tenant>, Denied> {
        match self {
            Access::BuiltIn(tenant) => Ok(Arc::clone(tenant)),
            Access::Named(tenants) => {
                let digest: [u8; 32] = Sha256::digest(key.ok_or(Denied::Unknown)?).into();
                let tenant = tenants.borrow().by_key.get(&digest).map(Arc::clone).ok_or(Denied::Unknown)?;
                if tenant.is_disabled { Err(Denied::Disabled) } else { Ok(tenant) }
            }
        }
    }

    /// Whose a notice is, by its tenant's name and its signature over `signed`.
    pub(crate) fn by_signature(&self, tenant_id: &str, signed: &[u8], signature: &str) -> Result<Arc<Tenant>, Denied> {
        let tenant = match self {
            Access::BuiltIn(tenant) => Arc::clone(tenant),
            Access::Named(tenants) => tenants.borrow().by_id.get(tenant_id).map(Arc::clone).ok_or(Denied::Signature)?,
        };
        let secret = tenant.notice_secret.as_deref().ok_or(Denied::Signature)?;
        let signature = file::hex(signature).ok_or(Denied::Signature)?;
        let mut hmac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_length| Denied::Signature)?;
        hmac.update(signed);
        // In constant time.
        hmac.verify_slice(&signature).map_err(|_differs| Denied::Signature)?;
        if tenant.is_disabled { Err(Denied::Disabled) } else { Ok(tenant) }
    }
}

/// Reads the document again at every interval, for ever, and hands on what changed. One that is wrong or cannot be read
/// changes nothing: the tenants stay as they were, `/health` says that they are stale, and the log says why, once for
/// each change of that.
pub async fn watch(source: Source, every: Duration, tenants: watch::Sender<Arc<Tenants>>) {
    // Nothing is known yet: a change since the start's own reading must not be missed.
    let mut last: Option<Vec<u8>> = None;
    let mut ticks = tokio::time::interval(every);
    // A function that was frozen has missed many.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_unreadable = false;
    loop {
        ticks.tick().await;
        let bytes = match source.read().await {
            Ok(bytes) => bytes,
            Err(error) => {
                tenants.borrow().is_stale.store(true, Ordering::Relaxed);
                if !std::mem::replace(&mut is_unreadable, true) {
                    let error = anyhow::Error::new(error);
                    tracing::error!(error = format!("{error:#}"), "tenants cannot be read; they stay as they were");
                }
                continue;
            }
        };
        let was_unreadable = std::mem::replace(&mut is_unreadable, false);
        if last.as_ref() == Some(&bytes) && !was_unreadable {
            continue;
        }
        match reload(&bytes, &tenants) {
            Ok(count) => tracing::info!(tenants = count, "tenants read again"),
            Err(error) => {
                tenants.borrow().is_stale.store(true, Ordering::Relaxed);
                tracing::error!(%error, "the document of tenants is wrong; they stay as they were");
            }
        }
        last = Some(bytes);
    }
}

/// Takes a changed document; returns how many tenants there are now.
///
/// # Errors
/// What is wrong in it; nothing changes then.
pub fn reload(bytes: &[u8], tenants: &watch::Sender<Arc<Tenants>>) -> Result<usize, TenantsError> {
    let mut read = file::parse(bytes)?;
    read.keep_quotas_of(&tenants.borrow());
    let count = read.len();
    tenants.send_replace(Arc::new(read));
    Ok(count)
}

#[cfg(test)]
mod tests;
