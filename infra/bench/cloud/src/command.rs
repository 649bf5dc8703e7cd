//! The command: which figures, in which order, and how they are printed.

use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use producer_bench::figure::Figure;

use crate::server::Program;
use crate::{put, start};

/// What the program does.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The local cloud under load: records a CPU second in and out, durable, beside its peers; memory; start.
    Cloud(MeasureOptions),
}

/// What to measure, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct MeasureOptions {
    /// How long each load lasts.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Shards of the stream.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    shards: u32,
    /// Connections that put at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    connections: u64,
    /// GiB in a stream before the start is timed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=200))]
    start_gib: u64,
    /// Streams of that size then; all but one are hard links to its finished files.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    start_streams: u32,
    /// Take all files of this machine out of memory before each start; needs root.
    #[arg(long)]
    drop_caches: bool,
    /// Program and arguments of the server, without limits; `{dir}`, `{address}`, `{host}` and `{port}` are filled in.
    #[arg(long)]
    server: Option<String>,
    /// Do not run the peers beside it.
    #[arg(long, conflicts_with = "peer")]
    without_peers: bool,
    /// Only peers whose name begins so; can be repeated. All of them without it.
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Only these figures; all of them without it.
    #[arg(long, value_enum)]
    only: Vec<Group>,
}

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Records of 1 KB, 500 a request, beside the peers.
    Plain,
    /// User records of 1.5 KB in KPL's aggregates, in and out.
    Aggregated,
    /// How long a start takes with much on the disk.
    Start,
}

/// How the loads are.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) program: Program,
    pub(crate) length: Duration,
    pub(crate) shards: u32,
    pub(crate) connections: u64,
    pub(crate) start_gib: u64,
    pub(crate) start_streams: u32,
    pub(crate) drops_caches: bool,
    /// Beginnings of names; `None` for no peers at all, empty for all.
    pub(crate) peers: Option<Vec<String>>,
}

/// Runs a command to its end. `server` is the program that is measured where the command line names none.
///
/// # Errors
/// When something that is measured fails, or there is no server.
#[expect(clippy::print_stdout, reason = "figures are this command's result")]
pub fn run(command: &Command, server: Option<Vec<String>>, json: bool) -> anyhow::Result<()> {
    let Command::Cloud(options) = command;
    let typed = options.server.as_ref().map(|words| words.split_whitespace().map(str::to_owned).collect());
    let words = typed.or(server).context("name a server with --server")?;
    let plan = Plan {
        program: Program { name: "the local cloud".to_owned(), words, variables: Vec::new() },
        length: Duration::from_secs(options.seconds),
        shards: options.shards,
        connections: options.connections,
        start_gib: options.start_gib,
        start_streams: options.start_streams,
        drops_caches: options.drop_caches,
        peers: (!options.without_peers).then(|| options.peer.clone()),
    };
    for group in Group::value_variants() {
        if !options.only.is_empty() && !options.only.contains(group) {
            continue;
        }
        let figures: Vec<Figure> = match group {
            Group::Plain => put::plain(&plan)?,
            Group::Aggregated => put::aggregated(&plan)?,
            Group::Start => start::measure(&plan)?,
        };
        for figure in figures {
            println!("{}", if json { serde_json::to_string(&figure)? } else { figure.to_string() });
        }
    }
    Ok(())
}
