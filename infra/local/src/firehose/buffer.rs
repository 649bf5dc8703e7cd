//! When a buffer is delivered: the decision alone, with the time as an argument.

/// A destination's buffering hints. Both are limits: the first that is reached delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hints {
    /// In MiB, 1 to 128.
    pub(super) size_mb: u64,
    /// In seconds, 0 to 900.
    pub(super) interval_s: u64,
}

/// What is buffered, as far as the decision needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Buffer {
    bytes: u64,
    first_arrival_ms: Option<i64>,
}

impl Buffer {
    pub(super) fn add(&mut self, bytes: u64, now_ms: i64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.first_arrival_ms.get_or_insert(now_ms);
    }

    /// When its first record came, in milliseconds since the epoch.
    pub(super) fn first_arrival_ms(&self) -> Option<i64> {
        self.first_arrival_ms
    }

    /// How long until it is due, in milliseconds: 0 when it is, `None` while nothing is buffered.
    ///
    /// A clock that goes back does not make a buffer wait longer than its interval.
    pub(super) fn due_in_ms(&self, hints: Hints, now_ms: i64) -> Option<u64> {
        let first = self.first_arrival_ms?;
        if self.bytes >= hints.size_mb << 20 {
            return Some(0);
        }
        let age = u64::try_from(now_ms.saturating_sub(first)).unwrap_or(0);
        Some((hints.interval_s * 1000).saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;

    use super::{Buffer, Hints};

    const HINTS: Hints = Hints { size_mb: 1, interval_s: 60 };

    #[test]
    fn size_or_age_delivers() {
        let check = |adds: &[(u64, i64)], now_ms: i64, expected: Option<u64>| {
            let mut buffer = Buffer::default();
            for (bytes, at) in adds {
                buffer.add(*bytes, *at);
            }
            assert_eq!(buffer.due_in_ms(HINTS, now_ms), expected, "{adds:?} at {now_ms}");
        };
        check(&[], 5_000, None);
        check(&[(0, 1_000)], 1_000, Some(60_000));
        check(&[(10, 1_000), (10, 50_000)], 51_000, Some(10_000));
        check(&[(10, 1_000)], 61_000, Some(0));
        check(&[(10, 1_000)], 99_000, Some(0));
        check(&[(10, 1_000)], 0, Some(60_000));
        check(&[((1 << 20) - 1, 0)], 0, Some(60_000));
        check(&[(1 << 19, 0), (1 << 19, 1)], 1, Some(0));
    }

    proptest! {
        #[test]
        fn nothing_waits_longer_than_its_interval(arrivals in vec(0_i64..100_000, 1..20), now in 0_i64..300_000) {
            let mut buffer = Buffer::default();
            for at in &arrivals {
                buffer.add(1, *at);
            }
            let due = buffer.due_in_ms(HINTS, now).unwrap();
            assert!(due <= 60_000);
            assert_eq!(due == 0, now - arrivals[0] >= 60_000);
        }
    }
}
