//! What limits are measured by: rates, sizes and levels, each with its peak of the day.
//!
//! Pure: all take the time as an argument. Whoever owns one keeps it behind the lock that guards what is measured.

use serde::Serialize;

const DAY_MS: i64 = 86_400_000;

/// A use at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Reading {
    /// Now: of a rate, the last second that took anything, if it is this one or the one before.
    pub(crate) now: u64,
    /// The most since midnight UTC, or since the start.
    pub(crate) peak: u64,
}

impl Reading {
    /// What is more, and peaked higher: for "the fullest of these".
    pub(crate) fn or_higher(self, other: Self) -> Self {
        if (other.peak, other.now) > (self.peak, self.now) { other } else { self }
    }
}

/// The most of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Peak {
    day: i64,
    value: u64,
}

impl Peak {
    /// Notes a value; the first of a new day begins anew.
    pub(crate) fn note(&mut self, value: u64, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        self.value = if day == self.day { self.value.max(value) } else { value };
        self.day = day;
    }

    /// The most of the day of `now_ms`.
    pub(crate) fn get(&self, now_ms: i64) -> u64 {
        if now_ms.div_euclid(DAY_MS) == self.day { self.value } else { 0 }
    }
}

/// So much a second, by the seconds of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rate {
    second: i64,
    current: u64,
    before: u64,
    peak: Peak,
    total: u64,
}

impl Rate {
    /// Counts `amount`.
    pub(crate) fn add(&mut self, amount: u64, now_ms: i64) {
        let second = now_ms.div_euclid(1_000);
        if second != self.second {
            self.before = if second == self.second + 1 { self.current } else { 0 };
            (self.second, self.current) = (second, 0);
        }
        self.current = self.current.saturating_add(amount);
        self.total = self.total.saturating_add(amount);
        self.peak.note(self.current, now_ms);
    }

    /// The rate now: of the running second or of the one before, whichever is more.
    pub(crate) fn read(&self, now_ms: i64) -> Reading {
        let now = match now_ms.div_euclid(1_000) - self.second {
            0 => self.current.max(self.before),
            1 => self.current,
            _ => 0,
        };
        Reading { now, peak: self.peak.get(now_ms) }
    }

    /// All since the start.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// Sizes of single things, each held against its limit: the last one, the largest, and how many were over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    last: u64,
    peak: Peak,
    over: u64,
    /// Since the last time that they were taken.
    since: Summary,
}

/// How many there were, their sum, the least and the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) sum: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl Summary {
    fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }
}

impl Sizes {
    /// Notes one. A size over its limit counts as refused, and as a peak.
    pub(crate) fn note(&mut self, size: usize, limit: usize, now_ms: i64) {
        self.last = count(size);
        self.peak.note(self.last, now_ms);
        self.over += u64::from(size > limit);
        self.since.add(self.last);
    }

    /// What was noted since the last call of this.
    pub(crate) fn take(&mut self) -> Summary {
        std::mem::take(&mut self.since)
    }

    /// The last and the largest.
    pub(crate) fn read(&self, now_ms: i64) -> Reading {
        Reading { now: self.last, peak: self.peak.get(now_ms) }
    }

    /// How many were over.
    pub(crate) fn over(&self) -> u64 {
        self.over
    }
}

/// Something that goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Level {
    now: u64,
    peak: Peak,
}

impl Level {
    /// Sets it.
    pub(crate) fn set(&mut self, value: usize, now_ms: i64) {
        self.now = count(value);
        self.peak.note(self.now, now_ms);
    }

    /// Where it stands.
    pub(crate) fn read(&self, now_ms: i64) -> Reading {
        Reading { now: self.now, peak: self.peak.get(now_ms).max(self.now) }
    }
}

/// A count as the meters have it.
pub(crate) fn count(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_of_this_second_or_the_one_before() {
        let mut rate = Rate::default();
        for (at_ms, amount) in [(1_000, 5), (1_900, 5), (2_100, 3)] {
            rate.add(amount, at_ms);
        }
        let check = |at_ms: i64, now: u64, peak: u64| assert_eq!(rate.read(at_ms), Reading { now, peak }, "{at_ms}");
        check(2_200, 10, 10);
        check(3_999, 3, 10);
        check(4_000, 0, 10);
        check(DAY_MS, 0, 0);
        rate.add(1, 500);
        assert_eq!(rate.total(), 14);
        assert_eq!(rate.read(600), Reading { now: 1, peak: 10 }, "a clock that goes back begins a second anew");
    }

    #[test]
    fn sizes_over_the_limit_are_counted_and_shown() {
        let mut sizes = Sizes::default();
        for size in [10, 101, 50] {
            sizes.note(size, 100, 0);
        }
        assert_eq!((sizes.read(0), sizes.over()), (Reading { now: 50, peak: 101 }, 1));
        assert_eq!(sizes.take(), Summary { count: 3, sum: 161, min: 10, max: 101 });
        assert_eq!(sizes.take(), Summary::default());
    }

    #[test]
    fn a_level_that_stays_up_is_the_next_day_s_peak() {
        let mut level = Level::default();
        level.set(7, 0);
        level.set(3, 1);
        assert_eq!(level.read(2), Reading { now: 3, peak: 7 });
        assert_eq!(level.read(DAY_MS), Reading { now: 3, peak: 3 });
    }

    proptest! {
        #[test]
        fn a_rate_s_peak_is_the_fullest_second(adds in proptest::collection::vec((0_i64..3_000, 1_u64..9), 1..50)) {
            let (mut rate, mut now_ms) = (Rate::default(), 0);
            let mut seconds = std::collections::BTreeMap::new();
            for (wait_ms, amount) in adds {
                now_ms += wait_ms;
                rate.add(amount, now_ms);
                *seconds.entry(now_ms / 1_000).or_insert(0) += amount;
            }
            prop_assert_eq!(rate.read(now_ms).peak, *seconds.values().max().unwrap());
        }
    }
}
