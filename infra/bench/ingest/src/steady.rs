//! Memory at full load: whether it stays what it is once the server is warm.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use producer_bench::figure::{Better, Figure};

use crate::{
    calls::Numbers,
    flood::{CONNECTIONS, endpoint},
    load::{Callers, Due, Protocol, call, count},
    server,
};

/// Memory grows until every buffer has had its largest use.
const WARM_UP: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_secs(1);
const ROUND_TRIP_MS: u64 = 10;
const GOAL_PERCENT: f64 = 10.0;

pub(crate) async fn measure(length: Duration) -> anyhow::Result<Vec<Figure>> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    let server = server::start(&endpoint, &[]).await?;
    let callers = Callers {
        address: server.address,
        protocol: Protocol::Http1,
        callers: CONNECTIONS,
        events: 1,
        numbers: Numbers::default(),
    };
    call(&callers, Due::AtOnce, WARM_UP).await?;
    let mut samples = Vec::new();
    let sampling = async {
        loop {
            samples.push(server.resident_bytes()?);
            tokio::time::sleep(STEP).await;
        }
    };
    let outcome = tokio::select! {
        outcome = call(&callers, Due::AtOnce, length) => outcome?,
        ended = sampling => return ended,
    };
    ensure!(outcome.refused == 0, "{} events were refused", outcome.refused);
    samples.sort_unstable();
    let median = *samples.get(samples.len() / 2).context("the run is too short")?;
    let (least, most) = (samples.first().copied().unwrap_or(median), samples.last().copied().unwrap_or(median));
    let deviation = count(most.saturating_sub(median).max(median.saturating_sub(least))) / count(median) * 100.0;
    let mebibytes = |bytes: u64| count(bytes) / f64::from(1 << 20);
    Ok(vec![Figure {
        name: "ingest.memory",
        value: deviation,
        unit: "% from the median",
        goal: Some(GOAL_PERCENT),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note: format!(
            "resident {:.1} to {:.1} MiB, median {:.1}, over {} s at {:.0} singles/s, the most that the callers get; {CONNECTIONS} connections",
            mebibytes(least),
            mebibytes(most),
            mebibytes(median),
            length.as_secs(),
            outcome.rate(),
        ),
    }])
}
