//! The server as a process: from its settings to its last answer.

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::server::{self, Drained, Server};
use crate::start;

/// Serves until SIGTERM or ctrl-C, then accepts no more, answers what is open, flushes and returns.
///
/// # Errors
/// When the address cannot be listened on, the stream cannot be found, or the tenants file or the certificate is wrong.
pub fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on {} (MILLRACE_LISTEN sets another address)", config.listen))?;
    let tls = start::tls(&config)?;
    let producer = start::producer(&config).await?;
    let ingest = start::ingest(&config, producer.clone()).await?;
    tracing::info!(listen = %listener.local_addr()?, stream = config.raw_stream, tls = tls.is_some(), "serving");
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping: accepting no more, answering what is open");
    };
    let server = Server { ingest: ingest.clone(), limits: config.limits, tls };
    let drained = server::run(listener, server, shutdown).await;
    producer.close().await;
    if let Drained::CutOff(connections) = drained {
        tracing::warn!(connections, "connections were cut off at the end of the drain time");
    }
    tracing::info!(counts = ?ingest.counters(), "stopped");
    Ok(())
}
