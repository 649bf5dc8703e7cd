//! The collection API's figures alone: the same as `bench -- ingest`, from a package that builds in a few minutes.

use clap::{Parser, Subcommand};

/// Measures the collection API and prints a line for each figure.
#[derive(Debug, Parser)]
#[command(name = "ingest-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// One JSON object a line: name, value, unit, goal, better, peer, `peer_value`, note.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Ingest(ingest_bench::Command),
    /// Here for its endpoint, which this program starts itself again as.
    #[command(flatten)]
    Producer(producer_bench::Command),
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Ingest(command) => ingest_bench::run(&command, cli.json),
        Command::Producer(command) => producer_bench::run(&command, cli.json),
    }
}
