//! When to read the shard map again: on a timer, and soon after a record landed on another shard than was predicted.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::pipeline::retrier::backoff;

/// Reads that hints ask for keep this distance, which doubles while they find nothing new: a stream that spreads records by
/// itself would otherwise have its shards listed without end.
const HINT_PAUSE_MIN: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Refresh {
    interval: Duration,
    is_running: bool,
    /// When the map in use was asked for.
    asked_at: Instant,
    next: Instant,
    hint_pause: Duration,
    failures: u32,
}

impl Refresh {
    /// The first map was asked for at `asked_at`.
    pub(crate) fn new(asked_at: Instant, interval: Duration) -> Self {
        Refresh {
            interval,
            is_running: false,
            asked_at,
            next: asked_at + interval,
            hint_pause: HINT_PAUSE_MIN,
            failures: 0,
        }
    }

    /// A request that was sent at `sent_at` shows that the map in use is wrong, unless the map is newer than the request.
    pub(crate) fn hint(&mut self, sent_at: Instant) {
        let is_explained = sent_at < self.asked_at;
        if !is_explained && self.failures == 0 {
            self.next = self.next.min(self.asked_at + self.hint_pause);
        }
    }

    /// Whether to start reading now; if so, the read counts as running until its result is told.
    pub(crate) fn start(&mut self, now: Instant) -> bool {
        let starts = !self.is_running && self.next <= now;
        self.is_running |= starts;
        starts
    }

    /// When to ask [`start`](Refresh::start) again.
    pub(crate) fn wake(&self) -> Option<Instant> {
        (!self.is_running).then_some(self.next)
    }

    pub(crate) fn succeeded(&mut self, asked_at: Instant, has_changed: bool) {
        self.is_running = false;
        self.failures = 0;
        self.asked_at = asked_at;
        self.next = asked_at + self.interval;
        self.hint_pause =
            if has_changed { HINT_PAUSE_MIN } else { self.hint_pause.saturating_mul(2).min(self.interval) };
    }

    /// The map in use stays in use.
    pub(crate) fn failed(&mut self, now: Instant, random: &mut StdRng) {
        self.is_running = false;
        self.failures = self.failures.saturating_add(1);
        self.next = now + backoff(self.failures, random);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rand::{SeedableRng, rngs::StdRng};

    use super::Refresh;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_timer_starts_one_read_at_a_time() {
        let start = Instant::now();
        let mut refresh = Refresh::new(start, MINUTE);
        assert!(!refresh.start(start + MINUTE - Duration::from_nanos(1)));
        assert!(refresh.start(start + MINUTE));
        assert!(!refresh.start(start + MINUTE));
        assert_eq!(refresh.wake(), None);
        refresh.succeeded(start + MINUTE, false);
        assert_eq!(refresh.wake(), Some(start + 2 * MINUTE));
    }

    #[test]
    fn hints_bring_a_read_forward_unless_the_map_is_newer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut refresh = Refresh::new(start, MINUTE);
        refresh.hint(at(1000));
        assert_eq!(refresh.wake(), Some(at(200)));
        assert!(refresh.start(at(1010)));
        refresh.succeeded(at(1010), true);
        refresh.hint(at(1009));
        assert_eq!(refresh.wake(), Some(at(61_010)), "the request was sent before this map was asked for");
        // Nothing new found: the distance between hinted reads doubles.
        for pause_ms in [200, 400, 800] {
            refresh.hint(refresh.asked_at);
            assert_eq!(refresh.wake(), Some(refresh.asked_at + Duration::from_millis(pause_ms)));
            assert!(refresh.start(refresh.next));
            refresh.succeeded(refresh.next, false);
        }
    }

    #[test]
    fn failures_back_off_and_hints_do_not_hurry_them() {
        let start = Instant::now();
        let mut random = StdRng::seed_from_u64(3);
        let mut refresh = Refresh::new(start, MINUTE);
        for _ in 0..10 {
            refresh.failed(start, &mut random);
        }
        let next = refresh.wake().unwrap();
        assert!(next >= start + Duration::from_millis(500), "backed off");
        refresh.hint(start);
        assert_eq!(refresh.wake(), Some(next));
    }
}
