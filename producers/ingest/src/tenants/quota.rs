//! How much a tenant may send: requests and bytes a second, and bytes of refused events that are kept.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, RateLimiter};
use serde::Deserialize;

/// Rates of one tenant in one process. A burst of one second is allowed, and of one largest body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Quota {
    /// Calls a second; a batch is one call.
    pub requests_per_s: NonZeroU32,
    /// Bytes of bodies a second, decompressed.
    pub bytes_per_s: NonZeroU32,
    /// Bytes a second of refused events that are kept as failed events; what is above is refused without a trace but
    /// its count.
    pub refused_bytes_per_s: NonZeroU32,
}

/// What a second is short of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OverQuota {
    /// Seconds after which the same call would be within.
    pub(crate) retry_after_s: u64,
}

/// The limiters of a tenant: shared by all calls, and by the tenant's later versions.
#[derive(Debug, Clone)]
pub(crate) struct Limiters {
    requests: Arc<DefaultDirectRateLimiter>,
    bytes: Arc<DefaultDirectRateLimiter>,
    refused: Arc<DefaultDirectRateLimiter>,
    clock: DefaultClock,
}

/// A burst of bytes is never below the largest batch that settings allow (32 MiB), or that could never be sent.
const BURST_BYTES_MIN: NonZeroU32 = NonZeroU32::new(32 << 20).expect("not 0");

/// One refused body of the largest size that settings allow (10 MiB) is always kept.
const REFUSED_BURST_BYTES_MIN: NonZeroU32 = NonZeroU32::new(10 << 20).expect("not 0");

impl Default for Quota {
    /// 100,000 calls and 1 GB a second, which one process does not reach; 256 KiB/s of refused events.
    fn default() -> Self {
        let rate = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { requests_per_s: rate(100_000), bytes_per_s: rate(1_000_000_000), refused_bytes_per_s: rate(256 * 1024) }
    }
}

impl Limiters {
    pub(crate) fn new(quota: Quota) -> Self {
        let limiter = |rate: NonZeroU32, burst: NonZeroU32| {
            Arc::new(RateLimiter::direct(governor::Quota::per_second(rate).allow_burst(rate.max(burst))))
        };
        Self {
            requests: limiter(quota.requests_per_s, NonZeroU32::MIN),
            bytes: limiter(quota.bytes_per_s, BURST_BYTES_MIN),
            refused: limiter(quota.refused_bytes_per_s, REFUSED_BURST_BYTES_MIN),
            clock: DefaultClock::default(),
        }
    }

    /// Takes one call.
    pub(crate) fn request(&self) -> Result<(), OverQuota> {
        self.requests.check().map_err(|until| over(until.wait_time_from(self.clock.now())))
    }

    /// Takes the bytes of one body.
    pub(crate) fn bytes(&self, bytes: usize) -> Result<(), OverQuota> {
        let Some(bytes) = u32::try_from(bytes).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match self.bytes.check_n(bytes) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(until)) => Err(over(until.wait_time_from(self.clock.now()))),
            // Above the burst, which no body within the settings is.
            Err(_too_large) => Err(over(Duration::from_secs(1))),
        }
    }

    /// Whether so many bytes of a refused event are kept.
    pub(crate) fn keeps_refused(&self, bytes: usize) -> bool {
        let Some(bytes) = u32::try_from(bytes.max(1)).ok().and_then(NonZeroU32::new) else { return false };
        matches!(self.refused.check_n(bytes), Ok(Ok(())))
    }
}

fn over(wait: Duration) -> OverQuota {
    // Whole seconds, rounded up, as the header has them.
    OverQuota { retry_after_s: wait.as_secs() + u64::from(wait.subsec_nanos() > 0) }
}
