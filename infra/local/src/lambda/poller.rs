//! One shard of a mapping: the reading and calling around the decisions of [`Shard`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::kinesis::{LogError, Position, ShardReader, Tail};

use super::EventSourceMapping;
use super::batch::BatchLimits;
use super::checkpoint::{Checkpoint, Checkpoints};
use super::decision::backoff;
use super::destination::{Destination, Discarded, Sinks};
use super::filter::Filters;
use super::progress::{Progress, ShardProgress};
use super::shard::{Condition, Now, Outcome, Policy, Shard, Step};
use super::target::{Caller, Ended as InvocationEnded, InvocationError};

/// What the pollers of a mapping share.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) mapping: EventSourceMapping,
    pub(super) caller: Caller,
    pub(super) filters: Filters,
    pub(super) sinks: Sinks,
    pub(super) clock: Clock,
}

/// Reads one shard. Everything but the shard's own state is shared with the mapping's other pollers.
pub(super) struct Poller {
    pub(super) plan: Plan,
    pub(super) shard: ShardReader,
    pub(super) begins_at: Checkpoint,
    pub(super) checkpoints: Checkpoints,
    pub(super) progress: Arc<Progress>,
    pub(super) shard_progress: Arc<ShardProgress>,
    pub(super) stop: CancellationToken,
    /// While it is true, batches do not wait for their window.
    pub(super) is_draining: watch::Receiver<bool>,
}

/// Why a poller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The shard is closed and handled to its end.
    Finished,
    /// The mapping was stopped.
    Stopped,
}

/// A step that has ended.
enum Done {
    Invoked { lane: usize, ended: InvocationEnded },
    Discarded { lane: usize, is_kept: bool },
}

/// The poller at work.
struct Work {
    poller: Poller,
    core: Shard,
    running: JoinSet<Done>,
    /// The request id of each lane's last invocation.
    request_ids: Vec<Option<String>>,
    tail: watch::Receiver<Tail>,
    failed_reads: u32,
    /// After a failed read, when the next one is.
    read_at: Option<Instant>,
    noted: Checkpoint,
}

impl Poller {
    /// Runs until the shard ends or the mapping is stopped; invocations under way are waited for.
    pub(super) async fn run(self) -> Ended {
        let mapping = &self.plan.mapping;
        let arn_bytes = self.plan.caller.stream_arn.len();
        let millis = |duration: std::time::Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let policy = Policy {
            limits: BatchLimits { records: mapping.batch_size, payload_bytes: mapping.payload_bytes_max, arn_bytes },
            batching_window: mapping.batching_window,
            lanes: mapping.parallelization_factor,
            is_bisecting: mapping.bisect_batch_on_function_error,
            is_reporting: mapping.report_batch_item_failures,
            retries_max: mapping.maximum_retry_attempts,
            age_ms_max: mapping.maximum_record_age.map(millis),
            window_ms: mapping.tumbling_window.map(millis),
            shard_id: self.shard.description().id(),
        };
        let lanes = policy.lanes;
        let begins_at = self.begins_at.clone();
        let work = Work {
            core: Shard::new(policy, begins_at.next_counter, begins_at.window.clone()),
            running: JoinSet::new(),
            request_ids: vec![None; lanes],
            tail: self.shard.watch(),
            failed_reads: 0,
            read_at: None,
            noted: begins_at,
            poller: self,
        };
        work.run().await
    }
}

impl Work {
    async fn run(mut self) -> Ended {
        let stop = self.poller.stop.clone();
        while !stop.is_cancelled() {
            if stop.run_until_cancelled(self.read()).await.is_none() {
                break;
            }
            let is_draining = *self.poller.is_draining.borrow_and_update();
            while let Some(step) = self.core.next_step(self.now(), is_draining) {
                self.start(step);
            }
            let is_finished = self.core.is_finished();
            self.note(is_finished);
            if is_finished {
                return Ended::Finished;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wait() => {}
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.apply(done);
        }
        self.note(false);
        Ended::Stopped
    }

    /// Reads what is there, while there is room for it.
    async fn read(&mut self) {
        if self.read_at.take_if(|at| *at <= Instant::now()).is_some() || self.read_at.is_none() {
            let tail = *self.tail.borrow_and_update();
            self.core.note_tail(tail.next_counter, tail.is_closed);
            while let Some(room) = self.core.room() {
                match self.poller.shard.read(Position::at(self.core.read_to()), room).await {
                    Ok(read) => {
                        self.failed_reads = 0;
                        let mut records = read.records;
                        let before = records.len();
                        records.retain(|record| self.poller.plan.filters.pass(record));
                        let filtered = u64::try_from(before - records.len()).unwrap_or(0);
                        self.poller.progress.records_filtered.fetch_add(filtered, Ordering::Relaxed);
                        let now = self.now();
                        self.core.extend(records, read.next.counter(), now);
                    }
                    Err(error) => {
                        self.failed_reads += 1;
                        self.log_read_error(&error);
                        self.read_at = Some(Instant::now() + backoff(self.failed_reads, rand::random()));
                        return;
                    }
                }
            }
        }
    }

    /// Waits for the end of a step, for more records, or until something is due.
    async fn wait(&mut self) {
        let now = self.now();
        let wake_at = self.core.wake_at(now).map(Instant::from_std);
        let wake_at = wake_at.into_iter().chain(self.read_at).min();
        let wants_more = self.core.wants_more();
        let done = tokio::select! {
            Some(done) = self.running.join_next() => Some(done),
            // Fails only when the log is gone, and then the stream's deletion stops this mapping.
            Ok(()) = self.tail.changed(), if wants_more => None,
            Ok(()) = self.poller.is_draining.changed() => None,
            () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => None,
            else => std::future::pending().await,
        };
        if let Some(done) = done {
            self.apply(done);
        }
        while let Some(done) = self.running.try_join_next() {
            self.apply(done);
        }
    }

    fn start(&mut self, step: Step) {
        match step {
            Step::Invoke { lane, window } => {
                let caller = self.poller.plan.caller.clone();
                let batch = self.core.batch(lane);
                if let Some(first) = batch.first() {
                    self.poller.progress.begins(first.arrival_ms, self.poller.plan.clock.now_ms());
                }
                let event = caller.event(batch, window.as_ref());
                self.poller.progress.in_flight.fetch_add(1, Ordering::Relaxed);
                self.running.spawn(async move { Done::Invoked { lane, ended: caller.call(event).await } });
            }
            Step::Discard { lane, condition, invocations } => self.discard(lane, condition, invocations),
        }
    }

    fn discard(&mut self, lane: usize, condition: Condition, invocations: u32) {
        let discarded = Discarded {
            mapping_id: self.poller.checkpoints.mapping_id(),
            function_arn: self.poller.plan.caller.function_arn(),
            stream_arn: self.poller.plan.caller.stream_arn.clone(),
            shard_id: self.poller.shard.description().id(),
            condition,
            invocations,
            request_id: self.request_ids.get(lane).cloned().flatten().filter(|_| invocations > 0),
            records: self.core.batch(lane).to_vec(),
        };
        let mapping = self.poller.plan.mapping.name.clone();
        tracing::error!(
            mapping,
            shard = discarded.shard_id,
            from = discarded.records.first().map(|record| record.sequence_number.to_string()),
            records = discarded.records.len(),
            condition = condition.text(),
            invocations,
            "gave up a batch"
        );
        let (destination, sinks) = (self.poller.plan.mapping.on_failure.clone(), self.poller.plan.sinks.clone());
        let now_ms = self.poller.plan.clock.now_ms();
        self.running.spawn(async move {
            let is_kept = match destination {
                None => true,
                Some(destination) => keep(&discarded, &destination, &sinks, now_ms, &mapping).await,
            };
            Done::Discarded { lane, is_kept }
        });
    }

    fn apply(&mut self, done: Result<Done, tokio::task::JoinError>) {
        let progress = Arc::clone(&self.poller.progress);
        let now = self.now();
        match done {
            Ok(Done::Invoked { lane, ended }) => {
                progress.in_flight.fetch_sub(1, Ordering::Relaxed);
                let outcome = self.outcome(lane, ended);
                let is_throttled = matches!(outcome, Outcome::Throttled);
                let effect = self.core.invoked(lane, outcome, now, rand::random());
                progress.invocations.fetch_add(u64::from(!is_throttled), Ordering::Relaxed);
                progress.throttles.fetch_add(u64::from(is_throttled), Ordering::Relaxed);
                progress.errors.fetch_add(u64::from(effect.is_error), Ordering::Relaxed);
                progress.records.fetch_add(u64::try_from(effect.handled).unwrap_or(0), Ordering::Relaxed);
            }
            Ok(Done::Discarded { lane, is_kept }) => {
                let given_up = self.core.discarded(lane, is_kept, now, rand::random());
                progress.records_discarded.fetch_add(u64::try_from(given_up).unwrap_or(0), Ordering::Relaxed);
            }
            // Steps catch the panics of functions; one of their own leaves a lane that nobody finishes. The poller
            // ends, and the mapping starts another from its checkpoint.
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }

    fn outcome(&mut self, lane: usize, ended: InvocationEnded) -> Outcome {
        let InvocationEnded { request_id, result } = ended;
        let outcome = match result {
            Ok(report) => Outcome::Answered(report),
            Err(InvocationError::Throttled(throttle)) => {
                let mapping = self.poller.plan.mapping.name.as_str();
                tracing::warn!(mapping, reason = throttle.reason(), "an invocation was throttled");
                return Outcome::Throttled;
            }
            Err(error) => {
                let batch = self.core.batch(lane);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    mapping = self.poller.plan.mapping.name,
                    shard = self.poller.shard.description().id(),
                    from = batch.first().map(|record| record.sequence_number.to_string()),
                    records = batch.len(),
                    request_id,
                    "an invocation failed"
                );
                Outcome::Failed
            }
        };
        if let Some(last) = self.request_ids.get_mut(lane) {
            *last = Some(request_id);
        }
        outcome
    }

    /// Shows how far it has come, and has it written.
    fn note(&mut self, is_finished: bool) {
        let next_counter = self.core.low_water();
        self.poller.shard_progress.waits_since(self.core.waiting_since_ms().unwrap_or(0));
        let noted = (self.noted.next_counter, self.noted.is_finished, self.noted.window.as_ref());
        if noted == (next_counter, is_finished, self.core.window()) {
            return;
        }
        let checkpoint = Checkpoint { next_counter, is_finished, window: self.core.window().cloned() };
        self.poller.checkpoints.note(self.poller.shard.description(), checkpoint.clone());
        self.poller.progress.moved(&self.poller.shard_progress, next_counter);
        self.noted = checkpoint;
    }

    fn now(&self) -> Now {
        Now { instant: Instant::now().into_std(), ms: self.poller.plan.clock.now_ms() }
    }

    fn log_read_error(&self, error: &LogError) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            mapping = self.poller.plan.mapping.name,
            shard = self.poller.shard.description().id(),
            failed_reads = self.failed_reads,
            "cannot read a shard"
        );
    }
}

/// Puts given-up records into their destination. Whether that worked.
async fn keep(discarded: &Discarded, destination: &Destination, sinks: &Sinks, now_ms: i64, mapping: &str) -> bool {
    match discarded.keep(destination, sinks, now_ms).await {
        Ok(()) => true,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                mapping,
                "cannot keep given-up records in the on-failure destination; it is tried again"
            );
            false
        }
    }
}
