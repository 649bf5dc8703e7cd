//! The command: which figures, in which order, and how they are printed.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use ingest::{
    config::{Config, Front},
    process,
    start::{self, LogFormat},
};
use producer_bench::figure::Figure;
use tokio::runtime::Runtime;

use crate::{flood, floor, outage, pace, steady, validation};

/// What the program does: measure, or be the server that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The collection API's server before a counting endpoint: speed, latency, memory, an outage.
    Ingest(MeasureOptions),
    /// `ingest-server`, set by its variables, as its own binary is.
    #[command(hide = true)]
    IngestServer,
    /// A server that only reads and answers.
    #[command(hide = true)]
    IngestFloor {
        /// Where it listens.
        address: std::net::SocketAddr,
    },
}

/// What to measure, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct MeasureOptions {
    /// How long each figure is measured, after its warm-up. The promise about memory is one of 600 seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// How long the outage lasts. The promise is one of 120 seconds.
    #[arg(long, default_value_t = 15)]
    outage_seconds: u64,
    /// Do not run the peer beside it. Its first run builds it, which takes minutes.
    #[arg(long)]
    without_peer: bool,
    /// Of how many requests a second half are offered, for latency and outage; measured without it.
    #[arg(long)]
    full_rate: Option<u32>,
    /// Only these figures; all of them without it.
    #[arg(long, value_enum)]
    only: Vec<Group>,
}

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Reading and checking a request.
    Validation,
    /// Singles and batches per CPU second, beside the peer.
    Speed,
    /// Latency at half load.
    Latency,
    /// Memory over time.
    Memory,
    /// An outage of the stream at half load.
    Outage,
}

/// Runs a command to its end.
///
/// # Errors
/// When something that is measured fails, or no process can be started.
#[expect(clippy::print_stdout, reason = "figures are this command's result")]
pub fn run(command: &Command, json: bool) -> anyhow::Result<()> {
    let options = match command {
        Command::IngestServer => {
            let config = Config::from_env(Front::Server)?;
            start::logging(LogFormat::Text)?;
            return process::run(config);
        }
        Command::IngestFloor { address } => return floor::serve(*address),
        Command::Ingest(options) => options,
    };
    let mut full_rate = options.full_rate.map(f64::from);
    for group in Group::value_variants() {
        if !options.only.is_empty() && !options.only.contains(group) {
            continue;
        }
        for figure in runtime()?.block_on(measure(*group, options, &mut full_rate))? {
            println!("{}", if json { serde_json::to_string(&figure)? } else { figure.to_string() });
        }
    }
    Ok(())
}

async fn measure(group: Group, options: &MeasureOptions, full_rate: &mut Option<f64>) -> anyhow::Result<Vec<Figure>> {
    let length = Duration::from_secs(options.seconds.max(1));
    match group {
        Group::Validation => validation::measure(),
        Group::Speed => {
            let (figures, rate) = flood::measure(length, !options.without_peer).await?;
            full_rate.get_or_insert(rate);
            Ok(figures)
        }
        Group::Latency => pace::measure(full(full_rate, length).await?, length).await,
        Group::Memory => steady::measure(length).await,
        Group::Outage => {
            let outage = Duration::from_secs(options.outage_seconds.max(5));
            outage::measure(full(full_rate, length).await?, outage).await
        }
    }
}

/// The rate of which others offer half.
async fn full(known: &mut Option<f64>, length: Duration) -> anyhow::Result<f64> {
    if let Some(rate) = *known {
        return Ok(rate);
    }
    let rate = flood::rate_of_singles(length.min(Duration::from_secs(10))).await?;
    *known = Some(rate);
    Ok(rate)
}

/// A runtime of one thread for the callers: what they cost is one core's at most.
fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("build a runtime")
}
