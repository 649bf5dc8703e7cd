//! Peers from the package registries, installed into a folder of the bench's own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Where peers are installed; below `target`, so that nobody commits them.
pub(crate) const FOLDER: &str = "target/bench-peers";

/// A Python interpreter with a package, made on first use.
///
/// # Errors
/// When there is no Python, or the package cannot be had.
pub fn python_with(package: &str) -> anyhow::Result<PathBuf> {
    python_with_all(&[package])
}

/// A Python interpreter with several packages, made on first use.
///
/// # Errors
/// When there is no Python, or one of the packages cannot be had.
pub fn python_with_all(packages: &[&str]) -> anyhow::Result<PathBuf> {
    python_of("python3", packages)
}

/// [`python_with_all`] of a certain Python, such as `python3.13`.
///
/// # Errors
/// When there is no such Python, or one of the packages cannot be had.
pub fn python_of(interpreter: &str, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let names = packages.join("+");
    let folder = PathBuf::from(FOLDER).join(format!("python-{names}"));
    let python = folder.join("bin/python");
    // Written last: half an environment would pass for a whole one.
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(python);
    }
    run(Command::new(interpreter).args(["-m", "venv"]).arg(&folder)).context("make a Python environment")?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages))
        .with_context(|| format!("install {names}"))?;
    std::fs::write(&complete, &names).context("note that a Python environment is complete")?;
    Ok(python)
}

pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
