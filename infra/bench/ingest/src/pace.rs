//! Latency at half of what the server can do: open loop, counted from when each request was due.

use std::time::Duration;

use anyhow::ensure;
use producer_bench::figure::{Better, Figure};

use crate::{
    calls::Numbers,
    flood::{CONNECTIONS, endpoint, millis},
    load::{Callers, Due, Protocol, call},
    server,
};

const GOAL_MS: f64 = 15.0;
const LINGER_MS: u64 = 5;
/// As the producer's own figure of waiting has it: what is measured is the way through this process.
const ROUND_TRIP_MS: u64 = 3;
const WARM_UP: Duration = Duration::from_secs(3);

/// `full` is the rate of which half is offered.
pub(crate) async fn measure(full: f64, length: Duration) -> anyhow::Result<Vec<Figure>> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    let server = server::start(&endpoint, &[("LINGER_MS", LINGER_MS.to_string())]).await?;
    let numbers = Numbers::default();
    let callers =
        Callers { address: server.address, protocol: Protocol::Http1, callers: CONNECTIONS * 2, events: 1, numbers };
    let due = Due::PerSecond(full / 2.0);
    call(&callers, due, WARM_UP).await?;
    let cpu = server.cpu()?;
    let outcome = call(&callers, due, length).await?;
    let spent = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    ensure!(outcome.refused == 0, "{} events were refused", outcome.refused);
    Ok(vec![Figure {
        name: "ingest.latency",
        value: millis(&outcome, 0.99),
        unit: "ms p99",
        goal: Some(GOAL_MS),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note: format!(
            "{:.0}/s, half of what was measured, for {} s; p50 {:.1} ms, p99.9 {:.1} ms, from when each was due; linger {LINGER_MS} ms, round trip {ROUND_TRIP_MS} ms; server busy {:.0} % of a core, {:.0} µs a request",
            full / 2.0,
            length.as_secs(),
            millis(&outcome, 0.5),
            millis(&outcome, 0.999),
            spent / outcome.elapsed.as_secs_f64() * 100.0,
            spent * 1e6 / (outcome.rate() * outcome.elapsed.as_secs_f64()).max(1.0),
        ),
    }])
}
