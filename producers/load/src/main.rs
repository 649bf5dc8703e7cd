//! `load`: sends ad requests of screens, an exchange's whole day, or the lines of a file, to a collection API.

use std::io::{IsTerminal, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Parser;
use load::run::CONNECTIONS_MAX;
use load::source::{DaySource, Replay};
use load::{Config, Day, DayConfig, Progress, Report, Source, Traffic, screens};

/// Sends ad requests to a collection API at a fixed rate, and tells what became of them.
///
/// The rate is kept whether or not the server keeps up: latency counts from the moment at which a request was due.
/// A call waits for the stream, so n requests a second need about n × 0.02 connections with the default linger.
///
///   load --rate 2000 --seconds 30
///   load --rate 20000 --connections 1000 --retries-percent 1 --invalid-percent 1
///   load --rate 50000 --batch 500 --connections 32
///   load --replay requests.ndjson --rate 500 --acks ids.txt
///   load --print 3 | head -1
///   load --day --speed 60 --seconds 1440 --batch 50 --connections 64
///
/// `load --help` explains the day and the words of the report.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, after_long_help = MANUAL)]
struct Arguments {
    /// Host and port of the collection API.
    #[arg(long, default_value = "127.0.0.1:8080")]
    target: String,
    /// Events per second, over all connections.
    #[arg(long, default_value = "1000")]
    rate: NonZeroU32,
    /// How long to send, in seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Connections, and so calls at the same time.
    #[arg(long, default_value = "256", value_parser = connections)]
    connections: NonZeroUsize,
    /// Events per call: above 1, NDJSON batches go to /v1/events.
    #[arg(long, default_value = "1", value_parser = batch)]
    batch: NonZeroU32,
    /// How many screens ask for ads: 40,000, a large exchange's, for a day, else 2,000. They stand in 30 cities of 16
    /// offsets from UTC, at 20 kinds of places; a larger number adds to the screens of a smaller one.
    #[arg(long)]
    screens: Option<usize>,
    /// The same seed, rate and start time give the same bytes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Time of the first event in milliseconds since the epoch; now by default.
    #[arg(long)]
    start_ms: Option<i64>,
    /// Percentage of events that repeat the one before byte for byte, as a client's retry does.
    #[arg(long, default_value_t = 0.0, value_parser = percentage)]
    retries_percent: f64,
    /// Percentage of made requests that break a rule and must be refused.
    #[arg(long, default_value_t = 0.0, value_parser = percentage)]
    invalid_percent: f64,
    /// Append the ids of accepted events to this file, one a line, as answers come.
    #[arg(long)]
    acks: Option<PathBuf>,
    /// Send the lines of this file instead of made requests.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Send all events of an exchange's day: requests by the hours of their places, bids of five bidders, auctions,
    /// notices, plays and bills up to hours later.
    #[arg(long, conflicts_with_all = ["replay", "retries_percent", "invalid_percent"])]
    day: bool,
    /// Seconds of the day in one second; without it, the day's events are sent at the rate.
    #[arg(long, requires = "day", value_parser = clap::value_parser!(u32).range(1..=3_600))]
    speed: Option<u32>,
    /// Ad requests of a whole day, each of them about 18 events.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    auctions_per_day: u32,
    /// How often to send the file.
    #[arg(long, default_value_t = 1)]
    rounds: u64,
    /// Print this many made requests and end, instead of sending.
    #[arg(long, value_name = "COUNT")]
    print: Option<u64>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

const SCREENS_DEFAULT: usize = 2_000;
/// A large exchange's.
const SCREENS_OF_DAY_DEFAULT: usize = 40_000;

/// What the long help says behind the options.
const MANUAL: &str = "\
The rate is open: events are due at fixed moments, whether or not earlier ones were answered. Latency counts from the
moment at which an event was due, so a server that stops for a second is seen to stop; `service time` counts from when
the call was sent, which is what a closed loop would show. An event for which every connection is still busy a second
after it was due is `missed`: give more --connections, or a larger --batch.

The report: `accepted` are events answered with 2xx, `refused` with a 4xx (--invalid-percent makes some), `unavailable`
with 5xx, 429 or 408, `unanswered` lost their connection or waited too long, `missed` were never sent. The exit code is 0
when the run came to its end, whatever the answers; --json prints the report for programs, --acks keeps every accepted
id, so that they can be looked for in the tables.

A day (--day) is what an exchange sends: ad requests, by the hour of each screen's own clock and the kind of its place;
for each a bid request to five bidders and what they answered (bids, no bids, timeouts, errors, throttling); the auction
of each imp; win and loss notices; plays reported within minutes, some of them hours later; and bills. Ids link them all.
Events come in the order of their own time. --speed 60 sends an hour in a minute, with yesterday's times; without
--speed they are sent as fast as --rate says. One --seed with one --start-ms gives the same bytes each time:

  load --day --start-ms 1795305600000 --print 100000 | sha256sum

What the day looks like in the tables:

  millrace report requests_by_venue_local_hour
  millrace report plays_by_venue_local_hour";

#[expect(clippy::print_stderr, reason = "a command answers on its terminal")]
fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (config, json) = (config(arguments)?, arguments.json);
    if let Some(count) = arguments.print {
        return print(&config, count);
    }
    let runtime = tokio::runtime::Runtime::new().context("start the runtime")?;
    let report = runtime.block_on(send(config))?;
    let text = if json { serde_json::to_string(&report)? } else { report.to_string() };
    writeln!(std::io::stdout(), "{text}").context("print the report")
}

fn config(arguments: &Arguments) -> anyhow::Result<Config> {
    #[expect(clippy::disallowed_methods, reason = "the rim: the run takes its start as an argument")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("read the clock")?;
    let now_ms = i64::try_from(now.as_millis())?;
    let source = match &arguments.replay {
        None if arguments.day => Source::Day(day(arguments, now_ms)?),
        Some(path) => Source::Replay(Replay::read(path, arguments.rounds)?),
        None => {
            let screens = screens(arguments.seed, arguments.screens.unwrap_or(SCREENS_DEFAULT));
            Source::Traffic(Traffic::new(arguments.seed, &screens, per_10k(arguments.invalid_percent))?)
        }
    };
    Ok(Config {
        target: arguments.target.clone(),
        source,
        events_per_s: arguments.rate,
        duration: Duration::from_secs(arguments.seconds),
        connections: arguments.connections,
        batch: arguments.batch,
        retry_per_10k: per_10k(arguments.retries_percent),
        seed: arguments.seed,
        start_ms: arguments.start_ms.unwrap_or(now_ms),
        acks: arguments.acks.clone(),
        answer_timeout: Duration::from_secs(30),
    })
}

/// The day from now on; one that goes faster than the clock is that of yesterday, so that it does not come to plays that
/// have not happened yet.
fn day(arguments: &Arguments, now_ms: i64) -> anyhow::Result<DaySource> {
    const DAY_MS: i64 = 86_400_000;
    let is_fast = arguments.speed.is_some_and(|speed| speed > 1);
    let start_ms = arguments.start_ms.unwrap_or(if is_fast { now_ms - DAY_MS } else { now_ms });
    let config = DayConfig { seed: arguments.seed, start_ms, auctions_per_day: arguments.auctions_per_day };
    let count = arguments.screens.unwrap_or(SCREENS_OF_DAY_DEFAULT);
    let day = Day::new(config, screens(arguments.seed, count))?;
    Ok(DaySource::new(day, arguments.speed.and_then(NonZeroU32::new)))
}

fn print(config: &Config, count: u64) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut line = Vec::new();
    for index in 0..count {
        line.clear();
        config.source.write(index, config.start_ms, &mut line);
        line.push(b'\n');
        match out.write_all(&line) {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.context("print requests")?,
        }
    }
    Ok(())
}

/// Sends until the end or ctrl-C, with a line of progress each second on a terminal.
async fn send(config: Config) -> anyhow::Result<Report> {
    let progress = Arc::new(Progress::default());
    let watched = Arc::clone(&progress);
    let shown = tokio::spawn(async move {
        let mut accepted_before = 0;
        let mut second = tokio::time::interval(Duration::from_secs(1));
        while std::io::stderr().is_terminal() {
            second.tick().await;
            let (counts, latency) = (watched.counts(), watched.latency());
            let rate = counts.accepted - accepted_before;
            accepted_before = counts.accepted;
            let lost = counts.unavailable + counts.unanswered + counts.missed;
            let line = format!(
                "\r{rate}/s  accepted {}  refused {}  lost {lost}  {latency}\x1b[K",
                counts.accepted, counts.refused
            );
            if std::io::stderr().write_all(line.as_bytes()).is_err() {
                return;
            }
        }
    });
    let shutdown = async {
        if tokio::signal::ctrl_c().await.is_err() {
            // Without the signal the run ends by itself.
            std::future::pending::<()>().await;
        }
    };
    let report = load::run(config, progress, shutdown).await;
    shown.abort();
    if std::io::stderr().is_terminal() {
        std::io::stderr().write_all(b"\r\x1b[K")?;
    }
    Ok(report?)
}

fn per_10k(percent: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be 0 to 100 when parsed")]
    let per_10k = (percent * 100.0).round() as u32;
    per_10k
}

fn percentage(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "must be a number from 0 to 100".to_owned())
}

fn connections(text: &str) -> Result<NonZeroUsize, String> {
    let count: Option<NonZeroUsize> = text.parse().ok();
    let valid = count.filter(|count| count.get() <= CONNECTIONS_MAX);
    valid.ok_or_else(|| format!("must be a number from 1 to {CONNECTIONS_MAX}"))
}

fn batch(text: &str) -> Result<NonZeroU32, String> {
    let size: Option<NonZeroU32> = text.parse().ok();
    size.filter(|size| size.get() <= 10_000).ok_or_else(|| "must be a number from 1 to 10000".to_owned())
}
