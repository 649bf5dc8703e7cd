//! `ingest-server`: the collection API as a long-lived process.

use std::process::ExitCode;

use ingest::config::{self, Config, Front};
use ingest::process;
use ingest::start::{self, LogFormat};

const ABOUT: &str = "ingest-server: takes ad requests and the events around them over HTTP and puts them on a Kinesis stream.\n\n\
    \x20 curl -d '{\"id\":\"1\",\"imp\":[…],\"dooh\":{…}}' -H 'content-type: application/json' localhost:8080/v1/ad_requests\n\n\
    SIGTERM or ctrl-C: accepts no more, answers what is open, flushes, ends.\n\n";

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a command answers on its terminal")]
fn main() -> ExitCode {
    let argument = std::env::args().nth(1);
    if matches!(argument.as_deref(), Some("--help" | "-h")) {
        println!("{ABOUT}{}", config::help());
        return ExitCode::SUCCESS;
    }
    if argument.is_some() {
        eprintln!("ingest-server: takes no arguments; --help lists its settings");
        return ExitCode::from(2);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ingest-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let config = Config::from_env(Front::Server)?;
    start::logging(LogFormat::Text)?;
    process::run(config)
}
