//! The endpoint in a process of its own: started, asked, and ended with its handle.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    cpu,
    endpoint::{EndpointOptions, Tally},
};

/// How long the endpoint may take to answer a question about its counts.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Endpoint {
    process: Child,
    address: SocketAddr,
}

impl Endpoint {
    /// Starts this program again as the endpoint.
    pub(crate) fn start(options: &EndpointOptions) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(program);
        command.args(["producer-endpoint", "--shards", &options.shards.to_string()]);
        command.args(["--round-trip-ms", &options.round_trip_ms.to_string()]);
        if let Some(model) = options.model {
            command.args(["--model", model.name()]);
        }
        if options.reads_payloads {
            command.arg("--reads-payloads");
        }
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start the endpoint")?;
        let mut line = String::new();
        let output = process.stdout.take().context("read from the endpoint")?;
        let read = BufReader::new(output).read_line(&mut line).context("read the endpoint's address");
        match read.and_then(|_| line.trim().parse().context("read the endpoint's address")) {
            Ok(address) => Ok(Endpoint { process, address }),
            Err(error) => {
                end(&mut process);
                Err(error)
            }
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port at 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// What has been counted since the start, or since the last reset.
    pub(crate) fn tally(&self) -> anyhow::Result<Tally> {
        self.ask("/tally")
    }

    /// Begins to count anew; limits and outages stay as they are.
    pub(crate) fn reset(&self) -> anyhow::Result<()> {
        self.ask("/reset").map(drop)
    }

    /// From now on every call fails, or none does.
    pub(crate) fn set_down(&self, is_down: bool) -> anyhow::Result<()> {
        self.ask(if is_down { "/down" } else { "/up" }).map(drop)
    }

    /// CPU time that the endpoint has taken.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu::of_process_with_id(self.process.id())
    }

    fn ask(&self, path: &str) -> anyhow::Result<Tally> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE).context("connect to the endpoint")?;
        stream.set_read_timeout(Some(PATIENCE)).context("set up a connection")?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: endpoint\r\nconnection: close\r\n\r\n")
            .context("ask the endpoint")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("read the endpoint's answer")?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the endpoint answered {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").context("read the endpoint's answer")?;
        serde_json::from_str(body).context("read the endpoint's counts")
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// Ends a process and waits for it. One that has ended already needs neither.
fn end(process: &mut Child) {
    drop(process.kill());
    drop(process.wait());
}
