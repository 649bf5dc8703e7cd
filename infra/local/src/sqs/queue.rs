//! One queue: which messages there are, which can be received when, and who holds which. Pure; each change that has to
//! outlive the process is told as a [`Change`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::message::Content;
use super::settings::Settings;

/// Messages that were received and not deleted, at once.
pub(super) const IN_FLIGHT_MAX: usize = 120_000;

/// A message in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) content: Arc<Content>,
    pub(super) sent_ms: i64,
    /// From when on it can be received.
    pub(super) visible_ms: i64,
    pub(super) received: u32,
    pub(super) first_received_ms: Option<i64>,
    /// The ARN of the queue that gave it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) given_up_by: Option<String>,
}

/// What happened to a queue, as its journal has it. Numbers are those of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Put {
        number: u64,
        message: Message,
    },
    /// The count of its receives stands in the receipts too: one that is older is stale.
    Received {
        number: u64,
        received: u32,
        first_ms: i64,
        visible_ms: i64,
    },
    Visible {
        number: u64,
        visible_ms: i64,
    },
    Deleted {
        number: u64,
    },
    Purged,
}

/// The messages of a queue.
#[derive(Debug, Default)]
pub(super) struct Messages {
    held: BTreeMap<u64, Message>,
    /// By when they can be received.
    order: BTreeSet<(i64, u64)>,
    next_number: u64,
    bytes: usize,
}

/// A message that was received, and the count that its receipt is for.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) number: u64,
    pub(super) message: Message,
}

/// Why a receipt does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotHeld {
    /// The message was deleted, or received again since.
    Stale,
    /// Its time is up, so that it can be received by anybody.
    NotInFlight,
}

/// How many messages there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) visible: usize,
    pub(super) in_flight: usize,
    pub(super) delayed: usize,
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

impl Messages {
    /// Carries out a change that was decided here before.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Put { number, message } => {
                self.next_number = self.next_number.max(number + 1);
                self.bytes += message.content.size();
                self.order.insert((message.visible_ms, number));
                self.held.insert(number, message);
            }
            Change::Received { number, received, first_ms, visible_ms } => {
                self.show_at(number, visible_ms);
                if let Some(message) = self.held.get_mut(&number) {
                    (message.received, message.first_received_ms) = (received, Some(first_ms));
                }
            }
            Change::Visible { number, visible_ms } => self.show_at(number, visible_ms),
            Change::Deleted { number } => self.remove(number),
            Change::Purged => {
                self.held.clear();
                self.order.clear();
                self.bytes = 0;
            }
        }
    }

    /// The change that puts a new message.
    pub(super) fn put(&self, offset: u64, content: Arc<Content>, delay_s: u64, now_ms: i64) -> Change {
        let visible_ms = now_ms.saturating_add(ms(delay_s));
        let message = Message {
            id: Uuid::new_v4().to_string(),
            content,
            sent_ms: now_ms,
            visible_ms,
            received: 0,
            first_received_ms: None,
            given_up_by: None,
        };
        Change::Put { number: self.next_number + offset, message }
    }

    /// The change that puts a message which another queue gave up: it keeps its id and its age.
    pub(super) fn put_given_up(&self, message: &Message, by: &str, now_ms: i64) -> Change {
        let given_up_by = Some(by.to_owned());
        let message =
            Message { visible_ms: now_ms, received: 0, first_received_ms: None, given_up_by, ..message.clone() };
        Change::Put { number: self.next_number, message }
    }

    /// Up to `most` messages that can be received now, oldest first, hidden for a time from now on. Those that were
    /// received too often come apart: they are for another queue.
    pub(super) fn receive(&self, most: usize, visibility_s: u64, settings: &Settings, now_ms: i64) -> Receive {
        let mut found = Receive::default();
        let room = IN_FLIGHT_MAX.saturating_sub(self.counts(now_ms).in_flight);
        found.is_over_limit = room == 0;
        let visible_ms = now_ms.saturating_add(ms(visibility_s));
        for (_, number) in self.order.range(..=(now_ms, u64::MAX)) {
            let Some(message) = self.held.get(number) else { continue };
            if found.received.len() >= most.min(room) || found.given_up.len() >= most {
                break;
            }
            if is_expired(message, settings, now_ms) {
                continue;
            }
            let is_given_up = settings.redrive.as_ref().is_some_and(|redrive| message.received >= redrive.receives_max);
            let given = Received { number: *number, message: message.clone() };
            if is_given_up {
                // Hidden while it is on its way, and no longer than a failed way takes.
                found.changes.push(Change::Visible { number: *number, visible_ms: now_ms.saturating_add(ms(30)) });
                found.given_up.push(given);
                continue;
            }
            let (received, first_ms) =
                (message.received.saturating_add(1), message.first_received_ms.unwrap_or(now_ms));
            found.changes.push(Change::Received { number: *number, received, first_ms, visible_ms });
            let message = Message { received, first_received_ms: Some(first_ms), ..given.message };
            found.received.push(Received { number: *number, message });
        }
        found
    }

    /// The change that deletes a message by its receipt; none when the receipt is stale, which is no error.
    pub(super) fn delete(&self, number: u64, received: u32) -> Option<Change> {
        let message = self.held.get(&number)?;
        (message.received == received).then_some(Change::Deleted { number })
    }

    /// The change that hides a received message for a time from now on.
    pub(super) fn hide(&self, number: u64, received: u32, seconds: u64, now_ms: i64) -> Result<Change, NotHeld> {
        let message = self.held.get(&number).filter(|message| message.received == received).ok_or(NotHeld::Stale)?;
        if message.visible_ms <= now_ms {
            return Err(NotHeld::NotInFlight);
        }
        Ok(Change::Visible { number, visible_ms: now_ms.saturating_add(ms(seconds)) })
    }

    /// Removes what is too old. Nobody needs to be told: a restart finds the same.
    pub(super) fn expire(&mut self, settings: &Settings, now_ms: i64) {
        while let Some((number, message)) = self.held.first_key_value() {
            if !is_expired(message, settings, now_ms) {
                break;
            }
            self.remove(*number);
        }
    }

    /// When the next hidden message can be received.
    pub(super) fn next_visible_ms(&self) -> Option<i64> {
        self.order.first().map(|(visible_ms, _)| *visible_ms)
    }

    pub(super) fn counts(&self, now_ms: i64) -> Counts {
        let hidden = self.order.range((now_ms.saturating_add(1), 0)..);
        let hidden: Vec<bool> =
            hidden.filter_map(|(_, number)| self.held.get(number)).map(|message| message.received > 0).collect();
        let in_flight = hidden.iter().filter(|is_received| **is_received).count();
        Counts { visible: self.held.len() - hidden.len(), in_flight, delayed: hidden.len() - in_flight }
    }

    /// All that a new journal has to hold.
    pub(super) fn as_changes(&self) -> impl Iterator<Item = Change> {
        self.held.iter().map(|(number, message)| Change::Put { number: *number, message: message.clone() })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn show_at(&mut self, number: u64, visible_ms: i64) {
        if let Some(message) = self.held.get_mut(&number) {
            self.order.remove(&(message.visible_ms, number));
            message.visible_ms = visible_ms;
            self.order.insert((visible_ms, number));
        }
    }

    fn remove(&mut self, number: u64) {
        if let Some(message) = self.held.remove(&number) {
            self.order.remove(&(message.visible_ms, number));
            self.bytes = self.bytes.saturating_sub(message.content.size());
        }
    }
}

/// What a receive finds.
#[derive(Debug, Default)]
pub(super) struct Receive {
    pub(super) received: Vec<Received>,
    /// Those that were received too often.
    pub(super) given_up: Vec<Received>,
    pub(super) changes: Vec<Change>,
    /// Too many messages are held by receivers.
    pub(super) is_over_limit: bool,
}

fn is_expired(message: &Message, settings: &Settings, now_ms: i64) -> bool {
    message.sent_ms.saturating_add(ms(settings.retention_s)) <= now_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies with their counts, and the bodies of those that are given up.
    type Taken = (Vec<(String, u32)>, Vec<String>);

    struct Queue {
        messages: Messages,
        settings: Settings,
    }

    impl Queue {
        fn new(attributes: &[(&str, &str)]) -> Self {
            let given = attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Self { messages: Messages::default(), settings: Settings::default().with(&given).unwrap() }
        }

        fn send(&mut self, body: &str, delay_s: u64, now_ms: i64) {
            let change = self.messages.put(0, Arc::new(Content::of(body)), delay_s, now_ms);
            self.messages.apply(change);
        }

        /// What is received: bodies with their counts, and those that are given up.
        fn receive(&mut self, most: usize, now_ms: i64) -> Taken {
            let found = self.messages.receive(most, self.settings.visibility_s, &self.settings, now_ms);
            found.changes.into_iter().for_each(|change| self.messages.apply(change));
            let body = |received: &Received| received.message.content.body.clone();
            let received = found.received.iter().map(|one| (body(one), one.message.received)).collect();
            (received, found.given_up.iter().map(body).collect())
        }
    }

    fn one(body: &str, count: u32) -> Vec<(String, u32)> {
        vec![(body.to_owned(), count)]
    }

    #[test]
    fn a_message_is_hidden_while_it_is_held_and_comes_again_after() {
        let mut queue = Queue::new(&[("VisibilityTimeout", "30")]);
        queue.send("a", 0, 1_000);
        queue.send("later", 5, 1_000);
        assert_eq!(queue.messages.counts(1_000), Counts { visible: 1, in_flight: 0, delayed: 1 });
        assert_eq!(queue.receive(10, 1_000).0, one("a", 1));
        assert_eq!(queue.receive(10, 5_999).0, []);
        assert_eq!(queue.messages.counts(5_999), Counts { visible: 0, in_flight: 1, delayed: 1 });
        assert_eq!(queue.messages.next_visible_ms(), Some(6_000));
        assert_eq!(queue.receive(10, 6_000).0, one("later", 1));
        assert_eq!(queue.receive(10, 31_000).0, one("a", 2));
        assert_eq!(queue.messages.delete(0, 1), None, "an older receipt deletes nothing");
        let deleted = queue.messages.delete(0, 2).unwrap();
        queue.messages.apply(deleted);
        assert_eq!(queue.messages.delete(0, 2), None, "twice is no error");
        assert_eq!(queue.receive(10, 36_000).0, one("later", 2));
    }

    #[test]
    fn a_holder_may_hide_longer_or_give_back() {
        let mut queue = Queue::new(&[]);
        queue.send("a", 0, 0);
        assert_eq!(queue.receive(1, 0).0, one("a", 1));
        let longer = queue.messages.hide(0, 1, 60, 20_000).unwrap();
        queue.messages.apply(longer);
        assert_eq!(queue.receive(1, 79_999).0, []);
        let back = queue.messages.hide(0, 1, 0, 79_999).unwrap();
        queue.messages.apply(back);
        assert_eq!(queue.messages.hide(0, 1, 5, 80_000), Err(NotHeld::NotInFlight));
        assert_eq!(queue.receive(1, 80_000).0, one("a", 2));
        assert_eq!(queue.messages.hide(0, 1, 5, 80_001), Err(NotHeld::Stale));
    }

    #[test]
    fn what_is_received_too_often_is_given_up() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:000000000000:dead","maxReceiveCount":2}"#;
        let mut queue = Queue::new(&[("RedrivePolicy", policy), ("VisibilityTimeout", "1")]);
        queue.send("a", 0, 0);
        queue.send("b", 0, 0);
        assert_eq!(queue.receive(1, 0).0, one("a", 1));
        assert_eq!(queue.receive(1, 1_000).0, one("b", 1));
        assert_eq!(queue.receive(1, 1_000).0, one("a", 2));
        assert_eq!(queue.receive(10, 2_000), (one("b", 2), vec!["a".to_owned()]));
        assert_eq!(queue.receive(10, 2_000).1, Vec::<String>::new(), "it is on its way");
    }

    #[test]
    fn what_is_too_old_is_gone() {
        let mut queue = Queue::new(&[("MessageRetentionPeriod", "60")]);
        queue.send("a", 0, 0);
        queue.send("b", 0, 30_000);
        assert_eq!(queue.receive(10, 60_000).0, one("b", 1));
        queue.messages.expire(&queue.settings, 60_000);
        assert_eq!((queue.messages.held.len(), queue.messages.bytes()), (1, 1));
    }

    #[test]
    fn a_replay_is_the_same_queue() {
        let mut queue = Queue::new(&[]);
        let mut log = Vec::new();
        for number in 0..5_u32 {
            let change = queue.messages.put(0, Arc::new(Content::of(format!("m{number}"))), 0, i64::from(number));
            log.push(change.clone());
            queue.messages.apply(change);
        }
        let found = queue.messages.receive(3, 30, &queue.settings, 10);
        log.extend(found.changes.iter().cloned());
        log.push(Change::Deleted { number: 1 });
        log[5..].iter().for_each(|change| queue.messages.apply(change.clone()));
        let text = serde_json::to_string(&log).unwrap();
        let replay = |changes: Vec<Change>| {
            let mut messages = Messages::default();
            changes.into_iter().for_each(|change| messages.apply(change));
            messages
        };
        for again in [replay(serde_json::from_str(&text).unwrap()), replay(queue.messages.as_changes().collect())] {
            assert_eq!((&again.held, &again.order), (&queue.messages.held, &queue.messages.order));
            assert_eq!((again.bytes, again.next_number), (queue.messages.bytes, queue.messages.next_number));
        }
        queue.messages.apply(Change::Purged);
        assert_eq!((queue.messages.bytes(), queue.messages.counts(99)), (0, Counts::default()));
    }
}
