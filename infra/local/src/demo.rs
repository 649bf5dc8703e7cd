//! The demo: everything at once, with traffic, a report and the audit at the end.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::audit::{self, Audit};
use crate::cli::{DemoArgs, Format};
use crate::pipeline::Pipeline;
use crate::{ask, clock, progress, up};

/// The report that the demo shows.
const REPORT: &str = "requests_by_venue_local_hour";

/// Runs the demo. The exit code is success only if the audit balances.
///
/// # Errors
/// What the pipeline, the traffic, the report or the audit says.
#[expect(clippy::print_stdout, reason = "the demo's result goes to the person who runs it")]
pub async fn run(arguments: DemoArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for ctrl-C")?;
    let pipeline = Pipeline::start(up::options(&arguments.place, arguments.seed).await?).await?;
    println!("{}\n", up::places(&pipeline, &arguments.place));
    println!("Sending {} ad requests a second for {} s (ctrl-C: stop sending).", arguments.rate, arguments.seconds);
    let traffic = send(&pipeline, &arguments, async move {
        interrupt.recv().await;
    });
    let sent = tokio::select! {
        sent = traffic => sent?,
        () = progress::show(&pipeline) => anyhow::bail!("nobody reads the progress"),
    };
    progress::end();
    println!("{sent}\n\nWaiting until everything accepted is in the tables.");
    pipeline.drain().await?;
    let answer = ask::answer_report(pipeline.aws(), REPORT, None, None).await?;
    println!("\nReport {REPORT}, by SQL over the Parquet files:\n{}", ask::render(&answer, Format::Table, Some(12)));
    let audit = audit::run(pipeline.aws(), clock::now_ms()).await.context("audit")?;
    println!("{}\n", verdict(&audit));
    let balances = audit.balances;
    pipeline.stop().await?;
    println!("Everything is kept in {}. Ask it:", arguments.place.data_dir.display());
    let place = arguments.place.typed();
    println!("  cargo run --release -- query{} 'SELECT count(*) FROM ad_requests'", place.data_dir);
    println!("  cargo run --release -- up{}{}", place.data_dir, place.addresses);
    Ok(if balances { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The audit's equation in one line.
pub fn verdict(audit: &Audit) -> String {
    let total = &audit.total;
    let sign = if audit.balances { "=" } else { "≠" };
    let missing = total.accepted.saturating_sub(total.rows + total.duplicates + total.failed);
    let waiting = match missing {
        0 => String::new(),
        count => format!(
            "\n{count} accepted events are not in the tables (yet). They are published every few seconds while \
             `millrace up` runs on this data directory: run it, or ask again."
        ),
    };
    let repeated = match audit.repeated_rows {
        0 => String::new(),
        rows => format!("   ({rows} rows are there twice)"),
    };
    format!(
        "Audit: accepted {} {sign} rows {} + duplicates {} + failed {}{repeated}",
        total.accepted, total.rows, total.duplicates, total.failed
    ) + &waiting
}

/// Calls at the same time: a call takes about a linger and a disk sync, 20 ms with room to spare.
const CALLS_PER_CONNECTION_PER_S: u32 = 25;
/// Fewest and most connections of a run.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 8..=1_024;
/// Of 10,000 requests: sent again byte for byte, as a player does that saw no answer, and sent with a fault.
const RETRY_PER_10K: u32 = 20;
const INVALID_PER_10K: u32 = 10;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// What is sent to a collection API.
#[derive(Debug, Clone)]
pub struct TrafficOptions {
    /// Where it listens.
    pub ingest: SocketAddr,
    /// Events a second.
    pub rate: u32,
    /// For how long.
    pub duration: Duration,
    /// Decides the screens and what they send.
    pub seed: u64,
    /// Number of screens.
    pub screens: u32,
    /// Events in one call; 1 posts single requests.
    pub batch: u32,
}

/// The load generator's settings for a run of made traffic.
///
/// # Errors
/// A rate, a batch or a number of screens of 0.
pub fn load_config(options: &TrafficOptions) -> anyhow::Result<load::Config> {
    let screens = load::screens(options.seed, usize::try_from(options.screens)?);
    let traffic = load::Traffic::new(options.seed, &screens, INVALID_PER_10K)?;
    let calls = options.rate / options.batch.max(1);
    let connections = (calls / CALLS_PER_CONNECTION_PER_S).clamp(*CONNECTIONS.start(), *CONNECTIONS.end());
    Ok(load::Config {
        target: options.ingest.to_string(),
        source: load::Source::Traffic(traffic),
        events_per_s: NonZeroU32::new(options.rate).context("the rate is 0")?,
        duration: options.duration,
        connections: NonZeroUsize::new(usize::try_from(connections)?).context("there is no connection")?,
        batch: NonZeroU32::new(options.batch).context("the batch is 0")?,
        retry_per_10k: RETRY_PER_10K,
        seed: options.seed,
        start_ms: clock::now_ms(),
        acks: None,
        answer_timeout: ANSWER_TIMEOUT,
    })
}

async fn send(pipeline: &Pipeline, arguments: &DemoArgs, shutdown: impl Future<Output = ()>) -> anyhow::Result<String> {
    let config = load_config(&TrafficOptions {
        ingest: pipeline.ingest(),
        rate: arguments.rate,
        duration: Duration::from_secs(arguments.seconds),
        seed: arguments.seed,
        screens: arguments.place.screens,
        batch: 1,
    })?;
    let report = load::run(config, Arc::new(load::Progress::default()), shutdown).await?;
    Ok(report.to_string())
}
