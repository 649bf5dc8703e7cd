//! How long a start takes, with nothing on the disk and with much, after a kill.

use anyhow::Context as _;
use producer_bench::figure::{Better, Figure};

use crate::command::Plan;
use crate::load::{self, Shape};
use crate::put::{Scratch, figure};
use crate::server::Server;

const GOAL_MS: f64 = 200.0;
/// 9 MB a request: what fills a disk fastest.
const FILL: Shape = Shape { records: 9, bytes: 1_000_000, is_aggregated: false };
const STARTS: usize = 3;

/// Fills the disk, kills the server, and times starts.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let scratch = Scratch::new("start")?;
    let server = Server::start(&plan.program, scratch.path())?;
    let empty_ms = server.started_in.as_secs_f64() * 1e3;
    load::create_stream(server.address, plan.shards)?;
    let bytes_wanted = plan.start_gib << 30;
    let mut bytes = 0;
    while bytes < bytes_wanted {
        let put = load::put(&server, FILL, plan.connections, plan.length)?;
        anyhow::ensure!(put.records > 0, "nothing was put within {} s", plan.length.as_secs());
        bytes += put.records * 1_000_000;
    }
    server.kill()?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let server = Server::start(&plan.program, scratch.path()).context("start again")?;
        starts.push(server.started_in.as_secs_f64() * 1e3);
        server.kill()?;
    }
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    let note = format!(
        "the slowest of {STARTS} after a kill, to the first answer, {} GB in {} shards; {empty_ms:.0} ms with nothing",
        bytes / 1_000_000_000,
        plan.shards
    );
    Ok(vec![Figure { better: Better::Lower, ..figure("cloud.start", slowest, "ms", Some(GOAL_MS), note) }])
}
