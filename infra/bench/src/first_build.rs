//! CPU time of a first release build of the `millrace` command.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::cpu;
use crate::figure::{Better, Figure};

/// Twenty minutes on two idle cores.
const GOAL_CPU_MIN: f64 = 40.0;

/// Builds into a directory of its own, which it empties first and removes after.
pub(crate) fn measure() -> anyhow::Result<Vec<Figure>> {
    let target =
        tempfile::Builder::new().prefix("first-build").tempdir_in("target").context("make a target directory")?;
    let before = cpu::of_children()?;
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
        .arg(target.path())
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the build ended with {status}");
    let spent = cpu::of_children()?.saturating_sub(before);
    Ok(vec![Figure {
        name: "build.cpu",
        value: spent.as_secs_f64() / 60.0,
        unit: "CPU minutes",
        goal: Some(GOAL_CPU_MIN),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note: "cargo build --release into an empty target directory, sources downloaded; goal: 20 minutes on 2 cores"
            .into(),
    }])
}
