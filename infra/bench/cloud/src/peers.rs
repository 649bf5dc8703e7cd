//! Other local clouds, from their registries, installed into a folder of the bench's own. What cannot be had says why.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use producer_bench::peer;

use crate::server::Program;

/// Where peers are installed; below `target`, so that nobody commits them.
const FOLDER: &str = "target/bench-peers";
/// The release of fakecloud that is measured.
const FAKECLOUD: &str = "0.51.0";

/// A local cloud to be measured beside ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) figure: &'static str,
    /// How many times its records a CPU second ours are to be.
    pub(crate) goal: f64,
    pub(crate) note: &'static str,
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    /// crates.io: built here, which takes long.
    Crate { name: &'static str, version: &'static str, arguments: &'static [&'static str] },
    /// npm: package and script within it.
    Npm { package: &'static str, script: &'static str, arguments: &'static [&'static str] },
    /// `PyPI`: what to install, and what to run after `python`.
    Python {
        interpreter: &'static str,
        packages: &'static [&'static str],
        arguments: &'static [&'static str],
        port_variable: &'static str,
    },
}

const ALL: [Peer; 6] = [
    Peer {
        name: "fakecloud",
        figure: "cloud.times_fakecloud",
        goal: 1.5,
        note: "its records are in memory alone",
        source: Source::Crate { name: "fakecloud", version: FAKECLOUD, arguments: &["--addr", "{address}"] },
    },
    Peer {
        name: "fakecloud, persistent",
        figure: "cloud.times_fakecloud_on_disk",
        goal: 30.0,
        note: "its records are on disk",
        source: Source::Crate {
            name: "fakecloud",
            version: FAKECLOUD,
            arguments: &["--addr", "{address}", "--storage-mode", "persistent", "--data-path", "{dir}"],
        },
    },
    Peer {
        name: "kinesalite",
        figure: "cloud.times_kinesalite",
        goal: 10.0,
        note: "its records are in memory alone",
        source: Source::Npm {
            package: "kinesalite",
            script: "cli.js",
            arguments: &["--port", "{port}", "--shardLimit", "1000"],
        },
    },
    Peer {
        name: "moto",
        figure: "cloud.times_moto",
        goal: 10.0,
        note: "its records are in memory alone",
        source: Source::Python {
            interpreter: "python3",
            packages: &["moto[server,kinesis]"],
            arguments: &["-m", "moto.server", "-H", "{host}", "-p", "{port}"],
            port_variable: "MOTO_PORT",
        },
    },
    Peer {
        name: "ministack",
        figure: "cloud.times_ministack",
        goal: 10.0,
        note: "its records are in memory alone",
        source: Source::Python {
            interpreter: "python3",
            packages: &["ministack"],
            arguments: &["-m", "ministack"],
            port_variable: "GATEWAY_PORT",
        },
    },
    Peer {
        name: "localemu",
        figure: "cloud.times_localemu",
        goal: 10.0,
        note: "its records are in memory alone",
        source: Source::Python {
            // Its Kinesis does not load in an older one.
            interpreter: "python3.13",
            packages: &["localemu==1.3.2"],
            arguments: &["-m", "localemu.cli.main", "start", "--host", "{host}", "--port", "{port}"],
            port_variable: "GATEWAY_PORT",
        },
    },
];

/// The peers whose names begin so, whether they can be had or not; all without names.
pub(crate) fn named(names: &[String]) -> impl Iterator<Item = Peer> {
    ALL.into_iter().filter(|peer| names.is_empty() || names.iter().any(|name| peer.name.starts_with(name)))
}

impl Peer {
    /// The program, installed on first use.
    pub(crate) fn program(&self) -> anyhow::Result<Program> {
        let mut variables = vec![("AWS_DEFAULT_REGION".to_owned(), "us-east-1".to_owned())];
        let (file, first, arguments) = match self.source {
            Source::Crate { name, version, arguments } => (crate_binary(name, version)?, None, arguments),
            Source::Npm { package, script, arguments } => {
                let script = npm_package(package)?.join(script);
                (PathBuf::from("node"), Some(script.display().to_string()), arguments)
            }
            Source::Python { interpreter, packages, arguments, port_variable } => {
                variables.push((port_variable.to_owned(), "{port}".to_owned()));
                (peer::python_of(interpreter, packages)?, None, arguments)
            }
        };
        let arguments = arguments.iter().map(ToString::to_string);
        let words = std::iter::once(file.display().to_string()).chain(first).chain(arguments).collect();
        Ok(Program { name: self.name.to_owned(), words, variables })
    }
}

/// A crate's binary of its own name, built in release mode. Nobody waits for it: it gives way to all other work.
fn crate_binary(name: &str, version: &str) -> anyhow::Result<PathBuf> {
    let root = PathBuf::from(FOLDER).join(format!("crate-{name}-{version}"));
    let binary = root.join("bin").join(name);
    if !binary.exists() {
        let mut install = Command::new("nice");
        install.args(["-n", "19", "cargo", "install", "--locked", "--quiet", "--version", version, "--root"]);
        run(install.arg(&root).arg(name))?;
    }
    Ok(binary)
}

/// The directory of an npm package.
fn npm_package(package: &str) -> anyhow::Result<PathBuf> {
    let root = PathBuf::from(FOLDER).join(format!("npm-{package}"));
    let dir = root.join("node_modules").join(package);
    // Written last: half a package would pass for a whole one.
    let complete = root.join("complete");
    if !complete.exists() {
        std::fs::create_dir_all(&root).context("make a directory for npm")?;
        run(Command::new("npm")
            .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
            .arg(&root)
            .arg(package))?;
        std::fs::write(&complete, package).context("note that a package is complete")?;
    }
    Ok(dir)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().last().unwrap_or("without a word");
    ensure!(output.status.success(), "{command:?} ended with {}: {last}", output.status);
    Ok(())
}
