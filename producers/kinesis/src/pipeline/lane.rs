//! A lane: the records of one part of a shard's hash range, in order, and the rule by which they are cut into Kinesis records.
//!
//! One aggregate of a lane is on its way at a time, so retries cannot change the order of a key. Cutting happens at the last
//! moment: what has not been sent can still go elsewhere when shards split or merge.
//!
//! Every record inside an aggregate is given the lane's own hash key, the one by which the aggregate itself finds its shard.
//! So all of them belong to whichever shard it lands on, even if the shard map is out of date, and the rule by which the KCL
//! drops whole aggregates can never apply.

mod compressed;
mod queue;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kinesis_record::{
    AggregateBuilder, Compressor, HashRange, Origin, SpoolMark, UnsealedAggregate, opens_like_aggregate,
};

use self::{compressed::Estimate, queue::Queue};
use crate::{
    config::Config,
    pipeline::{
        batch::{Batch, Entry, Expires, Pending, Ticket},
        spool_marks::SpoolMarks,
    },
};

/// A lane that its shard's limit holds up sends aggregates that are smaller by this: an even pace, and nothing is lost by it.
const PACE_DIVISOR: usize = 2;

/// But not smaller than this, below which requests cost more than evenness gains.
pub(crate) const PACED_BYTES_MIN: usize = 4 << 10;

/// Bytes of an aggregate beside its records: magic, digest, and the landing hash key in the table.
const AGGREGATE_FRAME_BYTES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LaneId(pub(crate) u64);

/// When a lane wants to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing to send, or it has to wait for an answer first.
    Never,
    /// From this moment on.
    From(Instant),
}

/// When lanes that wait for company send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rhythm {
    /// How long a lane waits after it last sent.
    pub(crate) spacing: Duration,
    /// Nor does it send before this, for requests keep apart.
    pub(crate) not_before: Option<Instant>,
    /// Records of epochs below wait for nobody.
    pub(crate) flushed_below: u64,
}

/// How a batch is to be cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut<'a> {
    pub(crate) now: Instant,
    /// Bytes that the shard's limit allows; a first record that alone has more passes.
    pub(crate) room: usize,
    /// The mark of an aggregate, if there is to be one.
    pub(crate) origin: Option<Origin>,
    /// What is said, beside the mark, of records from the log on disk.
    pub(crate) spool_marks: &'a SpoolMarks,
}

impl Cut<'_> {
    /// Empties an aggregate that is to begin with `first`, and gives it its marks if there are to be any.
    fn begin(&self, builder: &mut AggregateBuilder, first: &Pending) -> Option<SpoolMark> {
        builder.clear();
        let origin = self.origin?;
        builder.set_origin(origin);
        let mark = self.spool_marks.begin(&first.ticket.reply)?;
        builder.set_spool_mark(mark);
        Some(mark)
    }

    /// Whether a record may join an aggregate with this mark.
    fn joins(&self, mark: Option<&SpoolMark>, next: &Pending) -> bool {
        self.origin.is_none() || self.spool_marks.joins(mark, &next.ticket.reply)
    }
}

/// What all lanes pack with, one after the other.
#[derive(Debug)]
pub(crate) struct Packer {
    pub(crate) builder: AggregateBuilder,
    /// There is one if aggregates are to be compressed.
    pub(crate) compressor: Option<Compressor>,
}

/// A batch that was cut. If it is an aggregate without its digest, that is beside it, and the batch has no data yet.
pub(crate) type CutBatch = (Batch, Option<UnsealedAggregate>);

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) shard_id: Arc<str>,
    pub(crate) range: HashRange,
    /// The outer partition key, the same for ever, so that readers that spread by it keep the order per key.
    outer_key: Arc<str>,
    landing: Arc<str>,
    queue: Queue,
    /// How much of its bytes an aggregate keeps when it is compressed.
    estimate: Estimate,
    last_cut: Option<Instant>,
    /// Set when the shard's limit kept the lane from sending: smaller aggregates then lose nothing, and keep an even pace.
    pub(crate) paced_bytes_max: Option<usize>,
    /// Nothing is sent before, because what was sent last was throttled and taken apart.
    pub(crate) resumes_at: Option<Instant>,
    /// Batches of this lane that are not settled.
    in_flight: usize,
    /// Unsettled batches of lanes that a reshard replaced and that hold hash keys of this one.
    pub(crate) blocked_by: usize,
}

impl Lane {
    pub(crate) fn new(id: LaneId, shard_id: Arc<str>, range: HashRange, part: u8) -> Self {
        Lane {
            id,
            outer_key: format!("{shard_id}/{part}").into(),
            landing: range.start.to_string().into(),
            shard_id,
            range,
            queue: Queue::default(),
            estimate: Estimate::default(),
            last_cut: None,
            paced_bytes_max: None,
            resumes_at: None,
            in_flight: 0,
            blocked_by: 0,
        }
    }

    pub(crate) fn push(&mut self, pending: Pending) {
        self.queue.push(pending);
    }

    /// Notes that the limit of its shard, of which this producer uses a share in millionths, holds the lane up. A smaller share
    /// comes in smaller pieces: many producers whose large pieces meet by chance would be throttled although each keeps to
    /// its part.
    pub(crate) fn slow_down(&mut self, share_ppm: u64, config: &Config) {
        let whole = u64::try_from(config.aggregate_bytes_max / PACE_DIVISOR).unwrap_or(u64::MAX);
        let part = usize::try_from(whole.saturating_mul(share_ppm) / 1_000_000).unwrap_or(usize::MAX);
        self.paced_bytes_max = Some(part.max(PACED_BYTES_MIN).min(config.aggregate_bytes_max));
    }

    /// Cuts the next aggregate no larger than this, because others send to the shard as well.
    pub(crate) fn keep_pace(&mut self, bytes_max: usize, config: &Config) {
        let bytes_max = bytes_max.max(PACED_BYTES_MIN).min(config.aggregate_bytes_max);
        self.paced_bytes_max = Some(self.paced_bytes_max.map_or(bytes_max, |paced| paced.min(bytes_max)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.front().is_none()
    }

    /// Bytes of keys, data and framing that wait.
    pub(crate) fn queue_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Puts a record back that was cut before all others of this lane.
    pub(crate) fn push_front(&mut self, pending: Pending) {
        self.queue.push_front(pending);
    }

    /// Takes all records that wait, in no order.
    pub(crate) fn take_pending(&mut self) -> impl Iterator<Item = Pending> + use<> {
        self.queue.take_all()
    }

    pub(crate) fn head_deadline(&self) -> Option<Instant> {
        self.queue.front().map(|pending| pending.ticket.deadline)
    }

    /// All records that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &Pending> {
        self.queue.iter()
    }

    /// The deadline of the first record that is not durable.
    pub(crate) fn first_undurable_deadline(&self) -> Option<Instant> {
        self.queue.iter().find(|pending| !pending.ticket.reply.is_durable()).map(|pending| pending.ticket.deadline)
    }

    /// The record at the head, if it has waited beyond its deadline.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Pending> {
        self.queue.pop_expired(now)
    }

    /// When the lane wants to send: at once if it is full or a flush waits for its head, otherwise in its rhythm.
    pub(crate) fn due(&mut self, now: Instant, rhythm: Rhythm, config: &Config) -> Due {
        if !config.aggregation {
            self.queue.step_aside();
        }
        let waits_for_answer = self.blocked_by > 0 || (config.aggregation && self.in_flight > 0);
        let Some(head) = self.queue.front().filter(|_| !waits_for_answer) else { return Due::Never };
        let is_full = self.queue.bytes() >= self.aggregate_content_max(config.aggregate_bytes_max, config);
        let is_flushed = head.ticket.epoch < rhythm.flushed_below;
        let due = if is_full || is_flushed {
            now
        } else {
            let spaced = self.last_cut.map_or(now, |last_cut| last_cut + rhythm.spacing);
            rhythm.not_before.map_or(spaced, |not_before| not_before.max(spaced))
        };
        // What is flushed may go, but not what the shard has just refused.
        self.resumes_at = self.resumes_at.filter(|at| *at > now);
        Due::From(self.resumes_at.map_or(due, |at| at.max(due)))
    }

    /// Bytes of the next batch, at most.
    pub(crate) fn next_bytes_max(&self, config: &Config) -> usize {
        let head_bytes = self.queue.front_bytes();
        if config.aggregation { head_bytes.max(config.aggregate_bytes_max) + self.outer_key.len() } else { head_bytes }
    }

    /// Bytes of the next batch that is worth being sent: with less room it waits. Half of a paced aggregate, so that the room
    /// that an answered one leaves is enough for the next, although none is filled to the last byte.
    pub(crate) fn wanted_bytes(&self, config: &Config) -> usize {
        let head_bytes = self.queue.front_bytes();
        if !config.aggregation {
            return head_bytes;
        }
        let worth_bytes = self.paced_bytes_max.unwrap_or(config.aggregate_bytes_max / PACE_DIVISOR) / 2;
        head_bytes.max(self.queue.bytes().min(worth_bytes)) + self.outer_key.len() + AGGREGATE_FRAME_BYTES
    }

    /// Cuts the next batch from the head of the queue. The caller has seen that the lane is due.
    pub(crate) fn cut(&mut self, cut: Cut<'_>, config: &Config, packer: &mut Packer) -> Option<CutBatch> {
        let Cut { now, room, .. } = cut;
        let first = self.queue.pop()?;
        self.last_cut = Some(now);
        self.in_flight += 1;
        if !config.aggregation {
            self.queue.begin(first.ticket.hash_key);
            return Some((Batch::plain(self.id, first), None));
        }
        let paced_bytes_max = self.paced_bytes_max.take().unwrap_or(config.aggregate_bytes_max);
        let record_bytes_max = config.record_bytes_max.min(room).saturating_sub(self.outer_key.len());
        let bytes_max = paced_bytes_max.min(record_bytes_max);
        if let Some(compressor) = &mut packer.compressor {
            self.queue.push_front(first);
            return Some((self.cut_compressed(bytes_max, cut, config, compressor)?, None));
        }
        let landing = self.range.start;
        let builder = &mut packer.builder;
        let mark = cut.begin(builder, &first);
        builder.number_next(first.ticket.reply.spool_number());
        builder.push(&first.partition_key, Some(landing), first.data.clone());
        let mut others = Vec::new();
        while let Some(next) = self.queue.front()
            && cut.joins(mark.as_ref(), next)
            && push_within(builder, bytes_max, next, landing)
            && let Some(next) = self.queue.pop()
        {
            others.push(next.ticket);
        }
        let can_be_wrapped = builder.size() + self.outer_key.len() <= config.record_bytes_max;
        if others.is_empty() && !(wants_wrapping(&first, config) && can_be_wrapped) {
            return Some((Batch::plain(self.id, first), None));
        }
        let mut tickets = Vec::with_capacity(others.len() + 1);
        tickets.push(first.ticket);
        tickets.append(&mut others);
        Some((self.aggregate(Bytes::new(), tickets, config), Some(builder.encode_unsealed())))
    }

    /// An aggregate as a batch of this lane.
    fn aggregate(&self, data: Bytes, tickets: Vec<Ticket>, config: &Config) -> Batch {
        Batch {
            lane: self.id,
            keys: self.range,
            landing: self.range.start,
            entry: Entry {
                partition_key: Arc::clone(&self.outer_key),
                explicit_hash_key: Some(Arc::clone(&self.landing)),
                data,
            },
            tickets,
            is_aggregate: true,
            expires: if config.dedupe_tag.is_some() { Expires::WithLast } else { Expires::WithFirst },
            attempts: 0,
            doubtful_attempts: 0,
            alone: false,
            is_adopted: false,
        }
    }

    /// Notes that a batch of this lane is settled: stored, given up, or taken apart again.
    pub(crate) fn settle(&mut self, batch: &Batch) {
        debug_assert!(self.in_flight > 0, "a batch is settled once");
        self.in_flight -= 1;
        self.queue.end(batch.landing);
    }
}

/// Adds a record to an aggregate if there is room for it; says whether there was.
fn push_within(builder: &mut AggregateBuilder, bytes_max: usize, next: &Pending, landing: u128) -> bool {
    builder.number_next(next.ticket.reply.spool_number());
    builder.push_within(bytes_max, &next.partition_key, Some(landing), &next.data)
}

/// Whether a record that travels alone should be in an aggregate all the same. A payload that opens like an aggregate is, or
/// readers would take it apart.
fn wants_wrapping(pending: &Pending, config: &Config) -> bool {
    config.wrap_single_records || config.dedupe_tag.is_some() || opens_like_aggregate(&pending.data)
}
