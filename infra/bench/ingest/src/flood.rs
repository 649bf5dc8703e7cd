//! What a CPU second of the server does: singles and batches, as fast as they are answered.

use std::time::Duration;

use anyhow::ensure;
use producer_bench::{
    Endpoint, EndpointOptions,
    figure::{Better, Figure},
};

use crate::{
    calls::{EVENT_BYTES, Numbers},
    load::{Callers, Due, Outcome, call, count},
    peer,
    server::{self, Process},
};

/// Shards that take 64 MB/s: 29,000 events of this size, more than this machine sends.
pub(crate) const SHARDS: u32 = 64;
/// A usual round trip within a region.
const ROUND_TRIP_MS: u64 = 10;
const WARM_UP: Duration = Duration::from_secs(2);

const GOAL_SINGLES: f64 = 40_000.0;
const GOAL_BATCHES: f64 = 150_000.0;

/// Connections that post singles: each waits about 6 ms for its acknowledgement, so this many keep a core busy.
pub(crate) const CONNECTIONS: usize = 256;
const BATCH_EVENTS: usize = 100;
const BATCH_CONNECTIONS: usize = 32;

/// What a flood cost.
#[derive(Debug)]
struct Speed {
    outcome: Outcome,
    /// CPU time of the server for each second, and of the endpoint.
    server_share: f64,
    endpoint_share: f64,
    records_per_request: f64,
}

impl Speed {
    fn per_cpu_second(&self) -> f64 {
        self.outcome.rate() / self.server_share
    }
}

/// The stream that all figures are measured before: it limits nothing and counts everything.
pub(crate) fn endpoint(round_trip_ms: u64) -> anyhow::Result<Endpoint> {
    Endpoint::start(&EndpointOptions { shards: SHARDS, model: None, round_trip_ms, reads_payloads: false })
}

/// The figures, and the rate of singles that was reached.
pub(crate) async fn measure(length: Duration, with_peer: bool) -> anyhow::Result<(Vec<Figure>, f64)> {
    let singles = ours((CONNECTIONS, 1), length).await?;
    let batches = ours((BATCH_CONNECTIONS, BATCH_EVENTS), length).await?;
    let (peer_value, peer_note) =
        if with_peer { beside(length).await } else { (None, "no peer was asked for".to_owned()) };
    let figure = |name, unit, goal, speed: &Speed, calls: String| Figure {
        name,
        value: speed.per_cpu_second(),
        unit,
        goal: Some(goal),
        better: Better::Higher,
        peer: None,
        peer_value: None,
        note: format!("{calls}, each answered after its put; {}", note(speed)),
    };
    let rate = singles.outcome.rate();
    let calls = format!("{CONNECTIONS} connections, singles of {EVENT_BYTES} B");
    let of_singles = figure("ingest.singles", "requests/CPU s", GOAL_SINGLES, &singles, calls);
    let calls = format!("{BATCH_CONNECTIONS} connections, NDJSON of {BATCH_EVENTS} events of {EVENT_BYTES} B");
    let figures = vec![
        Figure {
            peer: Some(peer::name()),
            peer_value,
            note: format!("{}; peer: {peer_note}", of_singles.note),
            ..of_singles
        },
        figure("ingest.batches", "events/CPU s", GOAL_BATCHES, &batches, calls),
    ];
    Ok((figures, rate))
}

fn note(speed: &Speed) -> String {
    format!(
        "{:.0}/s with the callers on the same cores; server busy {:.0} %, endpoint {:.0} % of a core; {:.0} events a PutRecords, {SHARDS} shards, round trip {ROUND_TRIP_MS} ms; latency p50 {:.1} ms, p99 {:.1} ms",
        speed.outcome.rate(),
        speed.server_share * 100.0,
        speed.endpoint_share * 100.0,
        speed.records_per_request,
        millis(&speed.outcome, 0.5),
        millis(&speed.outcome, 0.99),
    )
}

/// What the peer does in the server's place, and how; or why not.
async fn beside(length: Duration) -> (Option<f64>, String) {
    match peers(length).await {
        Ok((speed, arrived)) => {
            let note = format!(
                "answers before its put, {:.0} % had arrived at the end; {}; Vector and Fluent Bit are in no registry to install from",
                arrived * 100.0,
                note(&speed)
            );
            (Some(speed.per_cpu_second()), note)
        }
        Err(error) => (None, format!("not run: {error:#}")),
    }
}

/// The rate of singles alone, for figures that need it.
pub(crate) async fn rate_of_singles(length: Duration) -> anyhow::Result<f64> {
    Ok(ours((CONNECTIONS, 1), length).await?.outcome.rate())
}

async fn ours(calls: (usize, usize), length: Duration) -> anyhow::Result<Speed> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    let server = server::start(&endpoint, &[]).await?;
    let (speed, arrived) = flood(&endpoint, &server, calls, length).await?;
    let accepted = speed.outcome.accepted;
    ensure!(arrived == accepted, "{accepted} accepted, {arrived} arrived");
    Ok(speed)
}

/// The peer's speed, and the share of what it accepted that has arrived.
async fn peers(length: Duration) -> anyhow::Result<(Speed, f64)> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    let server = peer::start(&endpoint).await?;
    let (speed, arrived) = flood(&endpoint, &server, (CONNECTIONS, 1), length).await?;
    let share = count(arrived) / count(speed.outcome.accepted.max(1));
    Ok((speed, share))
}

/// Calls as fast as they are answered; also says how many events have arrived.
async fn flood(
    endpoint: &Endpoint,
    server: &Process,
    (connections, events): (usize, usize),
    length: Duration,
) -> anyhow::Result<(Speed, u64)> {
    let callers = Callers { address: server.address, connections, events, numbers: Numbers::default() };
    call(&callers, Due::AtOnce, WARM_UP).await?;
    endpoint.reset()?;
    let (cpu, endpoint_cpu) = (server.cpu()?, endpoint.cpu()?);
    let outcome = call(&callers, Due::AtOnce, length).await?;
    let spent = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    let endpoint_spent = endpoint.cpu()?.saturating_sub(endpoint_cpu).as_secs_f64();
    let tally = endpoint.tally()?;
    ensure!(outcome.refused == 0, "{} events were refused", outcome.refused);
    let elapsed = outcome.elapsed.as_secs_f64();
    let speed = Speed {
        server_share: spent / elapsed,
        endpoint_share: endpoint_spent / elapsed,
        records_per_request: count(tally.user_records) / count(tally.requests.max(1)),
        outcome,
    };
    Ok((speed, tally.user_records))
}

/// A quantile of the latency in milliseconds.
pub(crate) fn millis(outcome: &Outcome, quantile: f64) -> f64 {
    count(outcome.latency_us.value_at_quantile(quantile)) / 1e3
}
