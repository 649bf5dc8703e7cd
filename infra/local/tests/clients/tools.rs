//! What the tests share: a local cloud with HTTPS, tools that may not be there, programs that are told what to do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use millrace::cloud::{Cloud, CloudConfig, Doors};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// How long a program may be silent: a JVM on a busy machine, and a KCL that looks for its leases, take their time.
const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// Where what was downloaded is kept for the next run.
pub(crate) fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name)
}

pub(crate) async fn cloud() -> (tempfile::TempDir, Cloud) {
    let dir = tempfile::tempdir().expect("a directory");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let doors = Doors { https_port: Some(0), keys: None };
    let cloud = Cloud::start(CloudConfig { doors, ..CloudConfig::new(dir.path().join("data"), listen) }).await;
    (dir, cloud.expect("the cloud starts"))
}

/// Whether a command does what it should; if it cannot even be started, it is not installed.
pub(crate) async fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// A program whose lines are read one by one; it ends with this value.
pub(crate) struct Program {
    name: String,
    child: Child,
    orders: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// The last lines that nobody asked for, for whoever asks why.
    other: VecDeque<String>,
}

impl Program {
    /// Starts it; what it says on its standard error goes to a file of its name in `dir`.
    pub(crate) fn start(name: &str, command: &mut Command, dir: &Path) -> Self {
        let errors = std::fs::File::create(dir.join(format!("{name}.log"))).expect("a file");
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let orders = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { name: name.to_owned(), child, orders, lines, other: VecDeque::new() }
    }

    pub(crate) async fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("it takes orders");
        orders.write_all(format!("{order}\n").as_bytes()).await.expect("it reads");
        orders.flush().await.expect("it reads");
    }

    /// The rest of the next line that begins so.
    pub(crate) async fn next(&mut self, beginning: &str) -> String {
        loop {
            let line = match timeout(PATIENCE, self.lines.next_line()).await {
                Ok(Ok(Some(line))) => line,
                other => panic!("{} said {other:?} in place of {beginning}, before: {:#?}", self.name, self.other),
            };
            match line.strip_prefix(beginning) {
                Some(rest) => return rest.trim().to_owned(),
                None => {
                    self.other.push_back(line);
                    self.other.truncate(50);
                }
            }
        }
    }

    /// Ends it by closing its standard input.
    pub(crate) async fn end(mut self) {
        drop(self.orders.take());
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.is_ok_and(|status| status.is_ok()), "{} does not end", self.name);
    }
}
