//! What is measured: a server in a process of its own, started, asked what it takes, and ended with its handle.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use producer_bench::cpu;

use crate::http::Connection;

/// How long a server may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is asked until then; also how exactly a start is timed.
const START_STEP: Duration = Duration::from_millis(2);

/// How a server is started. In its arguments `{address}`, `{host}`, `{port}` and `{dir}` are filled in.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) words: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    /// From its start to its first answer.
    pub(crate) started_in: Duration,
}

/// What a server has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
}

impl Server {
    /// Starts a program over a directory and waits until it answers.
    pub(crate) fn start(program: &Program, dir: &Path) -> anyhow::Result<Self> {
        let address = free_address()?;
        let fill = |word: &String| {
            let dir = dir.display().to_string();
            let word = word.replace("{address}", &address.to_string()).replace("{dir}", &dir);
            word.replace("{host}", &address.ip().to_string()).replace("{port}", &address.port().to_string())
        };
        let words: Vec<String> = program.words.iter().map(fill).collect();
        let (file, arguments) = words.split_first().context("a server without a program")?;
        let log = File::create(log_path(dir)).context("make the server's log")?;
        let mut command = Command::new(file);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.envs(program.variables.iter().map(|(name, value)| (name, fill(value))));
        let started = Instant::now();
        let process = command.spawn().with_context(|| format!("start {}", program.name))?;
        let mut server = Self { process, address, started_in: Duration::ZERO };
        server.wait_until_it_answers(started, dir)?;
        Ok(server)
    }

    #[expect(clippy::disallowed_methods, reason = "the bench has no runtime to block")]
    fn wait_until_it_answers(&mut self, started: Instant, dir: &Path) -> anyhow::Result<()> {
        while started.elapsed() < START_TIMEOUT {
            if let Some(status) = self.process.try_wait().context("look after the server")? {
                let log = fs::read_to_string(log_path(dir)).unwrap_or_default();
                bail!("the server ended with {status}: {}", log.lines().last().unwrap_or("without a word"));
            }
            let answered = Connection::open(self.address).and_then(|mut server| server.ask("ListStreams", "{}"));
            if answered.is_ok() {
                self.started_in = started.elapsed();
                return Ok(());
            }
            thread::sleep(START_STEP);
        }
        bail!("the server did not answer within {} s", START_TIMEOUT.as_secs());
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident memory")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("read the resident memory")?;
        Ok(Usage { cpu: cpu::of_process_with_id(self.process.id())?, resident_bytes: kib * 1024 })
    }

    /// Ends the server at once, as a crash would.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.process.kill().context("end the server")?;
        self.process.wait().context("wait for the server's end")?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already needs neither.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn log_path(dir: &Path) -> PathBuf {
    dir.with_extension("log")
}

/// An address that was free a moment ago.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    let address = listener.local_addr().context("find a free port")?;
    ensure!(address.port() != 0, "no free port");
    Ok(address)
}
