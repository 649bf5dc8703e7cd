//! Kills a process that puts records through a spool, again and again, and counts what was acknowledged and lost, and what a reader
//! that looks at the marks has twice.
//!
//! `cargo run --release -p kinesis-producer --example spool_kills -- --kills 100 --records 10000 --seed 1`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it is a proof for people to run, and shares its code with the tests"
)]
#![allow(dead_code, clippy::indexing_slicing, missing_docs, reason = "tests use more of the shared code")]

#[path = "../tests/it/fake_kinesis.rs"]
mod fake_kinesis;
#[path = "../tests/it/kills.rs"]
mod kills;

use std::{path::Path, process::Command, time::Instant};

use clap::Parser;

use crate::kills::{Plan, live, run};

#[derive(Parser)]
struct Arguments {
    /// How often the process is killed.
    #[arg(long, default_value_t = 20)]
    kills: usize,
    /// Acknowledged records before each kill, about.
    #[arg(long, default_value_t = 10_000)]
    records: usize,
    /// Of the moments at which it is killed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Shards of the stream: each takes 1,000,000 bytes/s when the spool drains.
    #[arg(long, default_value_t = 64)]
    shards: u8,
    /// Folder, endpoint and life: set by the parent.
    #[arg(long, num_args = 3, hide = true)]
    child: Option<Vec<String>>,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    if let Some([folder, endpoint, life]) = arguments.child.as_deref() {
        return live(Path::new(folder), endpoint, life.parse().unwrap()).await;
    }
    let Arguments { kills, records, seed, shards, .. } = arguments;
    let started_at = Instant::now();
    let report = run(Plan { kills, records_per_life: records, shards, seed }, |folder, endpoint, life| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--child", folder.to_str().unwrap(), endpoint, &life.to_string()]);
        command
    })
    .await;
    println!("{report:#?}\nin {:.1} s", started_at.elapsed().as_secs_f64());
    assert_eq!((report.lost, report.inversions), (0, 0));
    assert_eq!((report.read_twice, report.not_read), (0, 0));
}
