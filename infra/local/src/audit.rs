//! The audit: accepted = rows + duplicates + failed events, hour by hour.
//!
//! What was accepted is counted on the raw stream, where an event is durable before its sender is told so. It is
//! read again from there and deaggregated; rows and failed events are counted by SQL. The two sides share no counter.
//! It reaches back as far as the stream keeps its records. What the door refused was never accepted: its records on the
//! stream, and the failed events of them, count on neither side.

mod tables;
mod tally;

use aws_config::SdkConfig;
use serde::Serialize;

pub use tables::TableCounts;
pub use tally::Tally;

/// Milliseconds in an hour.
const HOUR_MS: i64 = 3_600_000;

/// One hour, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Start of the hour in milliseconds since the epoch.
    pub hour_ts: i64,
    /// User records on the raw stream.
    pub accepted: u64,
    /// Rows of the tables of one row an event.
    pub rows: u64,
    /// User records on the raw stream with an `event_id` that an earlier one has: a sender's retries.
    pub duplicates: u64,
    /// Distinct failed events.
    pub failed: u64,
}

/// The audit of some hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// One line an hour, in order.
    pub hours: Vec<Line>,
    /// All hours.
    pub total: Line,
    /// Rows beyond the first with the same `event_id` in their table; anything but 0 is a fault of publishing.
    pub repeated_rows: u64,
    /// Whether the equation holds for all hours together and no row is there twice.
    pub balances: bool,
}

impl Audit {
    /// Puts both sides together. Hours before `from_ts` count on neither.
    ///
    /// A retry in the next hour is a duplicate there while its row stands in the first, or the other way round;
    /// so single hours inform and the total decides.
    pub fn of(tally: &Tally, tables: &TableCounts, from_ts: i64) -> Self {
        let mut hours: Vec<i64> = tally.hours().chain(tables.hours()).filter(|hour_ts| *hour_ts >= from_ts).collect();
        hours.sort_unstable();
        hours.dedup();
        let line = |hour_ts: i64| Line {
            hour_ts,
            accepted: tally.accepted(hour_ts),
            rows: tables.rows(hour_ts),
            duplicates: tally.duplicates(hour_ts),
            failed: tables.failed(hour_ts),
        };
        let hours: Vec<Line> = hours.into_iter().map(line).collect();
        let sum = |field: fn(&Line) -> u64| hours.iter().map(field).sum();
        let total = Line {
            hour_ts: from_ts,
            accepted: sum(|line| line.accepted),
            rows: sum(|line| line.rows),
            duplicates: sum(|line| line.duplicates),
            failed: sum(|line| line.failed),
        };
        let repeated_rows = tables.repeated_rows;
        Self { hours, total, repeated_rows, balances: total.balances() && repeated_rows == 0 }
    }
}

impl Line {
    /// Whether accepted = rows + duplicates + failed.
    pub fn balances(&self) -> bool {
        self.accepted == self.rows + self.duplicates + self.failed
    }
}

/// Audits every whole hour that the raw stream still has.
///
/// # Errors
/// When the stream or the tables cannot be read.
pub async fn run(aws: &SdkConfig, now_ms: i64) -> anyhow::Result<Audit> {
    let kinesis = aws_sdk_kinesis::Client::new(aws);
    let from_ts = tally::first_hour(&kinesis, now_ms).await?;
    let tally = tally::read(&kinesis).await?;
    let tables = tables::count(aws, from_ts).await?;
    Ok(Audit::of(&tally, &tables, from_ts))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 1_795_000_000_000 / HOUR_MS * HOUR_MS;

    fn tally(ids: &[(u8, i64)]) -> Tally {
        let mut tally = Tally::default();
        for (id, ts) in ids {
            tally.add([*id; 16], HOUR + ts);
        }
        tally
    }

    #[test]
    fn the_equation() {
        let tally = tally(&[(1, 0), (2, 5), (2, 6), (3, 7)]);
        let check = |rows: u64, failed: u64, repeated_rows: u64, expect: bool| {
            let tables = TableCounts::new([(HOUR, rows)], [(HOUR, failed)], repeated_rows);
            let audit = Audit::of(&tally, &tables, 0);
            assert_eq!(audit.balances, expect, "{audit:?}");
            assert_eq!((audit.total.accepted, audit.total.duplicates), (4, 1));
        };
        check(3, 0, 0, true);
        check(2, 1, 0, true);
        check(2, 0, 0, false);
        check(4, 0, 0, false);
        check(3, 0, 1, false);
    }

    #[test]
    fn a_retry_in_the_next_hour_balances_in_total() {
        let tally = tally(&[(1, HOUR_MS - 1), (1, HOUR_MS + 1)]);
        let tables = TableCounts::new([(HOUR + HOUR_MS, 1)], [], 0);
        let audit = Audit::of(&tally, &tables, 0);
        assert!(audit.balances);
        assert!(audit.hours.iter().all(|line| !line.balances()));
    }

    #[test]
    fn hours_that_the_stream_no_longer_has_count_on_neither_side() {
        let tally = tally(&[(1, 0), (2, HOUR_MS)]);
        let tables = TableCounts::new([(HOUR - HOUR_MS, 77), (HOUR, 9), (HOUR + HOUR_MS, 1)], [], 0);
        let audit = Audit::of(&tally, &tables, HOUR + HOUR_MS);
        assert!(audit.balances, "{audit:?}");
        assert_eq!(audit.hours.len(), 1);
    }
}
