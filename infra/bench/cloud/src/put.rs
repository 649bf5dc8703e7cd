//! Records a second of the server's CPU time: plain ones beside the peers, and aggregated ones in and out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use producer_bench::figure::{Better, Figure};

use crate::command::Plan;
use crate::load::{self, Put, Shape, ratio};
use crate::server::{Program, Server};
use crate::{get, peers};

const PLAIN: Shape = Shape { records: 500, bytes: 1_000, is_aggregated: false };
/// 60 aggregates of 50 KiB: 3 MB a request.
const AGGREGATED: Shape = Shape { records: 60, bytes: 1_500, is_aggregated: true };
const PLAIN_GOAL: f64 = 100_000.0;
const AGGREGATED_GOAL: f64 = 150_000.0;
/// Shards that are read back: what one reader manages within some seconds.
const SHARDS_READ: u32 = 32;

/// A directory below `target` that is gone with its handle.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let dir = std::env::current_dir().context("find this directory")?.join("target/bench-cloud").join(name);
        remove(&dir)?;
        std::fs::create_dir_all(&dir).context("make a directory for the server")?;
        Ok(Self(dir))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is below `target`, and the next run removes it.
        drop(remove(&self.0));
    }
}

fn remove(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("remove an old directory"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Plain records, durable, beside every peer that can be had.
pub(crate) fn plain(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let scratch = Scratch::new("plain")?;
    let server = Server::start(&plan.program, scratch.path())?;
    load::create_stream(server.address, plan.shards)?;
    // Warm first, so that what is resident after it is what it needs.
    let warm = load::put(&server, PLAIN, plan.connections, plan.length / 4)?;
    let ours = load::put(&server, PLAIN, plan.connections, plan.length)?;
    drop(server);
    let growth = mib(ours.after.resident_bytes) - mib(warm.after.resident_bytes);
    let note = format!(
        "{:.0} records/s by the clock, {} shards, {} connections, acknowledged when synced; {:.0} MiB resident after {} MB",
        ours.per_s(),
        plan.shards,
        plan.connections,
        mib(ours.after.resident_bytes),
        (warm.records + ours.records) / 1_000,
    );
    let mut figures = vec![
        figure("cloud.plain", ours.per_cpu_s(), "records/CPU s", Some(PLAIN_GOAL), note),
        Figure {
            better: Better::Lower,
            ..figure("cloud.growth", growth, "MiB", Some(32.0), "resident, over that load".to_owned())
        },
    ];
    if let Some(names) = &plan.peers {
        for peer in peers::named(names) {
            figures.push(beside(plan, &ours, &peer));
        }
    }
    Ok(figures)
}

/// Ours in times of a peer's, by CPU time.
fn beside(plan: &Plan, ours: &Put, peer: &peers::Peer) -> Figure {
    let unit = "times";
    let measured = peer.program().and_then(|program| peer_put(plan, &program));
    match measured {
        Ok(theirs) => Figure {
            peer: Some(peer.name.to_owned()),
            peer_value: Some(theirs.per_cpu_s()),
            ..figure(
                peer.figure,
                ours.per_cpu_s() / theirs.per_cpu_s().max(1e-9),
                unit,
                Some(peer.goal),
                format!(
                    "records a CPU second; by the clock {:.0} against its {:.0}; {}",
                    ours.per_s(),
                    theirs.per_s(),
                    peer.note
                ),
            )
        },
        Err(error) => Figure {
            peer: Some(peer.name.to_owned()),
            ..figure(peer.figure, f64::NAN, unit, Some(peer.goal), format!("not run: {error:#}"))
        },
    }
}

fn peer_put(plan: &Plan, program: &Program) -> anyhow::Result<Put> {
    let scratch = Scratch::new("peer")?;
    let server = Server::start(program, scratch.path())?;
    // Few shards: some take long to make many, and none limits them.
    load::create_stream(server.address, 4)?;
    load::put(&server, PLAIN, plan.connections, plan.length)
}

/// User records in KPL's aggregates, in and out again.
pub(crate) fn aggregated(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let scratch = Scratch::new("aggregated")?;
    let server = Server::start(&plan.program, scratch.path())?;
    load::create_stream(server.address, plan.shards)?;
    let put = load::put(&server, AGGREGATED, plan.connections, plan.length)?;
    let got = get::all(&server, plan.shards.min(SHARDS_READ))?;
    let read = got.records * load::user_records_in_each(AGGREGATED);
    let in_rate = put.per_cpu_s();
    let out_rate = ratio(read, got.cpu.max(Duration::from_millis(1)));
    let both = 1.0 / (1.0 / in_rate + 1.0 / out_rate);
    let by_the_clock = format!("{:.0} user records/s by the clock, durable", put.per_s());
    let read_note = format!("{:.0} user records/s by the clock, one reader, {read} read", ratio(read, got.elapsed));
    Ok(vec![
        figure("cloud.aggregated_in", in_rate, "user records/CPU s", None, by_the_clock),
        figure("cloud.aggregated_out", out_rate, "user records/CPU s", None, read_note),
        figure("cloud.aggregated", both, "user records/CPU s", Some(AGGREGATED_GOAL), "in and out of it".to_owned()),
    ])
}

pub(crate) fn figure(name: &'static str, value: f64, unit: &'static str, goal: Option<f64>, note: String) -> Figure {
    Figure { name, value, unit, goal, better: Better::Higher, peer: None, peer_value: None, note }
}

#[expect(clippy::cast_precision_loss, reason = "memory is shown in whole MiB")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
