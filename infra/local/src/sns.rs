//! SNS, as much of it as destinations of failures need: topics, and queues that are subscribed to them.
//!
//! A publication is in all queues, durably, before it is acknowledged; there is nothing in between that could be lost. A
//! queue that is gone takes nothing, as at the service, and that is counted. What is absent: other protocols than `sqs`,
//! FIFO topics, filter policies, signatures in notifications, permissions.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Clock;
use crate::data_dir::replace_file;
use crate::faults::Faults;
use crate::kinesis::{ACCOUNT, REGION};
use crate::limits::LimitUse;
use crate::meter::{Reading, Sizes, count};
use crate::sqs::Sqs;

mod notification;
mod operations;

pub use notification::Publication;
pub(crate) use operations::{NAMESPACE, VERSION};

/// A publication's bytes unless its topic says otherwise: 256 KiB.
const MESSAGE_BYTES_DEFAULT: usize = 262_144;
/// Topics; the service has 100,000, but here they are in one file.
const TOPICS_MAX: usize = 1_000;
/// Subscriptions of all topics; the service has 12.5 million a topic.
const SUBSCRIPTIONS_MAX: usize = 10_000;

/// All topics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    sqs: Sqs,
    /// Held while the file is written, on the blocking pool; never across an await.
    topics: Mutex<Topics>,
    meters: Mutex<Meters>,
    faults: Faults,
    clock: Clock,
}

/// Topics and subscriptions by their ARNs, as they lie on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Topics {
    topics: BTreeMap<String, Topic>,
    subscriptions: BTreeMap<String, Subscription>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Topic {
    message_bytes_max: usize,
}

/// A queue that gets what is published to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Subscription {
    topic: String,
    /// The queue's ARN.
    endpoint: String,
    /// Whether it gets the message alone.
    is_raw: bool,
}

#[derive(Debug, Default)]
struct Meters {
    message: Sizes,
    /// Deliveries that a queue did not take.
    undelivered: u64,
}

/// A refusal by the service's name of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct SnsError {
    /// HTTP status.
    pub status: u16,
    /// The service's own name, such as `NotFound`.
    pub code: &'static str,
    /// One sentence for a person.
    pub message: String,
}

impl SnsError {
    fn invalid(message: impl Into<String>) -> Self {
        Self { status: 400, code: "InvalidParameter", message: format!("Invalid parameter: {}", message.into()) }
    }

    fn not_here(what: &str) -> Self {
        Self::invalid(format!("{what}: not implemented by the Millrace local cloud"))
    }

    fn not_found(what: &str) -> Self {
        Self { status: 404, code: "NotFound", message: format!("{what} does not exist") }
    }

    fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a topic cannot be changed");
        Self { status: 500, code: "InternalError", message: error.to_string() }
    }
}

impl Sns {
    /// Opens the topics in a directory, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// What the operating system says, and a file that is damaged.
    pub fn open(dir: &Path, sqs: Sqs, faults: Faults, clock: Clock) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("topics.json");
        let topics = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Topics::default(),
            Err(error) => return Err(error),
        };
        let (topics, meters) = (Mutex::new(topics), Mutex::default());
        Ok(Self { shared: Arc::new(Shared { path, sqs, topics, meters, faults, clock }) })
    }

    /// Publishes to a topic; all its queues have it when this returns. The id is that of the publication.
    ///
    /// # Errors
    /// When there is no such topic, the publication is too large, or a queue that is there cannot take it.
    pub async fn publish(&self, topic_arn: &str, publication: &Publication) -> Result<Uuid, SnsError> {
        let (topic, subscriptions) = {
            let topics = self.topics();
            let topic = topics.topics.get(topic_arn).ok_or_else(|| SnsError::not_found("Topic"))?.clone();
            let of_topic = topics.subscriptions.values().filter(|subscription| subscription.topic == topic_arn);
            (topic, of_topic.cloned().collect::<Vec<_>>())
        };
        let (now_ms, size) = (self.shared.clock.now_ms(), publication.size());
        self.meters().message.note(size, topic.message_bytes_max, now_ms);
        if size > topic.message_bytes_max {
            return Err(SnsError::invalid("Message too long"));
        }
        let id = Uuid::new_v4();
        for subscription in subscriptions {
            let content =
                if subscription.is_raw { publication.raw() } else { publication.notification(topic_arn, id, now_ms) };
            self.deliver(&subscription, content).await?;
        }
        Ok(id)
    }

    /// A queue that is gone, or can never take such a message, has no second chance; one that cannot take it now is an
    /// error, and the publication comes again.
    async fn deliver(&self, subscription: &Subscription, content: crate::sqs::Content) -> Result<(), SnsError> {
        let queue = crate::sqs::queue_name(&subscription.endpoint).unwrap_or_default();
        let failed = match self.shared.sqs.send(queue, content).await {
            Ok(()) => return Ok(()),
            Err(crate::sqs::SendError::Refused(error)) if error.status >= 500 || error.code == "OverLimit" => {
                return Err(SnsError::internal(&error));
            }
            Err(failed) => failed,
        };
        self.meters().undelivered += 1;
        let (topic, endpoint) = (subscription.topic.as_str(), subscription.endpoint.as_str());
        tracing::warn!(error = &failed as &dyn std::error::Error, topic, endpoint, "a notification was not delivered");
        Ok(())
    }

    /// The limits that are held, and how much of each is used.
    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        const OURS: &str = "(of this local cloud)";
        const QUOTAS: &str = "general/latest/gr/sns.html";
        let now_ms = self.shared.clock.now_ms();
        let (topics, subscriptions, largest) = {
            let topics = self.topics();
            let sizes = topics.topics.values().map(|topic| topic.message_bytes_max);
            (topics.topics.len(), topics.subscriptions.len(), sizes.max().unwrap_or(MESSAGE_BYTES_DEFAULT))
        };
        let still = |value: usize| Reading { now: count(value), peak: count(value) };
        let row = |limit: &str, allowed: usize, unit: &str, used: Reading, source: &str| {
            LimitUse::new(("sns", limit), "account", (count(allowed), unit), used, source)
        };
        let meters = self.meters();
        vec![
            row("bytes of a message", largest, "bytes", meters.message.read(now_ms), QUOTAS)
                .refused(meters.message.over()),
            row("topics", TOPICS_MAX, "topics", still(topics), OURS),
            row("subscriptions", SUBSCRIPTIONS_MAX, "subscriptions", still(subscriptions), OURS),
        ]
    }

    /// Deliveries that a queue did not take since the start.
    pub fn undelivered(&self) -> u64 {
        self.meters().undelivered
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        self.shared.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn meters(&self) -> MutexGuard<'_, Meters> {
        self.shared.meters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a copy, writes it, and only then makes it what is read.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Topics) -> Result<T, SnsError> + Send + 'static,
    ) -> Result<T, SnsError> {
        let shared = Arc::clone(&self.shared);
        let changing = tokio::task::spawn_blocking(move || {
            let mut topics = shared.topics.lock().unwrap_or_else(PoisonError::into_inner);
            let mut changed = topics.clone();
            let answer = change(&mut changed)?;
            let written = shared.faults.check_disk(shared.clock.now_ms());
            let written = written.and_then(|()| replace_file(&shared.path, &serde_json::to_vec(&changed)?));
            written.map_err(|error| SnsError::internal(&error))?;
            *topics = changed;
            Ok(answer)
        });
        changing.await.map_err(|error| SnsError::internal(&error))?
    }
}

/// The ARN of a topic.
pub(crate) fn topic_arn(name: &str) -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}")
}

/// Whether this is the ARN of a topic that may be here.
pub(crate) fn is_topic_arn(arn: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let name = arn.strip_prefix(&topic_arn("")).unwrap_or_default();
    (1..=256).contains(&name.len()) && name.bytes().all(is_char)
}
