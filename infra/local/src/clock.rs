//! The one reader of the wall clock. Everything else takes `now_ms`, or holds a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch, UTC. A machine clock set before 1970 reads as 0.
#[expect(clippy::disallowed_methods, reason = "this is the rim where the wall clock is read")]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The UTC date of a time, as `2026-11-22`.
pub fn date_text(ts: i64) -> String {
    text(ts, "%Y-%m-%d")
}

/// The UTC hour of a time, as `2026-11-22 17:00`.
pub fn hour_text(ts: i64) -> String {
    text(ts, "%Y-%m-%d %H:00")
}

fn text(ts: i64, format: &str) -> String {
    chrono::DateTime::from_timestamp_millis(ts).unwrap_or_default().format(format).to_string()
}

/// A clock that can jump: expiry and retention can be met without waiting for them. Clones jump together.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Where a clock that does not run stands.
    stands_at_ms: Option<i64>,
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that moves by jumps alone.
    pub fn standing_at(now_ms: i64) -> Self {
        Self { stands_at_ms: Some(now_ms), ahead_ms: Arc::default() }
    }

    /// Milliseconds since the epoch, jumps included.
    pub fn now_ms(&self) -> i64 {
        self.stands_at_ms.unwrap_or_else(now_ms).saturating_add(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// A time that the machine's clock gave, as this one would have: the jumps added.
    pub fn moved(&self, time: SystemTime) -> SystemTime {
        if let Some(stands_at_ms) = self.stands_at_ms {
            let now_ms = stands_at_ms.saturating_add(self.ahead_ms.load(Ordering::Relaxed));
            return UNIX_EPOCH + Duration::from_millis(u64::try_from(now_ms).unwrap_or(0));
        }
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(ahead_ms.unsigned_abs());
        let moved = if ahead_ms < 0 { time.checked_sub(by) } else { time.checked_add(by) };
        moved.unwrap_or(time)
    }

    /// Moves this clock and its clones by `by_ms`; a negative jump goes back.
    pub fn jump(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_jump_together() {
        let clock = Clock::default();
        let clone = clock.clone();
        let before = clone.now_ms();
        clock.jump(86_400_000);
        assert!(clone.now_ms() >= before + 86_400_000);
        let standing = Clock::standing_at(5);
        standing.jump(-2);
        assert_eq!(standing.now_ms(), 3);
    }

    #[test]
    fn times_of_the_machine_are_moved_by_the_jumps() {
        let at = |ms: u64| UNIX_EPOCH + Duration::from_millis(ms);
        let clock = Clock::default();
        assert_eq!(clock.moved(at(7)), at(7));
        clock.jump(5_000);
        assert_eq!(clock.moved(at(7)), at(5_007));
        clock.jump(-6_000);
        assert_eq!(clock.moved(at(1_007)), at(7));
        assert_eq!(Clock::standing_at(9).moved(at(7)), at(9));
    }
}
