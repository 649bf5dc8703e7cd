//! Who may read a shard for a consumer: one subscription at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;

/// A subscription cannot be taken over before it is this old.
const HOLD_MS: i64 = 5_000;
/// Leases of connections that are gone are cleared away when there are so many.
const LEASES_SWEPT_AT: usize = 1_024;

/// Why a subscription ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A later call for the same consumer and shard.
    TakenOver,
    /// The consumer was deregistered.
    ConsumerGone,
    /// The local cloud stops.
    Closing,
}

/// The subscription of this consumer to this shard is not yet 5 s old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InUse;

/// Says when a subscription must end.
pub(super) type Ending = watch::Receiver<Option<End>>;

/// All subscriptions. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Subscriptions {
    /// By the consumer's ARN and the shard's number. Held for look-ups.
    leases: Arc<Mutex<Leases>>,
}

type Leases = HashMap<(String, u64), Lease>;

#[derive(Debug)]
struct Lease {
    since_ms: i64,
    end: watch::Sender<Option<End>>,
}

impl Subscriptions {
    /// Starts a subscription, ending the one that is there if it is 5 s old.
    pub(super) fn take(&self, consumer_arn: &str, shard: u64, now_ms: i64) -> Result<Ending, InUse> {
        let mut leases = self.leases();
        if leases.len() >= LEASES_SWEPT_AT {
            leases.retain(|_, lease| lease.is_held(now_ms) || lease.end.receiver_count() > 0);
        }
        let key = (consumer_arn.to_owned(), shard);
        if let Some(lease) = leases.get(&key) {
            if lease.is_held(now_ms) {
                return Err(InUse);
            }
            lease.end.send_replace(Some(End::TakenOver));
        }
        let (end, ending) = watch::channel(None);
        leases.insert(key, Lease { since_ms: now_ms, end });
        Ok(ending)
    }

    /// Ends all subscriptions of a consumer.
    pub(super) fn end_consumer(&self, consumer_arn: &str) {
        self.leases().retain(|(arn, _), lease| {
            let is_kept = arn != consumer_arn;
            if !is_kept {
                lease.end.send_replace(Some(End::ConsumerGone));
            }
            is_kept
        });
    }

    /// Ends all subscriptions.
    pub(super) fn end_all(&self) {
        for (_, lease) in self.leases().drain() {
            lease.end.send_replace(Some(End::Closing));
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Lease {
    /// A clock that was set back holds nothing for longer than it would have been held.
    fn is_held(&self, now_ms: i64) -> bool {
        (0..HOLD_MS).contains(&now_ms.saturating_sub(self.since_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_taken_over_after_five_seconds() {
        let subscriptions = Subscriptions::default();
        let first = subscriptions.take("c", 0, 1_000).unwrap();
        assert_eq!(subscriptions.take("c", 0, 5_999).unwrap_err(), InUse);
        let other_shard = subscriptions.take("c", 1, 1_000).unwrap();
        let other_consumer = subscriptions.take("d", 0, 1_000).unwrap();
        assert_eq!(*first.borrow(), None);
        let second = subscriptions.take("c", 0, 6_000).unwrap();
        assert_eq!(*first.borrow(), Some(End::TakenOver));
        subscriptions.end_consumer("c");
        assert_eq!((*second.borrow(), *other_shard.borrow()), (Some(End::ConsumerGone), Some(End::ConsumerGone)));
        assert_eq!(*other_consumer.borrow(), None);
        subscriptions.end_all();
        assert_eq!(*other_consumer.borrow(), Some(End::Closing));
    }

    #[test]
    fn what_nobody_holds_is_swept() {
        let subscriptions = Subscriptions::default();
        for shard in 0..1_024 {
            drop(subscriptions.take("c", shard, 0).unwrap());
        }
        let _kept = subscriptions.take("c", 5_000, 6_000).unwrap();
        assert_eq!(subscriptions.leases().len(), 1);
    }
}
