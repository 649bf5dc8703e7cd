//! A stream that fails for a while, at half load, with a spool: what is refused, and what is lost.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use producer_bench::{
    Endpoint,
    figure::{Better, Figure},
};

use crate::{
    calls::Numbers,
    flood::{CONNECTIONS, endpoint, millis},
    load::{Callers, Due, Protocol, call, count},
    server,
};

const ROUND_TRIP_MS: u64 = 10;
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(200);
/// How long the backlog may take to reach the stream once it is back.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// Room for 2 minutes at 15,000 events a second, with their envelopes.
const SPOOL_BYTES_MAX: u64 = 6 << 30;

/// `full` is the rate of which half is offered.
pub(crate) async fn measure(full: f64, outage: Duration) -> anyhow::Result<Vec<Figure>> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    // Beside this program, below `target`: a folder for temporary files may be memory.
    let program = std::env::current_exe().context("find this program")?;
    let beside = program.parent().context("the program is in a folder")?;
    let folder = tempfile::Builder::new().prefix("bench-spool").tempdir_in(beside).context("make a directory")?;
    let settings =
        [("SPOOL_DIR", folder.path().display().to_string()), ("SPOOL_BYTES_MAX", SPOOL_BYTES_MAX.to_string())];
    let server = server::start(&endpoint, &settings).await?;
    let numbers = Numbers::default();
    // Until the spool opens every call waits, so there are connections for more than a second of them.
    let callers =
        Callers { address: server.address, protocol: Protocol::Http1, callers: CONNECTIONS * 8, events: 1, numbers };
    let length = BEFORE + outage + AFTER;
    let failing = async {
        tokio::time::sleep(BEFORE).await;
        endpoint.set_down(true)?;
        tokio::time::sleep(outage).await;
        endpoint.set_down(false)
    };
    let (outcome, failed) = tokio::join!(call(&callers, Due::PerSecond(full / 2.0), length), failing);
    failed?;
    let outcome = outcome?;
    let drained = drain(&endpoint, outcome.accepted).await?;
    let arrived = endpoint.tally()?.user_records;
    let note = format!(
        "{} s of 500s at {:.0}/s, half of what was measured; {} accepted, {arrived} on the stream {:.1} s after the last answer; p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms",
        outage.as_secs(),
        full / 2.0,
        outcome.accepted,
        drained.as_secs_f64(),
        millis(&outcome, 0.5),
        millis(&outcome, 0.99),
        millis(&outcome, 1.0),
    );
    let figure = |name, value| Figure {
        name,
        value,
        unit: "events",
        goal: Some(0.0),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note: note.clone(),
    };
    Ok(vec![
        figure("ingest.outage_lost", count(outcome.accepted.saturating_sub(arrived))),
        figure("ingest.outage_refused", count(outcome.refused)),
    ])
}

/// Waits until so many events have arrived, or until none has for a while.
pub(crate) async fn drain(endpoint: &Endpoint, expected: u64) -> anyhow::Result<Duration> {
    const STANDSTILL_MAX: Duration = Duration::from_secs(15);
    let started = Instant::now();
    let mut last = (0, started);
    while started.elapsed() < DRAIN_MAX {
        let arrived = endpoint.tally()?.user_records;
        if arrived >= expected || (arrived == last.0 && last.1.elapsed() > STANDSTILL_MAX) {
            break;
        }
        if arrived != last.0 {
            last = (arrived, Instant::now());
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(started.elapsed())
}
