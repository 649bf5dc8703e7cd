//! A pass over all hours that have something staged or something left to do, and the loop of passes.

use std::collections::BTreeSet;
use std::fmt;

use events::table::{Storage, TABLES, Table};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use tokio::time::{Duration, MissedTickBehavior, interval};

use super::{PublishError, Published, Publisher};
use crate::hour::Hour;
use crate::layout;

/// What a pass did.
#[derive(Debug, Default)]
pub struct Report {
    /// By table and hour, in order.
    pub hours: Vec<HourReport>,
}

/// What a pass did with one hour of one table.
#[derive(Debug)]
pub struct HourReport {
    /// Name of the table.
    pub table: &'static str,
    /// The hour.
    pub hour: Hour,
    /// What was done, over all runs that it took.
    pub outcome: Result<Published, PublishError>,
}

impl Report {
    /// Rows added, in all tables.
    pub fn rows_added(&self) -> u64 {
        self.hours.iter().filter_map(|hour| hour.outcome.as_ref().ok()).map(|published| published.rows_added).sum()
    }

    /// What failed.
    pub fn failures(&self) -> impl Iterator<Item = (&HourReport, &PublishError)> {
        self.hours.iter().filter_map(|hour| Some((hour, hour.outcome.as_ref().err()?)))
    }
}

impl fmt::Display for HourReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: ", self.table, self.hour)?;
        match &self.outcome {
            Ok(published) => write!(
                formatter,
                "{} rows added, {} sent again, {} redelivered, {} files",
                published.rows_added, published.resent, published.redelivered, published.files
            ),
            Err(error) => write!(formatter, "failed: {error}"),
        }
    }
}

/// Publishes everything that is staged, and settles hours. An hour that fails does not keep others from being published:
/// its error stands in the report.
///
/// # Errors
/// When the hours cannot be listed, or their partitions not be declared.
pub async fn publish_all(publisher: &Publisher, now_ms: i64) -> Result<Report, PublishError> {
    let mut report = Report::default();
    for table in TABLES.into_iter().filter(|table| table.storage == Storage::Parquet) {
        let mut hours = BTreeSet::new();
        for folder in [layout::staging(table), layout::unsettled(table)] {
            hours.extend(hours_in(publisher.store.as_ref(), folder).await?);
        }
        let first = report.hours.len();
        for hour in &hours {
            let outcome = publish_whole(publisher, table, *hour, now_ms).await;
            report.hours.push(HourReport { table: table.name, hour: *hour, outcome });
        }
        let done: Vec<&HourReport> = report.hours.iter().skip(first).filter(|hour| hour.outcome.is_ok()).collect();
        if let Some(catalog) = &publisher.catalog {
            let has_files = |report: &&&HourReport| report.outcome.as_ref().is_ok_and(|published| published.files > 0);
            let hours: Vec<Hour> = done.iter().filter(has_files).map(|report| report.hour).collect();
            catalog.create_partitions(table, &publisher.bucket, &hours).await?;
        }
        for hour in done {
            if hour.outcome.as_ref().is_ok_and(|published| published.settled) {
                publisher.delete_orphans(table, hour.hour, now_ms).await?;
                publisher.mark_settled(table, hour.hour).await?;
            }
        }
    }
    Ok(report)
}

/// Runs over an hour until nothing is staged. Each run takes at least one object away, and staging cannot outrun it for
/// ever: the rounds are bounded all the same, and what is left waits for the next pass.
async fn publish_whole(
    publisher: &Publisher,
    table: &Table,
    hour: Hour,
    now_ms: i64,
) -> Result<Published, PublishError> {
    const RUNS_MAX: usize = 100;
    let mut whole = Published::default();
    for _ in 0..RUNS_MAX {
        let run = publisher.publish_hour(table, hour, now_ms).await?;
        whole = Published {
            rows_added: whole.rows_added + run.rows_added,
            resent: whole.resent + run.resent,
            redelivered: whole.redelivered + run.redelivered,
            ..run
        };
        if !run.more {
            break;
        }
    }
    Ok(whole)
}

async fn hours_in(store: &dyn ObjectStore, folder: Path) -> Result<BTreeSet<Hour>, PublishError> {
    let mut objects = store.list(Some(&folder));
    let mut hours = BTreeSet::new();
    loop {
        let object: Option<ObjectMeta> =
            objects.try_next().await.map_err(|source| PublishError::Store { path: folder.clone(), source })?;
        let Some(object) = object else { return Ok(hours) };
        hours.extend(Hour::in_path(object.location.as_ref()));
    }
}

/// Makes a pass at every interval until `shutdown` completes; a pass that has begun is finished first.
///
/// `now_ms` reads the clock. Failures are logged, and tried again at the next pass.
pub async fn run(publisher: &Publisher, every: Duration, now_ms: impl Fn() -> i64, shutdown: impl Future<Output = ()>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => return,
            _ = ticks.tick() => {}
        }
        match publish_all(publisher, now_ms()).await {
            Ok(report) => log(&report),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "pass failed"),
        }
    }
}

fn log(report: &Report) {
    for hour in &report.hours {
        match &hour.outcome {
            Ok(published) if published.rows_added + published.resent + published.redelivered > 0 => tracing::info!(
                table = hour.table,
                hour = %hour.hour,
                rows_added = published.rows_added,
                resent = published.resent,
                redelivered = published.redelivered,
                files = published.files,
                "published"
            ),
            Ok(_) => {}
            Err(error) => tracing::error!(
                table = hour.table,
                hour = %hour.hour,
                error = error as &dyn std::error::Error,
                "hour was not published"
            ),
        }
    }
}
