//! Tells an outage from a failure. While every request fails, one record at a time is sent to see whether it is over: sending
//! everything again and again costs CPU and helps nobody, and all of it would come back at the same moment.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;

use crate::pipeline::retrier::backoff;

/// So many failures without an answer in between are an outage. Single ones happen every day, and are retried by themselves.
const FAILURES: u32 = 4;

#[derive(Debug)]
pub(crate) struct Outage {
    /// The longest pause between two probes.
    pause_max: Duration,
    /// Requests that failed whole, for a temporary reason, since the last one that was answered.
    failures: u32,
    /// When the next probe may be sent.
    probe_at: Option<Instant>,
}

/// What may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    All,
    /// One record, to see whether the stream is back.
    Probe,
    /// Nothing before this moment.
    From(Instant),
}

impl Outage {
    /// Records that have little time must meet a probe before they expire.
    pub(crate) fn new(record_deadline: Duration) -> Self {
        Outage { pause_max: record_deadline / 4, failures: 0, probe_at: None }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.failures >= FAILURES
    }

    /// A request was answered, in whatever way: the stream is there.
    pub(crate) fn answered(&mut self) {
        self.failures = 0;
        self.probe_at = None;
    }

    /// A request failed whole, for a temporary reason.
    pub(crate) fn failed(&mut self, now: Instant, random: &mut StdRng) {
        let was_on = self.is_on();
        self.failures = self.failures.saturating_add(1);
        if self.is_on() && !was_on {
            self.probed(now, random);
        }
    }

    pub(crate) fn permission(&self, now: Instant) -> Permission {
        match self.probe_at {
            Some(at) if self.is_on() && now < at => Permission::From(at),
            Some(_) if self.is_on() => Permission::Probe,
            Some(_) | None => Permission::All,
        }
    }

    /// A probe is sent. The next one does not wait for its end: it may hang until long after the outage.
    pub(crate) fn probed(&mut self, now: Instant, random: &mut StdRng) {
        self.probe_at = Some(now + backoff(self.failures, random).min(self.pause_max));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rand::{SeedableRng, rngs::StdRng};

    use super::{FAILURES, Outage, Permission};

    #[test]
    fn probes_come_before_records_expire() {
        let start = Instant::now();
        let mut random = StdRng::seed_from_u64(1);
        let mut outage = Outage::new(Duration::from_millis(200));
        for _ in 0..10 * FAILURES {
            outage.failed(start, &mut random);
            outage.probed(start, &mut random);
        }
        assert_eq!(outage.permission(start + Duration::from_millis(50)), Permission::Probe);
    }

    #[test]
    fn an_outage_begins_with_failures_in_a_row_and_ends_with_an_answer() {
        let start = Instant::now();
        let mut random = StdRng::seed_from_u64(1);
        let mut outage = Outage::new(Duration::from_secs(30));
        for _ in 1..FAILURES {
            outage.failed(start, &mut random);
        }
        assert_eq!(outage.permission(start), Permission::All);
        outage.answered();
        for _ in 1..FAILURES {
            outage.failed(start, &mut random);
        }
        assert_eq!(outage.permission(start), Permission::All, "they were not in a row");
        outage.failed(start, &mut random);
        let Permission::From(probe_at) = outage.permission(start) else { panic!("it is an outage") };
        assert!(probe_at > start && probe_at <= start + Duration::from_secs(1));
        assert_eq!(outage.permission(probe_at), Permission::Probe);
        outage.probed(probe_at, &mut random);
        assert!(matches!(outage.permission(probe_at), Permission::From(next) if next > probe_at));
        // Late failures of requests from before do not put the next probe off.
        let before = outage.permission(probe_at);
        outage.failed(probe_at, &mut random);
        assert_eq!(outage.permission(probe_at), before);
        outage.answered();
        assert_eq!(outage.permission(probe_at), Permission::All);
    }
}
