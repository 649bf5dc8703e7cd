//! The named reports: SQL for Athena, each a file whose header says what it answers.
//!
//! A report's parameters are days. They are checked and put in as DATE literals; nothing else ever gets into the text.

mod header;

use std::sync::LazyLock;

use chrono::NaiveDate;

pub use header::{Header, HeaderError};

/// Every report file, by the report's name.
const FILES: [(&str, &str); 4] = [
    ("requests_by_venue_local_hour", include_str!("../sql/requests_by_venue_local_hour.sql")),
    ("latency_percentiles_hourly", include_str!("../sql/latency_percentiles_hourly.sql")),
    ("failed_events_hourly", include_str!("../sql/failed_events_hourly.sql")),
    ("adunit_activity_daily", include_str!("../sql/adunit_activity_daily.sql")),
];

/// A named report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// What its file's header says.
    pub header: Header,
    sql: &'static str,
}

/// The days that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    first: NaiveDate,
    last: NaiveDate,
}

/// Why days are not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DaysError {
    /// Not a day.
    #[error("a day is written like 2026-11-22")]
    NotADay,
    /// The last day comes before the first.
    #[error("the last day comes before the first")]
    Reversed,
    /// More than a report scans.
    #[error("a report covers at most {DAYS_MAX} days")]
    TooMany,
}

/// Most days of a report: what a scan should cost at most without somebody thinking about it.
pub const DAYS_MAX: i64 = 366;

/// All reports, in the order of their documentation.
///
/// # Panics
/// When a report file has no good header, which a test rules out.
pub fn reports() -> &'static [Report] {
    static REPORTS: LazyLock<Vec<Report>> = LazyLock::new(|| {
        let report = |(name, text): (&'static str, &'static str)| {
            let (header, sql) = Header::parse(text).expect("a test reads the header of every report");
            Report { name, header, sql }
        };
        FILES.into_iter().map(report).collect()
    });
    &REPORTS
}

/// The report of a name.
pub fn report(name: &str) -> Option<&'static Report> {
    reports().iter().find(|report| report.name == name)
}

impl Report {
    /// The SQL for these days.
    pub fn sql(&self, days: Days) -> String {
        let literal = |day: NaiveDate| format!("DATE '{}'", day.format("%Y-%m-%d"));
        self.sql.replace(":d0", &literal(days.first)).replace(":d1", &literal(days.last))
    }
}

impl Days {
    /// From the first to the last day, both included.
    ///
    /// # Errors
    /// When the days are reversed or too many.
    pub fn new(first: NaiveDate, last: NaiveDate) -> Result<Self, DaysError> {
        match last.signed_duration_since(first).num_days() {
            ..0 => Err(DaysError::Reversed),
            0..DAYS_MAX => Ok(Self { first, last }),
            DAYS_MAX.. => Err(DaysError::TooMany),
        }
    }

    /// From two texts such as `2026-11-22`.
    ///
    /// # Errors
    /// When one is no day from year 1 to 9999, or [`Days::new`] refuses them.
    pub fn parse(first: &str, last: &str) -> Result<Self, DaysError> {
        let day = |text: &str| {
            let shape_is_right = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| shape_is_right);
            day.ok_or(DaysError::NotADay)
        };
        Days::new(day(first)?, day(last)?)
    }

    /// The day of a time, in milliseconds since the epoch, UTC.
    ///
    /// # Errors
    /// When the time is beyond the calendar.
    pub fn of(time_ms: i64) -> Result<Self, DaysError> {
        let day = chrono::DateTime::from_timestamp_millis(time_ms).ok_or(DaysError::NotADay)?.date_naive();
        Days::new(day, day)
    }
}

#[cfg(test)]
mod tests;
