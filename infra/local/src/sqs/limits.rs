//! What SQS limits, and how much of it is used.

use std::sync::atomic::Ordering;

use crate::limits::{LimitUse, fullest};
use crate::meter::{Level, Reading, Sizes, count};

use super::queue::IN_FLIGHT_MAX;
use super::settings::MESSAGE_BYTES_MAX;
use super::{BYTES_MAX, QUEUES_MAX, Sqs};

const QUOTAS: &str = "AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html";
/// A limit that AWS does not have.
const OURS: &str = "(of this local cloud)";

/// What is measured of all queues together.
#[derive(Debug, Default)]
pub(super) struct Meters {
    /// Bytes of messages, and of batches.
    pub(super) message: Sizes,
    pub(super) batch: Sizes,
    /// Entries of batches.
    pub(super) entries: Sizes,
    held: Level,
    /// Sends and receives that were refused for a limit.
    pub(super) no_room: u64,
    pub(super) over_in_flight: u64,
}

impl Sqs {
    /// The limits that are held, and how much of each is used.
    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        let now_ms = self.shared.clock.now_ms();
        let queues: Vec<_> = self.queues().values().cloned().collect();
        let in_flight = queues.iter().map(|queue| {
            let used = count(queue.state().messages.counts(now_ms).in_flight);
            (queue.name.clone(), Reading { now: used, peak: used }, 0)
        });
        let (fullest_queue, in_flight, _) = fullest(in_flight, || "no queue".to_owned());
        let mut meters = self.meters();
        meters.held.set(self.shared.bytes.load(Ordering::Relaxed), now_ms);
        let row = |limit: &str, allowed: (usize, &str), used: Reading, refused: u64, source: &str| {
            LimitUse::new(("sqs", limit), "account", (count(allowed.0), allowed.1), used, source).refused(refused)
        };
        let of = |sizes: &Sizes| (sizes.read(now_ms), sizes.over());
        let ((message, large), (batch, long), (entries, many)) =
            (of(&meters.message), of(&meters.batch), of(&meters.entries));
        let queue_count = Reading { now: count(queues.len()), peak: count(queues.len()) };
        let in_flight_max = (count(IN_FLIGHT_MAX), "messages");
        vec![
            row("bytes of a message", (MESSAGE_BYTES_MAX, "bytes"), message, large, QUOTAS),
            row("bytes of a batch", (MESSAGE_BYTES_MAX, "bytes"), batch, long, QUOTAS),
            row("entries of a batch", (10, "entries"), entries, many, QUOTAS),
            row("queues", (QUEUES_MAX, "queues"), queue_count, 0, OURS),
            row("bytes of all messages", (BYTES_MAX, "bytes"), meters.held.read(now_ms), meters.no_room, OURS),
            LimitUse::new(("sqs", "messages in flight"), fullest_queue, in_flight_max, in_flight, QUOTAS)
                .refused(meters.over_in_flight),
        ]
    }
}
