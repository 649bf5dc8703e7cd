//! What became of it: counts of rows and failed events by SQL.

use std::collections::BTreeMap;

use anyhow::Context as _;
use aws_config::SdkConfig;
use chrono::DateTime;
use events::failed::PROCESSOR_INGEST;
use events::table::EVENT_TABLES;

use super::HOUR_MS;
use crate::names;

/// Counts by the hour that an event was received in.
#[derive(Debug, Default)]
pub struct TableCounts {
    rows: BTreeMap<i64, u64>,
    failed: BTreeMap<i64, u64>,
    /// Rows beyond the first with the same `event_id` in their table.
    pub repeated_rows: u64,
}

impl TableCounts {
    /// Counts by hour: rows, and failed events.
    pub fn new(
        rows: impl IntoIterator<Item = (i64, u64)>,
        failed: impl IntoIterator<Item = (i64, u64)>,
        repeated_rows: u64,
    ) -> Self {
        Self { rows: rows.into_iter().collect(), failed: failed.into_iter().collect(), repeated_rows }
    }

    /// The hours with rows or failed events.
    pub fn hours(&self) -> impl Iterator<Item = i64> {
        self.rows.keys().chain(self.failed.keys()).copied()
    }

    /// Rows of an hour.
    pub fn rows(&self, hour_ts: i64) -> u64 {
        self.rows.get(&hour_ts).copied().unwrap_or(0)
    }

    /// Failed events of an hour.
    pub fn failed(&self, hour_ts: i64) -> u64 {
        self.failed.get(&hour_ts).copied().unwrap_or(0)
    }
}

/// Counts the rows and failed events of every hour from `from_ts` on.
pub(super) async fn count(aws: &SdkConfig, from_ts: i64) -> anyhow::Result<TableCounts> {
    let from = DateTime::from_timestamp_millis(from_ts).context("the first hour is no time")?;
    let (day, time) = (from.format("%Y-%m-%d"), from.format("%Y-%m-%d %H:%M:%S"));
    let hour_of = "CAST(to_unixtime(date_trunc('hour', received_ts)) AS bigint)";
    let since = format!("event_date >= DATE '{day}' AND received_ts >= TIMESTAMP '{time}'");
    let athena = names::athena(aws);
    let (mut rows, mut repeated_rows) = (BTreeMap::new(), 0);
    for table in EVENT_TABLES {
        let name = table.name;
        let sql = format!(
            "SELECT {hour_of} AS hour_s, count(*) AS n FROM {name} \
             WHERE {since} GROUP BY 1"
        );
        let answer = athena.run(&sql).await.with_context(|| format!("count the rows of {name}"))?;
        by_hour(&mut rows, &answer.rows)?;
        let distinct = format!("SELECT count(*) - count(DISTINCT event_id) AS repeated FROM {name} WHERE {since}");
        let answer = athena.run(&distinct).await.with_context(|| format!("count the repeated rows of {name}"))?;
        let repeated: u64 = answer.rows.first().and_then(|row| number(row.first())).context("a count has no number")?;
        repeated_rows += repeated;
    }
    let sql = format!(
        "SELECT {hour_of} AS hour_s, count(DISTINCT failed_event_id) AS n FROM failed_events \
         WHERE {since} AND processor <> '{PROCESSOR_INGEST}' GROUP BY 1"
    );
    let mut failed = BTreeMap::new();
    by_hour(&mut failed, &athena.run(&sql).await.context("count the failed events")?.rows)?;
    Ok(TableCounts { rows, failed, repeated_rows })
}

fn by_hour(counts: &mut BTreeMap<i64, u64>, rows: &[Vec<Option<String>>]) -> anyhow::Result<()> {
    for row in rows {
        let hour_s: i64 = number(row.first()).context("an hour is no number")?;
        let count: u64 = number(row.get(1)).context("a count is no number")?;
        *counts.entry((hour_s * 1000).div_euclid(HOUR_MS) * HOUR_MS).or_default() += count;
    }
    Ok(())
}

fn number<N: std::str::FromStr>(cell: Option<&Option<String>>) -> Option<N> {
    cell?.as_deref()?.parse().ok()
}
