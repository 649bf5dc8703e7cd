//! `ingest-server`: the collection API as a long-lived process.

use std::process::ExitCode;

use anyhow::Context;
use ingest::app;
use ingest::config::{self, Config, Front};
use ingest::server::Drained;
use ingest::start::{self, LogFormat};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

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
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on {} (MILLRACE_LISTEN sets another address)", config.listen))?;
    let producer = start::producer(&config).await?;
    let ingest = start::ingest(&config, producer.clone()).await?;
    tracing::info!(listen = %listener.local_addr()?, stream = config.raw_stream, "serving");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping: accepting no more, answering what is open");
    };
    let drained = ingest::run(listener, app(ingest.clone()), config.limits, shutdown).await;
    producer.close().await;
    if let Drained::CutOff(connections) = drained {
        tracing::warn!(connections, "connections were cut off at the end of the drain time");
    }
    tracing::info!(counts = ?ingest.counters(), "stopped");
    Ok(())
}
