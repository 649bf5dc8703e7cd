//! From what a person typed to what is done.

use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::{ask, demo, faults, limits, up};

/// A command on its way to its exit code.
pub type Running = Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>>>>;

/// Starts what was asked for; the demo when nothing was.
///
/// The future is boxed here and not in the binary because async code is compiled where it is first polled: a binary
/// that polls it by its own type compiles the whole pipeline a second time.
pub fn run(cli: Cli) -> Running {
    Box::pin(async move {
        match cli.command.unwrap_or(Command::Demo(cli.demo)) {
            Command::Demo(arguments) => Box::pin(demo::run(arguments)).await,
            Command::Up(arguments) => Box::pin(up::run(arguments)).await,
            Command::Query(arguments) => ask::query(arguments).await,
            Command::Report(arguments) => ask::named_report(arguments).await,
            Command::Audit(arguments) => ask::audit(arguments).await,
            Command::Limits(arguments) => limits::command::run(arguments).await,
            Command::Fault(arguments) => faults::command::run(arguments).await,
        }
    })
}
