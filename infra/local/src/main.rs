//! The `millrace` command.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use millrace::cli::{Cli, Command};
use millrace::{ask, demo, fault, up};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let has_colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(has_colours).init();
    let outcome = match cli.command.unwrap_or(Command::Demo(cli.demo)) {
        Command::Demo(arguments) => demo::run(arguments).await,
        Command::Up(arguments) => up::run(arguments).await,
        Command::Query(arguments) => ask::query(arguments).await,
        Command::Report(arguments) => ask::named_report(arguments).await,
        Command::Audit(arguments) => ask::audit(arguments).await,
        Command::Fault(arguments) => fault::run(arguments).await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            // The chain of causes is one sentence, most general first.
            #[expect(clippy::print_stderr, reason = "the command's last word goes to the person who typed it")]
            {
                eprintln!("millrace: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
