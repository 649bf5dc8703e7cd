//! One delivery stream: a task that owns the buffer, commits records in groups, and hands full buffers to delivery.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::buffer::{Buffer, Hints};
use super::delivery::{Job, Worker};
use super::destination::StreamConfig;
use super::segment::{self, Segment};
use super::{FirehoseError, now_ms};
use crate::s3::S3;

/// Requests that wait to be written; beyond, callers wait.
const QUEUE: usize = 256;
/// Requests that share one sync of the disk.
const GROUP: usize = 128;
/// Bytes that may wait for S3 before records are refused: 1 GiB.
const MAX_UNDELIVERED: u64 = 1 << 30;
/// Sealed buffers that may wait in memory by name: the undelivered bytes bound them long before.
const SEALED_QUEUE: usize = 4096;

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
    // The tasks end with the last handle.
    _task: Arc<AbortOnDropHandle<()>>,
}

impl Stream {
    /// Starts the task, and delivers what an earlier run left.
    pub(super) async fn open(dir: PathBuf, config: StreamConfig, s3: S3) -> io::Result<Self> {
        let destination = config.destination().map_err(io::Error::other)?;
        let hints = destination.hints;
        let undelivered = Arc::new(AtomicU64::new(0));
        let (jobs, queue) = mpsc::channel(SEALED_QUEUE);
        let worker = Worker { stream: config.name.clone(), destination, s3, undelivered: Arc::clone(&undelivered) };
        let delivery = AbortOnDropHandle::new(tokio::spawn(worker.run(queue)));
        let left = dir.clone();
        let left = tokio::task::spawn_blocking(move || segment::segments(&left)).await.map_err(io::Error::other)??;
        let (commands, inbox) = mpsc::channel(QUEUE);
        let owner = Owner { dir, hints, segment: None, buffer: Buffer::default(), bytes: 0, jobs, undelivered };
        let task = async move {
            // Delivery ends with its owner.
            let _delivery = delivery;
            owner.run(inbox, left).await;
        };
        let task = Arc::new(AbortOnDropHandle::new(tokio::spawn(task)));
        Ok(Self { config: Arc::new(config), commands, _task: task })
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

#[derive(Debug)]
struct Owner {
    dir: PathBuf,
    hints: Hints,
    segment: Option<Segment>,
    buffer: Buffer,
    bytes: u64,
    jobs: mpsc::Sender<Job>,
    undelivered: Arc<AtomicU64>,
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
        let written = tokio::task::spawn_blocking(move || {
            let mut segment = match segment {
                Some(segment) => segment,
                None => Segment::create(&dir)?,
            };
            let appended = segment.append(&records, arrival_ms);
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
