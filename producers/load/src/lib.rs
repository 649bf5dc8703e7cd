//! An open-loop load generator: life-like ad requests of many screens, a day of an exchange, or the lines of a file, at a
//! fixed rate or each at its time.
//!
//! Reading order: [`city`], [`venue`] and [`screen`] (the screens), [`template`] and [`traffic`] (their requests),
//! [`day`] (a day of an exchange: what follows from them),
//! [`source`] (what is sent, and in which order), [`schedule`] (when), [`mod@run`] (the run itself: connections, answers,
//! latency), [`progress`] and [`mod@report`] (what came of it).
//!
//! Open loop means that a request is due at its time whether or not earlier ones were answered, and that its latency
//! counts from that time. A server that stalls for a second shows that second in every request that was due in it.

pub mod city;
pub mod day;
pub mod progress;
pub mod report;
pub mod run;
pub mod schedule;
pub mod screen;
pub mod source;
pub mod template;
pub mod traffic;
pub mod venue;

mod acks;
mod answer;
mod connection;
mod random;
mod wire;

pub use day::{Day, DayConfig};
pub use progress::Progress;
pub use report::Report;
pub use run::{Config, LoadError, run};
pub use screen::screens;
pub use source::Source;
pub use traffic::Traffic;
