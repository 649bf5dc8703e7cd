//! The collection API: takes events over HTTP, checks them, names them, and answers once they are on the stream.
//!
//! Reading order: [`http`] (the routes), [`tenants`] (who may send), [`ingest`] (the way of one event: validate, stamp, stream, respond),
//! [`counters`] (what happened so far), [`server`] (connections, limits, draining), [`tls`] (their encryption), [`process`] (the
//! server from start to end), [`gateway`] (the same router behind Lambda's events), [`config`] (settings of the two
//! binaries), [`start`] (what both binaries do first).

pub mod config;
pub mod counters;
pub mod gateway;
pub mod http;
pub mod ingest;
pub mod process;
pub mod server;
pub mod start;
pub mod tenants;
pub mod tls;

mod accept;
mod batch;
mod gate;
mod latency;
mod outcome;
mod way;

pub use crate::http::app;
pub use crate::ingest::{Ingest, Settings};
pub use crate::server::{Server, run};
