//! The task that owns a producer's state: it carries commands, answers, shard maps and the time to the pipeline, and makes the
//! calls that the pipeline wants made. Nothing runs while there is nothing to do.

use std::{
    collections::HashMap,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use kinesis_record::hash_keys;
use tokio::{
    sync::{Semaphore, mpsc::UnboundedReceiver, oneshot, watch},
    task::{Id, JoinError, JoinHandle, JoinSet},
};
use tracing::{debug, warn};

use crate::{
    error::{Failure, ShardMapError},
    kinesis::Stream,
    pipeline::{Accepted, Pipeline, outcome::Outcome, request::RequestId},
    record::Record,
    reply::{PutResult, Reply},
    shard_map::ShardMap,
    spool::{Done, Spool, Waiting},
};

/// Commands taken up before the pipeline is asked again what to do: enough to make one round cheap, little enough to keep
/// answers and timers prompt.
const COMMANDS_PER_ROUND: usize = 1024;

/// What a handle tells the task. The channel has no bound of its own: records enter it with permits of the byte budget, and
/// the others are as many as there are callers that wait.
#[derive(Debug)]
pub(crate) enum Command {
    Put(Offer),
    Flush(oneshot::Sender<()>),
    /// Answered when no shard map is being read.
    Rest(oneshot::Sender<()>),
    Close,
}

/// A record on its way in, charged against the budget.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) record: Record,
    pub(crate) cost: u32,
    pub(crate) reply: oneshot::Sender<PutResult>,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) stream: Stream,
    pub(crate) pipeline: Pipeline,
    pub(crate) spool: Option<Spool>,
    pub(crate) commands: UnboundedReceiver<Command>,
    /// Permits are bytes. Handles take them, the task gives them back.
    pub(crate) budget: Arc<Semaphore>,
    /// All permits that there are.
    pub(crate) senders_bytes_max: usize,
    /// Becomes true when the task has ended, in whatever way.
    pub(crate) ended: watch::Sender<bool>,
}

/// A shard map that is being read, and when it was asked for.
#[derive(Debug)]
struct MapRead {
    asked_at: Instant,
    task: JoinHandle<Result<ShardMap, ShardMapError>>,
}

/// What a round of the task begins with.
enum Wake {
    Commands(usize),
    Answer(Result<(Id, Outcome), JoinError>),
    Map(Result<Result<ShardMap, ShardMapError>, JoinError>),
    Spool(Option<Done>),
    Timer,
}

impl Task {
    /// Runs until the producer is closed, or all its handles are gone, and every record has its result.
    pub(crate) async fn run(mut self) {
        let mut calls = JoinSet::new();
        let mut requests: HashMap<Id, RequestId> = HashMap::new();
        let mut map_read: Option<MapRead> = None;
        let mut inbox = Vec::with_capacity(COMMANDS_PER_ROUND);
        let mut resting = Vec::new();
        let mut is_open = true;
        // What an earlier producer left on disk waits for nobody.
        if let Some(spool) = &mut self.spool {
            spool.act(now(), &mut self.pipeline, &self.budget);
        }
        while is_open || !self.pipeline.is_empty() {
            let wake_at = [self.pipeline.next_wake(), self.spool.as_ref().and_then(Spool::wake)];
            let wake_at = wake_at.into_iter().flatten().min();
            let wake = tokio::select! {
                count = self.commands.recv_many(&mut inbox, COMMANDS_PER_ROUND), if is_open => Wake::Commands(count),
                Some(answer) = calls.join_next_with_id() => Wake::Answer(answer),
                map = read(&mut map_read) => Wake::Map(map),
                done = spool_done(&mut self.spool) => Wake::Spool(done),
                () = sleep_until(wake_at) => Wake::Timer,
            };
            let now = now();
            match wake {
                Wake::Timer => {}
                Wake::Commands(count) => {
                    is_open = count > 0;
                    self.take_in(now, &mut inbox, &mut resting, is_open);
                }
                Wake::Answer(answer) => self.answer(now, answer, &mut requests),
                Wake::Map(result) => {
                    let asked_at = map_read.take().map_or(now, |read| read.asked_at);
                    self.map(now, asked_at, result);
                }
                Wake::Spool(done) => {
                    if let Some(spool) = &mut self.spool {
                        spool.take_done(now, done);
                    }
                }
            }
            if let Some(spool) = &mut self.spool {
                spool.act(now, &mut self.pipeline, &self.budget);
            }
            if is_open && self.pipeline.wants_map(now) {
                let stream = self.stream.clone();
                let task = tokio::spawn(async move { stream.shard_map().await });
                map_read = Some(MapRead { asked_at: now, task });
            }
            if map_read.is_none() {
                for rest in resting.drain(..) {
                    // Fails if whoever waited has given up.
                    let _sent: Result<(), ()> = rest.send(());
                }
            }
            while let Some(request) = self.pipeline.poll(now) {
                let stream = self.stream.clone();
                let call = calls.spawn(async move { stream.put_records(request.entries).await });
                requests.insert(call.id(), request.id);
            }
            self.budget.add_permits(self.pipeline.take_freed_bytes());
            let buffered_bytes = self.senders_bytes_max.saturating_sub(self.budget.available_permits());
            self.pipeline.publish(now, u64::try_from(buffered_bytes).unwrap_or(u64::MAX));
        }
        if let Some(read) = map_read {
            read.task.abort();
        }
        if let Some(spool) = self.spool.take() {
            // Nobody waits for what is still on its way, but what arrived need not be sent again after the next start.
            while let Some(answer) = calls.join_next_with_id().await {
                self.answer(now(), answer, &mut requests);
            }
            spool.end(now(), &mut self.pipeline, &self.budget).await;
        }
    }

    fn take_in(
        &mut self,
        now: Instant,
        inbox: &mut Vec<Command>,
        resting: &mut Vec<oneshot::Sender<()>>,
        is_open: bool,
    ) {
        let mut hash_keys = routing_hash_keys(inbox).into_iter();
        for command in inbox.drain(..) {
            match command {
                Command::Put(Offer { record, cost, reply }) => {
                    let hash_key = hash_keys.next().expect("there is one for each put");
                    match &mut self.spool {
                        Some(spool) if spool.is_open() => {
                            let waiting = Waiting { sender: reply, epoch: self.pipeline.count_in(), cost };
                            spool.take_in(&record, waiting, &mut self.pipeline, &self.budget);
                        }
                        Some(_) | None => {
                            let reply = Reply::Sender(reply);
                            self.pipeline.accept(now, Accepted { record, hash_key, cost, reply });
                        }
                    }
                }
                Command::Flush(flush) => self.pipeline.flush(flush),
                Command::Rest(rest) => resting.push(rest),
                // What is already in the channel is still received.
                Command::Close => self.commands.close(),
            }
        }
        if !is_open || self.commands.is_closed() {
            self.pipeline.close();
        }
    }

    fn answer(
        &mut self,
        now: Instant,
        answer: Result<(Id, Outcome), JoinError>,
        requests: &mut HashMap<Id, RequestId>,
    ) {
        let (id, outcome) = match answer {
            Ok(answer) => answer,
            // The call panicked, or the runtime is shutting down: nothing is known about its records.
            Err(error) => (error.id(), Outcome::Failed(Failure::NoAnswer(Arc::new(error)))),
        };
        let request = requests.remove(&id).expect("every call carries a request");
        if let Outcome::Failed(failure) = &outcome {
            debug!(error = failure as &dyn std::error::Error, "put records failed");
        }
        self.pipeline.complete(now, request, outcome);
    }

    fn map(&mut self, now: Instant, asked_at: Instant, result: Result<Result<ShardMap, ShardMapError>, JoinError>) {
        match result {
            Ok(Ok(map)) => {
                self.pipeline.map_read(asked_at, &map);
                if let Some(spool) = &mut self.spool {
                    spool.set_ready();
                }
            }
            Ok(Err(error)) => {
                warn!(error = &error as &dyn std::error::Error, "shard map not read, the old one stays in use");
                self.pipeline.map_failed(now);
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "shard map not read, the old one stays in use");
                self.pipeline.map_failed(now);
            }
        }
    }
}

impl Drop for Task {
    /// However the task ends, nobody may go on waiting for room, or for the end.
    fn drop(&mut self) {
        self.budget.close();
        self.ended.send_replace(true);
    }
}

/// The hash keys by which the records of all puts are routed. Many are computed together: that costs a fraction.
fn routing_hash_keys(commands: &[Command]) -> Vec<u128> {
    let records = commands.iter().filter_map(|command| match command {
        Command::Put(offer) => Some(&offer.record),
        Command::Flush(_) | Command::Rest(_) | Command::Close => None,
    });
    let keys: Vec<&str> = records.clone().map(|record| record.partition_key.as_str()).collect();
    records.zip(hash_keys(&keys)).map(|(record, hash_key)| record.explicit_hash_key.unwrap_or(hash_key)).collect()
}

/// The time of the runtime, which tests can pause.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn read(map_read: &mut Option<MapRead>) -> Result<Result<ShardMap, ShardMapError>, JoinError> {
    match map_read {
        Some(read) => (&mut read.task).await,
        None => pending().await,
    }
}

async fn spool_done(spool: &mut Option<Spool>) -> Option<Done> {
    match spool {
        Some(spool) if !spool.is_gone() => spool.done().await,
        Some(_) | None => pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => pending().await,
    }
}

/// How long a start goes on trying to read the shard map.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
