//! SQS' API over AWS JSON 1.0: queues and their attributes, and what is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::{Value, json};

use super::batch::{BATCH_MAX, check_ids, failure};
use super::message::{AttributeValue, Content, attributes_md5};
use super::queue::{Change, Messages};
use super::settings::{ATTRIBUTES, MESSAGE_BYTES_MAX, Settings, no_fifo};
use super::{
    BYTES_MAX, Entry, QUEUES_MAX, Queue, Sqs, internal, invalid_value, is_name, missing, no_queue, not_implemented,
    write_registry,
};
use crate::kinesis::ACCOUNT;
use crate::wire::{self, ServiceError};

/// A queue may be purged once in so long.
const PURGE_PAUSE_MS: i64 = 60_000;
/// Names in one page of a list.
const PAGE_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default, rename = "tags")]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    queue_name: String,
    #[serde(default, rename = "QueueOwnerAWSAccountId")]
    owner: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListQueues {
    #[serde(default)]
    queue_name_prefix: String,
    #[serde(default)]
    max_results: Option<usize>,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Addressed {
    #[serde(default)]
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage {
    #[serde(default)]
    queue_url: String,
    #[serde(flatten)]
    entry: SendEntry,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessageBatch {
    #[serde(default)]
    queue_url: String,
    #[serde(default)]
    entries: Vec<SendEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEntry {
    #[serde(default)]
    id: String,
    #[serde(default)]
    message_body: String,
    #[serde(default)]
    delay_seconds: Option<u64>,
    #[serde(default)]
    message_attributes: BTreeMap<String, AttributeValue>,
    #[serde(default)]
    message_system_attributes: BTreeMap<String, AttributeValue>,
    #[serde(default)]
    message_group_id: Option<String>,
    #[serde(default)]
    message_deduplication_id: Option<String>,
}

/// A message that was taken: its id and the digests.
pub(super) struct Sent {
    id: String,
    body_md5: String,
    attributes_md5: Option<String>,
    trace_md5: Option<String>,
}

impl Sqs {
    /// Answers a call by its operation's name.
    ///
    /// # Errors
    /// The service's errors, by its names.
    pub(crate) async fn call(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let answer = match operation {
            "CreateQueue" => self.create_queue(wire::parse(body)?).await?,
            "GetQueueUrl" => self.get_queue_url(&wire::parse(body)?)?,
            "ListQueues" => self.list_queues(&wire::parse(body)?)?,
            "GetQueueAttributes" => self.get_attributes(wire::parse(body)?).await?,
            "SetQueueAttributes" => self.set_attributes(wire::parse(body)?).await?,
            "DeleteQueue" => self.delete_queue(wire::parse(body)?).await?,
            "PurgeQueue" => self.purge_queue(wire::parse(body)?).await?,
            "SendMessage" => self.send_message(wire::parse(body)?).await?,
            "SendMessageBatch" => self.send_message_batch(wire::parse(body)?).await?,
            "ReceiveMessage" => self.receive_message(wire::parse(body)?).await?,
            "DeleteMessage" => self.delete_message(wire::parse(body)?).await?,
            "DeleteMessageBatch" => self.delete_message_batch(wire::parse(body)?).await?,
            "ChangeMessageVisibility" => self.change_visibility(wire::parse(body)?).await?,
            "ChangeMessageVisibilityBatch" => self.change_visibility_batch(wire::parse(body)?).await?,
            other => return Err(ServiceError::not_here("sqs", other)),
        };
        wire::answer(&answer)
    }

    async fn create_queue(&self, asked: CreateQueue) -> Result<Value, ServiceError> {
        let name = asked.queue_name;
        if name.ends_with(".fifo") {
            return Err(no_fifo());
        }
        if !is_name(&name) {
            let said = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
            return Err(invalid_value(said));
        }
        if !asked.tags.is_empty() {
            return Err(not_implemented("tags of SQS"));
        }
        let settings = Settings::default().with(&asked.attributes)?;
        let (shared, of_queue) = (Arc::clone(&self.shared), name.clone());
        let creating = tokio::task::spawn_blocking(move || {
            let name = of_queue;
            let mut queues = shared.queues.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(queue) = queues.get(&name) {
                let held = queue.state().settings.clone();
                // Only what is said counts: what is not said may be as it is.
                return if held.clone().with(&asked.attributes)? == held {
                    Ok(())
                } else {
                    let said = "A queue already exists with the same name and a different value for an attribute";
                    Err(ServiceError::client("QueueNameExists", said))
                };
            }
            if queues.len() >= QUEUES_MAX {
                return Err(ServiceError::client("OverLimit", format!("There are {QUEUES_MAX} queues already.")));
            }
            let now_ms = shared.clock.now_ms();
            let entry = Entry { created_ms: now_ms, modified_ms: now_ms, settings };
            shared.faults.check_disk(now_ms).map_err(|error| internal(&error))?;
            let rim = (shared.faults.clone(), shared.clock.clone());
            let queue = Queue::open(&shared.dir, &name, entry.clone(), rim).map_err(|error| internal(&error))?;
            let mut entries = entries(&queues);
            entries.insert(name.clone(), entry);
            write_registry(&shared.dir, &entries).map_err(|error| internal(&error))?;
            queues.insert(name, Arc::new(queue));
            Ok(())
        });
        creating.await.map_err(|error| internal(&error))??;
        Ok(json!({ "QueueUrl": self.url(&name) }))
    }

    fn get_queue_url(&self, asked: &Named) -> Result<Value, ServiceError> {
        let is_here = asked.owner.as_ref().is_none_or(|owner| owner == ACCOUNT);
        self.find(&asked.queue_name).filter(|_| is_here).ok_or_else(no_queue)?;
        Ok(json!({ "QueueUrl": self.url(&asked.queue_name) }))
    }

    fn list_queues(&self, asked: &ListQueues) -> Result<Value, ServiceError> {
        if asked.max_results.is_some_and(|results| !(1..=PAGE_MAX).contains(&results)) {
            return Err(invalid_value("MaxResults must be 1 to 1000"));
        }
        let page = asked.max_results.unwrap_or(PAGE_MAX);
        let names = self.names().into_iter().filter(|name| name.starts_with(&asked.queue_name_prefix));
        let mut names = names.filter(|name| asked.next_token.as_ref().is_none_or(|token| name > token));
        let given: Vec<String> = names.by_ref().take(page).collect();
        let next = names.next().and(given.last()).filter(|_| asked.max_results.is_some());
        let urls: Vec<String> = given.iter().map(|name| self.url(name)).collect();
        let mut answer = json!({});
        if !urls.is_empty() {
            answer = json!({ "QueueUrls": urls });
        }
        if let (Some(next), Value::Object(answer)) = (next, &mut answer) {
            answer.insert("NextToken".to_owned(), Value::from(next.as_str()));
        }
        Ok(answer)
    }

    async fn get_attributes(&self, asked: Addressed) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        let named = Arc::clone(&queue);
        let all = self.with_state(&queue, move |state, _, now_ms| {
            let counts = state.messages.counts(now_ms);
            let mut all = state.settings.show();
            let more = [
                ("QueueArn", named.arn()),
                ("CreatedTimestamp", (named.created_ms / 1_000).to_string()),
                ("LastModifiedTimestamp", (state.modified_ms / 1_000).to_string()),
                ("ApproximateNumberOfMessages", counts.visible.to_string()),
                ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
                ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
            ];
            all.extend(more.map(|(name, value)| (name.to_owned(), value)));
            Ok(all)
        });
        let all = all.await?;
        let is_known = |name: &&String| ATTRIBUTES.contains(&name.as_str());
        if let Some(unknown) = asked.attribute_names.iter().find(|name| !is_known(name)) {
            return Err(ServiceError::client("InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
        }
        let is_asked = |name: &String| asked.attribute_names.iter().any(|asked| asked == "All" || asked == name);
        let given: BTreeMap<String, String> = all.into_iter().filter(|(name, _)| is_asked(name)).collect();
        Ok(if given.is_empty() { json!({}) } else { json!({ "Attributes": given }) })
    }

    async fn set_attributes(&self, asked: Addressed) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        self.change_registry(&queue, move |queue, entries, now_ms| {
            let entry = entries.get_mut(&queue.name).ok_or_else(no_queue)?;
            entry.settings = entry.settings.clone().with(&asked.attributes)?;
            entry.modified_ms = now_ms;
            Ok(())
        })
        .await?;
        queue.arrived.notify_waiters();
        Ok(json!({}))
    }

    async fn delete_queue(&self, asked: Addressed) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        self.change_registry(&queue, |queue, entries, _| {
            entries.remove(&queue.name);
            Ok(())
        })
        .await?;
        queue.arrived.notify_waiters();
        Ok(json!({}))
    }

    /// Changes what the registry holds of a queue, or takes it out: on disk, then in memory.
    async fn change_registry(
        &self,
        queue: &Arc<Queue>,
        change: impl FnOnce(&Queue, &mut BTreeMap<String, Entry>, i64) -> Result<(), ServiceError> + Send + 'static,
    ) -> Result<(), ServiceError> {
        let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(queue));
        let changing = tokio::task::spawn_blocking(move || {
            let mut queues = shared.queues.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !queues.get(&queue.name).is_some_and(|held| Arc::ptr_eq(held, &queue)) {
                return Err(no_queue());
            }
            let now_ms = shared.clock.now_ms();
            let mut entries = entries(&queues);
            change(&queue, &mut entries, now_ms)?;
            shared.faults.check_disk(now_ms).map_err(|error| internal(&error))?;
            write_registry(&shared.dir, &entries).map_err(|error| internal(&error))?;
            let mut state = queue.state();
            if let Some(entry) = entries.remove(&queue.name) {
                (state.settings, state.modified_ms) = (entry.settings, entry.modified_ms);
                return Ok(());
            }
            state.is_deleted = true;
            shared.bytes.fetch_sub(state.messages.bytes(), Ordering::Relaxed);
            state.messages = Messages::default();
            queues.remove(&queue.name);
            let path = shared.dir.join(super::journal_name(&queue.name, queue.created_ms));
            // What stays behind is removed at the next start.
            if let Err(error) = std::fs::remove_file(path) {
                tracing::warn!(%error, queue = queue.name, "the journal of a deleted queue stays for now");
            }
            Ok(())
        });
        changing.await.map_err(|error| internal(&error))?
    }

    async fn purge_queue(&self, asked: Addressed) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        self.with_state(&queue, |state, _, now_ms| {
            if state.purged_ms.is_some_and(|purged_ms| now_ms < purged_ms.saturating_add(PURGE_PAUSE_MS)) {
                let said = "Only one PurgeQueue operation is allowed every 60 seconds.";
                return Err(ServiceError { status: 403, ..ServiceError::client("PurgeQueueInProgress", said) });
            }
            state.commit(vec![Change::Purged])?;
            state.purged_ms = Some(now_ms);
            Ok(())
        })
        .await?;
        Ok(json!({}))
    }

    async fn send_message(&self, asked: SendMessage) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        let (content, delay) = asked.entry.content()?;
        let sent = self.send_all(&queue, vec![(content, delay)]).await?;
        let sent = sent.into_iter().next().unwrap_or_else(|| Err(missing("MessageBody")))?;
        Ok(sent.show())
    }

    async fn send_message_batch(&self, asked: SendMessageBatch) -> Result<Value, ServiceError> {
        let queue = self.addressed(&asked.queue_url)?;
        check_ids(asked.entries.iter().map(|entry| entry.id.as_str()))?;
        let now_ms = self.shared.clock.now_ms();
        let (mut contents, mut ids, mut failed, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for entry in asked.entries {
            let id = entry.id.clone();
            match entry.content() {
                Ok(content) => {
                    bytes += content.0.size();
                    contents.push(content);
                    ids.push(id);
                }
                Err(error) => failed.push(failure(&id, &error)),
            }
        }
        self.meters().entries.note(ids.len(), BATCH_MAX, now_ms);
        self.meters().batch.note(bytes, MESSAGE_BYTES_MAX, now_ms);
        if bytes > MESSAGE_BYTES_MAX {
            let said =
                format!("Batch requests cannot be longer than {MESSAGE_BYTES_MAX} bytes. You have sent {bytes} bytes.");
            return Err(ServiceError::client("BatchRequestTooLong", said));
        }
        let mut done = Vec::new();
        for (id, sent) in ids.iter().zip(self.send_all(&queue, contents).await?) {
            match sent {
                Ok(sent) => {
                    let mut shown = sent.show();
                    if let Value::Object(shown) = &mut shown {
                        shown.insert("Id".to_owned(), Value::from(id.as_str()));
                    }
                    done.push(shown);
                }
                Err(error) => failed.push(failure(id, &error)),
            }
        }
        Ok(json!({ "Successful": done, "Failed": failed }))
    }

    /// Puts messages with their delays into a queue, those that may be; all of those are durable when this returns.
    pub(super) async fn send_all(
        &self,
        queue: &Arc<Queue>,
        contents: Vec<(Content, Option<u64>)>,
    ) -> Result<Vec<Result<Sent, ServiceError>>, ServiceError> {
        let now_ms = self.shared.clock.now_ms();
        for (content, _) in &contents {
            self.meters().message.note(content.size(), MESSAGE_BYTES_MAX, now_ms);
        }
        let sent = self.with_state(queue, move |state, shared, now_ms| {
            let (bytes_max, queue_delay) = (state.settings.bytes_max(), state.settings.delay_s);
            let (mut changes, mut results) = (Vec::new(), Vec::new());
            let mut room = BYTES_MAX.saturating_sub(shared.bytes.load(Ordering::Relaxed));
            for (content, delay) in contents {
                let checked = content.check(bytes_max).and_then(|()| {
                    room = room.checked_sub(content.size()).ok_or_else(no_room)?;
                    Ok(())
                });
                if let Err(error) = checked {
                    results.push(Err(error));
                    continue;
                }
                let offset = u64::try_from(changes.len()).unwrap_or(0);
                let content = Arc::new(content);
                let change = state.messages.put(offset, Arc::clone(&content), delay.unwrap_or(queue_delay), now_ms);
                if let Change::Put { message, .. } = &change {
                    results.push(Ok(Sent::of(&message.id, &content)));
                }
                changes.push(change);
            }
            state.commit(changes)?;
            Ok(results)
        });
        let sent = sent.await?;
        let refused = sent.iter().filter(|result| result.as_ref().is_err_and(|error| error.code == "OverLimit"));
        self.meters().no_room += u64::try_from(refused.count()).unwrap_or(0);
        queue.arrived.notify_waiters();
        Ok(sent)
    }

    /// The queue that a URL names; its last part counts, as proxies and names of this machine differ.
    pub(super) fn addressed(&self, url: &str) -> Result<Arc<Queue>, ServiceError> {
        if url.is_empty() {
            return Err(missing("QueueUrl"));
        }
        self.find(url.rsplit('/').next().unwrap_or_default()).ok_or_else(no_queue)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.shared.endpoint)
    }
}

impl Sent {
    fn of(id: &str, content: &Content) -> Self {
        let trace =
            content.trace_header.as_ref().map(|header| ("AWSTraceHeader".to_owned(), AttributeValue::string(header)));
        Self {
            id: id.to_owned(),
            body_md5: content.body_md5(),
            attributes_md5: attributes_md5(&content.attributes),
            trace_md5: attributes_md5(trace.as_ref().map(|(name, value)| (name, value))),
        }
    }

    fn show(&self) -> Value {
        let mut shown = json!({ "MessageId": self.id, "MD5OfMessageBody": self.body_md5 });
        if let Value::Object(shown) = &mut shown {
            let digests =
                [("MD5OfMessageAttributes", &self.attributes_md5), ("MD5OfMessageSystemAttributes", &self.trace_md5)];
            for (name, digest) in digests {
                shown.extend(digest.as_ref().map(|digest| (name.to_owned(), Value::from(digest.as_str()))));
            }
        }
        shown
    }
}

impl SendEntry {
    /// The message and its delay, as far as it can be told without its queue.
    fn content(self) -> Result<(Content, Option<u64>), ServiceError> {
        if self.message_deduplication_id.is_some() || self.message_group_id.is_some() {
            return Err(not_implemented("groups and deduplication of SQS messages"));
        }
        if self.delay_seconds.is_some_and(|seconds| seconds > 900) {
            return Err(invalid_value(
                "Value for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
            ));
        }
        let mut trace_header = None;
        for (name, value) in self.message_system_attributes {
            if name != "AWSTraceHeader" {
                return Err(invalid_value(format!("Message system attribute name '{name}' is invalid.")));
            }
            trace_header = value.string_value;
        }
        let content = Content { body: self.message_body, attributes: self.message_attributes, trace_header };
        Ok((content, self.delay_seconds))
    }
}

fn no_room() -> ServiceError {
    let said =
        format!("All queues of this local cloud together hold at most {BYTES_MAX} bytes; receive and delete some.");
    ServiceError::client("OverLimit", said)
}

fn entries(queues: &BTreeMap<String, Arc<Queue>>) -> BTreeMap<String, Entry> {
    let entry = |queue: &Arc<Queue>| {
        let state = queue.state();
        Entry { created_ms: queue.created_ms, modified_ms: state.modified_ms, settings: state.settings.clone() }
    };
    queues.iter().map(|(name, queue)| (name.clone(), entry(queue))).collect()
}
