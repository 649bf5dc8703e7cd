//! Times as senders write them.

/// A time in milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Millis {
    /// Milliseconds since the epoch, UTC.
    pub ms: i64,
    /// Whether it was written in seconds.
    pub was_seconds: bool,
}

/// Below this a number of milliseconds would be before 2001-09-09, so it is seconds.
const SECONDS_MAX: f64 = 1e12;
/// The end of year 9999 in milliseconds: no calendar here goes further.
const MILLIS_MAX: f64 = 253_402_300_800_000.0;

/// Reads a number as a time: milliseconds, or seconds where it is too small for them.
///
/// `None` for what is no time: negative, not a number, beyond year 9999.
pub fn millis(number: f64) -> Option<Millis> {
    let was_seconds = number < SECONDS_MAX;
    let millis = if was_seconds { number * 1000.0 } else { number };
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within 48 bits; fractions of a millisecond go")]
    (0.0..MILLIS_MAX).contains(&millis).then_some(Millis { ms: millis as i64, was_seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds() {
        for (number, expect) in [
            (1_647_010_095_000.0, Some((1_647_010_095_000, false))),
            (1_647_010_095.0, Some((1_647_010_095_000, true))),
            (1_647_010_095.5, Some((1_647_010_095_500, true))),
            (0.0, Some((0, true))),
            (-1.0, None),
            (1e18, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ] {
            assert_eq!(millis(number).map(|time| (time.ms, time.was_seconds)), expect, "{number}");
        }
    }
}
