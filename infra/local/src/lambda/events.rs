//! Asynchronous events: durable before they are acknowledged, run in the background, and again after a restart.
//!
//! An event is in the journal until it is done with: its function has answered it and its destination knows, or it was
//! given up and its destination or dead-letter queue has it, or that was counted. So it is run at least once. Attempts are
//! written, but not synced: a machine that loses power may repeat some.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::journal::Journal;
use crate::meter::{Level, Reading};

mod queue;
mod record;
mod run;

pub(super) use queue::{AGE_S_MAX, RETRIES_MAX};
use queue::{Change, Event, Queue, State};
pub(super) use run::Runner;

/// Asynchronous events that wait or run; above it, callers are told to come again. AWS has no such limit.
pub(super) const EVENTS_MAX: usize = 10_000;
/// Bytes of their payloads, which are in memory.
pub(super) const EVENTS_BYTES_MAX: usize = 256 << 20;

/// The events that wait or run. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held while the journal is written, on the blocking pool; never across an await.
    state: Mutex<Held>,
    /// Tells the runner that there may be something to do.
    wake: Notify,
    clock: Clock,
}

#[derive(Debug)]
struct Held {
    queue: Queue,
    journal: Journal,
    level: Level,
    bytes: Level,
    refused: u64,
    /// By function: events that were given up with no destination that has them.
    dropped: BTreeMap<String, u64>,
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcceptError {
    #[error("{EVENTS_MAX} events or {EVENTS_BYTES_MAX} bytes of them wait")]
    Full,
    #[error("the disk does not take the event")]
    Disk(#[from] io::Error),
}

/// How much of their room is used, and what was refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventsUse {
    pub(super) events: Reading,
    pub(super) bytes: Reading,
    pub(super) refused: u64,
}

impl Events {
    /// Opens the journal. Blocks.
    pub(super) fn open(path: &Path, faults: Faults, clock: Clock) -> io::Result<Self> {
        let mut queue = Queue::default();
        let journal = Journal::open(path, (faults, clock.clone()), |change: Change| queue.apply(change))?;
        if queue.len() > 0 {
            tracing::info!(events = queue.len(), "asynchronous events of before are run");
        }
        let (level, bytes, refused, dropped) = (Level::default(), Level::default(), 0, BTreeMap::new());
        let state = Mutex::new(Held { queue, journal, level, bytes, refused, dropped });
        Ok(Self { shared: Arc::new(Shared { state, wake: Notify::new(), clock }) })
    }

    /// Takes an event; it is durable when this returns its id.
    pub(super) async fn accept(&self, function: &str, payload: Arc<str>) -> Result<String, AcceptError> {
        let (shared, function) = (Arc::clone(&self.shared), function.to_owned());
        let accepting = tokio::task::spawn_blocking(move || {
            let now_ms = shared.clock.now_ms();
            let mut held = shared.held();
            let is_full = held.queue.len() >= EVENTS_MAX || held.queue.bytes() + payload.len() > EVENTS_BYTES_MAX;
            if is_full {
                held.refused += 1;
                return Err(AcceptError::Full);
            }
            let request_id = Uuid::new_v4().to_string();
            let state = State { due_ms: now_ms, ..State::default() };
            let event = Event { request_id: request_id.clone(), function, payload, accepted_ms: now_ms, state };
            let change = Change::Accepted { number: held.queue.next_number(), event };
            held.journal.append(std::slice::from_ref(&change))?;
            held.apply(change, now_ms);
            Ok(request_id)
        });
        let id = accepting.await.map_err(io::Error::other)??;
        self.shared.wake.notify_one();
        Ok(id)
    }

    /// Forgets the events of a function that is gone: they are counted as dropped.
    pub(super) async fn forget(&self, function: &str) {
        let numbers = self.shared.held().queue.of_function(function);
        self.shared.held().drop_of(function, numbers.len());
        for number in numbers {
            self.change(Change::Done { number }).await;
        }
    }

    /// Has the runner look again: a function may have come.
    pub(super) fn wake(&self) {
        self.shared.wake.notify_one();
    }

    pub(super) fn usage(&self) -> EventsUse {
        let (held, now_ms) = (self.shared.held(), self.shared.clock.now_ms());
        EventsUse { events: held.level.read(now_ms), bytes: held.bytes.read(now_ms), refused: held.refused }
    }

    /// By function: events that were given up with no destination that has them.
    pub(super) fn dropped(&self) -> BTreeMap<String, u64> {
        self.shared.held().dropped.clone()
    }

    fn note_dropped(&self, function: &str) {
        self.shared.held().drop_of(function, 1);
    }

    /// Writes what became of an event, without waiting for the disk to have it.
    async fn change(&self, change: Change) {
        let shared = Arc::clone(&self.shared);
        let changing = tokio::task::spawn_blocking(move || {
            let now_ms = shared.clock.now_ms();
            let mut held = shared.held();
            // What cannot be written holds while the process lives; after a restart the event is run again.
            if let Err(error) = held.journal.note(std::slice::from_ref(&change)) {
                tracing::warn!(%error, "what became of an asynchronous event was not written");
            }
            held.apply(change, now_ms);
        });
        if let Err(error) = changing.await {
            tracing::error!(%error, "what became of an asynchronous event is not known");
        }
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn apply(&mut self, change: Change, now_ms: i64) {
        self.queue.apply(change);
        self.level.set(self.queue.len(), now_ms);
        self.bytes.set(self.queue.bytes(), now_ms);
        let live = u64::try_from(self.queue.bytes()).unwrap_or(u64::MAX);
        if self.journal.is_stale(live)
            && let Err(error) = self.journal.rewrite(self.queue.as_changes())
        {
            tracing::warn!(%error, "the journal of asynchronous events could not be made shorter; it goes on as it is");
        }
    }

    fn drop_of(&mut self, function: &str, count: usize) {
        if count > 0 {
            *self.dropped.entry(function.to_owned()).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
        }
    }
}
