//! How much of its limits a function uses.

use std::time::Duration;

use crate::meter::{Rate, Reading, Sizes, count};

/// What is measured of a function.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::lambda) struct Meters {
    /// Synchronous requests.
    requests: Rate,
    requests_throttled: u64,
    /// New environments.
    starts: Rate,
    starts_throttled: u64,
    /// Bytes of events, and of answers.
    pub(in crate::lambda) payload: Sizes,
    pub(in crate::lambda) answer: Sizes,
    /// Milliseconds of invocations.
    pub(in crate::lambda) duration_ms: Sizes,
    /// Of environments, at most.
    pub(in crate::lambda) memory_mb: Sizes,
}

/// A function's use at one moment.
#[derive(Debug, Clone, Copy)]
pub(in crate::lambda) struct FunctionUse {
    /// Requests a second: what is allowed, the use, and what was refused.
    pub(in crate::lambda) requests: (u64, Reading, u64),
    pub(in crate::lambda) starts: (Reading, u64),
    pub(in crate::lambda) payload: (Reading, u64),
    pub(in crate::lambda) answer: (Reading, u64),
    pub(in crate::lambda) duration_ms: (Reading, u64),
    pub(in crate::lambda) memory_mb: (Reading, u64),
}

impl Meters {
    /// Notes a synchronous request that was admitted, or is over the rate.
    pub(super) fn request(&mut self, is_admitted: bool, now_ms: i64) {
        if is_admitted { self.requests.add(1, now_ms) } else { self.requests_throttled += 1 }
    }

    /// Notes an environment that may start, or may not.
    pub(super) fn start(&mut self, may_start: bool, now_ms: i64) {
        if may_start { self.starts.add(1, now_ms) } else { self.starts_throttled += 1 }
    }

    /// Notes an invocation's time against its timeout.
    pub(in crate::lambda) fn took(&mut self, duration: Duration, timeout: Duration, now_ms: i64) {
        // A part of a millisecond counts as one, so that what ran into its timeout is over it.
        let millis = |time: Duration| usize::try_from(time.as_micros().div_ceil(1_000)).unwrap_or(usize::MAX);
        self.duration_ms.note(millis(duration), millis(timeout), now_ms);
    }

    pub(super) fn read(&self, requests_per_s: usize, now_ms: i64) -> FunctionUse {
        let sizes = |sizes: &Sizes| (sizes.read(now_ms), sizes.over());
        FunctionUse {
            requests: (count(requests_per_s), self.requests.read(now_ms), self.requests_throttled),
            starts: (self.starts.read(now_ms), self.starts_throttled),
            payload: sizes(&self.payload),
            answer: sizes(&self.answer),
            duration_ms: sizes(&self.duration_ms),
            memory_mb: sizes(&self.memory_mb),
        }
    }
}
