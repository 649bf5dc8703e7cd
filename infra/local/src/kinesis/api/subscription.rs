//! A running subscription: what a consumer with enhanced fan-out is sent, message by message.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::kinesis::description::shard_id;
use crate::kinesis::log::run::Run;
use crate::kinesis::log::{Position, ReadLimit, Tail};
use crate::kinesis::sequence::SequenceNumber;
use crate::kinesis::stream::{Shard, Stream};
use crate::wire::{Protocol, ServiceError};

use super::event_frame;
use super::get::{ChildShard, RecordOutput, behind_ms, children, read_kept, record_outputs};
use super::lease::{End, Ending};
use super::{log_failure, stream_not_found};

/// How long a subscription lives.
const LIFE_MS: i64 = 300_000;
/// What a shard gives one consumer per second: 2 MiB.
const BYTES_PER_S: i64 = 2 * 1_024 * 1_024;
/// Data in one event, unless one record is larger: half a second's worth.
const EVENT_LIMIT: ReadLimit = ReadLimit { records: 10_000, bytes: 1_024 * 1_024 };
/// Without records an empty event comes this often, so that a consumer's checkpoint and its connection stay alive.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often the clock is looked at while nothing happens: it can jump.
const CLOCK_TICK: Duration = Duration::from_secs(1);

/// The messages of one `SubscribeToShard` answer.
#[derive(Debug)]
pub struct Subscription {
    stream: Stream,
    shard: Shard,
    position: Position,
    ending: Ending,
    clock: Clock,
    protocol: Protocol,
    ends_ms: i64,
    /// When the bytes sent so far are paid off.
    free_at_ms: i64,
    heartbeat_at: Instant,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The initial response is to be sent.
    New,
    Running,
    Ended,
}

#[derive(Serialize)]
struct NoMembers {}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    records: Vec<RecordOutput<'a>>,
    /// Missing at the end of a shard: that is how consumers know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_sequence_number: Option<SequenceNumber>,
    millis_behind_latest: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    child_shards: Vec<ChildShard>,
}

#[derive(Serialize)]
struct ExceptionPayload<'a> {
    message: &'a str,
}

impl Subscription {
    pub(super) fn new(
        (stream, shard): (Stream, Shard),
        position: Position,
        (ending, clock): (Ending, Clock),
        protocol: Protocol,
    ) -> Self {
        let now_ms = clock.now_ms();
        Self {
            stream,
            shard,
            position,
            ending,
            clock,
            protocol,
            ends_ms: now_ms.saturating_add(LIFE_MS),
            free_at_ms: now_ms,
            heartbeat_at: Instant::now(),
            phase: Phase::New,
        }
    }

    /// Waits for the next message; `None` when the subscription has ended.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        match self.phase {
            Phase::New => {
                self.phase = Phase::Running;
                Some(self.event("initial-response", &NoMembers {}))
            }
            Phase::Running => self.run().await,
            Phase::Ended => None,
        }
    }

    async fn run(&mut self) -> Option<Vec<u8>> {
        let mut tail = self.shard.log.watch();
        loop {
            let now_ms = self.clock.now_ms();
            let end = *self.ending.borrow_and_update();
            if let Some(end) = end {
                return self.end(end);
            }
            if self.stream.is_deleted() {
                return Some(self.fail(&stream_not_found(self.stream.name())));
            }
            if now_ms >= self.ends_ms {
                self.phase = Phase::Ended;
                return None;
            }
            if now_ms >= self.free_at_ms {
                tail.borrow_and_update();
                let read = read_kept(&self.stream, &self.shard, (self.position.counter(), EVENT_LIMIT), now_ms).await;
                match read {
                    Ok(run) => {
                        if let Some(message) = self.answer(&run, now_ms) {
                            return Some(message);
                        }
                    }
                    Err(error) => return Some(self.fail(&log_failure(&error))),
                }
            }
            self.wait(&mut tail, now_ms).await;
        }
    }

    /// Waits for a record, an end, or until it is time to look at the clock again.
    async fn wait(&mut self, tail: &mut tokio::sync::watch::Receiver<Tail>, now_ms: i64) {
        let pause_ms = u64::try_from(self.free_at_ms.saturating_sub(now_ms)).unwrap_or(0);
        let is_paced = pause_ms > 0;
        let pause = if is_paced { CLOCK_TICK.min(Duration::from_millis(pause_ms)) } else { CLOCK_TICK };
        tokio::select! {
            // The senders live in the shard and the lease; one that is gone shows in the next look.
            _changed = tail.changed(), if !is_paced => {}
            _changed = self.ending.changed() => {}
            () = sleep_until(Instant::now() + pause) => {}
        }
    }

    /// An event of what was read; `None` when there is nothing to say.
    fn answer(&mut self, run: &Run, now_ms: i64) -> Option<Vec<u8>> {
        let tail = self.shard.log.tail();
        let next = run.next();
        let is_at_end = next >= tail.next_counter;
        let is_finished = tail.is_closed && is_at_end;
        let now = Instant::now();
        if run.len() == 0 && !is_finished && now < self.heartbeat_at {
            return None;
        }
        self.heartbeat_at = now + HEARTBEAT;
        let state = self.stream.state();
        let child_shards = if is_finished { children(&state, self.shard.description.number) } else { Vec::new() };
        if is_finished {
            if child_shards.is_empty() {
                // A shard ends without children only with its stream.
                return Some(self.fail(&stream_not_found(self.stream.name())));
            }
            self.phase = Phase::Ended;
        }
        let bytes: usize = run.records().map(|record| record.bytes()).sum();
        let cost_ms = i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(1_000) / BYTES_PER_S;
        self.free_at_ms = self.free_at_ms.max(now_ms).saturating_add(cost_ms);
        self.position = Position::at(next);
        let last = self.shard.description.sequence_number(next.saturating_sub(1));
        let event = Event {
            continuation_sequence_number: (!is_finished).then_some(last),
            millis_behind_latest: if is_at_end { 0 } else { behind_ms(run, now_ms) },
            child_shards,
            records: record_outputs(run, &self.shard, &state),
        };
        Some(self.event("SubscribeToShardEvent", &event))
    }

    fn event(&mut self, event_type: &str, body: &impl Serialize) -> Vec<u8> {
        match self.protocol.write(body) {
            Ok(payload) => event_frame::event(event_type, self.protocol.content_type(), &payload),
            Err(error) => self.fail(&error),
        }
    }

    fn end(&mut self, end: End) -> Option<Vec<u8>> {
        let shard = shard_id(self.shard.description.number);
        match end {
            End::TakenOver => {
                let message = format!("Another subscription of this consumer to {shard} has taken over.");
                Some(self.fail(&ServiceError::client("ResourceInUseException", message)))
            }
            End::ConsumerGone => {
                let message = "The consumer was deregistered.";
                Some(self.fail(&ServiceError::client("ResourceNotFoundException", message)))
            }
            End::Closing => {
                self.phase = Phase::Ended;
                None
            }
        }
    }

    /// The last message: an error.
    fn fail(&mut self, error: &ServiceError) -> Vec<u8> {
        self.phase = Phase::Ended;
        // A text always can be written; without it the exception's type still says what is wrong.
        let payload = self.protocol.write(&ExceptionPayload { message: &error.message }).unwrap_or_default();
        event_frame::exception(error.code, self.protocol.content_type(), &payload)
    }
}
