//! The task that owns a stream's buffers: commits records in groups, and hands full buffers to delivery.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::data_dir;
use crate::faults::Faults;
use crate::firehose::active::Active;
use crate::firehose::buffer::Buffer;
use crate::firehose::config::StreamConfig;
use crate::firehose::delivery::Job;
use crate::firehose::destination::Destination;
use crate::firehose::lane::Lane;
use crate::firehose::segment::{Entry, Head, Segment};
use crate::firehose::{FirehoseError, Surroundings};

use super::{Gauge, Incoming, MAX_UNDELIVERED};

/// Requests that share one sync of the disk.
const GROUP: usize = 128;
/// How long it sleeps at most before it looks at the clock again, which may have jumped.
const LOOK_AGAIN_MS: u64 = 500;

type Reply = oneshot::Sender<Result<(), FirehoseError>>;

#[derive(Debug)]
pub(super) enum Command {
    Put { records: Vec<Incoming>, reply: Reply },
    Flush { reply: Reply },
    Close { reply: oneshot::Sender<()> },
}

#[derive(Debug)]
pub(super) struct Owner {
    dir: PathBuf,
    destination: Arc<Destination>,
    /// Whether records come from a Kinesis stream.
    has_places: bool,
    buffers: Buffers,
    jobs: mpsc::Sender<Job>,
    gauge: Arc<Gauge>,
    faults: Faults,
    clock: Clock,
}

type Buffers = BTreeMap<Lane, Open>;

/// A buffer that takes records.
#[derive(Debug)]
struct Open {
    segment: Segment,
    buffer: Buffer,
    bytes: u64,
}

impl Owner {
    pub(super) fn new(
        dir: PathBuf,
        config: &StreamConfig,
        destination: Arc<Destination>,
        around: &Surroundings,
        (jobs, gauge): (mpsc::Sender<Job>, Arc<Gauge>),
    ) -> Self {
        let (faults, clock) = (around.faults.clone(), around.clock.clone());
        let has_places = config.source.is_some();
        Self { dir, destination, has_places, buffers: Buffers::new(), jobs, gauge, faults, clock }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>, left: Vec<PathBuf>) {
        for path in left {
            let bytes = tokio::fs::metadata(&path).await.map_or(0, |found| found.len());
            self.deliver(Job::Deliver { path, lane: None, bytes }).await;
        }
        let mut group = Vec::with_capacity(GROUP);
        loop {
            let wait_ms = self.seal_due().await;
            let timer = async {
                match wait_ms {
                    Some(wait_ms) => tokio::time::sleep(Duration::from_millis(wait_ms.min(LOOK_AGAIN_MS))).await,
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

    /// Seals what is due, and says how long until the next buffer is.
    async fn seal_due(&mut self) -> Option<u64> {
        let (hints, now_ms) = (self.destination.hints, self.clock.now_ms());
        let due = |open: &Open| open.buffer.due_in_ms(hints, now_ms);
        let lanes: Vec<Lane> =
            self.buffers.iter().filter(|(_, open)| due(open) == Some(0)).map(|(lane, _)| lane.clone()).collect();
        for lane in lanes {
            self.seal(&lane).await;
        }
        self.buffers.values().filter_map(due).min()
    }

    /// Does what was asked, in order; says whether that was to close.
    async fn work(&mut self, group: Vec<Command>) -> bool {
        let mut puts = Vec::new();
        for command in group {
            match command {
                Command::Put { records, reply } => puts.push((records, reply)),
                Command::Flush { reply } => {
                    self.commit(std::mem::take(&mut puts)).await;
                    self.seal_all().await;
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

    /// Writes the records of several requests with one sync for each buffer, and answers all of them.
    async fn commit(&mut self, puts: Vec<(Vec<Incoming>, Reply)>) {
        if puts.is_empty() {
            return;
        }
        let undelivered = self.gauge.undelivered.load(Ordering::Relaxed);
        if undelivered > MAX_UNDELIVERED {
            for (_, reply) in puts {
                drop(reply.send(Err(FirehoseError::Backlog { undelivered })));
            }
            return;
        }
        let (requests, replies): (Vec<_>, Vec<_>) = puts.into_iter().unzip();
        match self.write(requests.into_iter().flatten().collect()).await {
            Ok(()) => replies.into_iter().for_each(|reply| drop(reply.send(Ok(())))),
            Err(error) => {
                for reply in replies {
                    let said = io::Error::new(error.kind(), error.to_string());
                    drop(reply.send(Err(FirehoseError::Io(said))));
                }
                // What the failed write left behind must not be in the way of the next one.
                self.seal_all().await;
            }
        }
    }

    async fn write(&mut self, records: Vec<Incoming>) -> io::Result<()> {
        let now_ms = self.clock.now_ms();
        let (dir, destination, faults) = (self.dir.clone(), Arc::clone(&self.destination), self.faults.clone());
        let (active, has_places) = (self.gauge.active.clone(), self.has_places);
        let mut buffers = std::mem::take(&mut self.buffers);
        let written = tokio::task::spawn_blocking(move || {
            let outcome = faults.check_disk(now_ms).and_then(|()| {
                let entries = records.into_iter().map(|record| entry(record, now_ms)).collect();
                let routed = match &destination.partitioning {
                    None => BTreeMap::from([(Lane::Plain, entries)]),
                    Some(partitioning) => partitioning.route(entries, &destination.prefixes, active.lanes(), now_ms)?,
                };
                append(&mut buffers, &routed, (&dir, has_places, &active), now_ms)
            });
            (buffers, outcome)
        });
        let (buffers, outcome) = written.await.map_err(io::Error::other)?;
        self.buffers = buffers;
        self.show();
        outcome
    }

    fn show(&self) {
        let fullest = self.buffers.values().map(|open| open.bytes).max().unwrap_or(0);
        let first_ms = self.buffers.values().filter_map(|open| open.buffer.first_arrival_ms()).min().unwrap_or(0);
        self.gauge.fullest.store(fullest, Ordering::Relaxed);
        self.gauge.first_arrival_ms.store(first_ms, Ordering::Relaxed);
    }

    async fn seal_all(&mut self) {
        let lanes: Vec<Lane> = self.buffers.keys().cloned().collect();
        for lane in lanes {
            self.seal(&lane).await;
        }
    }

    /// Ends a buffer and hands it to delivery.
    async fn seal(&mut self, lane: &Lane) {
        let Some(open) = self.buffers.remove(lane) else { return };
        self.show();
        self.deliver(Job::Deliver { path: open.segment.path, lane: Some(lane.clone()), bytes: open.bytes }).await;
    }

    async fn deliver(&self, job: Job) {
        self.gauge.undelivered.fetch_add(job.bytes(), Ordering::Relaxed);
        // The worker lives as long as this task.
        drop(self.jobs.send(job).await);
    }
}

fn entry(record: Incoming, now_ms: i64) -> Entry {
    match record.origin {
        None => Entry { arrival_ms: now_ms, data: record.data, place: None },
        Some((place, arrival_ms)) => Entry { arrival_ms, data: record.data, place: Some(place) },
    }
}

/// Writes records to their buffers, beginning those that are not there: all of them or, on an error, none.
fn append(
    buffers: &mut Buffers,
    routed: &BTreeMap<Lane, Vec<Entry>>,
    (dir, has_places, active): (&Path, bool, &Active),
    now_ms: i64,
) -> io::Result<()> {
    let mut lengths: Vec<(&Lane, u64)> = Vec::new();
    let before = buffers.len();
    let mut write = || {
        for (lane, entries) in routed {
            let open = match buffers.entry(lane.clone()) {
                MapEntry::Occupied(found) => found.into_mut(),
                MapEntry::Vacant(free) => {
                    // Descriptions of failed records have no place of their own: it is in them.
                    let has_places = has_places && !matches!(lane, Lane::Failed { .. });
                    let segment = Segment::create(dir, &Head { lane: lane.clone(), has_places })?;
                    active.add(lane);
                    free.insert(Open { segment, buffer: Buffer::default(), bytes: 0 })
                }
            };
            lengths.push((lane, open.segment.length()));
            open.segment.append(entries)?;
        }
        if buffers.len() > before { data_dir::sync_dir(dir) } else { Ok(()) }
    };
    let outcome: io::Result<()> = write();
    if outcome.is_err() {
        for (lane, length) in lengths {
            if let Some(open) = buffers.get_mut(lane) {
                open.segment.cut(length);
            }
        }
        return outcome;
    }
    for (lane, entries) in routed {
        if let Some(open) = buffers.get_mut(lane) {
            let bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
            open.buffer.add(bytes, now_ms);
            open.bytes += bytes;
        }
    }
    Ok(())
}
