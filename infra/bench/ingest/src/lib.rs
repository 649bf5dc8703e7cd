//! The collection API's figures: `cargo run --release -p bench -- ingest`, or `-p ingest-bench` to build without `DataFusion`.
//!
//! Reading order: [`run`] is the command; `server` is the process that is measured, `peer` is what may stand in its place, `wire`, `streams` and `load` are the callers, which
//! run in this process; the rest is one file for each group of figures. The Kinesis endpoint is the producer bench's.

mod calls;
mod command;
mod flood;
mod floor;
mod load;
mod outage;
mod pace;
mod peer;
mod server;
mod steady;
mod streams;
mod validation;
mod wire;

pub use command::{Command, MeasureOptions, run};
