//! The write limits of a shard: records and bytes, both, after one of three models. The service does not say which is its own.

use crate::tank::{Tank, later};

/// Records a shard takes per second.
pub const WRITE_RECORDS_PER_S: i64 = 1_000;
/// Bytes (data and partition keys) a shard takes per second.
pub const WRITE_BYTES_PER_S: i64 = 1_000_000;

/// How a shard enforces its write limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteModel {
    /// A tank that holds a tenth of a second: who sends evenly gets everything, who saves up gets nothing for it.
    Smooth,
    /// So much in each second of the clock, whenever in it.
    HardWindow,
    /// A tank that holds a second.
    Burst,
}

impl WriteModel {
    /// Every model.
    pub const ALL: [WriteModel; 3] = [WriteModel::Smooth, WriteModel::HardWindow, WriteModel::Burst];

    /// The name by which people choose it.
    pub fn name(self) -> &'static str {
        match self {
            WriteModel::Smooth => "smooth",
            WriteModel::HardWindow => "hard-window",
            WriteModel::Burst => "burst",
        }
    }

    /// The model of that name.
    pub fn named(name: &str) -> Option<Self> {
        WriteModel::ALL.into_iter().find(|model| model.name() == name)
    }
}

/// The write limits of one shard.
#[derive(Debug, Clone)]
pub struct WriteLimiter {
    gate: Gate,
}

#[derive(Debug, Clone)]
enum Gate {
    Tanks { records: Tank, bytes: Tank },
    Window(Window),
}

/// What the running second of the clock has taken.
#[derive(Debug, Clone)]
struct Window {
    seen_ms: i64,
    records: i64,
    bytes: i64,
}

impl WriteLimiter {
    /// A shard that has been idle until `now_ms`, in milliseconds since any fixed moment, and allows bursts of a second.
    pub fn new(now_ms: i64) -> Self {
        Self::with_model(WriteModel::Burst, now_ms)
    }

    /// A shard that has been idle until `now_ms`, after a model. Hard windows begin at whole seconds of that time.
    pub fn with_model(model: WriteModel, now_ms: i64) -> Self {
        let tanks = |divisor: i64| Gate::Tanks {
            records: Tank::full(WRITE_RECORDS_PER_S, WRITE_RECORDS_PER_S / divisor, now_ms),
            bytes: Tank::full(WRITE_BYTES_PER_S, WRITE_BYTES_PER_S / divisor, now_ms),
        };
        let gate = match model {
            WriteModel::Smooth => tanks(10),
            WriteModel::Burst => tanks(1),
            WriteModel::HardWindow => Gate::Window(Window { seen_ms: now_ms, records: 0, bytes: 0 }),
        };
        Self { gate }
    }

    /// Takes one record of `bytes` bytes if both limits have room for it, else takes nothing.
    ///
    /// A record above what the model can hold (1 MiB against 1 MB) passes a full tank and leaves a debt, or passes an
    /// untouched window.
    pub fn admit(&mut self, bytes: usize, now_ms: i64) -> bool {
        let size = i64::try_from(bytes).unwrap_or(i64::MAX);
        match &mut self.gate {
            Gate::Tanks { records, bytes } => {
                records.refill(now_ms);
                bytes.refill(now_ms);
                let has_room = records.holds(1) && bytes.holds(size);
                if has_room {
                    records.take(1);
                    bytes.take(size);
                }
                has_room
            }
            Gate::Window(window) => window.admit(size, now_ms),
        }
    }
}

impl Window {
    fn admit(&mut self, size: i64, now_ms: i64) -> bool {
        let seen_ms = later(self.seen_ms, now_ms);
        if seen_ms.div_euclid(1_000) != self.seen_ms.div_euclid(1_000) {
            (self.records, self.bytes) = (0, 0);
        }
        self.seen_ms = seen_ms;
        let bytes = self.bytes.saturating_add(size);
        let has_room = self.records < WRITE_RECORDS_PER_S && (bytes <= WRITE_BYTES_PER_S || self.records == 0);
        if has_room {
            self.records += 1;
            self.bytes = bytes;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{WRITE_BYTES_PER_S, WRITE_RECORDS_PER_S, WriteLimiter, WriteModel};

    fn admitted(limiter: &mut WriteLimiter, bytes: usize, now_ms: i64) -> usize {
        (0..2_000).filter(|_| limiter.admit(bytes, now_ms)).count()
    }

    #[test]
    fn each_model_has_its_own_idea_of_a_second() {
        let check = |model, at: &[(i64, usize)]| {
            let mut limiter = WriteLimiter::with_model(model, 0);
            for (now_ms, expect) in at {
                assert_eq!(admitted(&mut limiter, 10, *now_ms), *expect, "{model:?} at {now_ms} ms");
            }
        };
        // Time that goes back refills nothing.
        check(WriteModel::Burst, &[(0, 1_000), (1, 1), (11, 10), (5, 0), (100_000, 1_000)]);
        check(WriteModel::Smooth, &[(0, 100), (1, 1), (11, 10), (5, 0), (100_000, 100)]);
        check(WriteModel::HardWindow, &[(0, 1_000), (999, 0), (1_000, 1_000), (999, 0), (1_999, 0), (7_500, 1_000)]);
    }

    #[test]
    fn a_window_counts_bytes_too() {
        let mut limiter = WriteLimiter::with_model(WriteModel::HardWindow, 0);
        assert_eq!(admitted(&mut limiter, 300_000, 990), 3);
        assert_eq!(admitted(&mut limiter, 100_000, 991), 1);
        assert!(!limiter.admit(1, 999));
        assert!(limiter.admit(1_048_576, 1_000), "the largest record passes an untouched window");
        assert!(!limiter.admit(1, 1_999));
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
    fn models_are_found_by_name() {
        for model in WriteModel::ALL {
            assert_eq!(WriteModel::named(model.name()), Some(model));
        }
        assert_eq!(WriteModel::named("none"), None);
    }

    proptest! {
        #[test]
        fn no_window_is_ever_over_its_rate(
            offers in proptest::collection::vec((0_i64..40, 1_usize..90_000, 1_usize..30), 1..80),
            smooth in any::<bool>(),
        ) {
            let (model, burst_divisor) = if smooth { (WriteModel::Smooth, 10) } else { (WriteModel::Burst, 1) };
            let mut limiter = WriteLimiter::with_model(model, 0);
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
                    prop_assert!(records <= WRITE_RECORDS_PER_S / burst_divisor + window_ms * WRITE_RECORDS_PER_S / 1_000);
                    prop_assert!(bytes <= WRITE_BYTES_PER_S / burst_divisor + window_ms * WRITE_BYTES_PER_S / 1_000);
                }
            }
        }
    }
}
