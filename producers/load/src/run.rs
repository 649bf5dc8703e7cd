//! A run: workers, one connection each, that take the calls in turn and send each when it is due.
//!
//! No queue stands between the schedule and the connections. A worker that is free takes the next call and waits for
//! its time; if all are busy, the call's time passes, and its latency counts from then. A call that is a second late is
//! given up and counted, so that a run ends on time and a server is not flooded after a stall.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::envelope::EventType;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::answer;
use crate::connection::Connection;
use crate::progress::{Progress, add};
use crate::report::Report;
use crate::schedule::Schedule;
use crate::source::{DaySource, Source};
use crate::wire;

/// A call that is later than this is not sent any more.
const LATE_MAX: Duration = Duration::from_secs(1);

/// Pause of a connection after it was lost, so that a server that is down is not flooded with attempts.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Calls of a run that ends by its duration alone; half of what can be counted, so that counting on does no harm.
const CALLS_WITHOUT_END: u64 = u64::MAX / 2;

/// Most connections of one run: a loopback address has about 28,000 ports for them.
pub const CONNECTIONS_MAX: usize = 20_000;

/// A run.
#[derive(Debug, Clone)]
pub struct Config {
    /// Host and port of the collection API, such as `127.0.0.1:8080`.
    pub target: String,
    /// What is sent.
    pub source: Source,
    /// Events per second, over all connections.
    pub events_per_s: NonZeroU32,
    /// How long; a file that ends earlier ends the run.
    pub duration: Duration,
    /// Connections, and so calls at the same time. A call takes at least the producer's linger, so `n` calls per second
    /// need about `n` × (linger + 5 ms) of them. At most [`CONNECTIONS_MAX`].
    pub connections: NonZeroUsize,
    /// Events per call: 1 posts single requests, more posts NDJSON batches. At most 10,000.
    pub batch: NonZeroU32,
    /// Of 10,000 events, how many repeat the one before byte for byte.
    pub retry_per_10k: u32,
    /// Decides which.
    pub seed: u64,
    /// The time of the first event, in milliseconds since the epoch: the clock's, or a fixed one for fixed bytes.
    pub start_ms: i64,
    /// File to which the ids of accepted events are appended, one a line.
    pub acks: Option<PathBuf>,
    /// Longest wait for an answer.
    pub answer_timeout: Duration,
}

/// Why a run was not made, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The target's name has no address.
    #[error("find the address of {target}")]
    Target {
        /// As it was given.
        target: String,
        /// Why, where the system said.
        #[source]
        source: io::Error,
    },
    /// The file of acknowledged ids cannot be written.
    #[error("write acknowledged ids to {}", path.display())]
    Acks {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A worker ended by a panic, which is a fault of the generator.
    #[error("a worker failed")]
    Worker(#[source] tokio::task::JoinError),
}

/// Sends until the duration is over, the source ends or `shutdown` resolves; then waits for open answers.
///
/// `progress` counts while it goes on. Give each run its own.
///
/// # Errors
/// A target without an address, and a file of ids that cannot be written. A server that is down is no error: it shows
/// in the counts.
pub async fn run(
    config: Config,
    progress: Arc<Progress>,
    shutdown: impl Future<Output = ()>,
) -> Result<Report, LoadError> {
    let address = resolve(&config.target).await?;
    let acks_path = config.acks.clone().unwrap_or_default();
    let acks_failed = |source| LoadError::Acks { path: acks_path.clone(), source };
    let acks = config.acks.as_deref().map(Acks::open).transpose().map_err(acks_failed)?;
    let plan = Arc::new(Plan::new(config));
    let (stop, stopping) = watch::channel(());
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections() {
        let worker = Worker {
            plan: Arc::clone(&plan),
            progress: Arc::clone(&progress),
            connection: Connection::new(address),
            acks: acks.as_ref().map(Acks::sender),
            start,
        };
        workers.spawn(worker.work(stopping.clone()));
    }
    let mut shutdown = std::pin::pin!(shutdown);
    let mut stop = Some(stop);
    loop {
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => ended.map_err(LoadError::Worker)?,
                None => break,
            },
            () = &mut shutdown, if stop.is_some() => drop(stop.take()),
        }
    }
    let elapsed = start.elapsed();
    if let Some(acks) = acks {
        acks.close().await.map_err(acks_failed)?;
    }
    Ok(Report::new(&progress, elapsed))
}

async fn resolve(target: &str) -> Result<SocketAddr, LoadError> {
    let unknown = |source| LoadError::Target { target: target.to_owned(), source };
    let mut addresses = tokio::net::lookup_host(target).await.map_err(unknown)?;
    addresses.next().ok_or_else(|| unknown(io::ErrorKind::AddrNotAvailable.into()))
}

/// What all workers share.
#[derive(Debug)]
struct Plan {
    config: Config,
    schedule: Schedule,
    /// The start of a request's head for each route.
    head_starts: Vec<Vec<u8>>,
    calls: u64,
    next_call: AtomicU64,
}

impl Plan {
    fn new(config: Config) -> Self {
        let Config { events_per_s, batch, retry_per_10k, seed, .. } = config;
        let schedule = Schedule { events_per_s, batch, retry_per_10k, seed };
        let is_single = batch.get() == 1;
        let head_starts = match (&config.source, is_single) {
            (Source::Day(_), true) => EventType::COLLECTED
                .map(|of| wire::head_start(&config.target, &format!("/v1/{}s", of.name()), "application/json"))
                .to_vec(),
            (Source::Traffic(_) | Source::Replay(_), true) => {
                vec![wire::head_start(&config.target, "/v1/ad_requests", "application/json")]
            }
            (_, false) => vec![wire::head_start(&config.target, "/v1/events", "application/x-ndjson")],
        };
        let keeps_its_own_time = matches!(&config.source, Source::Day(day) if day.speed.is_some());
        let calls = match keeps_its_own_time {
            true => CALLS_WITHOUT_END,
            false => schedule.calls(config.duration, config.source.events()),
        };
        Self { config, schedule, head_starts, calls, next_call: AtomicU64::new(0) }
    }

    /// No more connections than there are calls.
    fn connections(&self) -> usize {
        let wanted = self.config.connections.get().min(CONNECTIONS_MAX);
        wanted.min(usize::try_from(self.calls).unwrap_or(usize::MAX))
    }

    fn is_invalid(&self, event: u64) -> bool {
        match &self.config.source {
            Source::Traffic(traffic) => traffic.is_invalid(event),
            Source::Replay(_) | Source::Day(_) => false,
        }
    }
}

/// One call, made.
struct Call {
    /// From the start of the run.
    due: Duration,
    events: u64,
    /// Which of the plan's heads it has.
    route: usize,
}

/// One connection and its part of the calls.
struct Worker {
    plan: Arc<Plan>,
    progress: Arc<Progress>,
    connection: Connection,
    acks: Option<mpsc::Sender<Vec<u8>>>,
    start: Instant,
}

impl Worker {
    async fn work(mut self, mut stopping: watch::Receiver<()>) {
        let plan = Arc::clone(&self.plan);
        let (mut body, mut request) = (Vec::new(), Vec::new());
        loop {
            let number = plan.next_call.fetch_add(1, Ordering::Relaxed);
            if number >= plan.calls || stopping.has_changed().is_err() {
                return;
            }
            let Some(Call { due, events: events_count, route }) = self.take(number, &mut body) else { return };
            let due = self.start + due;
            let now = Instant::now();
            if now.saturating_duration_since(due) > LATE_MAX {
                add(&self.progress.missed, events_count);
                continue;
            }
            wire::write_request(plan.head_starts.get(route).unwrap_or(&Vec::new()), &body, &mut request);
            if due > now {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => {}
                    _ = stopping.changed() => return,
                }
            }
            add(&self.progress.sent, events_count);
            add(&self.progress.sent_bytes, u64::try_from(body.len()).unwrap_or(u64::MAX));
            if !self.call(&request, due, events_count).await {
                tokio::time::sleep(RECONNECT_PAUSE).await;
            }
        }
    }

    /// The call of a number, with its body, which is made before it is due so that making it delays nothing. `None` once
    /// the run's duration is over.
    fn take(&self, number: u64, body: &mut Vec<u8>) -> Option<Call> {
        let Plan { config, schedule, .. } = &*self.plan;
        let scheduled = schedule.due(number);
        if let Source::Day(day) = &config.source {
            return self.take_of_day(day, scheduled, body);
        }
        let events = schedule.events_of(number, config.source.events());
        let call = Call { due: scheduled, events: events.end - events.start, route: 0 };
        // What comes too late is not made.
        let is_late = Instant::now().saturating_duration_since(self.start + scheduled) > LATE_MAX;
        if !is_late {
            self.make(events, body);
        }
        Some(call)
    }

    fn take_of_day(&self, day: &DaySource, scheduled: Duration, body: &mut Vec<u8>) -> Option<Call> {
        let config = &self.plan.config;
        body.clear();
        let mut made = day.next(body);
        for _ in 1..config.batch.get() {
            body.push(b'\n');
            made = day.next(body);
        }
        // A batch is sent when its last event has happened.
        let due = day.due(made).unwrap_or(scheduled);
        let is_single = config.batch.get() == 1;
        let route = EventType::COLLECTED.iter().position(|of| is_single && *of == made.event_type).unwrap_or(0);
        (due < config.duration).then_some(Call { due, events: config.batch.get().into(), route })
    }

    /// Writes the body of a call, and counts what is peculiar about its events.
    fn make(&self, events: std::ops::Range<u64>, body: &mut Vec<u8>) {
        let Plan { config, schedule, .. } = &*self.plan;
        body.clear();
        for event in events {
            let original = schedule.original(event);
            if !body.is_empty() {
                body.push(b'\n');
            }
            config.source.write(original, config.start_ms + schedule.made_ms(original), body);
            add(&self.progress.sent_retries, u64::from(original != event));
            add(&self.progress.sent_invalid, u64::from(self.plan.is_invalid(original)));
        }
    }

    /// Sends a call, and counts and measures its answer. Returns whether there was one.
    async fn call(&mut self, request: &[u8], due: Instant, events: u64) -> bool {
        let sent = Instant::now();
        let timeout = self.plan.config.answer_timeout;
        let answered = tokio::time::timeout(timeout, self.connection.call(request)).await;
        let Ok(Ok(answer)) = answered else {
            add(&self.progress.unanswered, events);
            self.connection.close();
            return false;
        };
        let answered = Instant::now();
        self.progress.measure(answered - due, answered - sent);
        let is_batch = self.plan.config.batch.get() > 1;
        let tally = answer::tally(answer.status, &answer.body, events, is_batch);
        if let Some(acks) = &self.acks
            && tally.accepted > 0
        {
            // A file that cannot be written ends its writer, whose error ends the run with that reason.
            if acks.send(answer::event_ids(&answer.body)).await.is_err() {
                self.plan.next_call.store(self.plan.calls, Ordering::Relaxed);
            }
        }
        add(&self.progress.accepted, tally.accepted);
        add(&self.progress.refused, tally.refused);
        add(&self.progress.unavailable, tally.unavailable);
        true
    }
}

#[cfg(test)]
mod tests;
