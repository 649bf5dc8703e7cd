//! The named reports: SQL for Athena, each a file whose header says what it answers.
//!
//! A report's parameters are days. They are checked and put in as DATE literals; nothing else ever gets into the text.

mod header;

use std::sync::LazyLock;

use chrono::NaiveDate;

/// Every report file, by the report's name.
const FILES: [(&str, &str); 7] = [
    ("requests_by_venue_local_hour", include_str!("../sql/requests_by_venue_local_hour.sql")),
    ("plays_by_venue_local_hour", include_str!("../sql/plays_by_venue_local_hour.sql")),
    ("latency_percentiles_hourly", include_str!("../sql/latency_percentiles_hourly.sql")),
    ("failed_events_hourly", include_str!("../sql/failed_events_hourly.sql")),
    ("failed_events_payloads", include_str!("../sql/failed_events_payloads.sql")),
    ("notice_violations", include_str!("../sql/notice_violations.sql")),
    ("adunit_activity_daily", include_str!("../sql/adunit_activity_daily.sql")),
];

/// A named report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// One line for a list.
    pub title: &'static str,
    /// The question it answers.
    pub question: &'static str,
    /// The table it reads; it may join others.
    pub table: &'static str,
    /// Columns of the answer and their meaning, in order.
    pub columns: Vec<(&'static str, &'static str)>,
    /// Parameters and their meaning.
    pub parameters: Vec<(&'static str, &'static str)>,
    text: &'static str,
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
            Report::parse(name, text).expect("a test reads the header of every report")
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
    /// The SQL for the days from `first` to `last`, both included, in UTC and written like `2026-11-22`.
    ///
    /// # Errors
    /// When one of them is no day, or they are reversed or too many.
    pub fn sql(&self, first: &str, last: &str) -> Result<String, DaysError> {
        let (first, last) = days(first, last)?;
        let literal = |day: NaiveDate| format!("DATE '{}'", day.format("%Y-%m-%d"));
        Ok(self.text.replace(":d0", &literal(first)).replace(":d1", &literal(last)))
    }
}

fn days(first: &str, last: &str) -> Result<(NaiveDate, NaiveDate), DaysError> {
    let day = |text: &str| {
        let shape_is_right = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|_| shape_is_right);
        day.ok_or(DaysError::NotADay)
    };
    let (first, last) = (day(first)?, day(last)?);
    match last.signed_duration_since(first).num_days() {
        ..0 => Err(DaysError::Reversed),
        0..DAYS_MAX => Ok((first, last)),
        DAYS_MAX.. => Err(DaysError::TooMany),
    }
}

#[cfg(test)]
mod tests;
