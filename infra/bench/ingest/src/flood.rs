//! What a CPU second of the server does: singles and batches, as fast as they are answered.

use std::time::Duration;

use anyhow::ensure;
use producer_bench::{
    Endpoint, EndpointOptions,
    figure::{Better, Figure},
};

use crate::{
    calls::{EVENT_BYTES, Numbers},
    load::{Callers, Due, Outcome, Protocol, call, count},
    outage::drain,
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

/// Connections that post singles: each waits about 15 ms for its acknowledgement, so this many keep a core busy.
pub(crate) const CONNECTIONS: usize = 512;
const BATCH_EVENTS: usize = 100;
const BATCH_CONNECTIONS: usize = 32;
/// Connections of HTTP/2, as a load balancer keeps a few to each target.
const HTTP2_CONNECTIONS: usize = 4;

/// What all callers of a flood do.
#[derive(Debug, Clone, Copy)]
struct Calls {
    protocol: Protocol,
    callers: usize,
    events: usize,
}

const SINGLES: Calls = Calls { protocol: Protocol::Http1, callers: CONNECTIONS, events: 1 };
const SINGLES_HTTP2: Calls = Calls { protocol: Protocol::Http2(HTTP2_CONNECTIONS), ..SINGLES };
const BATCHES: Calls = Calls { protocol: Protocol::Http1, callers: BATCH_CONNECTIONS, events: BATCH_EVENTS };

/// What a flood cost.
#[derive(Debug)]
struct Speed {
    outcome: Outcome,
    arrived: u64,
    /// CPU time of the server until all had arrived.
    spent: Duration,
    /// CPU time of the server for each second of the calls, and of the endpoint.
    server_share: f64,
    endpoint_share: f64,
    records_per_request: f64,
}

impl Speed {
    /// Of what has arrived on the stream, which is everything that was accepted but for a peer that lost some.
    fn per_cpu_second(&self) -> f64 {
        count(self.arrived) / self.spent.as_secs_f64()
    }
}

/// The stream that all figures are measured before: it limits nothing and counts everything.
pub(crate) fn endpoint(round_trip_ms: u64) -> anyhow::Result<Endpoint> {
    Endpoint::start(&EndpointOptions { shards: SHARDS, model: None, round_trip_ms, reads_payloads: false })
}

/// The figures, and the rate of singles that was reached.
pub(crate) async fn measure(length: Duration, with_peer: bool) -> anyhow::Result<(Vec<Figure>, f64)> {
    let singles = ours(SINGLES, length).await?;
    let streams = ours(SINGLES_HTTP2, length).await?;
    let batches = ours(BATCHES, length).await?;
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
    let of_streams = format!("{CONNECTIONS} callers over {HTTP2_CONNECTIONS} connections of HTTP/2, singles");
    let calls = format!("{BATCH_CONNECTIONS} connections, NDJSON of {BATCH_EVENTS} events of {EVENT_BYTES} B");
    let mut figures = vec![
        Figure {
            peer: Some(peer::name()),
            peer_value,
            note: format!("{}; peer: {peer_note}", of_singles.note),
            ..of_singles
        },
        figure("ingest.singles_http2", "requests/CPU s", GOAL_SINGLES, &streams, of_streams),
        figure("ingest.batches", "events/CPU s", GOAL_BATCHES, &batches, calls),
    ];
    for (name, calls) in
        [("ingest.floor", SINGLES), ("ingest.floor_http2", SINGLES_HTTP2), ("ingest.floor_batches", BATCHES)]
    {
        figures.push(floor(name, calls, length).await?);
    }
    Ok((figures, rate))
}

/// What a server does that only reads and answers the same calls.
async fn floor(name: &'static str, calls: Calls, length: Duration) -> anyhow::Result<Figure> {
    let server = server::start_floor().await?;
    let Calls { protocol, callers, .. } = calls;
    // A batch is a call of so many events here too, whatever the answer says.
    let callers =
        Callers { address: server.address, callers, protocol, events: calls.events, numbers: Numbers::default() };
    call(&callers, Due::AtOnce, WARM_UP).await?;
    let cpu = server.cpu()?;
    let outcome = call(&callers, Due::AtOnce, length).await?;
    let spent = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    let events = count(outcome.accepted);
    Ok(Figure {
        name,
        value: events / spent,
        unit: if calls.events == 1 { "requests/CPU s" } else { "events/CPU s" },
        goal: None,
        better: Better::Higher,
        peer: None,
        peer_value: None,
        note: "the same calls to a server of the same HTTP library that reads and answers, and does nothing else"
            .to_owned(),
    })
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
    match theirs(length).await {
        Ok(speed) => {
            let note = format!(
                "checks nothing and answers before its put; {} accepted, {} arrived; {}; Vector and Fluent Bit are in no registry to install from",
                speed.outcome.accepted,
                speed.arrived,
                note(&speed)
            );
            (Some(speed.per_cpu_second()), note)
        }
        Err(error) => (None, format!("not run: {error:#}")),
    }
}

/// The rate of singles alone, for figures that need it.
pub(crate) async fn rate_of_singles(length: Duration) -> anyhow::Result<f64> {
    Ok(ours(SINGLES, length).await?.outcome.rate())
}

async fn ours(calls: Calls, length: Duration) -> anyhow::Result<Speed> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    let server = server::start(&endpoint, &[]).await?;
    let speed = flood(&endpoint, &server, calls, length).await?;
    let (accepted, arrived) = (speed.outcome.accepted, speed.arrived);
    ensure!(arrived == accepted, "{accepted} accepted, {arrived} arrived");
    Ok(speed)
}

async fn theirs(length: Duration) -> anyhow::Result<Speed> {
    let endpoint = endpoint(ROUND_TRIP_MS)?;
    let server = peer::start(&endpoint).await?;
    flood(&endpoint, &server, SINGLES, length).await
}

/// Calls as fast as they are answered, until what was accepted has arrived.
async fn flood(
    endpoint: &Endpoint,
    server: &Process,
    Calls { protocol, callers, events }: Calls,
    length: Duration,
) -> anyhow::Result<Speed> {
    let callers = Callers { address: server.address, callers, protocol, events, numbers: Numbers::default() };
    let warm_up = call(&callers, Due::AtOnce, WARM_UP).await?;
    drain(endpoint, warm_up.accepted).await?;
    endpoint.reset()?;
    let (cpu, endpoint_cpu) = (server.cpu()?, endpoint.cpu()?);
    let outcome = call(&callers, Due::AtOnce, length).await?;
    let busy = server.cpu()?.saturating_sub(cpu).as_secs_f64();
    let endpoint_spent = endpoint.cpu()?.saturating_sub(endpoint_cpu).as_secs_f64();
    drain(endpoint, outcome.accepted).await?;
    let spent = server.cpu()?.saturating_sub(cpu);
    let tally = endpoint.tally()?;
    ensure!(outcome.refused == 0, "{} events were refused", outcome.refused);
    let elapsed = outcome.elapsed.as_secs_f64();
    Ok(Speed {
        arrived: tally.user_records,
        spent,
        server_share: busy / elapsed,
        endpoint_share: endpoint_spent / elapsed,
        records_per_request: count(tally.user_records) / count(tally.requests.max(1)),
        outcome,
    })
}

/// A quantile of the latency in milliseconds.
pub(crate) fn millis(outcome: &Outcome, quantile: f64) -> f64 {
    count(outcome.latency_us.value_at_quantile(quantile)) / 1e3
}
