//! JSON events to Parquet on one thread, beside `DuckDB` on the same events.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use aws_lambda_events::event::kinesis::KinesisEvent;
use enrich::screens::Screens;
use events::envelope::{Envelope, EventType, SCHEMA_VERSION};
use events::event_id::EventId;
use futures::TryStreamExt as _;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use serde::Deserialize;

use crate::cpu;
use crate::figure::{Better, Figure};
use crate::peer;

/// Records in one batch, as an event source mapping with a full batch hands them over.
const BATCH_RECORDS: usize = 2_000;
const SCREENS: usize = 40_000;
const SEED: u64 = 1;
/// 2026-11-01 00:00 UTC.
const START_MS: i64 = 1_793_491_200_000;

/// What the peer's script prints.
#[derive(Debug, Deserialize)]
struct Peer {
    cpu_s: f64,
    bytes: f64,
    version: String,
}

/// Stages `count` enriched events, then has `DuckDB` write the same rows of `ad_requests` from the same JSON.
pub(crate) async fn measure(count: usize) -> anyhow::Result<Vec<Figure>> {
    let records = enriched_records(count)?;
    let json_bytes: usize = records.iter().map(Vec::len).sum();
    let (ours, ours_bytes) = stage(&records).await?;
    let duckdb = duckdb(&records);
    let events = f64::from(u32::try_from(count).context("too many events")?);
    let (peer_rate, peer_size, peer) = match duckdb {
        Ok(peer) => (Some(events / peer.cpu_s), Some(peer.bytes / events), format!("DuckDB {}", peer.version)),
        Err(error) => (None, None, format!("DuckDB ({error:#})")),
    };
    let ours_rate = events / ours.as_secs_f64();
    let note = format!(
        "{} MB of JSON; ours writes ad_requests and imps, DuckDB ad_requests; zstd, one thread",
        json_bytes / 1_000_000
    );
    Ok(vec![
        Figure {
            name: "parquet.stage_rate",
            value: ours_rate,
            unit: "events/CPU s",
            goal: peer_rate,
            better: Better::Higher,
            peer: Some(peer.clone()),
            peer_value: peer_rate,
            note,
        },
        Figure {
            name: "parquet.size",
            value: ours_bytes / events,
            unit: "bytes/event",
            goal: None,
            better: Better::Lower,
            peer: Some(peer),
            peer_value: peer_size,
            note: "ours in objects of one batch each, as staged; DuckDB in one file".into(),
        },
    ])
}

/// Events as the enriched stream has them.
fn enriched_records(count: usize) -> anyhow::Result<Vec<Vec<u8>>> {
    let screens = load::screens(SEED, SCREENS);
    let mut table = Vec::new();
    for screen in &screens {
        serde_json::to_writer(&mut table, screen).context("write the screens table")?;
        table.push(b'\n');
    }
    let table = Screens::from_ndjson(&table)?;
    let traffic = load::Traffic::new(SEED, &screens, 0)?;
    let mut records = Vec::with_capacity(count);
    for index in 0..u64::try_from(count)? {
        let mut body = Vec::new();
        let received_ts = START_MS + i64::try_from(index)? / 20;
        traffic.write(index, received_ts, &mut body);
        let envelope = Envelope {
            event_id: EventId::of_content("demo", "ad_request", &index.to_string(), &body),
            event_type: EventType::AdRequest,
            schema_version: SCHEMA_VERSION,
            tenant_id: "demo".into(),
            auction_id: index.to_string().into(),
            received_ts,
            endpoint: "/v1/ad_requests".into(),
            handler_us: 10,
            warnings: Vec::new(),
            enrichment: None,
        };
        let raw = envelope.write(std::str::from_utf8(&body).context("a body is text")?)?;
        records.push(enrich::calculate::enriched_record(&raw, &table, received_ts + 100)?);
    }
    Ok(records)
}

async fn stage(records: &[Vec<u8>]) -> anyhow::Result<(Duration, f64)> {
    let batches: Vec<KinesisEvent> = records.chunks(BATCH_RECORDS).enumerate().map(batch).collect::<Result<_, _>>()?;
    let store = InMemory::new();
    let before = cpu::of_process()?;
    for event in &batches {
        let staged = etl::stage::stage(&store, event, START_MS).await?;
        ensure!(staged.failed.is_empty(), "an event was not staged");
    }
    let spent = cpu::of_process()?.saturating_sub(before);
    let mut bytes = 0.0;
    let sizes: Vec<u64> = store.list(None).map_ok(|meta| meta.size).try_collect().await?;
    for size in sizes {
        bytes += f64::from(u32::try_from(size).context("an object is too large")?);
    }
    Ok((spent, bytes))
}

fn batch((index, records): (usize, &[Vec<u8>])) -> anyhow::Result<KinesisEvent> {
    let records: Vec<serde_json::Value> = records
        .iter()
        .enumerate()
        .map(|(position, data)| {
            serde_json::json!({
                "eventID": format!("shardId-000000000000:{}", index * BATCH_RECORDS + position),
                "eventSource": "aws:kinesis",
                "kinesis": {
                    "partitionKey": "k",
                    "sequenceNumber": (index * BATCH_RECORDS + position).to_string(),
                    "data": base64_simd::STANDARD.encode_to_string(data),
                    "approximateArrivalTimestamp": 1_793_491_200.0,
                    "kinesisSchemaVersion": "1.0",
                },
            })
        })
        .collect();
    serde_json::from_value(serde_json::json!({ "Records": records })).context("make a batch")
}

/// The peer reads the same lines from a file and writes the same columns.
fn duckdb(records: &[Vec<u8>]) -> anyhow::Result<Peer> {
    let python = peer::python_with("duckdb")?;
    let dir = tempfile::tempdir_in("target").context("make a directory")?;
    let lines = dir.path().join("events.ndjson");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&lines).context("create the peer's input")?);
    for record in records {
        file.write_all(record).and_then(|()| file.write_all(b"\n")).context("write the peer's input")?;
    }
    file.flush().context("write the peer's input")?;
    run_script(&python, &lines, &dir.path().join("out.parquet"))
}

fn run_script(python: &Path, lines: &Path, out: &Path) -> anyhow::Result<Peer> {
    let output = Command::new(python).args(["-c", include_str!("parquet/duckdb.py")]).arg(lines).arg(out).output();
    let output = output.context("run DuckDB")?;
    ensure!(output.status.success(), "DuckDB: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read what DuckDB measured")
}
