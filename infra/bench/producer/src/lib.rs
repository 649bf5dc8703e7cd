//! The producer's figures: `cargo run --release -p bench -- producer`, or `-p producer-bench` to build without `DataFusion`.
//!
//! Reading order: [`run`] is the command; `endpoint` is a Kinesis endpoint that counts, run in a process of its own (`child`)
//! so that its CPU time is not the producer's; each group of figures has a file. [`figure`], [`cpu`] and [`peer`] are shared
//! with the other groups of `bench`.

pub mod cpu;
pub mod figure;
pub mod peer;

mod child;
mod command;
mod compressed;
mod endpoint;
mod latency;
mod offer;
mod outage;
mod peers;
mod shares;
mod speed;

pub use child::Endpoint;
pub use command::{Command, MeasureOptions, run};
pub use endpoint::{EndpointOptions, Tally};
