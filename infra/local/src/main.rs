//! The `millrace` command.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use millrace::cli::Cli;
use millrace::command;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    let has_colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(has_colours).init();
    match command::run(cli).await {
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
