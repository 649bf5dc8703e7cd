//! A lane: the records of one part of a shard's hash range, in order, and the rule by which they are cut into Kinesis records.
//!
//! One aggregate of a lane is on its way at a time, so retries cannot change the order of a key. Cutting happens at the last
//! moment: what has not been sent can still go elsewhere when shards split or merge.
//!
//! Every record inside an aggregate is given the lane's own hash key, the one by which the aggregate itself finds its shard.
//! So all of them belong to whichever shard it lands on, even if the shard map is out of date, and the rule by which the KCL
//! drops whole aggregates can never apply.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use kinesis_record::{AggregateBuilder, HashRange, MAGIC};

use crate::{
    config::Config,
    pipeline::batch::{Batch, Entry, Pending},
};

/// Bytes that a record adds to an aggregate beside key and data, at most while indices fit two bytes.
const RECORD_FRAME_BYTES: usize = 16;

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

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    pub(crate) shard_id: Arc<str>,
    pub(crate) range: HashRange,
    /// The outer partition key, the same for ever, so that readers that spread by it keep the order per key.
    outer_key: Arc<str>,
    landing: Arc<str>,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    last_cut: Option<Instant>,
    /// Batches of this lane that are not settled.
    in_flight: usize,
    /// Their hash keys, if each went as a record of its own.
    keys_in_flight: HashSet<u128>,
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
            pending: VecDeque::new(),
            pending_bytes: 0,
            last_cut: None,
            in_flight: 0,
            keys_in_flight: HashSet::new(),
            blocked_by: 0,
        }
    }

    pub(crate) fn push(&mut self, pending: Pending) {
        self.pending_bytes += pending_bytes(&pending);
        self.pending.push_back(pending);
    }

    /// Puts a record back that was cut before all others of this lane.
    pub(crate) fn push_front(&mut self, pending: Pending) {
        self.pending_bytes += pending_bytes(&pending);
        self.pending.push_front(pending);
    }

    pub(crate) fn take_pending(&mut self) -> VecDeque<Pending> {
        self.pending_bytes = 0;
        std::mem::take(&mut self.pending)
    }

    pub(crate) fn head_deadline(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.ticket.deadline)
    }

    /// The record at the head, if it has waited beyond its deadline.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Pending> {
        let pending = self.pending.pop_front_if(|pending| pending.ticket.deadline <= now)?;
        self.pending_bytes -= pending_bytes(&pending);
        Some(pending)
    }

    /// When the lane wants to send: at once if it is full or a flush waits for its head, otherwise when `spacing` has passed
    /// since it last did.
    pub(crate) fn due(&self, now: Instant, spacing: Duration, flushed_below: u64, config: &Config) -> Due {
        let Some(head) = self.pending.front() else { return Due::Never };
        if self.blocked_by > 0 || !self.head_may_go(head, config) {
            return Due::Never;
        }
        let is_full = self.pending_bytes >= config.aggregate_bytes_max;
        let is_flushed = head.ticket.epoch < flushed_below;
        match self.last_cut {
            Some(last_cut) if !is_full && !is_flushed => Due::From(last_cut + spacing),
            Some(_) | None => Due::From(now),
        }
    }

    fn head_may_go(&self, head: &Pending, config: &Config) -> bool {
        self.in_flight == 0 || (!config.aggregation && !self.keys_in_flight.contains(&head.ticket.hash_key))
    }

    /// Bytes of the next batch, at most.
    pub(crate) fn next_bytes_max(&self, config: &Config) -> usize {
        let head_bytes = self.pending.front().map_or(0, pending_bytes);
        if config.aggregation { head_bytes.max(config.aggregate_bytes_max) + self.outer_key.len() } else { head_bytes }
    }

    /// Cuts the next batch from the head of the queue. The caller has seen that the lane is due.
    pub(crate) fn cut(&mut self, now: Instant, config: &Config) -> Option<Batch> {
        let first = self.pop_front()?;
        self.last_cut = Some(now);
        self.in_flight += 1;
        if !config.aggregation {
            self.keys_in_flight.insert(first.ticket.hash_key);
            return Some(Batch::plain(self.id, first));
        }
        let bytes_max = config.aggregate_bytes_max.min(config.record_bytes_max.saturating_sub(self.outer_key.len()));
        let landing = self.range.start;
        let mut builder = AggregateBuilder::new();
        builder.push(&first.partition_key, Some(landing), first.data.clone());
        let mut others = Vec::new();
        while let Some(next) = self.pending.front()
            && builder.size_with(&next.partition_key, Some(landing), next.data.len()) <= bytes_max
            && let Some(next) = self.pop_front()
        {
            builder.push(&next.partition_key, Some(landing), next.data);
            others.push(next.ticket);
        }
        // A payload that opens like an aggregate is wrapped, or readers would take it apart.
        let wants_wrapping = config.wrap_single_records || first.data.starts_with(&MAGIC);
        let can_be_wrapped = builder.size() + self.outer_key.len() <= config.record_bytes_max;
        if others.is_empty() && !(wants_wrapping && can_be_wrapped) {
            return Some(Batch::plain(self.id, first));
        }
        let mut tickets = Vec::with_capacity(others.len() + 1);
        tickets.push(first.ticket);
        tickets.append(&mut others);
        Some(Batch {
            lane: self.id,
            keys: self.range,
            landing,
            entry: Entry {
                partition_key: Arc::clone(&self.outer_key),
                explicit_hash_key: Some(Arc::clone(&self.landing)),
                data: builder.encode(),
            },
            tickets,
            is_aggregate: true,
            attempts: 0,
            alone: false,
        })
    }

    /// Notes that a batch of this lane is settled: stored, given up, or taken apart again.
    pub(crate) fn settle(&mut self, batch: &Batch) {
        debug_assert!(self.in_flight > 0, "a batch is settled once");
        self.in_flight -= 1;
        self.keys_in_flight.remove(&batch.landing);
    }

    fn pop_front(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        self.pending_bytes -= pending_bytes(&pending);
        Some(pending)
    }
}

fn pending_bytes(pending: &Pending) -> usize {
    pending.partition_key.len() + pending.data.len() + RECORD_FRAME_BYTES
}
