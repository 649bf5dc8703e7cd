//! An hour of UTC: the unit of partitions, and of publishing.

use std::fmt;

use chrono::{DateTime, Timelike};

const HOUR_MS: i64 = 3_600_000;
/// The first millisecond of the year 10000, whose dates have no longer ten characters.
const YEAR_10000_MS: i64 = 253_402_300_800_000;

/// An hour of UTC, from 1970 to 9999. Shown as the end of a partition's path: `event_date=2026-11-22/event_hour=07`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(i64);

impl Hour {
    /// The hour of a time in milliseconds since the epoch; `None` outside the years 1970 to 9999.
    pub fn of(time_ms: i64) -> Option<Self> {
        (0..YEAR_10000_MS).contains(&time_ms).then(|| Self(time_ms.div_euclid(HOUR_MS)))
    }

    /// Its first millisecond since the epoch.
    pub fn start_ms(self) -> i64 {
        self.0 * HOUR_MS
    }

    /// The first millisecond after it.
    pub fn end_ms(self) -> i64 {
        self.start_ms() + HOUR_MS
    }

    /// The hour before and the hour after, where there are such.
    pub fn neighbours(self) -> impl Iterator<Item = Hour> {
        [self.start_ms() - 1, self.end_ms()].into_iter().filter_map(Hour::of)
    }

    /// Its date, such as `2026-11-22`.
    pub fn date(self) -> String {
        self.utc().format("%Y-%m-%d").to_string()
    }

    /// Its number in the day, 0 to 23.
    pub fn of_day(self) -> u32 {
        self.utc().hour()
    }

    /// Reads a path that holds an hour as it is shown, somewhere between slashes.
    pub fn in_path(path: &str) -> Option<Self> {
        let part = |name: &str| path.split('/').find_map(|part| part.strip_prefix(name));
        let date = chrono::NaiveDate::parse_from_str(part("event_date=")?, "%Y-%m-%d").ok()?;
        let time = date.and_hms_opt(part("event_hour=")?.parse().ok()?, 0, 0)?;
        Hour::of(time.and_utc().timestamp_millis())
    }

    fn utc(self) -> DateTime<chrono::Utc> {
        DateTime::from_timestamp_millis(self.start_ms()).expect("Hour::of admits only years that chrono knows")
    }
}

impl fmt::Display for Hour {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "event_date={}/event_hour={:02}", self.date(), self.of_day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_and_their_paths() {
        for (time_ms, expect) in [
            (0, Some("event_date=1970-01-01/event_hour=00")),
            (1_795_000_000_123, Some("event_date=2026-11-18/event_hour=11")),
            (YEAR_10000_MS - 1, Some("event_date=9999-12-31/event_hour=23")),
            (YEAR_10000_MS, None),
            (-1, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            let hour = Hour::of(time_ms);
            assert_eq!(hour.map(|hour| hour.to_string()).as_deref(), expect, "{time_ms}");
            if let Some(hour) = hour {
                assert_eq!(Hour::in_path(&format!("a/imps/{hour}/x.parquet")), Some(hour));
                assert!(hour.start_ms() <= time_ms && time_ms < hour.end_ms());
            }
        }
    }

    #[test]
    fn paths_without_an_hour() {
        for path in ["", "event_date=2026-11-22", "event_date=x/event_hour=1", "event_date=2026-11-22/event_hour=24"] {
            assert_eq!(Hour::in_path(path), None, "{path}");
        }
    }

    #[test]
    fn neighbours_end_at_the_ends_of_time() {
        let neighbours = |time_ms| Hour::of(time_ms).unwrap().neighbours().map(Hour::start_ms).collect::<Vec<_>>();
        assert_eq!(neighbours(0), [HOUR_MS]);
        assert_eq!(neighbours(HOUR_MS), [0, 2 * HOUR_MS]);
        assert_eq!(neighbours(YEAR_10000_MS - 1), [YEAR_10000_MS - 2 * HOUR_MS]);
    }
}
