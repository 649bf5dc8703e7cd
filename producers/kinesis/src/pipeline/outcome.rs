//! What becomes of the batches of a request when its answer is there: stored, again, given up, or taken apart.

use std::{sync::Arc, time::Instant};

use crate::{
    error::{Failure, FailureClass, PutError},
    pipeline::{
        Pipeline,
        batch::{Batch, Ticket},
        lane::PACED_BYTES_MIN,
        request::{BatchId, InFlight, RequestId},
        retrier::{Verdict, backoff, blames_a_record, verdict},
    },
    record::{Delivered, Stored},
    stats::count,
};

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With one result per entry, in order.
    Answered(Vec<EntryOutcome>),
    /// With nothing known about any entry.
    Failed(Failure),
}

/// How one entry of a request ended.
#[derive(Debug)]
pub(crate) enum EntryOutcome {
    Stored { shard_id: Arc<str>, sequence_number: Arc<str> },
    Failed(Failure),
}

impl Pipeline {
    /// Takes in the end of a request.
    pub(crate) fn complete(&mut self, now: Instant, id: RequestId, outcome: Outcome) {
        self.is_stirred = true;
        let request = self.requests.remove(&id).expect("a request ends once");
        let sent = request.batches.len();
        self.meter.request_ended(now.saturating_duration_since(request.sent_at));
        self.tell_limiters(now, &request, &outcome);
        match &outcome {
            Outcome::Failed(failure) if failure.class() == FailureClass::Temporary => {
                self.outage.failed(now, &mut self.random);
            }
            Outcome::Failed(_) | Outcome::Answered(_) => self.outage.answered(),
        }
        match outcome {
            Outcome::Answered(results) if results.len() == sent => {
                for ((batch, predicted), result) in request.batches.into_iter().zip(results) {
                    match result {
                        EntryOutcome::Failed(failure) => self.fail(now, batch, &failure),
                        EntryOutcome::Stored { shard_id, sequence_number } => {
                            if shard_id != predicted {
                                self.refresh.hint(request.sent_at);
                            }
                            self.store(now, batch, &shard_id, &sequence_number);
                        }
                    }
                }
            }
            Outcome::Answered(results) => {
                let failure = Failure::WrongCount { sent, answered: results.len() };
                self.fail_all(now, request.batches, &failure);
            }
            Outcome::Failed(failure) if sent > 1 && blames_a_record(&failure) => {
                for (id, _) in request.batches {
                    self.batches.get_mut(&id).expect("a batch in flight is kept").alone = true;
                    self.parked.insert((now, id));
                }
            }
            Outcome::Failed(failure) => self.fail_all(now, request.batches, &failure),
        }
    }

    /// Tells the limiters what their shards may have counted: everything but what was refused.
    fn tell_limiters(&mut self, now: Instant, request: &InFlight, outcome: &Outcome) {
        let is_refused = |failure: &Failure| match failure.class() {
            FailureClass::Throttled | FailureClass::Refused => true,
            FailureClass::Temporary => false,
        };
        for (position, (id, _)) in request.batches.iter().enumerate() {
            let was_counted = match outcome {
                Outcome::Failed(failure) => !is_refused(failure),
                Outcome::Answered(results) => match results.get(position) {
                    Some(EntryOutcome::Failed(failure)) => !is_refused(failure),
                    Some(EntryOutcome::Stored { .. }) | None => true,
                },
            };
            let batch = self.batches.get(id).expect("a batch in flight is kept");
            let (landing, bytes) = (batch.landing, batch.entry.bytes());
            self.shard_at(landing).limiter.answer(request.sent_at, now, bytes, was_counted);
        }
    }

    fn fail_all(&mut self, now: Instant, batches: Vec<(BatchId, Arc<str>)>, failure: &Failure) {
        for (id, _) in batches {
            self.fail(now, id, failure);
        }
    }

    fn store(&mut self, now: Instant, id: BatchId, shard_id: &Arc<str>, sequence_number: &Arc<str>) {
        let batch = self.batches.remove(&id).expect("a batch in flight is kept");
        self.settle_lane(&batch);
        self.meter.stored(now, shard_id, &batch);
        self.last_failure = None;
        count(&self.counters.kinesis_records, 1);
        count(&self.counters.bytes, batch.entry.bytes());
        let awaited = batch.tickets.iter().filter(|ticket| !ticket.reply.is_durable()).count();
        count(&self.counters.acknowledged, awaited);
        // The replies lie where their senders made them, far apart. Looking at all of them first brings them near together;
        // answering them one by one would wait for each.
        let listening: Vec<bool> = batch.tickets.iter().map(|ticket| ticket.reply.is_awaited()).collect();
        for ((sub_sequence, ticket), is_listening) in (0_u32..).zip(batch.tickets).zip(listening) {
            if !is_listening {
                self.release(&ticket);
                continue;
            }
            let stored = Stored {
                shard_id: Arc::clone(shard_id),
                sequence_number: Arc::clone(sequence_number),
                sub_sequence,
                attempts: batch.attempts.saturating_add(ticket.attempts_before),
            };
            self.answer(ticket, Ok(Delivered::Stored(stored)));
        }
    }

    fn fail(&mut self, now: Instant, id: BatchId, failure: &Failure) {
        let batch = self.batches.get(&id).expect("a batch in flight is kept");
        let (attempts, landing, deadline) = (batch.attempts, batch.landing, batch.deadline());
        // What is durable waits until somebody repairs what is wrong, unless it is wrong itself.
        let waits_for_repair = batch.is_durable() && !blames_a_record(failure);
        self.meter.attempt_failed(failure.class());
        self.last_failure = Some(failure.clone());
        if failure.class() == FailureClass::Throttled {
            count(&self.counters.throttled, 1);
            self.shard_at(landing).limiter.throttle(now);
            if self.take_apart_if_large(now, id) {
                return;
            }
        } else if let Some(batch) = self.batches.get_mut(&id) {
            batch.doubtful_attempts += 1;
        }
        match verdict(failure, attempts, now, deadline, &mut self.random) {
            Verdict::Retry(at) => {
                self.parked.insert((at, id));
            }
            Verdict::Refuse if waits_for_repair => {
                let at = now + backoff(attempts, &mut self.random);
                self.parked.insert((at, id));
            }
            Verdict::Refuse => {
                let batch = self.take_settled(id);
                self.give_up(batch.tickets, &PutError::Refused(failure.clone()));
            }
            Verdict::Expire(at) => {
                let batch = self.take_settled(id);
                self.recut(batch, at, Some(failure.clone()));
            }
        }
    }

    /// Takes an aggregate apart that was throttled and is much larger than its shard's share now allows at a time: in a shard
    /// that many use fully, with small records, there may never be room for it. It was not stored, so no reader can have had
    /// any of it. Returns whether it was taken apart.
    fn take_apart_if_large(&mut self, now: Instant, id: BatchId) -> bool {
        let batch = self.batches.get(&id).expect("a batch in flight is kept");
        let (landing, bytes, attempts) = (batch.landing, batch.entry.bytes(), batch.attempts);
        let is_whole = batch.is_adopted || batch.doubtful_attempts > 0;
        let is_cuttable = batch.is_aggregate && batch.tickets.len() > 1 && !is_whole;
        let Some(piece) = self.shard_at(landing).limiter.piece_bytes_max(now) else { return false };
        if !is_cuttable || bytes <= 2 * piece.max(PACED_BYTES_MIN) {
            return false;
        }
        let at = now + backoff(attempts, &mut self.random);
        let batch = self.take_settled(id);
        let (start, last) = (batch.keys.start, self.last_failure.clone());
        self.recut(batch, now, last);
        self.lane_at(start).resumes_at = Some(at);
        true
    }

    /// Takes a parked batch apart whose earliest deadline has come.
    pub(crate) fn expire_batch(&mut self, now: Instant, id: BatchId) {
        let batch = self.take_settled(id);
        let last = self.last_failure.clone();
        self.recut(batch, now, last);
    }

    /// Gives up the records whose deadline comes before `at`, and puts the others back to be cut anew.
    fn recut(&mut self, batch: Batch, at: Instant, last: Option<Failure>) {
        let attempts = batch.attempts;
        let (expired, alive): (Vec<_>, Vec<_>) =
            batch.into_pending().into_iter().partition(|pending| pending.ticket.deadline <= at);
        for pending in alive.into_iter().rev() {
            self.lane_at(pending.ticket.hash_key).push_front(pending);
        }
        let expired = expired.into_iter().map(|pending| pending.ticket).collect();
        self.give_up(expired, &PutError::Expired { attempts, last });
    }

    pub(crate) fn give_up(&mut self, tickets: Vec<Ticket>, error: &PutError) {
        let awaited = tickets.iter().filter(|ticket| !ticket.reply.is_durable()).count();
        count(&self.counters.failed, awaited);
        if matches!(error, PutError::Expired { .. }) {
            count(&self.counters.expired, awaited);
        }
        for ticket in tickets {
            self.answer(ticket, Err(error.clone()));
        }
    }

    fn answer(&mut self, ticket: Ticket, result: Result<Delivered, PutError>) {
        self.release(&ticket);
        ticket.reply.send(result);
    }

    /// Gives back what a record held.
    fn release(&mut self, ticket: &Ticket) {
        self.held -= 1;
        self.freed_bytes += usize::try_from(ticket.cost).expect("a cost was a usize before");
        if !ticket.reply.is_durable() {
            self.outstanding.settle(ticket.epoch);
        }
    }

    fn take_settled(&mut self, id: BatchId) -> Batch {
        let batch = self.batches.remove(&id).expect("a batch in flight is kept");
        self.settle_lane(&batch);
        batch
    }

    /// Frees the lane of a settled batch, or the lanes that came in its place.
    fn settle_lane(&mut self, batch: &Batch) {
        let lane = self.lane_at(batch.keys.start);
        if lane.id == batch.lane {
            lane.settle(batch);
            return;
        }
        for lane in self.lanes_within(batch.keys) {
            lane.blocked_by = lane.blocked_by.checked_sub(1).expect("a batch blocks its successors once");
        }
    }
}
