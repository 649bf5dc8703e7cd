//! The local cloud's figures: `cargo run --release -p bench -- cloud`, or `-p cloud-bench` with a server to run.
//!
//! Reading order: [`run`] is the command; `server` runs what is measured as a process of its own and knows what CPU time and
//! memory it takes; `load` is the load generator, raw HTTP on plain threads so that it takes little of the machine; `put`,
//! `get` and `start` are the figures; `peers` are other local clouds.

mod command;
mod get;
mod http;
mod load;
mod peers;
mod put;
mod server;
mod start;

pub use command::{Command, MeasureOptions, run};
