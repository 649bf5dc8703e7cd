//! A handle to one delivery stream: its limits, its meters, and the tasks behind it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use owner::{Command, Owner};

use super::active::Active;
use super::config::StreamConfig;
use super::delivery::{Delivered, Worker};
use super::destination::Destination;
use super::limiter::{Limiter, Put};
use super::partition::MAX_ACTIVE;
use super::segment::{self, Place};
use super::source::{self, Read};
use super::{FirehoseError, Surroundings};
use crate::cloudwatch::{Counted, Measured, MetricKey};
use crate::limits::LimitUse;
use crate::meter::{Reading, count};

mod owner;

/// Requests that wait to be written; beyond, callers wait.
const QUEUE: usize = 256;
/// Sealed buffers that may wait in memory by name: the undelivered bytes bound them long before.
const SEALED_QUEUE: usize = 4096;
/// Bytes that may wait for S3 before records are refused: 1 GiB.
const MAX_UNDELIVERED: u64 = 1 << 30;

const BUFFERING: &str = "firehose/latest/APIReference/API_BufferingHints.html";
const PARTITIONS: &str = "firehose/latest/dev/limits.html";
/// A limit that AWS does not have.
const OURS: &str = "(of this local cloud: then puts are refused)";

/// A record as it comes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) data: Bytes,
    /// Of a record from a Kinesis stream: where it stood, and when it arrived there.
    pub(super) origin: Option<(Place, i64)>,
}

impl From<Bytes> for Incoming {
    fn from(data: Bytes) -> Self {
        Self { data, origin: None }
    }
}

/// A handle to the tasks.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) config: Arc<StreamConfig>,
    destination: Arc<Destination>,
    around: Surroundings,
    commands: mpsc::Sender<Command>,
    meters: Meters,
    gauge: Arc<Gauge>,
    // The tasks end with the last handle.
    _tasks: Arc<Vec<AbortOnDropHandle<()>>>,
}

/// What a stream counted; it outlives a change of the stream's destination. Each lock is held for a few additions.
#[derive(Debug, Clone)]
pub(super) struct Meters {
    limiter: Arc<Mutex<Limiter>>,
    delivered: Arc<Mutex<Delivered>>,
    read: Arc<Mutex<Read>>,
}

/// What a stream holds now: written by its tasks, read by whoever asks.
#[derive(Debug, Default)]
struct Gauge {
    /// Bytes in the fullest buffer that takes records.
    fullest: AtomicU64,
    /// When the first record of the oldest buffer came, in milliseconds since the epoch; 0 while there is none.
    first_arrival_ms: AtomicI64,
    /// Bytes sealed and not delivered.
    undelivered: Arc<AtomicU64>,
    active: Active,
}

impl Stream {
    /// Starts the tasks, and delivers what an earlier run left. `meters` are those of the stream before a change.
    pub(super) async fn open(
        dir: PathBuf,
        config: StreamConfig,
        around: &Surroundings,
        meters: Option<Meters>,
    ) -> io::Result<Self> {
        let destination = Arc::new(config.destination().map_err(io::Error::other)?);
        let config = Arc::new(config);
        let left = dir.clone();
        let left = tokio::task::spawn_blocking(move || segment::segments(&left)).await.map_err(io::Error::other)??;
        let (jobs, queue) = mpsc::channel(SEALED_QUEUE);
        let (commands, inbox) = mpsc::channel(QUEUE);
        let meters = meters.unwrap_or_else(|| Meters::new(around.clock.now_ms()));
        let gauge = Arc::new(Gauge::default());
        let worker = Worker {
            config: Arc::clone(&config),
            destination: Arc::clone(&destination),
            around: around.clone(),
            undelivered: Arc::clone(&gauge.undelivered),
            delivered: Arc::clone(&meters.delivered),
            active: gauge.active.clone(),
        };
        let delivery = AbortOnDropHandle::new(tokio::spawn(worker.run(queue)));
        let owner = Owner::new(dir.clone(), &config, Arc::clone(&destination), around, (jobs, Arc::clone(&gauge)));
        let task = async move {
            // Delivery ends with its owner.
            let _delivery = delivery;
            owner.run(inbox, left).await;
        };
        let mut tasks = vec![AbortOnDropHandle::new(tokio::spawn(task))];
        if let Some(from) = &config.source {
            let sink = Sink { commands: commands.clone() };
            let reading = source::run(dir, from.clone(), around.clone(), sink, Arc::clone(&meters.read));
            tasks.push(AbortOnDropHandle::new(tokio::spawn(reading)));
        }
        let around = around.clone();
        Ok(Self { config, destination, around, commands, meters, gauge, _tasks: Arc::new(tasks) })
    }

    /// The same stream with another configuration, of which its tasks need nothing.
    pub(super) fn with_config(&self, config: StreamConfig) -> Self {
        Self { config: Arc::new(config), ..self.clone() }
    }

    /// What it counted, for the stream that follows it.
    pub(super) fn meters(&self) -> Meters {
        self.meters.clone()
    }

    /// Takes a request within the stream's rates.
    pub(super) fn admit(&self, put: Put) -> Result<(), FirehoseError> {
        let (mut limiter, now_ms) = (lock(&self.meters.limiter), self.around.clock.now_ms());
        limiter.note(put, now_ms);
        if limiter.admit(put, now_ms) { Ok(()) } else { Err(FirehoseError::Throttled) }
    }

    /// Notes a request that is too large to be looked at further.
    pub(super) fn note(&self, put: Put) {
        lock(&self.meters.limiter).note(put, self.around.clock.now_ms());
    }

    /// Its limits, and how much of each is used.
    pub(super) fn limits(&self) -> Vec<LimitUse> {
        let (name, now_ms) = (self.config.name.as_str(), self.around.clock.now_ms());
        let mut limits = lock(&self.meters.limiter).limits(name, now_ms);
        let still = |value: u64| Reading { now: value, peak: value };
        let row = |limit: &str, allowed: (u64, &str), used: u64, source: &str| {
            LimitUse::new(("firehose", limit), name, allowed, still(used), source)
        };
        let first_ms = self.gauge.first_arrival_ms.load(Ordering::Relaxed);
        let age_s = if first_ms == 0 { 0 } else { u64::try_from((now_ms - first_ms) / 1_000).unwrap_or(0) };
        let (hints, buffered) = (self.destination.hints, self.gauge.fullest.load(Ordering::Relaxed));
        let undelivered = self.gauge.undelivered.load(Ordering::Relaxed);
        limits.extend([
            row("buffer's bytes", (hints.size_mb << 20, "bytes"), buffered, BUFFERING),
            row("buffer's age", (hints.interval_s, "s"), age_s, BUFFERING),
            row("bytes that wait for S3", (MAX_UNDELIVERED, "bytes"), undelivered, OURS),
        ]);
        if self.destination.partitioning.is_some() {
            let active = count(self.gauge.active.lanes().len());
            limits.push(row("active partitions", (count(MAX_ACTIVE), "partitions"), active, PARTITIONS));
        }
        limits
    }

    /// Counts since the start, and the freshness of what was delivered since the last call of this.
    pub(super) fn metrics(&self) -> (Vec<Counted>, Option<Measured>) {
        let name = self.config.name.as_str();
        let key = |metric: &str| MetricKey::of("AWS/Firehose", metric, ("DeliveryStreamName", name));
        let (records, bytes, throttled) = lock(&self.meters.limiter).totals();
        let read = *lock(&self.meters.read);
        let mut delivered = lock(&self.meters.delivered);
        let mut counted = vec![
            ("IncomingRecords", "Count", records),
            ("IncomingBytes", "Bytes", bytes),
            ("ThrottledRecords", "Count", throttled),
            ("DeliveryToS3.Records", "Count", delivered.records),
            ("DeliveryToS3.Bytes", "Bytes", delivered.bytes),
            ("DeliveryToS3.Success", "Count", delivered.objects),
        ];
        if self.destination.conversion.is_some() {
            counted.push(("SucceedConversion.Records", "Count", delivered.converted));
            counted.push(("FailedConversion.Records", "Count", delivered.unconverted));
        }
        if self.config.source.is_some() {
            counted.push(("DataReadFromKinesisStream.Records", "Count", read.records));
            counted.push(("DataReadFromKinesisStream.Bytes", "Bytes", read.bytes));
            counted.push(("ThrottledGetRecords", "Count", read.throttled));
        }
        let counted = counted.into_iter().map(|(metric, unit, total)| Counted { key: key(metric), unit, total });
        let freshness = delivered.freshness_s.take();
        (counted.collect(), Measured::of_summary(key("DeliveryToS3.DataFreshness"), "Seconds", freshness))
    }

    /// Puts records that come from no Kinesis stream; they are durable when this returns.
    pub(super) async fn put(&self, records: Vec<Bytes>) -> Result<(), FirehoseError> {
        let records = records.into_iter().map(Incoming::from).collect();
        ask(&self.commands, |reply| Command::Put { records, reply }).await?
    }

    pub(super) async fn flush(&self) -> Result<(), FirehoseError> {
        ask(&self.commands, |reply| Command::Flush { reply }).await?
    }

    pub(super) async fn close(&self) {
        drop(ask(&self.commands, |reply| Command::Close { reply }).await);
    }
}

impl Meters {
    fn new(now_ms: i64) -> Self {
        let limiter = Arc::new(Mutex::new(Limiter::new(now_ms)));
        Self { limiter, delivered: Arc::default(), read: Arc::default() }
    }
}

/// Where a source puts what it read.
#[derive(Debug)]
pub(super) struct Sink {
    commands: mpsc::Sender<Command>,
}

impl Sink {
    /// Puts records; they are durable when this returns.
    pub(super) async fn put(&self, records: Vec<Incoming>) -> Result<(), FirehoseError> {
        ask(&self.commands, |reply| Command::Put { records, reply }).await?
    }
}

async fn ask<T>(
    commands: &mpsc::Sender<Command>,
    command: impl FnOnce(oneshot::Sender<T>) -> Command,
) -> Result<T, FirehoseError> {
    let (reply, answer) = oneshot::channel();
    commands.send(command(reply)).await.map_err(|_closed| FirehoseError::Closed)?;
    answer.await.map_err(|_closed| FirehoseError::Closed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
