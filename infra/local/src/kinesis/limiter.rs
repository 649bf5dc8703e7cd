//! What a shard takes and gives per second: pure state machines that are told the time.
//!
//! Both are tanks that hold one second's worth and refill all the time. Time that goes back refills nothing.

/// Records a shard takes per second.
const WRITE_RECORDS_PER_S: i64 = 1_000;
/// Bytes (data and partition keys) a shard takes per second.
const WRITE_BYTES_PER_S: i64 = 1_000_000;
/// Read calls a shard answers per second, all readers together.
const READ_CALLS_PER_S: i64 = 5;
/// Bytes a shard gives per second, all readers together: 2 MiB, so that a full answer of 10 MiB pauses reads for 5 s.
const READ_BYTES_PER_S: i64 = 2 * 1024 * 1024;

/// One tank, in thousandths of a unit, so that a refill per millisecond is exact.
#[derive(Debug, Clone)]
struct Tank {
    per_s: i64,
    level_milli: i64,
    filled_ms: i64,
}

impl Tank {
    fn full(per_s: i64, now_ms: i64) -> Self {
        Self { per_s, level_milli: per_s * 1_000, filled_ms: now_ms }
    }

    fn refill(&mut self, now_ms: i64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms).max(0);
        // `per_s` units a second are `per_s` thousandths a millisecond.
        let refilled = self.level_milli.saturating_add(elapsed_ms.saturating_mul(self.per_s));
        self.level_milli = refilled.min(self.per_s * 1_000);
        // Callers on other threads may bring a slightly older time. A clock that was really set back starts to count
        // anew from there, instead of standing still until it has caught up.
        let clock_was_set_back = now_ms < self.filled_ms.saturating_sub(1_000);
        self.filled_ms = if clock_was_set_back { now_ms } else { self.filled_ms.max(now_ms) };
    }

    fn holds(&self, units: i64) -> bool {
        self.level_milli >= units.min(self.per_s).saturating_mul(1_000)
    }

    fn take(&mut self, units: i64) {
        self.level_milli = self.level_milli.saturating_sub(units.saturating_mul(1_000));
    }
}

/// The write limits of one shard.
#[derive(Debug, Clone)]
pub struct WriteLimiter {
    records: Tank,
    bytes: Tank,
}

impl WriteLimiter {
    /// A shard that has been idle until `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self { records: Tank::full(WRITE_RECORDS_PER_S, now_ms), bytes: Tank::full(WRITE_BYTES_PER_S, now_ms) }
    }

    /// Takes one record of `bytes` bytes if both limits have room for it, else takes nothing.
    ///
    /// A record above one second's bytes (1 MiB against 1 MB) passes a full tank and leaves a debt.
    pub fn admit(&mut self, bytes: usize, now_ms: i64) -> bool {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.records.refill(now_ms);
        self.bytes.refill(now_ms);
        let has_room = self.records.holds(1) && self.bytes.holds(bytes);
        if has_room {
            self.records.take(1);
            self.bytes.take(bytes);
        }
        has_room
    }
}

/// The read limits of one shard, shared by all who call `GetRecords` on it.
#[derive(Debug, Clone)]
pub struct ReadLimiter {
    calls: Tank,
    bytes: Tank,
}

impl ReadLimiter {
    /// A shard that nobody has read until `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self { calls: Tank::full(READ_CALLS_PER_S, now_ms), bytes: Tank::full(READ_BYTES_PER_S, now_ms) }
    }

    /// Takes one call if there is room for it and the bytes given before are paid off.
    pub fn admit(&mut self, now_ms: i64) -> bool {
        self.calls.refill(now_ms);
        self.bytes.refill(now_ms);
        let has_room = self.calls.holds(1) && self.bytes.level_milli >= 0;
        if has_room {
            self.calls.take(1);
        }
        has_room
    }

    /// Counts what an admitted call gave. More than a second's worth is owed in full, whatever was saved up before.
    pub fn gave(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes > READ_BYTES_PER_S {
            self.bytes.level_milli = self.bytes.level_milli.min(0);
        }
        self.bytes.take(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_of_records_then_one_per_millisecond() {
        let mut limiter = WriteLimiter::new(0);
        let at = |limiter: &mut WriteLimiter, now_ms| (0..2_000).filter(|_| limiter.admit(10, now_ms)).count();
        assert_eq!(at(&mut limiter, 0), 1_000);
        assert_eq!(at(&mut limiter, 1), 1);
        assert_eq!(at(&mut limiter, 11), 10);
        assert_eq!(at(&mut limiter, 5), 0, "time that goes back refills nothing");
        assert_eq!(at(&mut limiter, 100_000), 1_000);
    }

    #[test]
    fn the_largest_record_passes_a_full_tank_only() {
        let mut limiter = WriteLimiter::new(0);
        assert!(limiter.admit(1_048_576, 0));
        assert!(!limiter.admit(1, 48));
        assert!(limiter.admit(1, 50));
        assert!(!limiter.admit(1_048_576, 1_000));
        assert!(limiter.admit(1_048_576, 1_050));
    }

    #[test]
    fn ten_mebibytes_pause_reads_for_five_seconds() {
        let mut limiter = ReadLimiter::new(0);
        assert!(limiter.admit(0));
        limiter.gave(10 * 1024 * 1024);
        assert!(!limiter.admit(4_999));
        assert!(limiter.admit(5_000));
        let calls = (0..10).filter(|_| limiter.admit(5_000)).count();
        assert_eq!(calls, 4, "five calls a second in all");
    }

    proptest! {
        #[test]
        fn no_window_is_ever_over_its_rate(
            offers in proptest::collection::vec((0_i64..40, 1_usize..200_000, 1_usize..30), 1..80),
        ) {
            let mut limiter = WriteLimiter::new(0);
            let mut now_ms = 0;
            let mut taken: Vec<(i64, i64)> = Vec::new();
            for (wait_ms, bytes, count) in offers {
                now_ms += wait_ms;
                for _ in 0..count {
                    if limiter.admit(bytes, now_ms) {
                        taken.push((now_ms, i64::try_from(bytes).unwrap()));
                    }
                }
            }
            for (first, (from_ms, _)) in taken.iter().enumerate() {
                let (mut records, mut bytes) = (0, 0);
                for (at_ms, size) in &taken[first..] {
                    records += 1;
                    bytes += size;
                    let window_ms = at_ms - from_ms;
                    prop_assert!(records <= WRITE_RECORDS_PER_S + window_ms * WRITE_RECORDS_PER_S / 1_000);
                    prop_assert!(bytes <= WRITE_BYTES_PER_S + window_ms * WRITE_BYTES_PER_S / 1_000);
                }
            }
        }
    }
}
