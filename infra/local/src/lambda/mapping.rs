//! A running mapping: a poller per shard, started when the shard's parents are done.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kinesis::{LogError, ShardDescription, ShardReader, Stream};

use super::checkpoint::{Checkpoint, Checkpoints};
use super::event_source::StartingPosition;
use super::poller::{Ended, Plan, Poller};
use super::progress::{MappingProgress, Progress};

/// The pause before a poller that failed is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// The time given for draining was over before all was handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("event source mapping {mapping} has {records} records left to handle")]
pub struct NotDrained {
    /// The mapping's name.
    pub mapping: String,
    /// Records that were on the stream when draining began and are not handled.
    pub records: u64,
}

/// A running mapping. Cheap to clone; all clones are one mapping.
#[derive(Clone)]
pub struct Mapping {
    inner: Arc<Inner>,
}

struct Inner {
    plan: Plan,
    stream: Stream,
    checkpoints: Checkpoints,
    progress: Arc<Progress>,
    stop: CancellationToken,
    /// Cancelled when the supervisor has ended.
    stopped: CancellationToken,
    is_draining: watch::Sender<bool>,
}

impl fmt::Debug for Mapping {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Mapping").field("mapping", &self.inner.plan.mapping).finish_non_exhaustive()
    }
}

impl Mapping {
    pub(super) fn start(plan: Plan, stream: Stream, checkpoints: Checkpoints) -> Self {
        let inner = Arc::new(Inner {
            plan,
            stream,
            checkpoints,
            progress: Arc::new(Progress::new()),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
            is_draining: watch::channel(false).0,
        });
        let supervisor = Arc::clone(&inner);
        tokio::spawn(async move {
            let _at_the_end = supervisor.stopped.clone().drop_guard();
            let writing = tokio::spawn(supervisor.checkpoints.clone().run());
            supervise(&supervisor).await;
            supervisor.checkpoints.close().await;
            if let Err(error) = writing.await {
                tracing::error!(%error, mapping = supervisor.plan.mapping.name, "the checkpoints did not end well");
            }
        });
        Self { inner }
    }

    /// The mapping's name.
    pub fn name(&self) -> &str {
        &self.inner.plan.mapping.name
    }

    /// How far it has come.
    pub fn progress(&self) -> MappingProgress {
        let progress = &self.inner.progress;
        let waiting_records = progress.lag(&ends(&self.inner.stream));
        let now_ms = self.inner.plan.clock.now_ms();
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        MappingProgress {
            name: self.name().to_owned(),
            stream: self.inner.plan.mapping.stream.clone(),
            waiting_records,
            lag_ms: progress
                .waiting_since_ms()
                .map_or(0, |since_ms| u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0)),
            invocations: count(&progress.invocations),
            errors: count(&progress.errors),
            records: count(&progress.records),
            records_discarded: count(&progress.records_discarded),
            records_filtered: count(&progress.records_filtered),
            throttles: count(&progress.throttles),
            in_flight: count(&progress.in_flight),
        }
    }

    /// Of a function of this process: its timeout, and what its invocations took. In milliseconds.
    pub(super) fn durations(&self) -> Option<(u64, crate::meter::Reading, u64)> {
        self.inner.plan.caller.durations()
    }

    /// The name of what it calls: of a function of this process, the mapping's own.
    pub(super) fn function_name(&self) -> String {
        self.inner.plan.caller.function_name()
    }

    /// Of a function of this process: what its invocations took since the last call of this, in milliseconds.
    pub(super) fn take_durations(&self) -> Option<crate::meter::Summary> {
        self.inner.plan.caller.take_durations()
    }

    /// The stream's retention, and the age of the oldest record that waits: now and at most. In milliseconds.
    pub(super) fn iterator_age(&self) -> (u64, crate::meter::Reading) {
        let now_ms = self.inner.plan.clock.now_ms();
        let retention_ms = u64::try_from(self.inner.stream.retention_ms()).unwrap_or(0);
        (retention_ms, self.inner.progress.age(now_ms))
    }

    /// Waits until all that is on the stream now is handled. Batches do not wait for their window meanwhile.
    ///
    /// # Errors
    /// [`NotDrained`] after `within`, or when the mapping is stopped before.
    pub async fn drain(&self, within: Duration) -> Result<(), NotDrained> {
        let until = ends(&self.inner.stream);
        let mut moves = self.inner.progress.moves();
        self.inner.is_draining.send_replace(true);
        let drained = async { while self.inner.progress.lag(&until) > 0 && moves.changed().await.is_ok() {} };
        let _in_time = timeout(within, self.inner.stopped.run_until_cancelled(drained)).await;
        self.inner.is_draining.send_replace(false);
        match self.inner.progress.lag(&until) {
            0 => Ok(()),
            records => Err(NotDrained { mapping: self.name().to_owned(), records }),
        }
    }

    /// Stops reading, waits for the invocations in flight, and returns when all is at rest.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.stopped.cancelled().await;
    }

    /// Stops without waiting.
    pub(super) fn cancel(&self) {
        self.inner.stop.cancel();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.inner.stopped.is_cancelled()
    }
}

/// The stream's shards with their ends now.
fn ends(stream: &Stream) -> Vec<(ShardReader, u64)> {
    let shards = stream.shards().into_iter();
    shards
        .map(|shard| {
            let end = shard.tail().next_counter;
            (shard, end)
        })
        .collect()
}

/// The pollers of a mapping, and which shards are done.
#[derive(Default)]
struct Pollers {
    tasks: JoinSet<Ended>,
    /// The shard of each task.
    running: BTreeMap<Id, u64>,
    finished: BTreeSet<u64>,
}

async fn supervise(inner: &Inner) {
    let mut changes = inner.stream.changes();
    let mut pollers = Pollers::default();
    while !inner.stop.is_cancelled() {
        if inner.stream.is_deleted() {
            tracing::warn!(mapping = inner.plan.mapping.name, "the stream of an event source mapping is deleted");
            inner.stop.cancel();
            break;
        }
        let must_retry = pollers.start_due(inner).await.is_err();
        tokio::select! {
            () = inner.stop.cancelled() => {}
            () = changes.next() => {}
            Some(ended) = pollers.tasks.join_next_with_id() => pollers.note_end(inner, ended).await,
            () = tokio::time::sleep(RESTART_PAUSE), if must_retry => {}
        }
    }
    while pollers.tasks.join_next().await.is_some() {}
}

impl Pollers {
    /// Starts the pollers of all shards that are due. An error is logged; the caller tries again after a pause.
    async fn start_due(&mut self, inner: &Inner) -> Result<(), LogError> {
        let shards = inner.stream.shards();
        let listed: BTreeSet<u64> = shards.iter().map(|shard| shard.description().number).collect();
        // By number, so that a parent's checkpoint is read before its children are judged.
        for shard in shards {
            let description = shard.description();
            let number = description.number;
            if self.finished.contains(&number) || self.running.values().any(|running| *running == number) {
                continue;
            }
            let begins_at = match inner.checkpoints.read(description) {
                Some(checkpoint) => checkpoint,
                None => first_checkpoint(inner, &shard).await?,
            };
            let shard_progress = inner.progress.shard(number, begins_at.next_counter);
            if begins_at.is_finished {
                self.finished.insert(number);
            } else if is_due(description, &listed, &self.finished) {
                let poller = Poller {
                    plan: inner.plan.clone(),
                    shard,
                    begins_at,
                    checkpoints: inner.checkpoints.clone(),
                    progress: Arc::clone(&inner.progress),
                    shard_progress,
                    stop: inner.stop.clone(),
                    is_draining: inner.is_draining.subscribe(),
                };
                self.running.insert(self.tasks.spawn(poller.run()).id(), number);
            }
        }
        Ok(())
    }

    async fn note_end(&mut self, inner: &Inner, ended: Result<(Id, Ended), JoinError>) {
        match ended {
            Ok((id, Ended::Finished)) => self.finished.extend(self.running.remove(&id)),
            Ok((id, Ended::Stopped)) => drop(self.running.remove(&id)),
            Err(error) => {
                tracing::error!(%error, mapping = inner.plan.mapping.name, "a poller died; it starts again");
                self.running.remove(&error.id());
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        }
    }
}

/// A new mapping that starts at the latest record leaves what is there now behind: in each shard a checkpoint at its
/// end, on disk before any poller runs, so that a restart does not skip what came in between. Blocks.
pub(super) fn begin_at_the_end(stream: &Stream, checkpoints: &Checkpoints) -> std::io::Result<()> {
    for (shard, next_counter) in ends(stream) {
        let is_finished = shard.tail().is_closed;
        checkpoints.note(shard.description(), Checkpoint { next_counter, is_finished, window: None });
    }
    checkpoints.rewrite()
}

/// Where a mapping begins in a shard that it knows nothing of.
async fn first_checkpoint(inner: &Inner, shard: &ShardReader) -> Result<Checkpoint, LogError> {
    let next_counter = match inner.plan.mapping.starting_position {
        // The shards that were there at the beginning have their checkpoints; later ones are read whole.
        StartingPosition::TrimHorizon | StartingPosition::Latest => shard.horizon().counter(),
        StartingPosition::AtTimestamp { at_ms } => {
            let found = shard.position_at(at_ms).await.inspect_err(|error| {
                let mapping = inner.plan.mapping.name.as_str();
                tracing::error!(%error, mapping, shard = shard.description().id(), "cannot find where to begin");
            });
            found?.counter()
        }
    };
    Ok(Checkpoint { next_counter, is_finished: false, window: None })
}

/// Whether a shard may be read: each of its parents is handled to its end, or its records are kept no more.
fn is_due(shard: &ShardDescription, listed: &BTreeSet<u64>, finished: &BTreeSet<u64>) -> bool {
    shard.parents.iter().all(|parent| finished.contains(parent) || !listed.contains(parent))
}

#[cfg(test)]
mod tests {
    use crate::kinesis::HashKeyRange;

    use super::*;

    #[test]
    fn parents_come_first() {
        let shard = |number, parents: &[u64]| ShardDescription {
            number,
            range: HashKeyRange::new(0, 1),
            parents: parents.to_vec(),
            epoch_s: 0,
            created_ms: 0,
            closed: None,
        };
        let shards = [shard(1, &[]), shard(2, &[]), shard(3, &[1, 2]), shard(4, &[0])];
        let listed = BTreeSet::from([1, 2, 3, 4]);
        let check = |finished: &[u64], expected: &[u64]| {
            let finished = finished.iter().copied().collect();
            let due = shards.iter().filter(|shard| is_due(shard, &listed, &finished)).map(|shard| shard.number);
            assert_eq!(due.collect::<Vec<_>>(), expected, "{finished:?}");
        };
        check(&[], &[1, 2, 4]);
        check(&[1], &[1, 2, 4]);
        check(&[1, 2], &[1, 2, 3, 4]);
    }
}
