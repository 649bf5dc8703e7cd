//! The local cloud's figures alone: the same as `bench -- cloud`, from a package that builds without `DataFusion`.

use clap::Parser;
use cloud_bench::{Command, run};

/// Measures a local cloud and prints a line for each figure.
#[derive(Debug, Parser)]
#[command(name = "cloud-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// One JSON object a line: name, value, unit, goal, better, peer, `peer_value`, note.
    #[arg(long, global = true)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    run(&cli.command, None, cli.json)
}
