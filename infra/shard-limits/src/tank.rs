//! A tank: refills all the time at a rate, and holds so much at most.

/// One tank, in thousandths of a unit, so that a refill per millisecond is exact. Time that goes back refills nothing.
#[derive(Debug, Clone)]
pub struct Tank {
    per_s: i64,
    capacity: i64,
    level_milli: i64,
    filled_ms: i64,
}

impl Tank {
    /// A full tank that holds `capacity` units and gains `per_s` a second.
    pub fn full(per_s: i64, capacity: i64, now_ms: i64) -> Self {
        Self { per_s, capacity, level_milli: capacity * 1_000, filled_ms: now_ms }
    }

    /// Gains what the time since the last refill brings.
    pub fn refill(&mut self, now_ms: i64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms).max(0);
        // `per_s` units a second are `per_s` thousandths a millisecond.
        let refilled = self.level_milli.saturating_add(elapsed_ms.saturating_mul(self.per_s));
        self.level_milli = refilled.min(self.capacity * 1_000);
        self.filled_ms = later(self.filled_ms, now_ms);
    }

    /// Whether the tank holds so many units, or is full.
    pub fn holds(&self, units: i64) -> bool {
        self.level_milli >= units.min(self.capacity).saturating_mul(1_000)
    }

    /// Takes units out; more than there are leave a debt.
    pub fn take(&mut self, units: i64) {
        self.level_milli = self.level_milli.saturating_sub(units.saturating_mul(1_000));
    }

    /// Empties the tank, if it is not in debt already.
    pub fn empty(&mut self) {
        self.level_milli = self.level_milli.min(0);
    }

    /// Whether more was taken than there was.
    pub fn is_in_debt(&self) -> bool {
        self.level_milli < 0
    }
}

/// The later of two times. Callers on other threads may bring a slightly older one; a clock that was really set back starts
/// to count anew from there, instead of standing still until it has caught up.
pub(crate) fn later(last_ms: i64, now_ms: i64) -> i64 {
    let clock_was_set_back = now_ms < last_ms.saturating_sub(1_000);
    if clock_was_set_back { now_ms } else { last_ms.max(now_ms) }
}
