//! SQS, as much of it as destinations of failures and their readers need: standard queues, durable.
//!
//! A message is on disk before it is acknowledged, and so is its deletion. Receives are written too, but not synced: a
//! killed process forgets none, a machine that loses power gives such messages again. All messages are kept in memory
//! besides, within [`BYTES_MAX`]; above it a send is refused, so that nothing is lost. A queue is usable as soon as it is
//! made. What is absent: FIFO queues, KMS, permissions (policies are kept and not asked), tags, moving messages back.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::data_dir::replace_file;
use crate::faults::Faults;
use crate::journal::Journal;
use crate::kinesis::{ACCOUNT, REGION};
use crate::wire::ServiceError;

mod batch;
mod limits;
mod message;
mod operations;
mod queue;
mod receipt;
mod receive;
mod settings;

pub use message::{AttributeValue, Content};
use queue::{Change, Messages};
use settings::Settings;

/// Bytes of messages in all queues together. The service has no such limit; here they are in memory.
pub const BYTES_MAX: usize = 256 << 20;
/// Queues; the service has no limit.
const QUEUES_MAX: usize = 1_000;
/// How its requests begin their `X-Amz-Target`.
pub(crate) const TARGET: &str = "AmazonSQS";
const REGISTRY: &str = "queues.json";

/// All queues. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sqs {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    /// Where clients find the local cloud: queue URLs begin with it.
    endpoint: String,
    /// Held while the registry is written, on the blocking pool; never across an await.
    queues: Mutex<BTreeMap<String, Arc<Queue>>>,
    bytes: AtomicUsize,
    meters: Mutex<limits::Meters>,
    faults: Faults,
    clock: Clock,
}

/// A queue's place.
#[derive(Debug)]
struct Queue {
    name: String,
    created_ms: i64,
    /// Held while its journal is written, on the blocking pool; never across an await.
    state: Mutex<State>,
    /// Tells whoever waits that there may be something to receive.
    arrived: Notify,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    modified_ms: i64,
    purged_ms: Option<i64>,
    messages: Messages,
    journal: Journal,
    is_deleted: bool,
}

/// What the registry holds of a queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    created_ms: i64,
    modified_ms: i64,
    settings: Settings,
}

/// Why a message was not taken by a queue.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no such queue.
    #[error("there is no queue {queue}")]
    NoQueue {
        /// Its name.
        queue: String,
    },
    /// The message cannot be one, or there is no room for it.
    #[error("the queue refuses the message: {0}")]
    Refused(ServiceError),
}

impl Sqs {
    /// Opens the queues in a directory, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// What the operating system says, and damage to what was acknowledged.
    pub fn open(dir: PathBuf, endpoint: &str, faults: Faults, clock: Clock) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let entries: BTreeMap<String, Entry> = match fs::read(dir.join(REGISTRY)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        remove_leftovers(&dir, &entries)?;
        let mut queues = BTreeMap::new();
        let mut bytes = 0;
        for (name, entry) in entries {
            let queue = Queue::open(&dir, &name, entry, (faults.clone(), clock.clone()))?;
            bytes += queue.state().messages.bytes();
            queues.insert(name, Arc::new(queue));
        }
        let (queues, bytes, meters) = (Mutex::new(queues), AtomicUsize::new(bytes), Mutex::default());
        let endpoint = endpoint.to_owned();
        Ok(Self { shared: Arc::new(Shared { dir, endpoint, queues, bytes, meters, faults, clock }) })
    }

    /// Sends a message to the queue of this name; it is durable when this returns.
    ///
    /// # Errors
    /// When there is no such queue, or it refuses the message.
    pub async fn send(&self, queue: &str, content: Content) -> Result<(), SendError> {
        let found = self.find(queue).ok_or_else(|| SendError::NoQueue { queue: queue.to_owned() })?;
        let sent = self.send_all(&found, vec![(content, None)]).await.map_err(SendError::Refused)?;
        match sent.into_iter().next() {
            Some(Err(refused)) => Err(SendError::Refused(refused)),
            Some(Ok(_)) | None => Ok(()),
        }
    }

    /// The names of all queues.
    pub fn names(&self) -> Vec<String> {
        self.queues().keys().cloned().collect()
    }

    fn find(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues().get(name).cloned()
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Queue>>> {
        self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meters(&self) -> MutexGuard<'_, limits::Meters> {
        self.shared.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to a queue's state on the blocking pool, and keeps count of the bytes.
    async fn with_state<T: Send + 'static>(
        &self,
        queue: &Arc<Queue>,
        action: impl FnOnce(&mut State, &Shared, i64) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let (queue, shared) = (Arc::clone(queue), Arc::clone(&self.shared));
        let acting = tokio::task::spawn_blocking(move || {
            let now_ms = shared.clock.now_ms();
            let mut state = queue.state();
            if state.is_deleted {
                return Err(no_queue());
            }
            let before = state.messages.bytes();
            let State { messages, settings, .. } = &mut *state;
            messages.expire(settings, now_ms);
            let done = action(&mut state, &shared, now_ms);
            let after = state.messages.bytes();
            shared.bytes.fetch_add(after, Ordering::Relaxed);
            shared.bytes.fetch_sub(before, Ordering::Relaxed);
            done
        });
        acting.await.map_err(|error| internal(&error))?
    }
}

impl Queue {
    fn open(dir: &Path, name: &str, entry: Entry, (faults, clock): (Faults, Clock)) -> io::Result<Self> {
        let mut messages = Messages::default();
        let path = dir.join(journal_name(name, entry.created_ms));
        let journal = Journal::open(&path, (faults, clock), |change: Change| messages.apply(change))?;
        let Entry { created_ms, modified_ms, settings } = entry;
        let state = State { settings, modified_ms, purged_ms: None, messages, journal, is_deleted: false };
        Ok(Self { name: name.to_owned(), created_ms, state: Mutex::new(state), arrived: Notify::new() })
    }

    fn arn(&self) -> String {
        queue_arn(&self.name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes changes, then carries them out.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), ServiceError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.journal.append(&changes).map_err(|error| internal(&error))?;
        self.carry_out(changes);
        Ok(())
    }

    /// Carries out changes that may be forgotten. What cannot be written holds while the process lives.
    fn commit_lightly(&mut self, changes: Vec<Change>) {
        if let Err(error) = self.journal.note(&changes) {
            tracing::warn!(%error, "a receive was not written; after a restart its messages come again");
        }
        self.carry_out(changes);
    }

    fn carry_out(&mut self, changes: Vec<Change>) {
        changes.into_iter().for_each(|change| self.messages.apply(change));
        let live = u64::try_from(self.messages.bytes()).unwrap_or(u64::MAX);
        if self.journal.is_stale(live)
            && let Err(error) = self.journal.rewrite(self.messages.as_changes())
        {
            tracing::warn!(%error, "a queue's journal could not be made shorter; it goes on as it is");
        }
    }
}

/// Writes the registry. Blocks.
fn write_registry(dir: &Path, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    replace_file(&dir.join(REGISTRY), &serde_json::to_vec_pretty(entries)?)
}

fn journal_name(queue: &str, created_ms: i64) -> String {
    format!("{queue}.{created_ms}.journal")
}

/// Journals of queues that were deleted, or never finished being made.
fn remove_leftovers(dir: &Path, entries: &BTreeMap<String, Entry>) -> io::Result<()> {
    let kept: Vec<String> = entries.iter().map(|(name, entry)| journal_name(name, entry.created_ms)).collect();
    for file in fs::read_dir(dir)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".journal") && !kept.contains(&name) {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

/// A queue's ARN.
pub(crate) fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

/// The name in the ARN of a queue here.
pub(crate) fn queue_name(arn: &str) -> Option<&str> {
    arn.strip_prefix(&queue_arn("")).filter(|name| is_name(name))
}

fn is_name(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=80).contains(&name.len()) && name.bytes().all(is_char)
}

/// The name that an error has in the older protocol, by which clients know it; none where both are alike or it has none.
pub(crate) fn older_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue",
        "QueueNameExists" => "QueueAlreadyExists",
        "PurgeQueueInProgress" => "AWS.SimpleQueueService.PurgeQueueInProgress",
        "EmptyBatchRequest" => "AWS.SimpleQueueService.EmptyBatchRequest",
        "TooManyEntriesInBatchRequest" => "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct" => "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
        "BatchRequestTooLong" => "AWS.SimpleQueueService.BatchRequestTooLong",
        "InvalidBatchEntryId" => "AWS.SimpleQueueService.InvalidBatchEntryId",
        "MessageNotInflight" => "AWS.SimpleQueueService.MessageNotInflight",
        "UnsupportedOperation" => "AWS.SimpleQueueService.UnsupportedOperation",
        "InvalidParameterValueException" => "InvalidParameterValue",
        "MissingParameterException" => "MissingParameter",
        _ => return None,
    })
}

fn no_queue() -> ServiceError {
    ServiceError::client("QueueDoesNotExist", "The specified queue does not exist.")
}

fn invalid_value(message: impl Into<String>) -> ServiceError {
    ServiceError::client("InvalidParameterValueException", message)
}

fn missing(parameter: &str) -> ServiceError {
    let message = format!("The request must contain the parameter {parameter}.");
    ServiceError::client("MissingParameterException", message)
}

fn not_implemented(what: &str) -> ServiceError {
    ServiceError::client("UnsupportedOperation", format!("{what}: not implemented by the Millrace local cloud"))
}

fn internal(error: &(dyn std::error::Error + 'static)) -> ServiceError {
    tracing::error!(error, "a queue cannot be changed");
    ServiceError::internal("InternalFailure", error.to_string())
}

#[cfg(test)]
mod tests;
