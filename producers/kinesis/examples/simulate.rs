//! Proves the order per key over millions of records: the whole producer in simulated time under all faults, from one seed.
//!
//! `cargo run --release -p kinesis-producer --features simulation --example simulate -- --records 10000000 --seed 1`
#![allow(clippy::print_stdout, reason = "it is for people to run")]

use std::time::Instant;

use clap::Parser;
use kinesis_producer::simulation::prove;

#[derive(Debug, Parser)]
struct Arguments {
    /// User records to put.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// The same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() {
    let Arguments { records, seed } = Arguments::parse();
    let started_at = Instant::now();
    let proof = prove(records, seed);
    println!("{proof:#?}\nin {:.1} s", started_at.elapsed().as_secs_f64());
    assert_eq!((proof.inversions, proof.dropped_by_kcl, proof.read_twice), (0, 0, 0), "the proof does not hold");
    assert!(proof.duplicates <= proof.stored_without_answer, "more duplicates than lost answers explain");
}
