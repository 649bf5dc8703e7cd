//! The whole way: HTTP, both streams, enrichment, Parquet, tables, with the load generator beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use millrace::cloud::{Doors, STREAM_TRANSITION_DEFAULT};
use millrace::demo::{TrafficOptions, load_config};
use millrace::names;
use millrace::pipeline::{Options, Pipeline};

use crate::cpu;
use crate::figure::{Better, Figure};

/// 2 billion a day.
const GOAL_RATE: f64 = 23_148.0;
/// An event is in SQL within a minute of its acknowledgement.
const GOAL_TO_SQL_S: f64 = 60.0;
/// Bytes a second of one shard; an event of the load generator has about 1,900 bytes with its envelope.
const SHARD_BYTES_PER_S: u32 = 1_000_000;
const EVENT_BYTES: u32 = 1_900;
const SCREENS: u32 = 40_000;
const SEED: u64 = 1;

/// Offers `rate` requests a second for a time, then waits until all that was accepted is in SQL.
pub(crate) async fn measure(rate: u32, seconds: u64, batch: u32) -> anyhow::Result<Vec<Figure>> {
    let dir = tempfile::Builder::new().prefix("bench-pipeline").tempdir_in("target").context("make a directory")?;
    let pipeline = Pipeline::start(options(dir.path(), rate)?).await?;
    let cpu_before = cpu::of_process()?;
    let started = Instant::now();
    let config = load_config(&TrafficOptions {
        ingest: pipeline.ingest(),
        rate,
        duration: Duration::from_secs(seconds),
        seed: SEED,
        screens: SCREENS,
        batch,
    })?;
    let report = load::run(config, Arc::new(load::Progress::default()), std::future::pending()).await?;
    let acknowledged = started.elapsed();
    pipeline.drain().await?;
    let answer = names::athena(pipeline.aws()).run("SELECT count(DISTINCT event_id) FROM ad_requests").await?;
    let queryable = started.elapsed();
    let spent = cpu::of_process()?.saturating_sub(cpu_before);
    let rows: f64 = answer.rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok()).context("no count")?;
    let accepted = pipeline.snapshot().accepted;
    pipeline.stop().await?;
    ensure!(rows > 0.0 && accepted > 0, "nothing was accepted: {report}");
    figures(&Measured { rate, rows, acknowledged, queryable, spent, report: report.to_string() })
}

struct Measured {
    rate: u32,
    rows: f64,
    acknowledged: Duration,
    queryable: Duration,
    spent: Duration,
    report: String,
}

fn figures(measured: &Measured) -> anyhow::Result<Vec<Figure>> {
    let cores = std::thread::available_parallelism().context("count the cores")?;
    let offered = format!("{} requests/s offered, {cores} cores, load generator in the same process", measured.rate);
    let figure = |name, value, unit, goal, better, note: String| Figure {
        name,
        value,
        unit,
        goal,
        better,
        peer: None,
        peer_value: None,
        note,
    };
    let accepted_rate = measured.rows / measured.acknowledged.as_secs_f64();
    let whole_rate = measured.rows / measured.queryable.as_secs_f64();
    let cpu_us = measured.spent.as_secs_f64() * 1e6 / measured.rows;
    let to_sql = measured.queryable.saturating_sub(measured.acknowledged).as_secs_f64();
    let load = measured.report.replace('\n', "; ");
    Ok(vec![
        figure("pipeline.accepted_rate", accepted_rate, "events/s", Some(GOAL_RATE), Better::Higher, load),
        figure("pipeline.whole_rate", whole_rate, "events/s", Some(GOAL_RATE), Better::Higher, offered),
        figure("pipeline.cpu_per_event", cpu_us, "us", None, Better::Lower, String::new()),
        figure(
            "pipeline.to_sql",
            to_sql,
            "s",
            Some(GOAL_TO_SQL_S),
            Better::Lower,
            "last of them, after a backlog".into(),
        ),
    ])
}

fn options(data_dir: &std::path::Path, rate: u32) -> anyhow::Result<Options> {
    let any = "127.0.0.1:0".parse().context("read an address")?;
    // A quarter more shards than the bytes need: keys do not fall evenly.
    let shards = (rate.saturating_mul(EVENT_BYTES) / SHARD_BYTES_PER_S) * 5 / 4 + 1;
    Ok(Options {
        data_dir: data_dir.to_owned(),
        cloud: any,
        doors: Doors::default(),
        stream_transition: STREAM_TRANSITION_DEFAULT,
        ingest: any,
        raw_shards: u16::try_from(shards).context("too many shards")?,
        screens: millrace::up::screens_table(SEED, SCREENS)?,
        publish_interval: Duration::from_secs(10),
        binaries: None,
        faults: Vec::new(),
    })
}
