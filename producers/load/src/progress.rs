//! A run while it goes on: counts and latency that anybody may read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart, in microseconds; longer ones count as this.
const LATENCY_US_MAX: u64 = 120_000_000;

/// Counts of events, at one moment. `sent` = `accepted` + `refused` + `unavailable` + `unanswered` + those under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Events that were sent.
    pub sent: u64,
    /// Of the sent ones: repeats of the event before, byte for byte.
    pub sent_retries: u64,
    /// Of the sent ones: those that break a rule and must be refused.
    pub sent_invalid: u64,
    /// Acknowledged with 2xx.
    pub accepted: u64,
    /// Refused for good: 4xx.
    pub refused: u64,
    /// To be tried again: 5xx, 429, 408. The generator does not try again.
    pub unavailable: u64,
    /// Without an answer: connection lost, or too late. Whether they were taken is not known.
    pub unanswered: u64,
    /// Events that were due and not sent, because every connection was still busy a second later.
    pub missed: u64,
    /// Bytes of the bodies that were sent.
    pub sent_bytes: u64,
}

/// Latency in microseconds, three significant digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// How many calls were measured.
    pub calls: u64,
    /// Half of all calls are at or below this.
    pub p50_us: u64,
    /// Nine in ten.
    pub p90_us: u64,
    /// 99 in 100.
    pub p99_us: u64,
    /// 999 in 1,000.
    pub p999_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// The live counts of a run.
#[derive(Debug)]
pub struct Progress {
    pub(crate) sent: AtomicU64,
    pub(crate) sent_retries: AtomicU64,
    pub(crate) sent_invalid: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) unanswered: AtomicU64,
    pub(crate) missed: AtomicU64,
    pub(crate) sent_bytes: AtomicU64,
    /// Held for two additions to an array at a time; a histogram per connection would take 400 KB each.
    histograms: Mutex<Histograms>,
}

#[derive(Debug)]
struct Histograms {
    from_due: Histogram<u64>,
    from_send: Histogram<u64>,
}

impl Default for Progress {
    fn default() -> Self {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("these bounds are valid");
        let zero = AtomicU64::default;
        Self {
            sent: zero(),
            sent_retries: zero(),
            sent_invalid: zero(),
            accepted: zero(),
            refused: zero(),
            unavailable: zero(),
            unanswered: zero(),
            missed: zero(),
            sent_bytes: zero(),
            histograms: Mutex::new(Histograms { from_due: histogram(), from_send: histogram() }),
        }
    }
}

impl Progress {
    /// The counts now.
    pub fn counts(&self) -> Counts {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Counts {
            sent: read(&self.sent),
            sent_retries: read(&self.sent_retries),
            sent_invalid: read(&self.sent_invalid),
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            unavailable: read(&self.unavailable),
            unanswered: read(&self.unanswered),
            missed: read(&self.missed),
            sent_bytes: read(&self.sent_bytes),
        }
    }

    /// Latency of the calls so far, from when each was due: what a sender with a clock of its own would see.
    pub fn latency(&self) -> Latency {
        summary(&self.histograms().from_due)
    }

    /// Latency of the calls so far, from when each was really sent. Hides waiting for a free connection.
    pub fn service_time(&self) -> Latency {
        summary(&self.histograms().from_send)
    }

    pub(crate) fn measure(&self, from_due: Duration, from_send: Duration) {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let mut histograms = self.histograms();
        histograms.from_due.saturating_record(micros(from_due));
        histograms.from_send.saturating_record(micros(from_send));
    }

    /// A panic of another holder leaves at most one call unmeasured.
    fn histograms(&self) -> MutexGuard<'_, Histograms> {
        self.histograms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn add(cell: &AtomicU64, count: u64) {
    cell.fetch_add(count, Ordering::Relaxed);
}

fn summary(histogram: &Histogram<u64>) -> Latency {
    let at = |quantile| histogram.value_at_quantile(quantile);
    Latency {
        calls: histogram.len(),
        p50_us: at(0.5),
        p90_us: at(0.9),
        p99_us: at(0.99),
        p999_us: at(0.999),
        max_us: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_summed_up() {
        let progress = Progress::default();
        assert_eq!(progress.latency(), Latency::default());
        for millis in 1..=1_000 {
            progress.measure(Duration::from_millis(millis), Duration::from_millis(1));
        }
        let latency = progress.latency();
        assert_eq!((latency.calls, latency.p50_us / 1_000, latency.p99_us / 1_000), (1_000, 500, 990));
        assert!((1_000_000..1_001_000).contains(&latency.max_us), "{latency:?}");
        assert_eq!(progress.service_time().p999_us / 100, 10);
        progress.measure(Duration::from_secs(1_000_000), Duration::ZERO);
        assert!(progress.latency().max_us >= 120_000_000);
    }
}
