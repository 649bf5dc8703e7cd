//! How a run goes, one line a second: rewritten in place on a terminal, every fifth kept elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use crate::pipeline::{Pipeline, Snapshot};

/// Lines a log keeps: one every this many seconds.
const LOG_EVERY: u64 = 5;

/// Shows progress until dropped.
pub async fn show(pipeline: &Pipeline) {
    let is_terminal = std::io::stderr().is_terminal();
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut before = pipeline.snapshot();
    let mut second = 0_u64;
    loop {
        ticks.tick().await;
        second += 1;
        let now = pipeline.snapshot();
        let line = line(second, &before, &now);
        before = now;
        let written = if is_terminal {
            write!(std::io::stderr(), "\r\x1b[K{line}").and_then(|()| std::io::stderr().flush())
        } else if second.is_multiple_of(LOG_EVERY) {
            writeln!(std::io::stderr(), "{line}")
        } else {
            Ok(())
        };
        if written.is_err() {
            return; // Nobody reads it any more.
        }
    }
}

/// Ends a line that was rewritten in place.
pub fn end() {
    if std::io::stderr().is_terminal() {
        // A closed standard error takes no more progress, and nothing else depends on it.
        drop(writeln!(std::io::stderr()));
    }
}

fn line(second: u64, before: &Snapshot, now: &Snapshot) -> String {
    format!(
        "{second:>4} s   accepted {:>6}/s  {:>9}   on the stream {:>5} records   in Parquet {:>9} rows   lag {:>5.1} s",
        now.accepted.saturating_sub(before.accepted),
        now.accepted,
        now.raw_waiting + now.enriched_waiting,
        now.published.rows,
        Duration::from_millis(now.lag_ms).as_secs_f64(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Published;

    #[test]
    fn a_line_says_rate_backlog_rows_and_lag() {
        let before = Snapshot { accepted: 1_000, ..Snapshot::default() };
        let now = Snapshot {
            accepted: 3_100,
            raw_waiting: 4,
            enriched_waiting: 3,
            lag_ms: 1_250,
            published: Published { rows: 900, ..Published::default() },
            ..Snapshot::default()
        };
        let expect = "   7 s   accepted   2100/s       3100   on the stream     7 records   in Parquet       900 rows   lag   1.2 s";
        assert_eq!(line(7, &before, &now), expect);
    }
}
