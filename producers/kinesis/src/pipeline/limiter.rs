//! Keeps a producer within the limits of one shard: bytes and records, both.
//!
//! Each dimension is a `governor` bucket. A Kinesis record is admitted when everything sent before is paid for, and then it is
//! charged; what the bucket does not hold becomes a debt that the next one waits for. So a record of any size passes, the
//! long-run rate is exact, and no interval of length T sees more than `rate x T + burst + one record`.
//!
//! On throttling the share of the limit that is used falls by a part, and climbs back with the cube of the time since: slowly
//! around the level that was too high, faster the longer all is well. Producers that share a shard find their parts so.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};

/// Both buckets count 1,000,000 cells a second: a byte is a cell (a shard takes 1 MB/s), a record is 1,000 (1,000 records/s).
const CELLS_PER_S: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");
const CELLS_PER_RECORD: u64 = 1_000;

/// 20 ms of the rate: enough that a timer which fires late loses nothing, little enough to count as no burst.
const BURST_CELLS: NonZeroU32 = NonZeroU32::new(20_000).expect("not zero");

/// A debt is paid in pieces of half a burst, so that the bucket is never full while there is one.
const PIECE_CELLS: u32 = BURST_CELLS.get() / 2;

const PPM: u64 = 1_000_000;
/// The smallest share of a limit that throttling leaves: 1 %, that is one aggregate in five seconds.
const SHARE_PPM_MIN: u64 = PPM / 100;
/// After this time without throttling, any share has climbed back to all.
const CLIMB_S: u64 = 150;
/// Throttles closer together than this are one: their requests were sent before the first answer came.
const THROTTLE_PAUSE: Duration = Duration::from_millis(250);

/// The time as the pipeline sees it, for `governor`: it stands still until [`PipelineClock::set`] moves it.
#[derive(Debug, Clone, Default)]
pub(crate) struct PipelineClock {
    nanos: Arc<AtomicU64>,
}

impl PipelineClock {
    /// Moves to `since_start`; never backwards.
    pub(crate) fn set(&self, since_start: Duration) {
        self.nanos.fetch_max(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for PipelineClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(self.nanos.load(Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct Bucket {
    limiter: RateLimiter<NotKeyed, InMemoryState, PipelineClock, NoOpMiddleware<Nanos>>,
    owed_cells: u64,
}

impl Bucket {
    fn new(clock: PipelineClock) -> Self {
        let quota = Quota::per_second(CELLS_PER_S).allow_burst(BURST_CELLS);
        Bucket { limiter: RateLimiter::direct_with_clock(quota, clock), owed_cells: 0 }
    }

    /// Pays what the bucket holds. With something left to pay, returns how long to wait for the next piece.
    fn settle(&mut self, clock: &PipelineClock) -> Option<Duration> {
        while self.owed_cells > 0 {
            let piece = u32::try_from(self.owed_cells).unwrap_or(u32::MAX).min(PIECE_CELLS);
            let cells = NonZeroU32::new(piece)?;
            match self.limiter.check_n(cells).expect("a piece is smaller than the burst") {
                Ok(()) => self.owed_cells -= u64::from(piece),
                Err(not_until) => return Some(not_until.wait_time_from(clock.now())),
            }
        }
        None
    }
}

/// The limits of one shard as this producer uses them.
#[derive(Debug)]
pub(crate) struct Limiter {
    clock: PipelineClock,
    bytes: Bucket,
    records: Bucket,
    /// The part of the limit that the configuration allows.
    share_ppm_max: u64,
    /// The share to which the last throttle lowered the rate, and when.
    throttled: Option<(Instant, u64)>,
}

impl Limiter {
    pub(crate) fn new(clock: PipelineClock, rate_limit_percent: u32) -> Self {
        Limiter {
            bytes: Bucket::new(clock.clone()),
            records: Bucket::new(clock.clone()),
            clock,
            share_ppm_max: u64::from(rate_limit_percent) * (PPM / 100),
            throttled: None,
        }
    }

    /// Whether a Kinesis record may go now: `None`, or how long to wait before asking again.
    pub(crate) fn wait(&mut self) -> Option<Duration> {
        // Both are asked, so that both keep paying.
        self.bytes.settle(&self.clock).max(self.records.settle(&self.clock))
    }

    /// Charges a Kinesis record that was admitted.
    pub(crate) fn charge(&mut self, bytes: usize, now: Instant) {
        let share_ppm = self.share_ppm(now);
        let cells = |plain: u64| plain.saturating_mul(PPM).div_ceil(share_ppm);
        self.bytes.owed_cells += cells(u64::try_from(bytes).unwrap_or(u64::MAX / PPM));
        self.records.owed_cells += cells(CELLS_PER_RECORD);
        // Pays at once what is there; what is left is asked for before the next record.
        let _is_paid = self.wait().is_none();
    }

    /// Lowers the rate: the shard throttled a record that was sent.
    pub(crate) fn throttle(&mut self, now: Instant) {
        let is_news = self.throttled.is_none_or(|(at, _)| now.saturating_duration_since(at) >= THROTTLE_PAUSE);
        if is_news {
            let lowered = self.share_ppm(now) * 85 / 100;
            self.throttled = Some((now, lowered.max(SHARE_PPM_MIN)));
        }
    }

    /// The share of the limit in use, in millionths.
    pub(crate) fn share_ppm(&self, now: Instant) -> u64 {
        let Some((at, share_ppm)) = self.throttled else { return self.share_ppm_max };
        let elapsed_ms = u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        let climbed_ppm = elapsed_ms.min(CLIMB_S * 1000).pow(3) / (CLIMB_S.pow(3) * 1000);
        (share_ppm + climbed_ppm).min(self.share_ppm_max)
    }
}

#[cfg(test)]
mod tests;
