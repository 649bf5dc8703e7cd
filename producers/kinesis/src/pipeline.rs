//! What to send, and when: the whole producer without any I/O, clock or task. The owning task tells it what happened and at
//! what time, and asks what to do next.
//!
//! A record waits in its *lane* until the lane is due and the *limiter* of its shard has room; then the lane cuts a *batch*
//! (one Kinesis record), and batches of many lanes share a *request*. A failed batch is parked and sent again, the same bytes.

pub(crate) mod batch;
pub(crate) mod outcome;
pub(crate) mod request;
pub(crate) mod spool_marks;
pub(crate) mod spooled;

mod key;
mod lane;
mod limiter;
mod meter;
mod outage;
mod outstanding;
mod refresh;
mod reshard;
mod retrier;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use kinesis_record::{AggregateBuilder, Compressor, HashRange, Origin, UnsealedAggregate, seal};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use crate::{
    config::{Config, ProducerId},
    error::{Failure, PutError},
    pipeline::{
        batch::{Batch, Pending, Ticket},
        lane::{Cut, Due, Lane, Packer, Rhythm},
        limiter::{Admission, Limiter, PipelineClock},
        meter::Meter,
        outage::{Outage, Permission},
        outstanding::Outstanding,
        refresh::Refresh,
        request::{BatchId, Draft, InFlight, Request, RequestId},
        spool_marks::SpoolMarks,
    },
    record::Record,
    reply::Reply,
    shard_map::{Shard, ShardMap},
    stats::{Counters, count},
};
pub(crate) use retrier::backoff;

/// While nothing is on its way, a lane sends as soon as a quarter of the linger has passed since it last did.
const IDLE_SPACING_DIVISOR: u32 = 4;

/// While something is on its way, requests are made no closer together than the linger, so that lanes whose answers come one
/// after the other share the next request: one costs as much as some dozen records. This is the longest such
/// pause, for a long linger: half a round trip within a region.
const PACE_MAX: Duration = Duration::from_millis(5);

/// Timers tick in milliseconds and fire late by up to one. So a lane is asked this much before it is due, and sends then: a
/// record waits for its linger at most, not for that and a tick.
const TIMER_GRAIN: Duration = Duration::from_millis(1);

/// A record that was admitted to the buffer.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) record: Record,
    pub(crate) hash_key: u128,
    pub(crate) cost: u32,
    pub(crate) reply: Reply,
}

#[derive(Debug)]
struct ShardState {
    shard: Shard,
    limiter: Limiter,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own; no two of them make a state")]
pub(crate) struct Pipeline {
    config: Config,
    packer: Packer,
    /// Where the numbers of lanes in marks begin. Random, so that two runs that were given the same id, against all advice,
    /// are not taken for repeats of each other.
    origin_lanes: u64,
    /// What marks say of records from the log on disk.
    spool_marks: SpoolMarks,
    counters: Arc<Counters>,
    random: StdRng,
    started_at: Instant,
    clock: PipelineClock,
    /// Both in the order of their hash ranges, which cover every hash key.
    shards: Vec<ShardState>,
    lanes: Vec<Lane>,
    /// Every batch that is not settled: in a request, or parked.
    batches: HashMap<BatchId, Batch>,
    /// Batches that are sent again from a moment on.
    parked: BTreeSet<(Instant, BatchId)>,
    requests: HashMap<RequestId, InFlight>,
    last_request: Option<Instant>,
    outstanding: Outstanding,
    refresh: Refresh,
    outage: Outage,
    next_id: u64,
    freed_bytes: usize,
    wake: Option<Instant>,
    /// Something happened that may make a lane due before `wake`. Most records join lanes that wait already, and looking at
    /// every lane for each of them is most of what a busy producer would do.
    is_stirred: bool,
    /// Where the round over the lanes begins; it moves on, so that no shard is always last.
    first_lane: usize,
    last_failure: Option<Failure>,
    is_closing: bool,
    /// Records that were taken in and have no result. While there is none, nobody needs a newer shard map.
    held: usize,
    /// The map in use stands in for one that was never read.
    is_map_missing: bool,
    meter: Meter,
}

impl Pipeline {
    /// A pipeline over a map that was asked for at `now`. The `seed` only matters for the jitter of retries.
    pub(crate) fn new(config: Config, map: &ShardMap, now: Instant, counters: Arc<Counters>, seed: u64) -> Self {
        let refresh = Refresh::new(now, config.shard_map_refresh);
        let meter = Meter::new(&config.stream, config.aggregate_bytes_max, config.record_deadline, now);
        let outage = Outage::new(config.record_deadline);
        let mut random = StdRng::seed_from_u64(seed);
        let compressor = config.compression_level.map(Compressor::new);
        let packer = Packer { builder: AggregateBuilder::new(), compressor };
        let mut pipeline = Pipeline {
            config,
            packer,
            origin_lanes: random.next_u64(),
            spool_marks: SpoolMarks::default(),
            counters,
            random,
            started_at: now,
            clock: PipelineClock::default(),
            shards: Vec::new(),
            lanes: Vec::new(),
            batches: HashMap::new(),
            parked: BTreeSet::new(),
            requests: HashMap::new(),
            last_request: None,
            outstanding: Outstanding::new(),
            refresh,
            outage,
            next_id: 0,
            freed_bytes: 0,
            wake: None,
            is_stirred: true,
            first_lane: 0,
            last_failure: None,
            is_closing: false,
            held: 0,
            is_map_missing: false,
            meter,
        };
        pipeline.replace_map(map);
        pipeline
    }

    /// Takes a record in.
    pub(crate) fn accept(&mut self, now: Instant, accepted: Accepted) {
        self.next_id += 1;
        self.held += 1;
        let is_durable = accepted.reply.is_durable();
        // A durable record was counted when it came, and no flush waits for it.
        count(&self.counters.offered, usize::from(!is_durable));
        let epoch = if is_durable { self.outstanding.epoch() } else { self.outstanding.accept() };
        let ticket = Ticket {
            reply: accepted.reply,
            hash_key: accepted.hash_key,
            hash_key_is_explicit: accepted.record.explicit_hash_key.is_some(),
            number: self.next_id,
            epoch,
            cost: accepted.cost,
            attempts_before: 0,
            deadline: now + if is_durable { spooled::FOREVER } else { self.config.record_deadline },
        };
        let aggregate_bytes_max = self.config.aggregate_bytes_max;
        let lane = self.lane_at(accepted.hash_key);
        let (was_empty, was_full) = (lane.is_empty(), lane.queue_bytes() >= aggregate_bytes_max);
        lane.push(Pending::new(accepted.record, ticket));
        let becomes_full = !was_full && lane.queue_bytes() >= aggregate_bytes_max;
        self.is_stirred |= was_empty || becomes_full;
    }

    /// Sends everything that was accepted so far without waiting for company, and answers when all of it has its result.
    pub(crate) fn flush(&mut self, flush: oneshot::Sender<()>) {
        self.is_stirred = true;
        self.outstanding.flush(flush);
    }

    /// From now on nothing waits for company.
    pub(crate) fn close(&mut self) {
        self.is_stirred = true;
        self.is_closing = true;
    }

    /// Whether every record has its result.
    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Bytes of the buffer that were freed since the last call.
    pub(crate) fn take_freed_bytes(&mut self) -> usize {
        std::mem::take(&mut self.freed_bytes)
    }

    /// Brings the metrics up to date.
    pub(crate) fn publish(&mut self, now: Instant, buffered_bytes: u64) {
        self.meter.publish(now, &self.counters, buffered_bytes);
    }

    /// Whether to read the shard map now. An idle producer reads none: it does so with the next record.
    pub(crate) fn wants_map(&mut self, now: Instant) -> bool {
        self.is_map_needed() && self.refresh.start(now)
    }

    fn is_map_needed(&self) -> bool {
        self.held > 0 || self.is_map_missing
    }

    /// The map that was handed in says nothing; a real one is wanted soon.
    pub(crate) fn map_is_missing(&mut self, now: Instant) {
        self.is_map_missing = true;
        self.map_failed(now);
    }

    /// When to poll again if nothing happens before. Valid after [`poll`](Pipeline::poll) returned nothing.
    pub(crate) fn next_wake(&self) -> Option<Instant> {
        let refresh = self.refresh.wake().filter(|_| self.is_map_needed());
        [self.wake, refresh].into_iter().flatten().min()
    }

    /// The next request to make now. To be called until there is none.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Request> {
        let is_due = self.wake.is_some_and(|wake| wake <= now);
        if !self.is_stirred && !is_due {
            return None;
        }
        let request = self.look(now);
        self.is_stirred = request.is_some();
        request
    }

    fn look(&mut self, now: Instant) -> Option<Request> {
        self.clock.set(now.saturating_duration_since(self.started_at));
        self.wake = None;
        self.expire(now);
        if self.requests.len() >= self.config.requests_in_flight_max {
            return None;
        }
        let is_probe = match self.outage.permission(now) {
            Permission::All => false,
            Permission::Probe => true,
            Permission::From(at) => {
                // Without anything to probe with there is nothing to wake for: an idle producer has no timer.
                self.wake_at((self.held > 0).then_some(at));
                return None;
            }
        };
        let mut draft = if is_probe { Draft::of_one() } else { Draft::default() };
        self.collect_parked(now, &mut draft);
        self.collect_lanes(now, now + TIMER_GRAIN, &mut draft);
        if is_probe && !draft.is_empty() {
            self.outage.probed(now, &mut self.random);
        } else if !draft.is_empty() {
            // A request is made anyway: lanes that would be due before the next go along, and are in step from then on.
            let soon = (self.spacing() / 2).max(self.pace()).max(TIMER_GRAIN);
            self.collect_lanes(now, now + soon, &mut draft);
        }
        (!draft.is_empty()).then(|| self.request(now, draft))
    }

    fn expire(&mut self, now: Instant) {
        let mut expired = Vec::new();
        for lane in &mut self.lanes {
            while let Some(pending) = lane.pop_expired(now) {
                expired.push(pending.ticket);
            }
        }
        if !expired.is_empty() {
            self.give_up(expired, &PutError::Expired { attempts: 0, last: self.last_failure.clone() });
        }
        if self.outage.is_on() {
            self.expire_parked(now);
        }
        let parked_deadline = self.parked_deadlines().map(|(deadline, _)| deadline).min();
        self.wake = self.lanes.iter().filter_map(Lane::head_deadline).chain(parked_deadline).min();
    }

    /// During an outage parked batches may not be sent again before their deadline; otherwise their next end decides.
    fn expire_parked(&mut self, now: Instant) {
        let expired: Vec<_> = self.parked_deadlines().filter(|(deadline, _)| *deadline <= now).collect();
        for (_, (at, id)) in expired {
            self.parked.remove(&(at, id));
            self.expire_batch(now, id);
        }
    }

    /// The earliest deadline of each parked batch; none unless there is an outage.
    fn parked_deadlines(&self) -> impl Iterator<Item = (Instant, (Instant, BatchId))> {
        let parked = self.outage.is_on().then_some(&self.parked).into_iter().flatten();
        parked.filter_map(|place| Some((self.batches.get(&place.1)?.deadline()?, *place)))
    }

    fn collect_parked(&mut self, now: Instant, draft: &mut Draft) {
        let due: Vec<(Instant, BatchId)> = self.parked.range(..=(now, BatchId(u64::MAX))).copied().collect();
        for (at, id) in due {
            let batch = self.batches.get(&id).expect("a parked batch is kept");
            let (bytes, landing, alone) = (batch.entry.bytes(), batch.landing, batch.alone);
            let joins = draft.has_room(bytes) && (!alone || draft.is_empty());
            if joins && self.admits(now, landing, bytes).is_some() {
                self.shard_at(landing).limiter.charge(bytes, now);
                self.parked.remove(&(at, id));
                draft.push(id, bytes);
            }
            if joins && alone && !draft.is_empty() {
                draft.close();
            }
        }
        let later = self.parked.iter().map(|(at, _)| *at).find(|at| *at > now);
        self.wake_at(later);
    }

    /// Cuts batches from all lanes that are due before `horizon`.
    fn collect_lanes(&mut self, now: Instant, horizon: Instant, draft: &mut Draft) {
        let rhythm = Rhythm {
            spacing: self.spacing(),
            not_before: self.paced_until(),
            flushed_below: if self.is_closing { u64::MAX } else { self.outstanding.epoch() },
        };
        let count = self.lanes.len();
        for turn in 0..count {
            let index = (self.first_lane + turn) % count;
            while let Some(lane) = self.lanes.get_mut(index) {
                let due = match lane.due(now, rhythm, &self.config) {
                    Due::From(due) if due <= horizon => due,
                    Due::From(due) => {
                        self.wake_at(due.checked_sub(TIMER_GRAIN));
                        break;
                    }
                    Due::Never => break,
                };
                let (bytes_max, landing) = (lane.next_bytes_max(&self.config), lane.range.start);
                debug_assert!(due <= horizon);
                if !draft.has_room(bytes_max) || !self.cut(now, index, landing, draft) {
                    break;
                }
            }
        }
        self.first_lane = (self.first_lane + 1) % count.max(1);
    }

    /// How long a lane waits for company after it last sent.
    fn spacing(&self) -> Duration {
        let is_idle = self.requests.is_empty();
        if is_idle { self.config.linger / IDLE_SPACING_DIVISOR } else { self.config.linger }
    }

    /// Before when nothing is sent but what is full or flushed; none while nothing is on its way.
    fn paced_until(&self) -> Option<Instant> {
        self.last_request.filter(|_| !self.requests.is_empty()).map(|last| last + self.pace())
    }

    /// How long requests keep apart.
    fn pace(&self) -> Duration {
        self.config.linger.min(PACE_MAX)
    }

    /// Cuts one batch from a lane, if the limiter of its shard has room.
    fn cut(&mut self, now: Instant, index: usize, landing: u128, draft: &mut Draft) -> bool {
        let piece_bytes_max = self.shard_at(landing).limiter.piece_bytes_max(now);
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        if let Some(bytes_max) = piece_bytes_max {
            lane.keep_pace(bytes_max, &self.config);
        }
        let wanted = lane.wanted_bytes(&self.config);
        let Some(room) = self.admits(now, landing, wanted) else {
            let share_ppm = self.shard_at(landing).limiter.share_ppm(now);
            if let Some(lane) = self.lanes.get_mut(index) {
                lane.slow_down(share_ppm, &self.config);
            }
            return false;
        };
        let Some(lane) = self.lanes.get_mut(index) else { return false };
        let origin = self.config.dedupe_tag.map(|ProducerId { producer, epoch }| Origin {
            producer,
            epoch,
            lane: lane.id.0.wrapping_add(self.origin_lanes),
            counter: self.next_id,
        });
        let cut = Cut { now, room, origin, spool_marks: &self.spool_marks };
        let Some((batch, unsealed)) = lane.cut(cut, &self.config, &mut self.packer) else { return false };
        if batch.is_aggregate {
            count(&self.counters.aggregates, 1);
            count(&self.counters.aggregated, batch.tickets.len());
        }
        let bytes = batch.entry.bytes() + unsealed.as_ref().map_or(0, UnsealedAggregate::len);
        self.shard_at(landing).limiter.charge(bytes, now);
        self.next_id += 1;
        let id = BatchId(self.next_id);
        self.batches.insert(id, batch);
        draft.push(id, bytes);
        draft.unsealed.extend(unsealed.map(|unsealed| (id, unsealed)));
        true
    }

    /// Up to how many bytes a record may have, if the limiter has room for one of `bytes`.
    fn admits(&mut self, now: Instant, landing: u128, bytes: usize) -> Option<usize> {
        match self.shard_at(landing).limiter.admit(bytes, now) {
            Admission::Bytes(room) => Some(room),
            Admission::In(wait) => {
                self.wake_at(Some(now + wait));
                None
            }
            Admission::AfterAnswer => None,
        }
    }

    fn request(&mut self, now: Instant, draft: Draft) -> Request {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        count(&self.counters.requests, 1);
        let (unsealed_ids, unsealed): (Vec<BatchId>, Vec<_>) = draft.unsealed.into_iter().unzip();
        for (batch_id, data) in unsealed_ids.into_iter().zip(seal(unsealed)) {
            self.batches.get_mut(&batch_id).expect("a drafted batch is kept").entry.data = data;
        }
        let mut entries = Vec::with_capacity(draft.batches.len());
        let mut batches = Vec::with_capacity(draft.batches.len());
        for batch_id in draft.batches {
            let batch = self.batches.get_mut(&batch_id).expect("a drafted batch is kept");
            if batch.attempts > 0 {
                count(&self.counters.retried, 1);
            } else {
                self.meter.first_sent(now, batch);
            }
            batch.attempts += 1;
            entries.push(batch.entry.clone());
            let landing = batch.landing;
            batches.push((batch_id, Arc::clone(&self.shard_at(landing).shard.id)));
        }
        self.requests.insert(id, InFlight { sent_at: now, batches });
        self.last_request = Some(now);
        Request { id, entries }
    }

    fn wake_at(&mut self, at: Option<Instant>) {
        self.wake = [self.wake, at].into_iter().flatten().min();
    }

    fn shard_at(&mut self, hash_key: u128) -> &mut ShardState {
        let index = self.shards.partition_point(|state| state.shard.range.end < hash_key);
        self.shards.get_mut(index).expect("shards cover every hash key")
    }

    fn lane_at(&mut self, hash_key: u128) -> &mut Lane {
        let index = self.lanes.partition_point(|lane| lane.range.end < hash_key);
        self.lanes.get_mut(index).expect("lanes cover every hash key")
    }

    /// The lanes that share hash keys with `keys`.
    fn lanes_within(&mut self, keys: HashRange) -> impl Iterator<Item = &mut Lane> {
        let first = self.lanes.partition_point(|lane| lane.range.end < keys.start);
        self.lanes.iter_mut().skip(first).take_while(move |lane| lane.range.start <= keys.end)
    }
}

#[cfg(any(test, feature = "simulation"))]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::tests_outside_test_module,
    reason = "it is a test, also when people run it"
)]
pub mod simulation;
#[cfg(test)]
mod tests;
