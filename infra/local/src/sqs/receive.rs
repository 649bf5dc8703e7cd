//! SQS' API over AWS JSON 1.0: what is received, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::batch::{check_ids, failure};
use super::message::{AttributeValue, attributes_md5};
use super::queue::{Change, NotHeld, Received};
use super::receipt::Receipt;
use super::settings::Settings;
use super::{Queue, Sqs, invalid_value, missing};
use crate::kinesis::ACCOUNT;
use crate::wire::ServiceError;

const VISIBILITY_S_MAX: u64 = 43_200;
const WAIT_S_MAX: u64 = 20;
/// How long a wait goes on without looking at the clock, which may jump.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ReceiveMessage {
    #[serde(default)]
    queue_url: String,
    #[serde(default)]
    max_number_of_messages: Option<usize>,
    #[serde(default)]
    visibility_timeout: Option<u64>,
    #[serde(default)]
    wait_time_seconds: Option<u64>,
    /// The older name of the next one.
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Held {
    #[serde(default)]
    queue_url: String,
    #[serde(flatten)]
    entry: HeldEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HeldBatch {
    #[serde(default)]
    queue_url: String,
    #[serde(default)]
    entries: Vec<HeldEntry>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HeldEntry {
    #[serde(default)]
    id: String,
    #[serde(default)]
    receipt_handle: String,
    #[serde(default)]
    visibility_timeout: Option<u64>,
}

/// What is done with what is held.
#[derive(Clone, Copy)]
enum Act {
    Delete,
    Hide,
}

impl Sqs {
    pub(super) async fn receive_message(&self, asked: ReceiveMessage) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        let most = asked.max_number_of_messages.unwrap_or(1);
        let out_of_range = |name: &str, range: &str| {
            Err(invalid_value(format!("Value for parameter {name} is invalid. Reason: Must be {range}, if provided.")))
        };
        if !(1..=10).contains(&most) {
            return out_of_range("MaxNumberOfMessages", "between 1 and 10");
        }
        if asked.visibility_timeout.is_some_and(|seconds| seconds > VISIBILITY_S_MAX) {
            return out_of_range("VisibilityTimeout", ">= 0 and <= 43200");
        }
        if asked.wait_time_seconds.is_some_and(|seconds| seconds > WAIT_S_MAX) {
            return out_of_range("WaitTimeSeconds", ">= 0 and <= 20");
        }
        let mut deadline = None;
        loop {
            // Before looking, so that what arrives meanwhile is not missed.
            let mut arrived = std::pin::pin!(queue.arrived.notified());
            arrived.as_mut().enable();
            let (received, settings, next_ms) = self.take(&queue, most, asked.visibility_timeout).await?;
            let wait_s = asked.wait_time_seconds.unwrap_or(settings.wait_s);
            let until = *deadline.get_or_insert_with(|| Instant::now() + Duration::from_secs(wait_s));
            if !received.is_empty() || Instant::now() >= until {
                return Ok(show_all(&received, &asked, &queue));
            }
            let left_ms = next_ms.map_or(i64::MAX, |next_ms| next_ms.saturating_sub(self.shared.clock.now_ms()));
            let due = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
            let look_at = Instant::now() + due.clamp(Duration::from_millis(1), LOOK_EVERY);
            // Either way the queue is looked at again.
            let _arrived_or_due = timeout_at(look_at.min(until), arrived).await;
        }
    }

    /// Receives what can be now, and sends on what was received too often. The settings and when more can be received
    /// come with it.
    async fn take(
        &self,
        queue: &Arc<Queue>,
        most: usize,
        visibility_s: Option<u64>,
    ) -> Result<(Vec<Received>, Settings, Option<i64>), ServiceError> {
        let taken = self.with_state(queue, move |state, _, now_ms| {
            let visibility_s = visibility_s.unwrap_or(state.settings.visibility_s);
            let mut found = state.messages.receive(most, visibility_s, &state.settings, now_ms);
            let changes = std::mem::take(&mut found.changes);
            if !changes.is_empty() {
                state.commit_lightly(changes);
            }
            Ok((found, state.settings.clone(), state.messages.next_visible_ms()))
        });
        let (found, settings, next_ms) = taken.await?;
        if found.is_over_limit {
            self.meters().over_in_flight += 1;
            let said = "Too many messages are received and not deleted: 120,000 may be.";
            return Err(ServiceError { status: 403, ..ServiceError::client("OverLimit", said) });
        }
        if let (Some(redrive), false) = (&settings.redrive, found.given_up.is_empty()) {
            self.send_on(queue, &redrive.queue, found.given_up).await;
        }
        Ok((found.received, settings, next_ms))
    }

    /// Moves messages that were received too often to another queue. A crash in between leaves them in both.
    async fn send_on(&self, from: &Arc<Queue>, to: &str, given_up: Vec<Received>) {
        let Some(target) = self.find(to) else {
            tracing::warn!(from = from.name, to, "the queue for messages that were received too often is not there");
            return;
        };
        for Received { number, message } in given_up {
            let by = from.arn();
            let put = self.with_state(&target, move |state, _, now_ms| {
                let change = state.messages.put_given_up(&message, &by, now_ms);
                state.commit(vec![change])
            });
            let moved = match put.await {
                Ok(()) => {
                    self.with_state(from, move |state, _, _| state.commit(vec![Change::Deleted { number }])).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = moved {
                tracing::warn!(%error, from = from.name, to, "a message that was received too often stays for now");
            }
        }
        target.arrived.notify_waiters();
    }

    pub(super) async fn delete_message(&self, asked: Held) -> Result<Value, ServiceError> {
        self.act_once(asked, Act::Delete).await
    }

    pub(super) async fn change_visibility(&self, asked: Held) -> Result<Value, ServiceError> {
        self.act_once(asked, Act::Hide).await
    }

    pub(super) async fn delete_message_batch(&self, asked: HeldBatch) -> Result<Value, ServiceError> {
        self.act_on_all(asked, Act::Delete).await
    }

    pub(super) async fn change_visibility_batch(&self, asked: HeldBatch) -> Result<Value, ServiceError> {
        self.act_on_all(asked, Act::Hide).await
    }

    async fn act_once(&self, asked: Held, act: Act) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        if asked.entry.receipt_handle.is_empty() {
            return Err(missing("ReceiptHandle"));
        }
        let done = self.act(&queue, vec![asked.entry], act).await?;
        done.into_iter().collect::<Result<Vec<()>, ServiceError>>()?;
        Ok(json!({}))
    }

    async fn act_on_all(&self, asked: HeldBatch, act: Act) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        check_ids(asked.entries.iter().map(|entry| entry.id.as_str()))?;
        let done = self.act(&queue, asked.entries.clone(), act).await?;
        let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
        for (entry, result) in asked.entries.iter().zip(done) {
            match result {
                Ok(()) => succeeded.push(json!({ "Id": entry.id })),
                Err(error) => failed.push(failure(&entry.id, &error)),
            }
        }
        Ok(json!({ "Successful": succeeded, "Failed": failed }))
    }

    /// Deletes or hides messages by their receipts; deletions are durable when this returns.
    async fn act(
        &self,
        queue: &Arc<Queue>,
        entries: Vec<HeldEntry>,
        act: Act,
    ) -> Result<Vec<Result<(), ServiceError>>, ServiceError> {
        let of_queue = Arc::clone(queue);
        let done = self.with_state(queue, move |state, _, now_ms| {
            let (mut changes, mut results) = (Vec::new(), Vec::new());
            for entry in entries {
                let decided = decide(&of_queue, &state.messages, &entry, act, now_ms);
                results.push(decided.map(|change| changes.extend(change)));
            }
            match act {
                Act::Delete => state.commit(changes)?,
                Act::Hide => state.commit_lightly(changes),
            }
            Ok(results)
        });
        let done = done.await?;
        queue.arrived.notify_waiters();
        Ok(done)
    }
}

fn decide(
    queue: &Queue,
    messages: &super::queue::Messages,
    entry: &HeldEntry,
    act: Act,
    now_ms: i64,
) -> Result<Option<Change>, ServiceError> {
    let Some(receipt) = Receipt::read(&entry.receipt_handle, queue) else {
        let said = format!("The input receipt handle \"{}\" is not a valid receipt handle.", entry.receipt_handle);
        return Err(ServiceError { status: 404, ..ServiceError::client("ReceiptHandleIsInvalid", said) });
    };
    let Receipt { number, received } = receipt;
    if matches!(act, Act::Delete) {
        return Ok(messages.delete(number, received));
    }
    let seconds = entry.visibility_timeout.ok_or_else(|| missing("VisibilityTimeout"))?;
    if seconds > VISIBILITY_S_MAX {
        let said =
            format!("Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and 43200.");
        return Err(invalid_value(said));
    }
    match messages.hide(number, received, seconds, now_ms) {
        Ok(change) => Ok(Some(change)),
        Err(NotHeld::NotInFlight) => {
            Err(ServiceError::client("MessageNotInflight", "The message referred to is not in flight."))
        }
        Err(NotHeld::Stale) => {
            let said = "Reason: Message does not exist or is not available for visibility timeout change.";
            Err(invalid_value(format!("Value for parameter ReceiptHandle is invalid. {said}")))
        }
    }
}

fn show_all(received: &[Received], asked: &ReceiveMessage, queue: &Queue) -> Value {
    if received.is_empty() {
        return json!({});
    }
    let shown: Vec<Value> = received.iter().map(|received| show(received, asked, queue)).collect();
    json!({ "Messages": shown })
}

fn show(received: &Received, asked: &ReceiveMessage, queue: &Queue) -> Value {
    let message = &received.message;
    let content = &message.content;
    let receipt = Receipt { number: received.number, received: message.received };
    let mut shown = json!({
        "MessageId": message.id,
        "ReceiptHandle": receipt.write(queue),
        "MD5OfBody": content.body_md5(),
        "Body": content.body,
    });
    let system = [
        ("SenderId", Some(ACCOUNT.to_owned())),
        ("SentTimestamp", Some(message.sent_ms.to_string())),
        ("ApproximateReceiveCount", Some(message.received.to_string())),
        ("ApproximateFirstReceiveTimestamp", message.first_received_ms.map(|ms| ms.to_string())),
        ("AWSTraceHeader", content.trace_header.clone()),
        ("DeadLetterQueueSourceArn", message.given_up_by.clone()),
    ];
    let is_asked = |name: &str| {
        let mut names = asked.attribute_names.iter().chain(&asked.message_system_attribute_names);
        names.any(|asked| asked == "All" || asked == name)
    };
    let system: BTreeMap<&str, String> = system
        .into_iter()
        .filter(|(name, _)| is_asked(name))
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    let attributes: BTreeMap<&String, &AttributeValue> = content
        .attributes
        .iter()
        .filter(|(name, _)| asked.message_attribute_names.iter().any(|asked| is_meant(asked, name)))
        .collect();
    if let Value::Object(shown) = &mut shown {
        if !system.is_empty() {
            shown.insert("Attributes".to_owned(), json!(system));
        }
        if let Some(digest) = attributes_md5(attributes.iter().map(|(name, value)| (*name, *value))) {
            shown.insert("MessageAttributes".to_owned(), json!(attributes));
            shown.insert("MD5OfMessageAttributes".to_owned(), Value::from(digest));
        }
    }
    shown
}

/// Whether a name that was asked for, or a beginning with `.*` behind it, means an attribute.
fn is_meant(asked: &str, name: &str) -> bool {
    match asked.strip_suffix(".*") {
        Some(beginning) => name.starts_with(beginning),
        None => asked == "All" || asked == name,
    }
}
