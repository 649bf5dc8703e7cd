//! One delivery stream: a task that owns the buffer, commits records in groups, and hands full buffers to delivery.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::buffer::{Buffer, Hints};
use super::delivery::{Delivered, Job, Worker};
use super::destination::StreamConfig;
use super::limiter::{Limiter, Put};
use super::segment::{self, Segment};
use super::{FirehoseError, now_ms};
use crate::cloudwatch::{Counted, Measured, MetricKey};
use crate::faults::Faults;
use crate::limits::LimitUse;
use crate::meter::Reading;
use crate::s3::S3;

/// Requests that wait to be written; beyond, callers wait.
const QUEUE: usize = 256;
/// Requests that share one sync of the disk.
const GROUP: usize = 128;
/// Bytes that may wait for S3 before records are refused: 1 GiB.
const MAX_UNDELIVERED: u64 = 1 << 30;
/// Sealed buffers that may wait in memory by name: the undelivered bytes bound them long before.
const SEALED_QUEUE: usize = 4096;

const BUFFERING: &str = "firehose/latest/APIReference/API_BufferingHints.html";
/// A limit that AWS does not have.
const OURS: &str = "(of this local cloud: then puts are refused)";

type Reply = oneshot::Sender<Result<(), FirehoseError>>;

#[derive(Debug)]
enum Command {
    Put { records: Vec<Bytes>, reply: Reply },
    Flush { reply: Reply },
    Close { reply: oneshot::Sender<()> },
}

/// A handle to the task.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) config: Arc<StreamConfig>,
    commands: mpsc::Sender<Command>,
    /// Held for a few additions.
    limiter: Arc<Mutex<Limiter>>,
    gauge: Arc<Gauge>,
    // The tasks end with the last handle.
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Stream {
    /// Starts the task, and delivers what an earlier run left.
    pub(super) async fn open(dir: PathBuf, config: StreamConfig, (s3, faults): (S3, Faults)) -> io::Result<Self> {
        let destination = config.destination().map_err(io::Error::other)?;
        let hints = destination.hints;
        let undelivered = Arc::new(AtomicU64::new(0));
        let (jobs, queue) = mpsc::channel(SEALED_QUEUE);
        let gauge = Arc::new(Gauge { undelivered: Arc::clone(&undelivered), ..Gauge::default() });
        let (name, delivered) = (config.name.clone(), Arc::clone(&gauge.delivered));
        let worker = Worker { stream: name, destination, s3, undelivered: Arc::clone(&undelivered), delivered };
        let delivery = AbortOnDropHandle::new(tokio::spawn(worker.run(queue)));
        let left = dir.clone();
        let left = tokio::task::spawn_blocking(move || segment::segments(&left)).await.map_err(io::Error::other)??;
        let (commands, inbox) = mpsc::channel(QUEUE);
        let (segment, buffer, bytes) = (None, Buffer::default(), 0);
        let owner = Owner { dir, hints, segment, buffer, bytes, jobs, undelivered, gauge: Arc::clone(&gauge), faults };
        let task = async move {
            // Delivery ends with its owner.
            let _delivery = delivery;
            owner.run(inbox, left).await;
        };
        let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(task)));
        let limiter = Arc::new(Mutex::new(Limiter::new(now_ms())));
        Ok(Self { config: Arc::new(config), commands, limiter, gauge, _task: task })
    }

    /// Takes a request within the stream's rates.
    pub(super) fn admit(&self, put: Put) -> Result<(), FirehoseError> {
        let mut limiter = self.limiter();
        limiter.note(put, now_ms());
        if limiter.admit(put, now_ms()) { Ok(()) } else { Err(FirehoseError::Throttled) }
    }

    /// Notes a request that is too large to be looked at further.
    pub(super) fn note(&self, put: Put) {
        self.limiter().note(put, now_ms());
    }

    /// Its limits, and how much of each is used.
    pub(super) fn limits(&self) -> Vec<LimitUse> {
        let name = self.config.name.as_str();
        let mut limits = self.limiter().limits(name, now_ms());
        let Ok(destination) = self.config.destination() else { return limits };
        let still = |value: u64| Reading { now: value, peak: value };
        let row = |limit: &str, allowed: (u64, &str), used: u64, source: &str| {
            LimitUse::new(("firehose", limit), name, allowed, still(used), source)
        };
        let first_ms = self.gauge.first_arrival_ms.load(Ordering::Relaxed);
        let age_s = if first_ms == 0 { 0 } else { u64::try_from((now_ms() - first_ms) / 1_000).unwrap_or(0) };
        let (hints, buffered) = (destination.hints, self.gauge.buffered.load(Ordering::Relaxed));
        let undelivered = self.gauge.undelivered.load(Ordering::Relaxed);
        limits.extend([
            row("buffer's bytes", (hints.size_mb << 20, "bytes"), buffered, BUFFERING),
            row("buffer's age", (hints.interval_s, "s"), age_s, BUFFERING),
            row("bytes that wait for S3", (MAX_UNDELIVERED, "bytes"), undelivered, OURS),
        ]);
        limits
    }

    /// Counts since the start, and the freshness of what was delivered since the last call of this.
    pub(super) fn metrics(&self) -> (Vec<Counted>, Option<Measured>) {
        let name = self.config.name.as_str();
        let key = |metric: &str| MetricKey::of("AWS/Firehose", metric, ("DeliveryStreamName", name));
        let (records, bytes, throttled) = self.limiter().totals();
        let mut delivered = self.gauge.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = [
            ("IncomingRecords", "Count", records),
            ("IncomingBytes", "Bytes", bytes),
            ("ThrottledRecords", "Count", throttled),
            ("DeliveryToS3.Records", "Count", delivered.records),
            ("DeliveryToS3.Bytes", "Bytes", delivered.bytes),
            ("DeliveryToS3.Success", "Count", delivered.objects),
        ];
        let counted = counted.map(|(metric, unit, total)| Counted { key: key(metric), unit, total });
        let freshness = delivered.freshness_s.take();
        (counted.to_vec(), Measured::of_summary(key("DeliveryToS3.DataFreshness"), "Seconds", freshness))
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn put(&self, records: Vec<Bytes>) -> Result<(), FirehoseError> {
        self.ask(|reply| Command::Put { records, reply }).await?
    }

    pub(super) async fn flush(&self) -> Result<(), FirehoseError> {
        self.ask(|reply| Command::Flush { reply }).await?
    }

    pub(super) async fn close(&self) {
        drop(self.ask(|reply| Command::Close { reply }).await);
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, FirehoseError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_closed| FirehoseError::Closed)?;
        answer.await.map_err(|_closed| FirehoseError::Closed)
    }
}

/// What a stream holds now: written by its tasks, read by whoever asks.
#[derive(Debug, Default)]
struct Gauge {
    /// Bytes in the buffer that takes records.
    buffered: AtomicU64,
    /// When its first record came, in milliseconds since the epoch; 0 while it is empty.
    first_arrival_ms: AtomicI64,
    /// Bytes sealed and not delivered.
    undelivered: Arc<AtomicU64>,
    delivered: Arc<Mutex<Delivered>>,
}

#[derive(Debug)]
struct Owner {
    dir: PathBuf,
    hints: Hints,
    segment: Option<Segment>,
    buffer: Buffer,
    bytes: u64,
    jobs: mpsc::Sender<Job>,
    undelivered: Arc<AtomicU64>,
    gauge: Arc<Gauge>,
    faults: Faults,
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, left: Vec<PathBuf>) {
        for path in left {
            let bytes = tokio::fs::metadata(&path).await.map_or(0, |found| found.len());
            self.deliver(path, bytes).await;
        }
        let mut group = Vec::with_capacity(GROUP);
        loop {
            let due = self.buffer.due_in_ms(self.hints, now_ms());
            if due == Some(0) {
                self.seal().await;
                continue;
            }
            let timer = async {
                match due {
                    Some(wait_ms) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                received = inbox.recv_many(&mut group, GROUP) => {
                    if received == 0 || self.work(std::mem::take(&mut group)).await {
                        return;
                    }
                }
                () = timer => {}
            }
        }
    }

    /// Does what was asked, in order; says whether that was to close.
    async fn work(&mut self, group: Vec<Command>) -> bool {
        let mut puts = Vec::new();
        for command in group {
            match command {
                Command::Put { records, reply } => puts.push((records, reply)),
                Command::Flush { reply } => {
                    self.commit(std::mem::take(&mut puts)).await;
                    self.seal().await;
                    let (done, delivered) = oneshot::channel();
                    drop(self.jobs.send(Job::Barrier(done)).await);
                    // Waiting happens beside the task: records go on being taken.
                    tokio::spawn(async move {
                        let result = delivered.await.map_err(|_closed| FirehoseError::Closed);
                        drop(reply.send(result));
                    });
                }
                Command::Close { reply } => {
                    self.commit(std::mem::take(&mut puts)).await;
                    // A caller that has gone needs no answer.
                    reply.send(()).unwrap_or_default();
                    return true;
                }
            }
        }
        self.commit(puts).await;
        false
    }

    /// Writes the records of several requests with one sync, and answers all of them.
    async fn commit(&mut self, puts: Vec<(Vec<Bytes>, Reply)>) {
        if puts.is_empty() {
            return;
        }
        let undelivered = self.undelivered.load(Ordering::Relaxed);
        if undelivered > MAX_UNDELIVERED {
            for (_, reply) in puts {
                drop(reply.send(Err(FirehoseError::Backlog { undelivered })));
            }
            return;
        }
        let (requests, replies): (Vec<_>, Vec<_>) = puts.into_iter().unzip();
        let records: Vec<Bytes> = requests.into_iter().flatten().collect();
        let bytes: u64 = records.iter().map(|record| record.len() as u64).sum();
        let (segment, dir, arrival_ms) = (self.segment.take(), self.dir.clone(), now_ms());
        let faults = self.faults.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut segment = match segment {
                Some(segment) => segment,
                None => Segment::create(&dir)?,
            };
            let appended = faults.check_disk(arrival_ms).and_then(|()| segment.append(&records, arrival_ms));
            Ok::<_, io::Error>((segment, appended))
        });
        let outcome = match written.await.map_err(io::Error::other) {
            Ok(Ok((segment, appended))) => {
                self.segment = Some(segment);
                appended
            }
            Ok(Err(error)) | Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                self.buffer.add(bytes, arrival_ms);
                self.bytes += bytes;
                self.gauge.buffered.store(self.bytes, Ordering::Relaxed);
                // This task alone writes it.
                if self.gauge.first_arrival_ms.load(Ordering::Relaxed) == 0 {
                    self.gauge.first_arrival_ms.store(arrival_ms, Ordering::Relaxed);
                }
                replies.into_iter().for_each(|reply| drop(reply.send(Ok(()))));
            }
            Err(error) => {
                for reply in replies {
                    let said = io::Error::new(error.kind(), error.to_string());
                    drop(reply.send(Err(FirehoseError::Io(said))));
                }
                // What the failed write left behind must not be in the way of the next one.
                self.seal().await;
            }
        }
    }

    /// Ends the buffer and hands it to delivery.
    async fn seal(&mut self) {
        self.buffer = Buffer::default();
        let bytes = std::mem::take(&mut self.bytes);
        self.gauge.buffered.store(0, Ordering::Relaxed);
        self.gauge.first_arrival_ms.store(0, Ordering::Relaxed);
        if let Some(segment) = self.segment.take() {
            self.deliver(segment.path, bytes).await;
        }
    }

    async fn deliver(&self, path: PathBuf, bytes: u64) {
        self.undelivered.fetch_add(bytes, Ordering::Relaxed);
        // The worker lives as long as this task.
        drop(self.jobs.send(Job::Deliver { path, bytes }).await);
    }
}
