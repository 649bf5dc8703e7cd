//! The way of a record to the stream: by itself, or as a pointer once its event is stored beside the stream.

use std::time::Duration;

use claim_check::{CheckInError, ClaimChecks, Stream};
use kinesis_producer::{Delivery, Producer, PutError, Record, TrySendError};
use tokio::sync::OwnedSemaphorePermit;

use crate::outcome::Unsent;

/// How long storing a large event may take; as long as a record may take to the stream.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// A record that was taken and is not durable yet.
#[derive(Debug)]
pub(crate) enum Way {
    /// The producer has it.
    Sent(Delivery),
    /// It is to be stored, and the memory that it takes meanwhile.
    ToStore(Record, OwnedSemaphorePermit),
}

/// Why a record is not on the stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WayError {
    #[error(transparent)]
    NotTaken(#[from] TrySendError),
    #[error(transparent)]
    NotPut(#[from] PutError),
    #[error("too many large events are being stored")]
    StoringFull,
    #[error("store a large event")]
    NotStored(#[from] CheckInError),
    #[error("a large event was not stored within {} s", STORE_TIMEOUT.as_secs())]
    StoringTooSlow,
}

impl From<&WayError> for Unsent {
    fn from(error: &WayError) -> Self {
        match error {
            WayError::NotTaken(error) => error.into(),
            WayError::NotPut(error) => error.into(),
            WayError::StoringFull => Unsent::QueueFull,
            WayError::NotStored(_) | WayError::StoringTooSlow => Unsent::Unavailable,
        }
    }
}

/// Takes a record, without waiting.
pub(crate) fn take(producer: &Producer, claim_checks: Option<&ClaimChecks>, record: Record) -> Result<Way, WayError> {
    let record_bytes = record.data.len() + record.partition_key.len();
    match claim_checks {
        Some(claim_checks) if !claim_checks.fits(record_bytes) => {
            let memory = claim_checks.reserve(record_bytes).ok_or(WayError::StoringFull)?;
            Ok(Way::ToStore(record, memory))
        }
        Some(_) | None => Ok(Way::Sent(producer.try_send(record)?)),
    }
}

/// Waits until a record is durable; a large one in the bucket and its pointer on the stream.
pub(crate) async fn arrive(producer: &Producer, claim_checks: Option<&ClaimChecks>, way: Way) -> Result<(), WayError> {
    let delivery = match (way, claim_checks) {
        (Way::Sent(delivery), _) => delivery,
        (Way::ToStore(record, memory), Some(claim_checks)) => {
            let stored = claim_checks.check_in(Stream::Raw, record.data);
            let stored = tokio::time::timeout(STORE_TIMEOUT, stored).await;
            let Ok(stored) = stored else { return Err(WayError::StoringTooSlow) };
            let data = stored?;
            drop(memory);
            producer.try_send(Record { data, ..record })?
        }
        // Nothing is to be stored where there is no bucket.
        (Way::ToStore(record, _memory), None) => producer.try_send(record)?,
    };
    delivery.await?;
    Ok(())
}
