//! Records and bytes per CPU second: the full path, signed, over plain HTTP, beside the peers on the same endpoint.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    child::Endpoint,
    command::runtime,
    cpu,
    endpoint::EndpointOptions,
    figure::{Better, Figure},
    offer::{Records, flood, producer},
    peers::{self, Peer},
};

/// Shards enough that their limits do not bind: 256 MB/s.
const SHARDS: u32 = 256;
/// A usual round trip within a region.
const ROUND_TRIP_MS: u64 = 10;
/// A producer that is after throughput lets records wait as long as the KPL does by default.
const LINGER: Duration = Duration::from_millis(100);
const WARM_UP: Duration = Duration::from_secs(2);
/// The goals: records a second of 300 B, megabytes a second of 1 KB records, and how many times the best peer.
const GOAL_RECORDS: f64 = 500_000.0;
const GOAL_MB: f64 = 200.0;
const GOAL_RATIO: f64 = 10.0;

/// What a flood cost.
#[derive(Debug, Clone, Copy)]
struct Speed {
    records_per_s: f64,
    endpoint_share: f64,
    busy_share: f64,
    records_per_request: f64,
}

pub(crate) fn measure(length: Duration, with_peers: bool) -> anyhow::Result<Vec<Figure>> {
    let small = flood_for(300, length)?;
    let large = flood_for(1024, length)?;
    let (peers, reasons) =
        if with_peers { peers::measure(300) } else { (Vec::new(), vec!["peers were not asked for".to_owned()]) };
    let best = peers.iter().max_by(|one, other| one.records_per_s.total_cmp(&other.records_per_s));
    let figure = |name, value, unit, goal, speed: &Speed| Figure {
        name,
        value,
        unit,
        goal: Some(goal),
        better: Better::Higher,
        peer: None,
        peer_value: None,
        note: note(speed),
    };
    let mut figures = vec![
        Figure {
            peer: best.map(|peer| peer.name.clone()),
            peer_value: best.map(|peer| peer.records_per_s),
            ..figure("producer.records", small.records_per_s, "records/CPU s at 300 B", GOAL_RECORDS, &small)
        },
        figure("producer.bytes", large.records_per_s * 1024.0 / 1e6, "MB/CPU s at 1 KB", GOAL_MB, &large),
    ];
    if with_peers {
        let ratio = best.map_or(0.0, |best| small.records_per_s / best.records_per_s);
        let note = peers_note(&peers, &reasons);
        figures.push(Figure { note, ..figure("producer.best_peer", ratio, "times", GOAL_RATIO, &small) });
    }
    Ok(figures)
}

fn flood_for(record_bytes: usize, length: Duration) -> anyhow::Result<Speed> {
    let options = EndpointOptions { shards: SHARDS, model: None, round_trip_ms: ROUND_TRIP_MS, reads_payloads: false };
    let endpoint = Endpoint::start(&options)?;
    let mut records = Records::new(record_bytes);
    runtime()?.block_on(async {
        let producer = producer(&endpoint, |config| config.linger = LINGER).await?;
        flood(&producer, &mut records, WARM_UP).await?;
        endpoint.reset()?;
        let (cpu_before, endpoint_before, started) = (cpu::of_process()?, endpoint.cpu()?, Instant::now());
        let sent = flood(&producer, &mut records, length).await?;
        let elapsed = started.elapsed().as_secs_f64();
        let spent = cpu::of_process()?.saturating_sub(cpu_before).as_secs_f64();
        let endpoint_spent = endpoint.cpu()?.saturating_sub(endpoint_before).as_secs_f64();
        let tally = endpoint.tally()?;
        ensure!(tally.user_records == sent, "{sent} records were sent, {} arrived", tally.user_records);
        producer.close().await;
        let count = |count: u64| u32::try_from(count).map(f64::from).context("too many records");
        Ok(Speed {
            records_per_s: count(sent)? / spent,
            endpoint_share: endpoint_spent / elapsed,
            busy_share: spent / elapsed,
            records_per_request: count(sent)? / count(tally.requests.max(1))?,
        })
    })
}

fn note(speed: &Speed) -> String {
    format!(
        "one thread, busy {:.0} %; endpoint {:.0} % of a core; {SHARDS} shards, round trip {ROUND_TRIP_MS} ms, linger {} ms, {:.0} records a request; every result awaited",
        speed.busy_share * 100.0,
        speed.endpoint_share * 100.0,
        LINGER.as_millis(),
        speed.records_per_request,
    )
}

fn peers_note(peers: &[Peer], reasons: &[String]) -> String {
    let mut note = String::from("peers per CPU second");
    for peer in peers {
        // Writing to a string cannot fail.
        let _written: Result<(), std::fmt::Error> = write!(note, "; {} {:.0}", peer.name, peer.records_per_s);
    }
    for reason in reasons {
        let _written: Result<(), std::fmt::Error> = write!(note, "; {reason}");
    }
    note
}
