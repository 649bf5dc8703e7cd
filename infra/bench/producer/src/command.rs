//! The command: which figures, in which order, and how they are printed.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use tokio::runtime::Runtime;

use crate::{
    compressed,
    endpoint::{self, EndpointOptions},
    figure::Figure,
    latency, outage, shares, speed,
};

/// What the program does: measure, or be the endpoint that is measured against.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The producer against a counting endpoint: speed, limits, outage, waits; beside its peers.
    Producer(MeasureOptions),
    /// The counting endpoint alone, for measurements by hand; prints its address and serves until it is ended.
    #[command(hide = true)]
    ProducerEndpoint(EndpointOptions),
}

/// What to measure, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct MeasureOptions {
    /// How long each figure is measured, after its warm-up. The promise about limits is one of 300 seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// How long the outage lasts.
    #[arg(long, default_value_t = 20)]
    outage_seconds: u64,
    /// Do not run the peers beside it.
    #[arg(long)]
    without_peers: bool,
    /// Folder of the bid requests that are compressed; without it they are made.
    #[arg(long, default_value = "../shared/corpus")]
    corpus: PathBuf,
    /// Only these figures; all of them without it.
    #[arg(long, value_enum)]
    only: Vec<Group>,
}

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Records and bytes per CPU second, beside the peers.
    Speed,
    /// JSON that a shard carries in compressed aggregates, and what it costs.
    Compressed,
    /// The share of a shard's limits that one producer uses.
    Share,
    /// Eight producers on one shard.
    Crowd,
    /// An endpoint that fails for a while.
    Outage,
    /// Time in the buffer, and of a flush.
    Wait,
}

/// Runs a command to its end.
///
/// # Errors
/// When something that is measured fails, or no endpoint can be started.
#[expect(clippy::print_stdout, reason = "figures are this command's result")]
pub fn run(command: &Command, json: bool) -> anyhow::Result<()> {
    let options = match command {
        Command::ProducerEndpoint(options) => return runtime()?.block_on(endpoint::serve(options)),
        Command::Producer(options) => options,
    };
    for group in Group::value_variants() {
        if !options.only.is_empty() && !options.only.contains(group) {
            continue;
        }
        for figure in measure(*group, options)? {
            println!("{}", if json { serde_json::to_string(&figure)? } else { figure.to_string() });
        }
    }
    Ok(())
}

fn measure(group: Group, options: &MeasureOptions) -> anyhow::Result<Vec<Figure>> {
    let length = Duration::from_secs(options.seconds.max(1));
    match group {
        Group::Speed => speed::measure(length, !options.without_peers),
        Group::Compressed => compressed::measure(length, &options.corpus),
        Group::Share => runtime()?.block_on(shares::measure_one(length)),
        Group::Crowd => runtime()?.block_on(shares::measure_crowd(length)),
        Group::Outage => runtime()?.block_on(outage::measure(Duration::from_secs(options.outage_seconds.max(5)))),
        Group::Wait => runtime()?.block_on(latency::measure(length)),
    }
}

/// A runtime of one thread: what a core can do is measured without the help of another.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("build a runtime")
}
