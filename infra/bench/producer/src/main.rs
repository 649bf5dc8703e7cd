//! The producer's figures alone: the same as `bench -- producer`, from a package that builds in a few minutes.

use clap::Parser;
use producer_bench::{Command, run};

/// Measures the producer and prints a line for each figure.
#[derive(Debug, Parser)]
#[command(name = "producer-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// One JSON object a line: name, value, unit, goal, better, peer, `peer_value`, note.
    #[arg(long, global = true)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    run(&cli.command, cli.json)
}
