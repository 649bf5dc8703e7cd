//! An endpoint that fails for a while: what the producer holds and does meanwhile, and how soon it is back at its full rate.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kinesis_producer::Producer;

use crate::{
    child::Endpoint,
    cpu,
    endpoint::EndpointOptions,
    figure::{Better, Figure},
    offer::{Records, pace, producer},
};

/// What is offered, in records of 1,000 bytes: 50 MB/s.
const RECORDS_PER_S: f64 = 50_000.0;
const RECORD_BYTES: usize = 1_000;
/// Twice what is offered, so that a backlog can be worked off.
const SHARDS: u32 = 100;
const BUFFER_BYTES: usize = 64 << 20;
/// Before the outage: long enough that all memory in steady use has been touched.
const WARM_UP: Duration = Duration::from_secs(5);
/// From the beginning of the outage until the buffer is full and the first retries are over.
const FILL: Duration = Duration::from_secs(3);
/// How long the end of the outage is watched.
const RECOVERY: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(250);

const GOAL_MEMORY: f64 = 1.1;
const GOAL_CPU_PERCENT: f64 = 2.0;
const GOAL_RECOVERY_S: f64 = 5.0;

pub(crate) async fn measure(length: Duration) -> anyhow::Result<Vec<Figure>> {
    let options = EndpointOptions { shards: SHARDS, model: None, round_trip_ms: 5, reads_payloads: false };
    let endpoint = Endpoint::start(&options)?;
    let producer = producer(&endpoint, |config| {
        config.buffer_bytes_max = BUFFER_BYTES;
        // Nothing expires: an expired record would make room, and the offers that fill it again are not the producer's work.
        config.record_deadline = length + WARM_UP + RECOVERY;
    });
    let producer = producer.await?;
    // The SDK's client with its certificates is there by now; what comes is records.
    let before = cpu::resident_bytes()?;
    let offering = tokio::spawn(offer(producer.clone(), WARM_UP + length + RECOVERY));
    tokio::time::sleep(WARM_UP).await;
    endpoint.set_down(true)?;
    let blocked = watch(length).await?;
    endpoint.set_down(false)?;
    let recovered = recovery(&producer).await?;
    offering.await.context("offer records")??;
    producer.close().await;
    let stats = producer.stats();
    ensure!(stats.failed == 0, "{} records were given up", stats.failed);
    let memory = ratio(blocked.resident_bytes_max.saturating_sub(before), BUFFER_BYTES)?;
    let note = format!("{} s of 500s, 50 MB/s offered, buffer 64 MiB, {SHARDS} shards", length.as_secs());
    let figure = |name, value, unit, goal| Figure {
        name,
        value,
        unit,
        goal: Some(goal),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note: note.clone(),
    };
    Ok(vec![
        figure("producer.outage_memory", memory, "of the buffer", GOAL_MEMORY),
        figure("producer.outage_cpu", blocked.cpu_percent, "% of a core", GOAL_CPU_PERCENT),
        figure("producer.outage_recovery", recovered.as_secs_f64(), "s to full rate", GOAL_RECOVERY_S),
    ])
}

#[derive(Debug)]
struct Blocked {
    resident_bytes_max: u64,
    cpu_percent: f64,
}

async fn offer(producer: Producer, length: Duration) -> anyhow::Result<()> {
    let mut records = Records::new(RECORD_BYTES);
    pace(&producer, RECORDS_PER_S, length, || {
        // Bytes of its own, as a real record has: shared ones would hide what the buffer costs.
        let data = vec![b'x'; RECORD_BYTES];
        records.with(data.into())
    })
    .await
}

/// Watches memory for the whole outage, and CPU time once the buffer is full.
async fn watch(length: Duration) -> anyhow::Result<Blocked> {
    let started = Instant::now();
    let mut resident_bytes_max = 0;
    let mut full = None;
    while started.elapsed() < length {
        tokio::time::sleep(STEP).await;
        resident_bytes_max = resident_bytes_max.max(cpu::resident_bytes()?);
        if full.is_none() && started.elapsed() >= FILL {
            full = Some((Instant::now(), cpu::of_process()?));
        }
    }
    let (since, spent) = full.context("the outage is too short to measure")?;
    let spent = cpu::of_process()?.saturating_sub(spent).as_secs_f64();
    Ok(Blocked { resident_bytes_max, cpu_percent: spent / since.elapsed().as_secs_f64() * 100.0 })
}

/// How long it takes from now until a step's acknowledgements are at the offered rate.
async fn recovery(producer: &Producer) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut last = (started, producer.stats().acknowledged);
    while started.elapsed() < RECOVERY {
        tokio::time::sleep(STEP).await;
        let now = (Instant::now(), producer.stats().acknowledged);
        let count = u32::try_from(now.1 - last.1).context("too many records")?;
        let rate = f64::from(count) / now.0.duration_since(last.0).as_secs_f64();
        if rate >= RECORDS_PER_S * 0.95 {
            return Ok(started.elapsed());
        }
        last = now;
    }
    Ok(RECOVERY)
}

fn ratio(part: u64, whole: usize) -> anyhow::Result<f64> {
    let kib = |bytes: u64| u32::try_from(bytes / 1024).map(f64::from).context("too many bytes");
    Ok(kib(part)? / kib(u64::try_from(whole)?)?)
}
