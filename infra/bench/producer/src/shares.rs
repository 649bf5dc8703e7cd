//! How much of a shard's limits is used, and how evenly: one producer, or eight that share a shard, under each limit model.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use kinesis_producer::Producer;
use shard_limits::{WRITE_BYTES_PER_S, WRITE_RECORDS_PER_S, WriteModel};
use tokio::task::JoinHandle;

use crate::{
    child::Endpoint,
    endpoint::{EndpointOptions, Tally},
    figure::{Better, Figure},
    offer::{Records, producer},
};

/// A usual round trip within a region.
const ROUND_TRIP_MS: u64 = 10;
/// Until tanks that were full at the start are no longer counted.
const WARM_UP: Duration = Duration::from_secs(4);
/// Until eight producers have found their parts.
const CROWD_WARM_UP: Duration = Duration::from_secs(30);
const CROWD: usize = 8;
/// Between the starts of two of them.
const STAGGER: Duration = Duration::from_millis(300);

const GOAL_USED: f64 = 98.0;
const GOAL_CROWD_USED: f64 = 90.0;
const GOAL_CROWD_THROTTLED: f64 = 1.0;
const GOAL_JAIN: f64 = 0.9;

/// Which of a shard's two limits binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    /// 1 KB records, aggregated.
    Bytes,
    /// 10 B records, not aggregated.
    Records,
}

/// Producers that offer more than a shard takes, until they are dropped.
#[derive(Debug)]
struct Crowd {
    endpoint: Endpoint,
    producers: Vec<Producer>,
    offers: Vec<JoinHandle<()>>,
}

/// What a crowd did in a measured time.
#[derive(Debug)]
struct Measured {
    used_percent: f64,
    throttled_percent: f64,
    throttled: u64,
    jain: f64,
}

pub(crate) async fn measure_one(length: Duration) -> anyhow::Result<Vec<Figure>> {
    let names = [
        ["producer.bytes_used.smooth", "producer.records_used.smooth"],
        ["producer.bytes_used.window", "producer.records_used.window"],
        ["producer.bytes_used.burst", "producer.records_used.burst"],
    ];
    let mut crowds = Vec::new();
    for (model, names) in WriteModel::ALL.into_iter().zip(names) {
        for (bound, name) in [Bound::Bytes, Bound::Records].into_iter().zip(names) {
            crowds.push((name, bound, Crowd::start(model, bound, 1).await?));
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let mut figures = Vec::new();
    for (name, measured) in measure_all(&crowds, length).await? {
        let note =
            format!("{} throttled, goal 0; {} s, round trip {ROUND_TRIP_MS} ms", measured.throttled, length.as_secs());
        figures.push(figure(name, measured.used_percent, "% of the limit", GOAL_USED, note));
    }
    Ok(figures)
}

pub(crate) async fn measure_crowd(length: Duration) -> anyhow::Result<Vec<Figure>> {
    let names = ["smooth", "window", "burst"];
    let mut crowds = Vec::new();
    for (model, name) in WriteModel::ALL.into_iter().zip(names) {
        crowds.push((name, Bound::Bytes, Crowd::start(model, Bound::Bytes, CROWD).await?));
    }
    tokio::time::sleep(CROWD_WARM_UP).await;
    let mut figures = Vec::new();
    for (model, measured) in measure_all(&crowds, length).await? {
        let note = || format!("{model}, {CROWD} producers, {} s after {} s", length.as_secs(), CROWD_WARM_UP.as_secs());
        figures.push(figure("producer.crowd_used", measured.used_percent, "% of the limit", GOAL_CROWD_USED, note()));
        figures.push(Figure {
            better: Better::Lower,
            ..figure(
                "producer.crowd_throttled",
                measured.throttled_percent,
                "% of attempts",
                GOAL_CROWD_THROTTLED,
                note(),
            )
        });
        figures.push(figure("producer.crowd_jain", measured.jain, "Jain", GOAL_JAIN, note()));
    }
    Ok(figures)
}

/// Measures all crowds over the same time.
async fn measure_all(
    crowds: &[(&'static str, Bound, Crowd)],
    length: Duration,
) -> anyhow::Result<Vec<(&'static str, Measured)>> {
    let mut before = Vec::new();
    for (_, _, crowd) in crowds {
        crowd.endpoint.reset()?;
        before.push((Instant::now(), crowd.acknowledged_bytes()));
    }
    tokio::time::sleep(length).await;
    let mut measured = Vec::new();
    for ((name, bound, crowd), (since, bytes_before)) in crowds.iter().zip(before) {
        let tally = crowd.endpoint.tally()?;
        let parts: Vec<u64> =
            crowd.acknowledged_bytes().into_iter().zip(bytes_before).map(|(after, before)| after - before).collect();
        measured.push((*name, weigh(&tally, since.elapsed(), *bound, &parts)?));
    }
    Ok(measured)
}

impl Crowd {
    async fn start(model: WriteModel, bound: Bound, count: usize) -> anyhow::Result<Self> {
        let options =
            EndpointOptions { shards: 1, model: Some(model), round_trip_ms: ROUND_TRIP_MS, reads_payloads: false };
        let endpoint = Endpoint::start(&options)?;
        let mut crowd = Crowd { endpoint, producers: Vec::new(), offers: Vec::new() };
        for _ in 0..count {
            let producer = producer(&crowd.endpoint, |config| {
                config.aggregation = bound == Bound::Bytes;
                config.buffer_bytes_max = 2 << 20;
            });
            let producer = producer.await?;
            crowd.producers.push(producer.clone());
            crowd.offers.push(tokio::spawn(offer(producer, bound)));
            tokio::time::sleep(if count > 1 { STAGGER } else { Duration::ZERO }).await;
        }
        Ok(crowd)
    }

    fn acknowledged_bytes(&self) -> Vec<u64> {
        self.producers.iter().map(|producer| producer.stats().bytes).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for offer in &self.offers {
            offer.abort();
        }
    }
}

/// Keeps a producer's buffer full.
async fn offer(producer: Producer, bound: Bound) {
    let mut records = Records::new(if bound == Bound::Bytes { 1_000 } else { 10 });
    // A closed producer ends it; results are counted by the producer and by the endpoint.
    while producer.send(records.next()).await.map(drop).is_ok() {}
}

fn weigh(tally: &Tally, elapsed: Duration, bound: Bound, parts: &[u64]) -> anyhow::Result<Measured> {
    let float = |value: u64| u32::try_from(value).map(f64::from).context("too much for the figure");
    let (taken, limit) = match bound {
        Bound::Bytes => (tally.bytes, WRITE_BYTES_PER_S),
        Bound::Records => (tally.records, WRITE_RECORDS_PER_S),
    };
    let limit = float(u64::try_from(limit).context("a limit is positive")?)? * elapsed.as_secs_f64();
    let attempts = float(tally.records + tally.throttled)?.max(1.0);
    let parts: Vec<f64> = parts.iter().map(|part| float(*part)).collect::<anyhow::Result<_>>()?;
    Ok(Measured {
        used_percent: float(taken)? / limit * 100.0,
        throttled_percent: float(tally.throttled)? / attempts * 100.0,
        throttled: tally.throttled,
        jain: jain(&parts),
    })
}

/// Jain's index: 1 when all have the same, one part in their number when one has everything.
fn jain(parts: &[f64]) -> f64 {
    let sum: f64 = parts.iter().sum();
    let squares: f64 = parts.iter().map(|part| part * part).sum();
    let count: f64 = parts.iter().map(|_| 1.0).sum();
    if squares > 0.0 { sum * sum / (count * squares) } else { 0.0 }
}

fn figure(name: &'static str, value: f64, unit: &'static str, goal: f64, note: String) -> Figure {
    Figure { name, value, unit, goal: Some(goal), better: Better::Higher, peer: None, peer_value: None, note }
}

#[cfg(test)]
mod tests {
    use super::jain;

    #[test]
    fn jain_is_one_when_even_and_a_part_when_not() {
        for (parts, expect) in
            [(&[3.0, 3.0, 3.0, 3.0][..], 1.0), (&[8.0, 0.0, 0.0, 0.0], 0.25), (&[1.0, 3.0], 0.8), (&[0.0], 0.0)]
        {
            assert!((jain(parts) - expect).abs() < 1e-9, "{parts:?}");
        }
    }
}
