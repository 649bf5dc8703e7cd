//! The local cloud as a process that is measured: its services alone, without limits.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use millrace::cloud::{Cloud, CloudConfig};
use tokio::signal::unix::{SignalKind, signal};

/// Where the server runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerOptions {
    /// Directory that holds everything.
    data_dir: PathBuf,
    /// Address to listen on.
    address: SocketAddr,
}

/// How this program is started as the server.
pub(crate) fn server() -> anyhow::Result<Vec<String>> {
    let program = std::env::current_exe().context("find this program")?;
    let program = program.into_os_string().into_string().ok().context("this program's path is not text")?;
    Ok([program.as_str(), "cloud-server", "{dir}", "{address}"].map(str::to_owned).to_vec())
}

/// Serves until SIGTERM.
pub(crate) async fn serve(options: ServerOptions) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let config = CloudConfig { kinesis_is_limited: false, ..CloudConfig::new(options.data_dir, options.address) };
    let cloud = Cloud::start(config).await?;
    terminate.recv().await;
    cloud.shutdown().await;
    Ok(())
}
