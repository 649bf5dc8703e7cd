//! Keeps a producer within the limits of one shard: bytes and records, both.
//!
//! Each dimension is a `governor` bucket. A Kinesis record is admitted when everything sent before is paid for, and then it is
//! charged; the next one waits until that is paid. So a record of any size passes, the long-run rate is exact, and no interval
//! of length T sees more than `rate x T + burst + one record`.
//!
//! A `governor` bucket cannot owe. So it is made much deeper than the burst, and what lies above that depth is what may be
//! used: below it the producer is in debt, and waits.
//!
//! A pace alone would still put a little more than a second's worth into some seconds: a burst, a record, and what the network
//! held up. The [`Ledger`] leaves that out.
//!
//! Each throttled record lowers the share of the limit that is used by its part of a second's records, so the rate falls to
//! what the shard took. From there it climbs back: slowly at first, faster the longer all is well. Producers that share a
//! shard find their parts so: what is taken off is proportional to the share, what is added is not.

mod ledger;

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
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed},
};

use self::ledger::{Ledger, Room};

/// Both buckets count 1,000,000 cells a second: a byte is a cell (a shard takes 1 MB/s), a record is 1,000 (1,000 records/s).
const CELLS_PER_S: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");
const CELLS_PER_RECORD: u64 = 1_000;

const CELL_TIME: Duration = Duration::from_micros(1);

/// 40 ms of the rate: enough that a timer which fires late loses nothing. With the largest aggregate it is still below a tenth of
/// a second, which is less than any limit that is worth the name allows at once.
const BURST_CELLS: u32 = 40_000;

/// Whoever met a debt waits this much longer than it takes to pay. A part of the burst, so nothing is lost; but what may go then is
/// more than one small record, and shares a request.
const PATIENCE: Duration = Duration::from_millis(5);

/// The largest debt that a bucket keeps, 20 seconds; a record of 10 MiB makes one of 10.5 at the full rate. More is charged
/// when the first part is paid.
const DEBT_CELLS_MAX: u32 = 20_000_000;

const CAPACITY_CELLS: NonZeroU32 = NonZeroU32::new(DEBT_CELLS_MAX + BURST_CELLS).expect("not zero");

const PPM: u64 = 1_000_000;
/// The smallest share of a limit that throttling leaves: 1 %, that is one aggregate in five seconds.
const SHARE_PPM_MIN: u64 = PPM / 100;
/// The share climbs by this much a second: with eight producers on a shard, about 0.6 % of what they send is throttled.
const CLIMB_PPM_PER_S: u64 = PPM * 3 / 4000;
/// Beside that it climbs with the cube of the time since the last throttle, from any level to all in this time.
const CLIMB_S: u64 = 150;
/// Several throttles at a time say that records met, not that all of what they take off together was too much. So within this
/// time the share is back near where they began; if that was too much, it is throttled there again.
const REGAIN_MS: u64 = 4_000;
/// One throttled record takes off at most a seventh, however few were sent.
const RECORDS_MIN: u64 = 7;
/// Throttles within this time take off at most as much as one in a seventh would: their requests were sent before the first
/// answer came.
const THROTTLE_PAUSE: Duration = Duration::from_millis(250);
/// A usual one within a region, until one was seen.
const ROUND_TRIP_ASSUMED: Duration = Duration::from_millis(15);
/// Over which records are counted.
const WINDOW: Duration = Duration::from_secs(1);

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
    limiter: RateLimiter<NotKeyed, InMemoryState, PipelineClock, StateInformationMiddleware>,
    /// Cells to be charged when the debt in the bucket is paid.
    owed_cells: u64,
    /// When the debt in the bucket is paid, as the clock counts.
    paid_at: Duration,
}

impl Bucket {
    fn new(clock: PipelineClock) -> Self {
        let quota = Quota::per_second(CELLS_PER_S).allow_burst(CAPACITY_CELLS);
        let limiter = RateLimiter::direct_with_clock(quota, clock).with_middleware();
        Bucket { limiter, owed_cells: 0, paid_at: Duration::ZERO }
    }

    /// How long it takes until everything is paid, or at least until more can be charged.
    fn wait(&mut self, now: Duration) -> Option<Duration> {
        while self.paid_at <= now
            && let Some(piece) = NonZeroU32::new(u32::try_from(self.owed_cells).unwrap_or(u32::MAX).min(DEBT_CELLS_MAX))
        {
            let level = self.limiter.check_n(piece).expect("a piece fits the bucket").map_or(0, |state| {
                self.owed_cells -= u64::from(piece.get());
                state.remaining_burst_capacity()
            });
            self.paid_at = now + CELL_TIME * DEBT_CELLS_MAX.saturating_sub(level);
        }
        self.paid_at.checked_sub(now).filter(|wait| !wait.is_zero())
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
    /// When sending resumes after a debt was met, as the clock counts.
    resumes_at: Duration,
    /// The last throttle.
    throttle: Option<Throttle>,
    window: Window,
    ledger: Ledger,
}

/// Whether a Kinesis record may go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// One of at most so many bytes may; one that is alone too large for any second may too.
    Bytes(usize),
    /// Ask again after that long.
    In(Duration),
    /// Ask again after an answer.
    AfterAnswer,
}

#[derive(Debug, Clone, Copy)]
struct Throttle {
    at: Instant,
    /// The share to which it lowered the rate.
    share_ppm: u64,
    /// The share that nearly held: what was in use when throttles began, less one record's part.
    held_ppm: u64,
    /// Since when throttles count as one, and below which share they do not lower the rate.
    pause_began: Instant,
    pause_share_ppm_min: u64,
}

/// Counts records sent, of the second that runs and of the one before.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    began: Option<Instant>,
    records: u64,
    records_before: u64,
}

impl Window {
    fn count(&mut self, now: Instant) {
        let age = self.began.map_or(WINDOW * 2, |began| now.saturating_duration_since(began));
        if age >= WINDOW {
            self.records_before = if age < WINDOW * 2 { self.records } else { 0 };
            self.records = 0;
            self.began = Some(now);
        }
        self.records += 1;
    }

    fn records_per_s(&self) -> u64 {
        self.records.max(self.records_before)
    }
}

impl Limiter {
    pub(crate) fn new(clock: PipelineClock, rate_limit_percent: u32) -> Self {
        Limiter {
            bytes: Bucket::new(clock.clone()),
            records: Bucket::new(clock.clone()),
            clock,
            share_ppm_max: u64::from(rate_limit_percent) * (PPM / 100),
            resumes_at: Duration::ZERO,
            throttle: None,
            window: Window::default(),
            ledger: Ledger::default(),
        }
    }

    /// Whether a Kinesis record of `bytes` may go now.
    pub(crate) fn admit(&mut self, bytes: usize, now: Instant) -> Admission {
        if let Some(wait) = self.wait() {
            return Admission::In(wait);
        }
        match self.ledger.room(bytes, now) {
            Room::Bytes(room) => Admission::Bytes(room),
            Room::From(at) => Admission::In(at.saturating_duration_since(now)),
            Room::AfterAnswer => Admission::AfterAnswer,
        }
    }

    /// Notes that a record that was charged at `sent_at` is answered, and whether the shard may have counted it.
    pub(crate) fn answer(&mut self, sent_at: Instant, now: Instant, bytes: usize, was_counted: bool) {
        self.ledger.answer(sent_at, now, bytes, was_counted);
    }

    /// Whether the pace lets a Kinesis record go now: `None`, or how long to wait before asking again.
    fn wait(&mut self) -> Option<Duration> {
        let now = Duration::from(self.clock.now());
        if let Some(wait) = self.debt() {
            self.resumes_at = now + wait + PATIENCE;
        }
        self.resumes_at.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// How long it takes to pay what was sent.
    fn debt(&mut self) -> Option<Duration> {
        let now = Duration::from(self.clock.now());
        self.bytes.wait(now).max(self.records.wait(now))
    }

    /// Charges a Kinesis record that was admitted.
    pub(crate) fn charge(&mut self, bytes: usize, now: Instant) {
        self.window.count(now);
        self.ledger.send(bytes, now);
        let share_ppm = self.share_ppm(now);
        let cells = |plain: u64| plain.saturating_mul(PPM).div_ceil(share_ppm);
        self.bytes.owed_cells += cells(u64::try_from(bytes).unwrap_or(u64::MAX / PPM));
        self.records.owed_cells += cells(CELLS_PER_RECORD);
        // The buckets take it at once; whether that left a debt is asked before the next record.
        let _debt = self.debt();
    }

    /// Lowers the rate: the shard throttled a record that was sent.
    pub(crate) fn throttle(&mut self, now: Instant) {
        let share_ppm = self.share_ppm(now);
        let records = self.window.records_per_s().max(RECORDS_MIN);
        let in_pause = self.throttle.filter(|last| now.saturating_duration_since(last.pause_began) < THROTTLE_PAUSE);
        let (pause_began, pause_share_ppm_min, held_ppm) = match in_pause {
            Some(last) => (last.pause_began, last.pause_share_ppm_min, last.held_ppm),
            None => (now, share_ppm - share_ppm / RECORDS_MIN, share_ppm - share_ppm / records),
        };
        let lowered_ppm = (share_ppm - share_ppm / records).max(pause_share_ppm_min).max(SHARE_PPM_MIN);
        self.throttle = Some(Throttle { at: now, share_ppm: lowered_ppm, held_ppm, pause_began, pause_share_ppm_min });
    }

    /// While a throttle lowers the share, how large a Kinesis record should be: what the share allows in two round trips. A lane
    /// that was held up would come back with all that it missed, into the middle of what the others send.
    pub(crate) fn piece_bytes_max(&self, now: Instant) -> Option<usize> {
        let share_ppm = self.share_ppm(now);
        if share_ppm >= self.share_ppm_max {
            return None;
        }
        let round_trip = self.ledger.round_trip_min().unwrap_or(ROUND_TRIP_ASSUMED);
        // A byte a microsecond is the whole limit.
        let whole = u64::try_from((round_trip * 2).as_micros()).unwrap_or(u64::MAX);
        usize::try_from(whole.saturating_mul(share_ppm) / PPM).ok()
    }

    /// The share of the limit in use, in millionths.
    pub(crate) fn share_ppm(&self, now: Instant) -> u64 {
        let Some(throttle) = self.throttle else { return self.share_ppm_max };
        let elapsed_ms = u64::try_from(now.saturating_duration_since(throttle.at).as_millis()).unwrap_or(u64::MAX);
        let elapsed_ms = elapsed_ms.min(CLIMB_S * 1000);
        let gap_ppm = throttle.held_ppm.saturating_sub(throttle.share_ppm);
        let regained_ppm = gap_ppm * elapsed_ms.min(REGAIN_MS) / REGAIN_MS;
        let climbed_ppm =
            regained_ppm + elapsed_ms * CLIMB_PPM_PER_S / 1000 + elapsed_ms.pow(3) / (CLIMB_S.pow(3) * 1000);
        (throttle.share_ppm + climbed_ppm).min(self.share_ppm_max)
    }
}

#[cfg(test)]
mod tests;
