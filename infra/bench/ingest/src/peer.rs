//! Another collector in the server's place: Telegraf, which takes the same calls and puts on the same endpoint.
//!
//! Vector and Fluent Bit are in none of the registries that a bench can install from: not on crates.io, `PyPI`, npm or Maven
//! Central, and not in Debian. Telegraf is a Go module, and is built from it where there is a Go tool chain.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use producer_bench::Endpoint;

use crate::server::{Process, free_address};

const VERSION: &str = "v1.37.2";
/// Below `target`, so that nobody commits it.
const FOLDER: &str = "target/bench-peers/telegraf";
const PROGRAM: &str = include_str!("peer/main.go");
const SETTINGS: &str = include_str!("peer/telegraf.conf");
const MODULE: &str = "module collector\n\ngo 1.25\n";

/// What is called in figures.
pub(crate) fn name() -> String {
    format!("Telegraf {VERSION}")
}

/// Builds it on first use, which takes minutes, and starts it before an endpoint.
pub(crate) async fn start(endpoint: &Endpoint) -> anyhow::Result<Process> {
    let program = build()?;
    let address = free_address()?;
    let settings = Path::new(FOLDER).join("telegraf.conf");
    let text = SETTINGS.replace("{listen}", &address.to_string()).replace("{endpoint}", &endpoint.url());
    std::fs::write(&settings, text).context("write Telegraf's settings")?;
    let mut command = Command::new(program);
    // What it says goes nowhere: it says much.
    command.arg(settings).stdout(Stdio::null()).stderr(Stdio::null());
    Process::start(command, address).await
}

fn build() -> anyhow::Result<PathBuf> {
    let folder = PathBuf::from(FOLDER);
    let program = folder.join("collector");
    if program.exists() {
        return Ok(program);
    }
    std::fs::create_dir_all(&folder).context("make a folder for Telegraf")?;
    std::fs::write(folder.join("main.go"), PROGRAM).context("write Telegraf's main")?;
    std::fs::write(folder.join("go.mod"), MODULE).context("write Telegraf's module")?;
    go(&folder, &["get", &format!("github.com/influxdata/telegraf@{VERSION}")])?;
    go(&folder, &["build", "-mod=mod", "-o", "collector", "."])?;
    Ok(program)
}

fn go(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("go");
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().context("run go")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", words.lines().last().unwrap_or("ended without a word"));
    Ok(())
}
