//! The process that is measured: this program again, as `ingest-server`.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use producer_bench::{Endpoint, cpu};

/// How long the server may take to listen, and to end.
const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(20);

/// A process that serves, ended with its handle.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// Starts the server in front of an endpoint, with more settings beside those.
pub(crate) async fn start(endpoint: &Endpoint, settings: &[(&str, String)]) -> anyhow::Result<Process> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("ingest-server");
    command.envs([("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
    command.envs([("AWS_REGION", "us-east-1"), ("RAW_STREAM", "events"), ("AWS_EC2_METADATA_DISABLED", "true")]);
    command.env("AWS_ENDPOINT_URL", endpoint.url()).env("MILLRACE_LISTEN", address.to_string());
    command.env("RUST_LOG", "error").envs(settings.iter().map(|(name, value)| (name, value)));
    Process::start(command, address).await
}

/// Starts the server that does nothing.
pub(crate) async fn start_floor() -> anyhow::Result<Process> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("ingest-floor").arg(address.to_string());
    Process::start(command, address).await
}

impl Process {
    /// Starts a process and waits until it listens.
    pub(crate) async fn start(mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).spawn().context("start the server")?;
        let mut process = Process { child, address };
        let started = Instant::now();
        while TcpStream::connect_timeout(&address, STEP).is_err() {
            if let Some(status) = process.child.try_wait().context("look at the server")? {
                bail!("the server ended at once: {status}");
            }
            if started.elapsed() > PATIENCE {
                bail!("the server does not listen after {PATIENCE:?}");
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(process)
    }

    /// CPU time that it has taken.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::of_process_with_id(self.child.id())
    }

    /// Memory of it that is resident.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        cpu::resident_bytes_of(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs neither.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// An address that nobody listens on now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    listener.local_addr().context("read the address")
}
