//! Other producers on the same endpoint, in the same run: Python's from `PyPI`, the KPL from Maven Central, one in Go. What could
//! not be had says why.

mod compiled;

use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::{child::Endpoint, endpoint::EndpointOptions, peer};

/// As many as a peer needs for some seconds of work.
const RECORDS: u64 = 60_000;
/// Those that are compiled are faster.
const RECORDS_COMPILED: u64 = 300_000;
const A8M_TRIES: u32 = 3;
const SHARDS: u32 = 400;

/// Package to install, and the script that drives it.
const PYTHON: [(&str, &str); 3] = [
    ("aiokpl", include_str!("peers/aiokpl.py")),
    ("async-kinesis", include_str!("peers/async_kinesis.py")),
    ("aws-kinesis-agg", include_str!("peers/aws_kinesis_agg.py")),
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
    let mut reasons = Vec::new();
    let pythons = PYTHON.into_iter().map(|(package, script)| (package, run(package, script, record_bytes)));
    let compiled = [("the KPL", run_kpl(record_bytes)), ("a8m/kinesis-producer (Go)", run_a8m(record_bytes))];
    for (name, report) in pythons.chain(compiled) {
        match report {
            Ok(report) => peers.push(Peer {
                name: format!("{name} {}", report.version),
                records_per_s: report.records / report.cpu_s,
            }),
            Err(error) => reasons.push(format!("{name} not run: {error:#}")),
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
    let mut command = Command::new(python);
    command.args(["-c", script]);
    against_an_endpoint(command, RECORDS, |endpoint| [endpoint.url(), record_bytes.to_string(), RECORDS.to_string()])
}

fn run_kpl(record_bytes: usize) -> anyhow::Result<Report> {
    let count = RECORDS_COMPILED.to_string();
    let arguments =
        |endpoint: &Endpoint| [endpoint.port().to_string(), record_bytes.to_string(), count, compiled::KPL.to_owned()];
    against_an_endpoint(compiled::kpl()?, RECORDS_COMPILED, arguments)
}

fn run_a8m(record_bytes: usize) -> anyhow::Result<Report> {
    let run = || {
        let count = RECORDS_COMPILED.to_string();
        let arguments = |endpoint: &Endpoint| [endpoint.url(), record_bytes.to_string(), count];
        against_an_endpoint(compiled::a8m()?, RECORDS_COMPILED, arguments)
    };
    // It crashes now and then on a busy machine.
    (1..A8M_TRIES).find_map(|_| run().ok()).map_or_else(run, Ok)
}

/// Runs a peer with these arguments; at least so many records must arrive.
fn against_an_endpoint<const N: usize>(
    mut command: Command,
    records: u64,
    arguments: impl FnOnce(&Endpoint) -> [String; N],
) -> anyhow::Result<Report> {
    let options = EndpointOptions { shards: SHARDS, model: None, round_trip_ms: 0, reads_payloads: false };
    let endpoint = Endpoint::start(&options)?;
    command.args(arguments(&endpoint)).stdin(Stdio::null());
    let report = report_of(&mut command)?;
    let arrived = endpoint.tally()?.user_records;
    ensure!(arrived >= records, "only {arrived} of {records} records arrived");
    Ok(report)
}

fn report_of(command: &mut Command) -> anyhow::Result<Report> {
    let credentials = [("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    command.envs(credentials).env("AWS_DEFAULT_REGION", "us-east-1");
    let output = command.output().context("run the peer")?;
    let words = String::from_utf8_lossy(&output.stderr);
    let cause = words.lines().find(|line| line.starts_with("panic")).or_else(|| words.lines().last());
    ensure!(output.status.success(), "{}", cause.unwrap_or("ended without a word"));
    // Loggers may have had their say before.
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().rev().find(|line| line.starts_with('{')).context("the peer printed no figure")?;
    serde_json::from_str(line).context("read what the peer measured")
}
