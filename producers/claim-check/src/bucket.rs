//! The bucket of events that are too large to travel.
//!
//! An event's key is made of stream, tenant, day and identity, and it is put only if it is not there: a repeat of
//! the same event finds it. The objects must be kept for at least as long as the streams keep their records.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use events::envelope::{Event, EventError};
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::pointer::{self, Claim, Identity, Pointer};

/// The folder of the bucket: nothing outside it is read, whatever a pointer says.
const FOLDER: &str = "claim_checks";
/// Events that are being stored, in bytes: memory beyond the producer's buffer.
const STORING_BYTES_MAX: usize = 64 << 20;
/// Memory is reserved in units of this many bytes, because a semaphore counts 32-bit permits at a time.
const RESERVE_UNIT_BYTES: usize = 1024;
/// How long a call of S3 is repeated. A sender waits for it, and the record's own deadline comes after.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest object that is read: a record of the largest size that streams can be set to, twice over (a body of many
/// lines is escaped), with what the enrichment of the largest request adds.
const EVENT_BYTES_MAX: u64 = 64 << 20;

/// Which stream a pointer travels on. The same event is stored once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Of received events.
    Raw,
    /// Of enriched events.
    Enriched,
}

/// The bucket, and the size from which on it is used; cheap to clone.
#[derive(Debug, Clone)]
pub struct ClaimChecks {
    store: Arc<dyn ObjectStore>,
    bucket: Arc<str>,
    record_bytes_max: usize,
    storing: Arc<Semaphore>,
}

/// Why an event is not stored.
#[derive(Debug, thiserror::Error)]
pub enum CheckInError {
    /// What was to be stored is no event: a fault of the caller.
    #[error("read the event to be stored")]
    Event(#[from] EventError),
    /// The pointer could not be written, which no value causes.
    #[error("write the pointer")]
    Write(#[from] serde_json::Error),
    /// S3 did not take it.
    #[error("put {key}")]
    Put {
        /// The object.
        key: Path,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

/// Why the event of a pointer is not there.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The pointer is damaged.
    #[error("the pointer cannot be read")]
    Pointer(#[source] serde_json::Error),
    /// It points to somewhere that events are never put to.
    #[error("the pointer leads out of the bucket of events")]
    Elsewhere,
    /// There is nothing.
    #[error("the object that the event was stored in is missing")]
    Missing,
    /// What is there is another event, or none.
    #[error("the object is not the event that was stored in it")]
    Other,
    /// It is larger than any event.
    #[error("the object has {bytes} bytes, more than an event can have")]
    TooLarge {
        /// How many.
        bytes: u64,
    },
    /// S3 did not answer: to be tried again.
    #[error("get the stored event")]
    Unavailable(#[source] object_store::Error),
}

impl RedeemError {
    /// Whether another attempt may have another outcome. All else is a failed event.
    pub fn is_temporary(&self) -> bool {
        match self {
            RedeemError::Unavailable(_) => true,
            RedeemError::Pointer(_)
            | RedeemError::Elsewhere
            | RedeemError::Missing
            | RedeemError::Other
            | RedeemError::TooLarge { .. } => false,
        }
    }

    /// The code of the failed event.
    pub fn code(&self) -> &'static str {
        match self {
            RedeemError::Pointer(_) => "claim_check.pointer",
            RedeemError::Elsewhere => "claim_check.elsewhere",
            RedeemError::Missing => "claim_check.missing",
            RedeemError::Other => "claim_check.other",
            RedeemError::TooLarge { .. } => "claim_check.size",
            RedeemError::Unavailable(_) => "claim_check.unavailable",
        }
    }
}

impl ClaimChecks {
    /// Events above `record_bytes_max`, with their partition key, go to `store`, which is the bucket of that name and
    /// must support puts of what is not there yet.
    pub fn new(store: Arc<dyn ObjectStore>, bucket: &str, record_bytes_max: usize) -> Self {
        let storing = Arc::new(Semaphore::new(STORING_BYTES_MAX / RESERVE_UNIT_BYTES));
        Self { store, bucket: bucket.into(), record_bytes_max, storing }
    }

    /// The bucket of that name, as `builder` knows S3, at `endpoint` if that is not AWS's.
    ///
    /// # Errors
    /// When the builder's settings contradict each other.
    pub fn open(
        builder: AmazonS3Builder,
        bucket: &str,
        endpoint: Option<&str>,
        record_bytes_max: usize,
    ) -> object_store::Result<Self> {
        let retry = RetryConfig { retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let mut builder =
            builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch).with_retry(retry);
        if let Some(endpoint) = endpoint {
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http://"))
                .with_virtual_hosted_style_request(false);
        }
        Ok(Self::new(Arc::new(builder.build()?), bucket, record_bytes_max))
    }

    /// Whether a record of so many bytes, its partition key included, travels as it is.
    pub fn fits(&self, record_bytes: usize) -> bool {
        record_bytes <= self.record_bytes_max
    }

    /// Memory for an event that is to be stored, until the permit is dropped; `None` if too many are being stored.
    pub fn reserve(&self, event_bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(event_bytes.div_ceil(RESERVE_UNIT_BYTES)).ok()?;
        Arc::clone(&self.storing).try_acquire_many_owned(units).ok()
    }

    /// Stores an event, as it would have travelled, and returns the pointer that travels for it.
    ///
    /// # Errors
    /// When the event is not durable in the bucket.
    pub async fn check_in(&self, stream: Stream, event: Bytes) -> Result<Bytes, CheckInError> {
        let (key, pointer) = {
            let envelope = Event::read(&event)?.envelope;
            let key = key(stream, &envelope.tenant_id, envelope.received_ts, &envelope.event_id.to_string());
            let claim = Claim { bucket: Cow::Borrowed(&self.bucket), key: Cow::Borrowed(key.as_ref()) };
            let pointer = pointer::write(&envelope, &claim)?;
            (key, Bytes::from(pointer))
        };
        match self.store.put_opts(&key, PutPayload::from(event), PutMode::Create.into()).await {
            // There already: the same event came before.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(pointer),
            Err(source) => Err(CheckInError::Put { key, source }),
        }
    }

    /// The event that a pointer stands for.
    ///
    /// # Errors
    /// [`RedeemError`].
    pub async fn redeem(&self, pointer: &[u8]) -> Result<Bytes, RedeemError> {
        let Pointer { claim_check, identity } = serde_json::from_slice(pointer).map_err(RedeemError::Pointer)?;
        let is_ours = claim_check.key.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'));
        let Ok(key) = Path::parse(&claim_check.key) else { return Err(RedeemError::Elsewhere) };
        if *claim_check.bucket != *self.bucket || !is_ours {
            return Err(RedeemError::Elsewhere);
        }
        let failed = |error| {
            let is_missing = matches!(error, object_store::Error::NotFound { .. });
            if is_missing { RedeemError::Missing } else { RedeemError::Unavailable(error) }
        };
        let object = self.store.get(&key).await.map_err(failed)?;
        if object.meta.size > EVENT_BYTES_MAX {
            return Err(RedeemError::TooLarge { bytes: object.meta.size });
        }
        let event = object.bytes().await.map_err(failed)?;
        let Ok(stored) = serde_json::from_slice::<Identity<'_>>(&event) else { return Err(RedeemError::Other) };
        if stored != identity || pointer::is_pointer(&event) {
            return Err(RedeemError::Other);
        }
        Ok(event)
    }
}

/// `claim_checks/raw/tenant_id=acme/event_date=2026-11-22/<event_id>.json`
fn key(stream: Stream, tenant_id: &str, received_ts: i64, event_id: &str) -> Path {
    let stream = match stream {
        Stream::Raw => "raw",
        Stream::Enriched => "enriched",
    };
    let day = DateTime::from_timestamp_millis(received_ts).unwrap_or_default().format("%Y-%m-%d");
    let parts = [
        FOLDER.to_owned(),
        stream.to_owned(),
        format!("tenant_id={tenant_id}"),
        format!("event_date={day}"),
        format!("{event_id}.json"),
    ];
    Path::from_iter(parts)
}

#[cfg(test)]
mod tests;
