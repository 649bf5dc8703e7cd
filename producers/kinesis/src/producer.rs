//! The handle of a producer.

use std::{sync::Arc, time::Instant};

use aws_sdk_kinesis::Client;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::{
    Semaphore,
    mpsc::{self, UnboundedSender},
    oneshot, watch,
};

use crate::{
    config::Config,
    error::{SendError, StartError, TrySendError},
    kinesis::Stream,
    pipeline::{Accepted, Pipeline, backoff, batch::routing_hash_key},
    record::{Delivery, Record},
    shard_map::ShardMap,
    stats::{Counters, Stats},
    task::{Command, START_PATIENCE, Task, now},
};

/// Puts records on one stream. Cheap to clone; all clones are one producer with one buffer.
///
/// When the last clone is dropped, what was accepted is still sent, as long as the runtime lives.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    commands: UnboundedSender<Command>,
    budget: Arc<Semaphore>,
    counters: Arc<Counters>,
    ended: watch::Receiver<bool>,
    record_bytes_max: usize,
    buffer_bytes_max: usize,
}

impl Producer {
    /// Reads the shard map of the stream, retrying what is temporary for up to 30 s, and starts the task behind the handle on
    /// the current runtime.
    ///
    /// Of `client` the endpoint, region, credentials and connections are used; retries and timeouts are the producer's own.
    ///
    /// # Errors
    /// When a setting is out of bounds, or the shards cannot be read: no such stream, no permission, or no answer.
    pub async fn start(config: Config, client: Client) -> Result<Producer, StartError> {
        config.check().map_err(StartError::Config)?;
        let stream = Stream::new(&client, &config.stream, config.request_timeout);
        let (asked_at, map) = first_map(&stream, &config.stream).await?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let (ended_sender, ended) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let budget = Arc::new(Semaphore::new(config.buffer_bytes_max));
        let shared = Shared {
            commands,
            budget: Arc::clone(&budget),
            counters: Arc::clone(&counters),
            ended,
            record_bytes_max: config.user_record_bytes_max(),
            buffer_bytes_max: config.buffer_bytes_max,
        };
        let pipeline = Pipeline::new(config, &map, asked_at, counters, rand::random());
        let task = Task { stream, pipeline, commands: receiver, budget, ended: ended_sender };
        // The task ends by itself, and tells so through `ended`.
        drop(tokio::spawn(task.run()));
        Ok(Producer { shared: Arc::new(shared) })
    }

    /// Accepts a record, waiting for room in the buffer if there is none. Callers are served in their order.
    ///
    /// # Errors
    /// When the record is larger than any the stream takes, its key is empty or too long, or the producer is closed.
    pub async fn send(&self, record: Record) -> Result<Delivery, SendError> {
        let cost = record.cost(self.shared.record_bytes_max).map_err(SendError::Invalid)?;
        match self.shared.budget.acquire_many(cost).await {
            Ok(room) => room.forget(),
            Err(_closed) => return Err(SendError::Closed(record)),
        }
        self.accept(record, cost).map_err(SendError::Closed)
    }

    /// Accepts a record if there is room for it now.
    ///
    /// # Errors
    /// [`TrySendError::Full`] hands the record back when there is no room; otherwise as [`send`](Producer::send).
    pub fn try_send(&self, record: Record) -> Result<Delivery, TrySendError> {
        let cost = record.cost(self.shared.record_bytes_max).map_err(TrySendError::Invalid)?;
        match self.shared.budget.try_acquire_many(cost) {
            Ok(room) => room.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Err(TrySendError::Full(record)),
            Err(tokio::sync::TryAcquireError::Closed) => return Err(TrySendError::Closed(record)),
        }
        self.accept(record, cost).map_err(TrySendError::Closed)
    }

    /// Ends exactly when every record that was accepted before this call has its result, good or bad. Until then nothing
    /// waits for company, so this is about one round trip, plus what the shard limits demand.
    pub async fn flush(&self) {
        let (flush, ended) = oneshot::channel();
        let is_sent = self.shared.commands.send(Command::Flush(flush)).is_ok();
        if !is_sent || ended.await.is_err() {
            // The producer is closing: everything has its result when it has ended.
            self.ended().await;
        }
    }

    /// Accepts nothing more, and ends when every record has its result and the task is gone.
    pub async fn close(&self) {
        // Fails only if it is closed already.
        drop(self.shared.commands.send(Command::Close));
        self.shared.budget.close();
        self.ended().await;
    }

    /// What the producer has done so far. Exact after a flush; in between, records that were just sent may not be counted.
    pub fn stats(&self) -> Stats {
        let free_bytes = self.shared.budget.available_permits();
        let buffered_bytes = self.shared.buffer_bytes_max.saturating_sub(free_bytes);
        self.shared.counters.stats(u64::try_from(buffered_bytes).unwrap_or(u64::MAX))
    }

    /// Hands a record that was charged to the task, or back if the task takes none any more.
    fn accept(&self, record: Record, cost: u32) -> Result<Delivery, Record> {
        let (reply, delivery) = oneshot::channel();
        let hash_key = routing_hash_key(&record);
        let command = Command::Put(Accepted { record, hash_key, cost, reply });
        match self.shared.commands.send(command) {
            Ok(()) => Ok(Delivery { reply: delivery }),
            Err(mpsc::error::SendError(Command::Put(accepted))) => Err(accepted.record),
            Err(mpsc::error::SendError(Command::Flush(_) | Command::Close)) => unreachable!("it was a put"),
        }
    }

    async fn ended(&self) {
        // An error means that the task is gone, which is what is waited for.
        drop(self.shared.ended.clone().wait_for(|has_ended| *has_ended).await);
    }
}

/// The first shard map and when it was asked for.
async fn first_map(stream: &Stream, name: &str) -> Result<(Instant, ShardMap), StartError> {
    let started_at = now();
    let mut random = StdRng::seed_from_u64(rand::random());
    for attempts in 1.. {
        let asked_at = now();
        match stream.shard_map().await {
            Ok(map) => return Ok((asked_at, map)),
            Err(source) => {
                let tried = now().saturating_duration_since(started_at);
                if !source.is_temporary() || tried >= START_PATIENCE {
                    return Err(StartError::Shards { stream: name.to_owned(), tried, source });
                }
            }
        }
        tokio::time::sleep(backoff(attempts, &mut random)).await;
    }
    unreachable!("the attempts are counted without end")
}
