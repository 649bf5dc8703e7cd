//! When each call is due and which events it carries: arithmetic only, so that a run can be told in advance.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::random::Random;

/// A fixed rate. Calls are numbered from 0; call `n` carries the events `n * batch` and following.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Events per second.
    pub events_per_s: NonZeroU32,
    /// Events per call.
    pub batch: NonZeroU32,
    /// Of 10,000 events, how many repeat the one before byte for byte, as a client does that missed its answer.
    pub retry_per_10k: u32,
    /// Decides which.
    pub seed: u64,
}

impl Schedule {
    /// How many calls are due before `duration` is over; fewer if there are only `events` events.
    pub fn calls(&self, duration: Duration, events: Option<u64>) -> u64 {
        let rate = u128::from(self.events_per_s.get());
        // Events are due at the start of their interval, so a part of one counts.
        let due = (duration.as_nanos() * rate).div_ceil(1_000_000_000);
        let due = u64::try_from(due).unwrap_or(u64::MAX).min(events.unwrap_or(u64::MAX));
        due.div_ceil(u64::from(self.batch.get()))
    }

    /// When a call is due, from the start of the run.
    pub fn due(&self, call: u64) -> Duration {
        self.offset(call.saturating_mul(u64::from(self.batch.get())))
    }

    /// The events of a call, of which there are `events` in all.
    pub fn events_of(&self, call: u64, events: Option<u64>) -> std::ops::Range<u64> {
        let batch = u64::from(self.batch.get());
        let start = call.saturating_mul(batch);
        start..start.saturating_add(batch).min(events.unwrap_or(u64::MAX))
    }

    /// The event whose bytes an event has: its own, or those of the one before that it repeats.
    pub fn original(&self, event: u64) -> u64 {
        let is_retry = |event| Random::new(self.seed.rotate_left(31), event).happens(self.retry_per_10k);
        let mut original = event;
        while original > 0 && is_retry(original) {
            original -= 1;
        }
        original
    }

    /// When an event is made, in milliseconds from the start of the run.
    pub fn made_ms(&self, event: u64) -> i64 {
        i64::try_from(self.offset(event).as_millis()).unwrap_or(i64::MAX)
    }

    fn offset(&self, event: u64) -> Duration {
        let rate = u64::from(self.events_per_s.get());
        let nanos = (event % rate) * 1_000_000_000 / rate;
        Duration::from_secs(event / rate) + Duration::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn schedule(events_per_s: u32, batch: u32, retry_per_10k: u32) -> Schedule {
        let [events_per_s, batch] = [events_per_s, batch].map(|number| NonZeroU32::new(number).unwrap());
        Schedule { events_per_s, batch, retry_per_10k, seed: 1 }
    }

    #[test]
    fn calls_are_due_at_a_fixed_rate() {
        let singles = schedule(4, 1, 0);
        assert_eq!((0..5).map(|call| singles.due(call).as_millis()).collect::<Vec<_>>(), [0, 250, 500, 750, 1_000]);
        assert_eq!(singles.calls(Duration::from_secs(2), None), 8);
        assert_eq!(singles.calls(Duration::from_millis(1_001), None), 5);
        let batches = schedule(100, 50, 0);
        assert_eq!((0..3).map(|call| batches.due(call).as_millis()).collect::<Vec<_>>(), [0, 500, 1_000]);
        assert_eq!(batches.calls(Duration::from_secs(10), Some(120)), 3);
        assert_eq!(batches.events_of(2, Some(120)), 100..120);
        assert_eq!(batches.events_of(2, None), 100..150);
    }

    #[test]
    fn retries_repeat_the_event_before_them() {
        let schedule = schedule(1, 1, 500);
        let originals: Vec<u64> = (0..10_000).map(|event| schedule.original(event)).collect();
        let retries = (0..).zip(&originals).filter(|(event, original)| event != *original).count();
        assert!((400..600).contains(&retries), "{retries}");
        for (event, original) in (0..).zip(&originals) {
            assert!(*original == event || originals[usize::try_from(event - 1).unwrap()] == *original);
        }
    }

    proptest! {
        #[test]
        fn the_calls_of_a_run_are_those_due_within_it(rate in 1_u32..100_000, batch in 1_u32..1_000, ms in 1_u64..100_000) {
            let schedule = schedule(rate, batch, 0);
            let duration = Duration::from_millis(ms);
            let calls = schedule.calls(duration, None);
            prop_assert!(schedule.due(calls) >= duration);
            prop_assert!(calls == 0 || schedule.due(calls - 1) < duration);
        }
    }
}
