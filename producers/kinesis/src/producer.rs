//! The handle of a producer.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_sdk_kinesis::Client;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::{
    Semaphore,
    mpsc::{self, UnboundedSender},
    oneshot, watch,
};
use tracing::warn;

use crate::{
    config::Config,
    error::{SendError, StartError, TrySendError},
    kinesis::Stream,
    pipeline::{Pipeline, backoff},
    record::{Delivery, Record},
    shard_map::ShardMap,
    spool::{Setting, Spool, SpoolError},
    stats::{Counters, Stats},
    task::{Command, Offer, START_PATIENCE, Task, now},
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
    freezable: bool,
    senders_bytes_max: usize,
}

impl Producer {
    /// Reads the shard map of the stream, retrying what is temporary for up to 30 s, and starts the task behind the handle on
    /// the current runtime.
    ///
    /// Of `client` the endpoint, region, credentials and connections are used; retries and timeouts are the producer's own.
    ///
    /// # Errors
    /// When a setting is out of bounds, the spool cannot be opened, or the shards cannot be read: no such stream, no permission,
    /// or no answer. With a spool, a stream that does not answer is no error: records wait on disk until it does.
    pub async fn start(config: Config, client: Client) -> Result<Producer, StartError> {
        config.check().map_err(StartError::Config)?;
        let stream = Stream::new(&client, &config.stream, config.request_timeout).speaking(config.wire_format);
        let counters = Arc::new(Counters::default());
        let mut spool = open_spool(&config, &counters).await.map_err(StartError::Spool)?;
        let patience = if spool.is_some() { Duration::ZERO } else { START_PATIENCE };
        let (asked_at, map) = match first_map(&stream, &config.stream, patience).await {
            Ok((asked_at, map)) => (asked_at, Some(map)),
            // Records wait on disk until the stream can be asked.
            Err(StartError::Shards { source, .. }) if spool.is_some() && source.is_temporary() => {
                warn!(error = &source as &dyn Error, "shard map not read yet, records wait in the spool");
                (now(), None)
            }
            Err(error) => return Err(error),
        };
        if let (Some(spool), Some(_)) = (&mut spool, &map) {
            spool.set_ready();
        }
        let (commands, receiver) = mpsc::unbounded_channel();
        let (ended_sender, ended) = watch::channel(false);
        let senders_bytes_max = config.senders_bytes_max();
        let budget = Arc::new(Semaphore::new(senders_bytes_max));
        let shared = Shared {
            commands,
            budget: Arc::clone(&budget),
            counters: Arc::clone(&counters),
            ended,
            record_bytes_max: config.user_record_bytes_max(),
            freezable: config.freezable,
            senders_bytes_max,
        };
        let mut pipeline =
            Pipeline::new(config, map.as_ref().unwrap_or(&ShardMap::unknown()), asked_at, counters, rand::random());
        if map.is_none() {
            pipeline.map_is_missing(now());
        }
        let task = Task { stream, pipeline, spool, commands: receiver, budget, senders_bytes_max, ended: ended_sender };
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
    ///
    /// Afterwards no timer runs, and no request that was made for these records is open. With [`Config::freezable`] nothing is
    /// under way at all, unless others have sent records meanwhile, and the process may be frozen.
    pub async fn flush(&self) {
        let (flush, ended) = oneshot::channel();
        let is_sent = self.shared.commands.send(Command::Flush(flush)).is_ok();
        if !is_sent || ended.await.is_err() {
            // The producer is closing: everything has its result when it has ended.
            self.ended().await;
        } else if self.shared.freezable {
            let (quiet, reached) = oneshot::channel();
            // Fails if the producer ends, and then nothing is under way either.
            drop(self.shared.commands.send(Command::Rest(quiet)));
            drop(reached.await);
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
        let buffered_bytes = self.shared.senders_bytes_max.saturating_sub(free_bytes);
        self.shared.counters.stats(u64::try_from(buffered_bytes).unwrap_or(u64::MAX))
    }

    /// Hands a record that was charged to the task, or back if the task takes none any more.
    fn accept(&self, record: Record, cost: u32) -> Result<Delivery, Record> {
        let (reply, delivery) = oneshot::channel();
        let command = Command::Put(Offer { record, cost, reply });
        match self.shared.commands.send(command) {
            Ok(()) => Ok(Delivery { reply: delivery }),
            Err(mpsc::error::SendError(Command::Put(offer))) => Err(offer.record),
            Err(mpsc::error::SendError(Command::Flush(_) | Command::Rest(_) | Command::Close)) => {
                unreachable!("it was a put")
            }
        }
    }

    async fn ended(&self) {
        // An error means that the task is gone, which is what is waited for.
        drop(self.shared.ended.clone().wait_for(|has_ended| *has_ended).await);
    }
}

/// Opens the log on disk, if there is to be one. Its thread is not there yet, so this blocks one of the runtime's.
async fn open_spool(config: &Config, counters: &Arc<Counters>) -> Result<Option<Spool>, SpoolError> {
    let Some(spool) = config.spool.clone() else { return Ok(None) };
    let senders_bytes = config.senders_bytes_max();
    let window_bytes = config.buffer_bytes_max - senders_bytes;
    let setting = Setting { config: spool, window_bytes, senders_bytes, counters: Arc::clone(counters) };
    let opened = tokio::task::spawn_blocking(move || Spool::open(setting)).await;
    opened.unwrap_or(Err(SpoolError::Gone)).map(Some)
}

/// The first shard map and when it was asked for.
async fn first_map(stream: &Stream, name: &str, patience: Duration) -> Result<(Instant, ShardMap), StartError> {
    let started_at = now();
    let mut random = StdRng::seed_from_u64(rand::random());
    for attempts in 1.. {
        let asked_at = now();
        match stream.shard_map().await {
            Ok(map) => return Ok((asked_at, map)),
            Err(source) => {
                let tried = now().saturating_duration_since(started_at);
                if !source.is_temporary() || tried >= patience {
                    return Err(StartError::Shards { stream: name.to_owned(), tried, source });
                }
            }
        }
        tokio::time::sleep(backoff(attempts, &mut random)).await;
    }
    unreachable!("the attempts are counted without end")
}
