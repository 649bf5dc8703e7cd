//! Other producers on the same endpoint, in the same run: Python's from `PyPI`. What could not be had says why.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::{child::Endpoint, endpoint::EndpointOptions, peer};

/// As many as a peer needs for some seconds of work.
const RECORDS: u64 = 60_000;
const SHARDS: u32 = 400;

/// Package to install, and the script that drives it.
const PYTHON: [(&str, &str); 3] = [
    ("aiokpl", include_str!("peers/aiokpl.py")),
    ("async-kinesis", include_str!("peers/async_kinesis.py")),
    ("aws-kinesis-agg", include_str!("peers/aws_kinesis_agg.py")),
];

/// Why two more are not here.
const ABSENT: [&str; 2] = [
    "KPL not run: its daemon speaks only TLS, this endpoint only plain HTTP",
    "Go producers not run: no Go tool chain is assumed",
];

#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// Per CPU second.
    pub(crate) records_per_s: f64,
}

/// What a script prints.
#[derive(Debug, Deserialize)]
struct Report {
    version: String,
    records: f64,
    cpu_s: f64,
}

/// Runs every peer that can be had; the reasons name those that cannot.
pub(crate) fn measure(record_bytes: usize) -> (Vec<Peer>, Vec<String>) {
    let mut peers = Vec::new();
    let mut reasons: Vec<String> = ABSENT.iter().map(ToString::to_string).collect();
    for (package, script) in PYTHON {
        match run(package, script, record_bytes) {
            Ok(report) => peers.push(Peer {
                name: format!("{package} {}", report.version),
                records_per_s: report.records / report.cpu_s,
            }),
            Err(error) => reasons.push(format!("{package} not run: {error:#}")),
        }
    }
    (peers, reasons)
}

fn run(package: &str, script: &str, record_bytes: usize) -> anyhow::Result<Report> {
    let packages = match package {
        // It packs only; boto3 sends what it packed.
        "aws-kinesis-agg" => &[package, "boto3"][..],
        // Its aggregation is an extra.
        "async-kinesis" => &[package, "aws-kinesis-agg"][..],
        _ => &[package][..],
    };
    let python = peer::python_with_all(packages)?;
    let options = EndpointOptions { shards: SHARDS, model: None, round_trip_ms: 0, reads_payloads: false };
    let endpoint = Endpoint::start(&options)?;
    let report = run_script(&python, script, &[endpoint.url(), record_bytes.to_string(), RECORDS.to_string()])?;
    let arrived = endpoint.tally()?.user_records;
    ensure!(arrived >= RECORDS, "only {arrived} of {RECORDS} records arrived");
    Ok(report)
}

fn run_script(python: &Path, script: &str, arguments: &[String]) -> anyhow::Result<Report> {
    let mut command = Command::new(python);
    command.args(["-c", script]).args(arguments).stdin(Stdio::null());
    let credentials = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    command.envs(credentials).env("AWS_DEFAULT_REGION", "us-east-1");
    let output = command.output().context("run the peer")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", words.lines().last().unwrap_or("ended without a word"));
    serde_json::from_slice(&output.stdout).context("read what the peer measured")
}
