//! What all measurements share on the producer's side: a client, records, and ways to offer them.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_credential_types::Credentials;
use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Region},
};
use bytes::Bytes;
use kinesis_producer::{Config, Delivery, Producer, Record};

use crate::child::Endpoint;

/// Partition keys in use: as many as there are screens in a large network.
const KEYS: usize = 40_000;

/// A client of the endpoint that signs as every client does.
pub(crate) fn client(endpoint: &Endpoint) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "secret", None, None, "bench"))
        .endpoint_url(endpoint.url());
    Client::from_conf(config.build())
}

/// A producer on the endpoint's stream.
pub(crate) async fn producer(endpoint: &Endpoint, change: impl FnOnce(&mut Config)) -> anyhow::Result<Producer> {
    let mut config = Config::new("events");
    change(&mut config);
    Producer::start(config, client(endpoint)).await.context("start a producer")
}

/// Records of one size, over many keys. Payloads share their bytes, so that making records costs little.
#[derive(Debug)]
pub(crate) struct Records {
    keys: Vec<String>,
    data: Bytes,
    next: usize,
}

impl Records {
    /// Records whose payload has so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let keys = (0..KEYS).map(|number| format!("screen-{number:06}")).collect();
        let data = (0..bytes)
            .map(|index| b"{\"id\":\"0123456789abcdef\",\"w\":1920}".get(index % 34).copied().unwrap_or(b' '));
        Records { keys, data: data.collect(), next: 0 }
    }

    /// The next record, of the next key.
    pub(crate) fn next(&mut self) -> Record {
        let data = self.data.clone();
        self.with(data)
    }

    /// A record of the next key with this payload.
    pub(crate) fn with(&mut self, data: Bytes) -> Record {
        self.next = (self.next + 1) % KEYS;
        Record::new(self.keys.get(self.next).cloned().unwrap_or_default(), data)
    }
}

/// Offers records as fast as the producer takes them, and awaits the result of each.
pub(crate) async fn flood(producer: &Producer, records: &mut Records, length: Duration) -> anyhow::Result<u64> {
    flood_with(producer, || records.next(), length).await
}

/// The same, with records that `make` makes.
pub(crate) async fn flood_with(
    producer: &Producer,
    mut make: impl FnMut() -> Record,
    length: Duration,
) -> anyhow::Result<u64> {
    /// Results that are not awaited yet, at most; beyond them the oldest is.
    const OPEN_MAX: usize = 200_000;
    /// Records between two looks at the clock.
    const ROUND: u64 = 256;
    let until = Instant::now() + length;
    let mut open: VecDeque<Delivery> = VecDeque::new();
    let mut sent = 0;
    while Instant::now() < until {
        for _ in 0..ROUND {
            open.push_back(producer.send(make()).await.context("send a record")?);
        }
        sent += ROUND;
        while open.len() > OPEN_MAX
            && let Some(oldest) = open.pop_front()
        {
            oldest.await.context("put a record")?;
        }
    }
    for delivery in open {
        delivery.await.context("put a record")?;
    }
    Ok(sent)
}

/// Offers `per_s` records a second, each made by `make`, and awaits no result; what is late because the producer is full is
/// left out.
pub(crate) async fn pace(
    producer: &Producer,
    per_s: f64,
    length: Duration,
    mut make: impl FnMut() -> Record,
) -> anyhow::Result<()> {
    const STEP: Duration = Duration::from_millis(1);
    let mut timer = tokio::time::interval(STEP);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let started = Instant::now();
    let mut credit = 0.0;
    let mut last = started;
    while last.duration_since(started) < length {
        timer.tick().await;
        let now = Instant::now();
        // A blocked sender does not come back with everything that it missed.
        credit += per_s * now.duration_since(last).min(Duration::from_millis(100)).as_secs_f64();
        last = now;
        while credit >= 1.0 {
            credit -= 1.0;
            drop(producer.send(make()).await.context("send a record")?);
        }
    }
    Ok(())
}
