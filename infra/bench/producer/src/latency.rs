//! Time in the buffer, by time stamps in the payloads that the endpoint reads; and the time of a flush beside a bare round trip.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use aws_sdk_kinesis::{Client, primitives::Blob};
use hdrhistogram::Histogram;
use kinesis_producer::Producer;

use crate::{
    child::Endpoint,
    endpoint::{EndpointOptions, micros_now, stamp},
    figure::{Better, Figure},
    offer::{Records, client, pace, producer},
};

const SHARDS: u32 = 4;
const RECORD_BYTES: usize = 300;
/// Half of what four shards take: 2 MB/s in records of 300 bytes and their keys.
const HALF_LOAD_PER_S: f64 = 2_000_000.0 / 320.0;
/// Shorter than the linger: a lane has one aggregate on its way, so no record can wait less than a round trip.
const ROUND_TRIP_MS: u64 = 3;
const WARM_UP: Duration = Duration::from_secs(2);
const ROUND_TRIPS: u32 = 300;
const FLUSH_PAUSE: Duration = Duration::from_millis(17);

/// Longest time that histograms tell apart: a minute.
const TIME_US_MAX: u64 = 60_000_000;
const SLACK_US: u32 = 2_000;
const FLUSH_SLACK_US: u32 = 5_000;

pub(crate) async fn measure(length: Duration) -> anyhow::Result<Vec<Figure>> {
    let options = EndpointOptions { shards: SHARDS, model: None, round_trip_ms: ROUND_TRIP_MS, reads_payloads: true };
    let endpoint = Endpoint::start(&options)?;
    let bare = round_trips(&client(&endpoint)).await?;
    let linger_ms = 5;
    let producer = producer(&endpoint, |config| config.linger = Duration::from_millis(linger_ms)).await?;
    offer(&producer, WARM_UP).await?;
    endpoint.reset()?;
    offer(&producer, length).await?;
    let tally = endpoint.tally()?;
    ensure!(tally.malformed == 0 && tally.user_records > 0, "the endpoint could not read what was sent: {tally}");
    let (load, flushes) = tokio::join!(offer(&producer, length), flushes(&producer, length));
    load?;
    let flushes = flushes?;
    producer.close().await;
    let load = format!("{SHARDS} shards at half load, linger {linger_ms} ms, round trip {ROUND_TRIP_MS} ms");
    let linger_us = u32::try_from(linger_ms * 1000).context("a short linger")?;
    let figure = |name, value, goal_us: u32, note| Figure {
        name,
        value,
        unit: "ms p99",
        goal: Some(f64::from(goal_us) / 1e3),
        better: Better::Lower,
        peer: None,
        peer_value: None,
        note,
    };
    let bare_us = micros(bare.value_at_quantile(0.5))?;
    Ok(vec![
        figure(
            "producer.buffered",
            f64::from(micros(tally.wait_us_p99)?) / 1e3,
            linger_us + SLACK_US,
            format!(
                "p50 {:.1} ms; from send to the arrival of the request's head; {load}",
                f64::from(micros(tally.wait_us_p50)?) / 1e3
            ),
        ),
        figure(
            "producer.flush",
            f64::from(micros(flushes.value_at_quantile(0.99))?) / 1e3,
            bare_us + FLUSH_SLACK_US,
            format!(
                "p50 {:.1} ms; a bare PutRecord p50 {:.1} ms, p99 {:.1} ms; under the same load",
                f64::from(micros(flushes.value_at_quantile(0.5))?) / 1e3,
                f64::from(bare_us) / 1e3,
                f64::from(micros(bare.value_at_quantile(0.99))?) / 1e3,
            ),
        ),
    ])
}

async fn offer(producer: &Producer, length: Duration) -> anyhow::Result<()> {
    let mut records = Records::new(0);
    pace(producer, HALF_LOAD_PER_S, length, || {
        let mut payload = stamp(micros_now()).into_bytes();
        payload.resize(RECORD_BYTES, b'x');
        records.with(payload.into())
    })
    .await
}

async fn flushes(producer: &Producer, length: Duration) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new_with_max(TIME_US_MAX, 3).context("make a histogram")?;
    let started = Instant::now();
    while started.elapsed() < length {
        tokio::time::sleep(FLUSH_PAUSE).await;
        let asked = Instant::now();
        producer.flush().await;
        times.saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

/// What one call costs without the producer: the SDK, the connection, and the round trip that the endpoint pretends.
async fn round_trips(client: &Client) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new_with_max(TIME_US_MAX, 3).context("make a histogram")?;
    for _ in 0..ROUND_TRIPS {
        let asked = Instant::now();
        let put = client.put_record().stream_name("events").partition_key("bare").data(Blob::new(stamp(micros_now())));
        put.send().await.context("put a record")?;
        times.saturating_record(u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    Ok(times)
}

fn micros(value: u64) -> anyhow::Result<u32> {
    u32::try_from(value).context("more than an hour")
}
