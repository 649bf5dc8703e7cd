//! Peers that are compiled first: the KPL, for which it takes a JDK and Maven, and a producer in Go.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail};

use crate::peer;

pub(super) const KPL: &str = "1.0.7";
const A8M: &str = "github.com/a8m/kinesis-producer@v0.2.0";

/// The command that runs the KPL's driver, without its arguments.
///
/// # Errors
/// When there is no JDK or Maven, or the packages cannot be had.
pub(super) fn kpl() -> anyhow::Result<Command> {
    for tool in ["java", "javac", "mvn"] {
        require(tool)?;
    }
    let folder = folder("kpl")?;
    let (classes, libraries) = (folder.join("classes"), folder.join("lib"));
    let class_path = format!("{}/*:{}", libraries.display(), classes.display());
    build(&folder, || {
        fs::write(folder.join("pom.xml"), include_str!("kpl.pom.xml")).context("write the project file")?;
        fs::write(folder.join("Kpl.java"), include_str!("Kpl.java")).context("write the driver")?;
        let mut fetch = Command::new("mvn");
        fetch.args(["-q", "-B", "-f"]).arg(folder.join("pom.xml")).arg("dependency:copy-dependencies");
        peer::run(fetch.arg(format!("-DoutputDirectory={}", libraries.display())))?;
        let mut compile = Command::new("javac");
        peer::run(compile.arg("-cp").arg(&class_path).arg("-d").arg(&classes).arg(folder.join("Kpl.java")))
    })?;
    let mut command = Command::new("java");
    // The daemon's binary is unpacked there.
    command.arg(format!("-Djava.io.tmpdir={}", folder.display())).arg("-cp").arg(class_path).arg("Kpl");
    Ok(command)
}

/// The command that runs the Go producer's driver, without its arguments.
///
/// # Errors
/// When there is no Go, or the module cannot be had.
pub(super) fn a8m() -> anyhow::Result<Command> {
    require("go")?;
    let folder = folder("a8m")?;
    let program = folder.join("a8m");
    build(&folder, || {
        fs::write(folder.join("main.go"), include_str!("a8m.go")).context("write the driver")?;
        fs::write(folder.join("go.mod"), "module bench\n\ngo 1.20\n").context("write the module file")?;
        peer::run(Command::new("go").args(["get", A8M]).current_dir(&folder))?;
        peer::run(Command::new("go").arg("build").arg("-o").arg(&program).current_dir(&folder))
    })?;
    Ok(Command::new(program))
}

fn require(tool: &str) -> anyhow::Result<()> {
    let found = Command::new("which").arg(tool).output().is_ok_and(|output| output.status.success());
    if !found {
        bail!("there is no {tool}");
    }
    Ok(())
}

fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = Path::new(peer::FOLDER).join(name);
    fs::create_dir_all(&folder).context("make a folder for the peer")?;
    folder.canonicalize().context("find the peer's folder")
}

/// Builds unless that was done before.
fn build(folder: &Path, build: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    // Written last: half a build would pass for a whole one.
    let complete = folder.join("complete");
    if !complete.exists() {
        build()?;
        fs::write(&complete, "").context("note that the peer is complete")?;
    }
    Ok(())
}
