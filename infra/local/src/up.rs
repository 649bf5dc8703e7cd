//! `millrace up`: everything runs until ctrl-C or SIGTERM.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{PlaceArgs, UpArgs};
use crate::pipeline::{Binaries, Options, Pipeline};
use crate::{faults, names};

/// Seed of the screens table where no traffic has one.
pub const SCREENS_SEED: u64 = 1;

/// Runs the pipeline until it is told to stop.
///
/// # Errors
/// What [`Pipeline::start`] and [`Pipeline::stop`] say.
#[expect(clippy::print_stdout, reason = "where things are is the command's result")]
pub async fn run(arguments: UpArgs) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let pipeline = Pipeline::start(options(&arguments.place, SCREENS_SEED).await?).await?;
    println!("{}", places(&pipeline, &arguments.place));
    println!("Ready. Ctrl-C stops it, after what was accepted is in the tables.");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("Stopping: no new events, working off what was accepted.");
    let stopping = pipeline.stop();
    tokio::select! {
        stopped = stopping => stopped?,
        _ = interrupt.recv() => {
            println!("Stopped at once. What was accepted is on disk and is worked off after the next start.");
            return Ok(ExitCode::FAILURE);
        }
    }
    println!("Stopped.");
    Ok(ExitCode::SUCCESS)
}

/// The pipeline's options from what was typed.
///
/// # Errors
/// A missing binary of a function that is to run isolated, credentials or a file of faults that cannot be read.
pub async fn options(place: &PlaceArgs, seed: u64) -> anyhow::Result<Options> {
    let faults = match &place.faults {
        Some(file) => faults::command::read(file).await?,
        None => Vec::new(),
    };
    Ok(Options {
        data_dir: place.data_dir.clone(),
        cloud: place.cloud,
        doors: place.doors.doors()?,
        stream_transition: Duration::from_millis(place.stream_transition_ms),
        ingest: place.ingest,
        raw_shards: place.shards,
        screens: screens_table(seed, place.screens)?,
        publish_interval: Duration::from_secs(place.publish_interval),
        binaries: place.isolated.then(Binaries::beside_this_program).transpose()?,
        faults,
    })
}

/// Where everything lies, for a person.
pub fn places(pipeline: &Pipeline, place: &PlaceArgs) -> String {
    let endpoint = pipeline.cloud().endpoint();
    let data_dir = place.data_dir.display();
    let credentials = if place.doors.check_signatures { "signatures are checked" } else { "any credentials" };
    let https = match (pipeline.cloud().https_endpoint(), pipeline.cloud().authority()) {
        (Some(https), Some(authority)) => {
            format!("\n                 {https}   (clients are to trust {}, as by AWS_CA_BUNDLE)", authority.display())
        }
        (Some(_), None) | (None, _) => String::new(),
    };
    format!(
        "collection API   http://{ingest}   (POST /v1/ad_requests, POST /v1/events; all routes: /openapi.json)\n\
         local cloud      {endpoint}   (Kinesis, Firehose, S3, Glue, Athena, Lambda; {credentials}, region us-east-1){https}\n\
         streams          {raw}, {enriched}\n\
         tables           {tables}   (database {database})\n\
         files            {data_dir}/s3/objects/{bucket}/",
        ingest = pipeline.ingest(),
        raw = names::RAW_STREAM,
        enriched = names::ENRICHED_STREAM,
        tables = events::table::TABLES.map(|table| table.name).join(", "),
        database = names::DATABASE,
        bucket = names::LAKE_BUCKET,
    )
}

/// A screens table of made screens.
///
/// # Errors
/// Only if a screen could not be written as JSON, which no value of it causes.
pub fn screens_table(seed: u64, count: u32) -> anyhow::Result<Vec<u8>> {
    let mut table = Vec::new();
    for screen in load::screens(seed, usize::try_from(count)?) {
        serde_json::to_writer(&mut table, &screen).context("write the screens table")?;
        table.push(b'\n');
    }
    Ok(table)
}
