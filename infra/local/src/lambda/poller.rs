//! One shard of a mapping: read, close a batch, invoke, and go on or try again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::event::streams::KinesisEventResponse;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::kinesis::{LogError, Position, Record, SequenceNumber, ShardReader};

use super::batch::{self, Backlog};
use super::checkpoint::{Checkpoint, Checkpoints};
use super::decision::{Verdict, backoff, decide};
use super::progress::{Progress, ShardProgress};
use super::{EventSourceMapping, Handler};

/// The function, how it is called, and what bounds its invocations.
#[derive(Clone)]
pub(super) struct Function {
    pub(super) mapping: EventSourceMapping,
    pub(super) handler: Handler,
    pub(super) concurrency: Arc<Semaphore>,
}

/// Reads one shard. Everything but the shard's own state is shared with the mapping's other pollers.
pub(super) struct Poller {
    pub(super) function: Function,
    pub(super) stream_arn: String,
    pub(super) shard: ShardReader,
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

/// How an invocation went wrong.
#[derive(Debug, thiserror::Error)]
enum InvocationError {
    #[error("the function panicked")]
    Panic(#[source] tokio::task::JoinError),
    #[error("the function did not answer within {timeout:?}")]
    Timeout { timeout: Duration },
    #[error("the function failed: {0:#}")]
    Function(anyhow::Error),
    #[error("the function reported that its whole batch failed")]
    Reported,
}

impl Poller {
    /// Runs until the shard ends or the mapping is stopped; an invocation under way is waited for.
    pub(super) async fn run(mut self) -> Ended {
        let mapping = &self.function.mapping;
        let mut backlog = Backlog::new(mapping.batch_size, mapping.payload_bytes_max, &self.stream_arn);
        let mut position = Position::at(self.shard_progress.next());
        loop {
            let collected =
                self.stop.clone().run_until_cancelled_owned(self.collect(&mut backlog, &mut position)).await;
            match collected {
                None => return Ended::Stopped,
                Some(false) => {
                    self.checkpoint(position.counter(), true).await;
                    return Ended::Finished;
                }
                Some(true) => {}
            }
            if !self.handle(backlog.take()).await {
                return Ended::Stopped;
            }
        }
    }

    /// Reads until a batch is full or its window is over. Returns false when the shard has ended and nothing is left.
    async fn collect(&mut self, backlog: &mut Backlog, position: &mut Position) -> bool {
        let mut tail = self.shard.watch();
        let mut failed_reads = 0;
        let mut window_end = None;
        while !backlog.is_full() {
            let seen = *tail.borrow_and_update();
            match self.shard.read(*position, backlog.room()).await {
                Ok(read) => {
                    failed_reads = 0;
                    *position = read.next;
                    backlog.extend(read.records);
                }
                Err(error) => {
                    failed_reads += 1;
                    self.log_read_error(&error, failed_reads);
                    sleep(backoff(failed_reads, rand::random())).await;
                    continue;
                }
            }
            if position.counter() < seen.next_counter {
                continue;
            }
            if seen.is_closed {
                return !backlog.is_empty();
            }
            if backlog.is_empty() {
                // Fails only when the log is gone, and then the stream's deletion stops this mapping.
                let _more = tail.changed().await;
                continue;
            }
            let window = self.function.mapping.batching_window;
            let end = *window_end.get_or_insert_with(|| Instant::now() + window);
            if *self.is_draining.borrow() || !self.wait_for_more(&mut tail, end).await {
                break;
            }
        }
        true
    }

    /// Waits for more records until the window's end. Returns whether any may have come.
    async fn wait_for_more(&mut self, tail: &mut watch::Receiver<crate::kinesis::Tail>, end: Instant) -> bool {
        let more = async {
            tokio::select! {
                _ = tail.changed() => true,
                _ = self.is_draining.wait_for(|is_draining| *is_draining) => false,
            }
        };
        timeout_at(end, more).await.unwrap_or(false)
    }

    /// Invokes until each record of the batch is handled or given up. Returns false when stopped before that.
    async fn handle(&self, mut batch: Vec<Record>) -> bool {
        let mapping = &self.function.mapping;
        let mut failed_attempts: u32 = 0;
        while let Some(first) = batch.first() {
            let end = first.sequence_number.counter() + u64::try_from(batch.len()).unwrap_or(0);
            self.shard_progress.waits_since(first.arrival_ms);
            let sequence_numbers: Vec<SequenceNumber> = batch.iter().map(|record| record.sequence_number).collect();
            let event = batch::event(&batch, &self.stream_arn);
            let result = self.invoke(event).await.and_then(|response| {
                match decide(&response, &sequence_numbers, mapping.report_batch_item_failures) {
                    Verdict::Success => Ok(batch.len()),
                    Verdict::Partial { done } => Ok(done),
                    Verdict::Failure => Err(InvocationError::Reported),
                }
            });
            match result {
                Ok(done) => {
                    self.progress.records.fetch_add(u64::try_from(done).unwrap_or(0), Ordering::Relaxed);
                    if done < batch.len() {
                        self.progress.errors.fetch_add(1, Ordering::Relaxed);
                    }
                    batch.drain(..done);
                    self.checkpoint(end - u64::try_from(batch.len()).unwrap_or(0), false).await;
                    // The rest is a batch of its own, whose attempts begin anew, after a pause as for any failure.
                    failed_attempts = u32::from(!batch.is_empty());
                }
                Err(error) => {
                    self.progress.errors.fetch_add(1, Ordering::Relaxed);
                    failed_attempts = failed_attempts.saturating_add(1);
                    let is_last = mapping.maximum_retry_attempts.is_some_and(|retries| failed_attempts > retries);
                    self.log_failure(&error, &batch, failed_attempts, is_last);
                    if is_last {
                        let given_up = u64::try_from(batch.len()).unwrap_or(0);
                        self.progress.records_discarded.fetch_add(given_up, Ordering::Relaxed);
                        self.checkpoint(end, false).await;
                        return true;
                    }
                }
            }
            if !batch.is_empty() {
                let pause = sleep(backoff(failed_attempts, rand::random()));
                if self.stop.run_until_cancelled(pause).await.is_none() {
                    return false;
                }
            }
        }
        true
    }

    /// Calls the function once. A panic or a timeout is this invocation's failure and nothing else's.
    async fn invoke(&self, event: KinesisEvent) -> Result<KinesisEventResponse, InvocationError> {
        let _permit = self.function.concurrency.acquire().await.expect("the semaphore is never closed");
        self.progress.in_flight.fetch_add(1, Ordering::Relaxed);
        let handler = Arc::clone(&self.function.handler);
        let mut invocation = tokio::spawn(async move { handler(event).await });
        let limit = self.function.mapping.timeout;
        let result = match timeout(limit, &mut invocation).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(error))) => Err(InvocationError::Function(error)),
            Ok(Err(error)) => Err(InvocationError::Panic(error)),
            Err(_elapsed) => {
                invocation.abort();
                Err(InvocationError::Timeout { timeout: limit })
            }
        };
        self.progress.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.progress.invocations.fetch_add(1, Ordering::Relaxed);
        result
    }

    /// Makes the position durable, then shows it. One that cannot be kept only means that more comes again.
    async fn checkpoint(&self, next_counter: u64, is_finished: bool) {
        let (checkpoints, description) = (self.checkpoints.clone(), self.shard.description().clone());
        let checkpoint = Checkpoint { next_counter, is_finished };
        let write = tokio::task::spawn_blocking(move || checkpoints.write(&description, checkpoint));
        if let Err(error) = write.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(
                %error,
                mapping = self.function.mapping.name,
                shard = self.shard.description().id(),
                "cannot keep a checkpoint; after a restart its records come again"
            );
        }
        self.progress.moved(&self.shard_progress, next_counter);
    }

    fn log_failure(&self, error: &InvocationError, batch: &[Record], failed_attempts: u32, is_last: bool) {
        let mapping = self.function.mapping.name.as_str();
        let shard = self.shard.description().id();
        let from = batch.first().map(|record| record.sequence_number.to_string());
        let error = error as &dyn std::error::Error;
        let records = batch.len();
        if is_last {
            tracing::error!(error, mapping, shard, from, records, failed_attempts, "gave up a batch");
        } else {
            tracing::warn!(error, mapping, shard, from, records, failed_attempts, "an invocation failed");
        }
    }

    fn log_read_error(&self, error: &LogError, failed_reads: u32) {
        tracing::error!(
            error = error as &dyn std::error::Error,
            mapping = self.function.mapping.name,
            shard = self.shard.description().id(),
            failed_reads,
            "cannot read a shard"
        );
    }
}
