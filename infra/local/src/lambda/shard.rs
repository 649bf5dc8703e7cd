//! What a mapping does with one shard, as decisions without input or output.
//!
//! Records are dealt to lanes by partition key, so that a key stays in order; each lane has at most one invocation
//! under way. The caller reads and invokes; it tells what it read and how invocations ended, and asks what is next.

mod lane;

use std::time::{Duration, Instant};

use crate::kinesis::{ReadLimit, Record};

use super::batch::BatchLimits;
use super::decision::{Report, Verdict, backoff, decide};
use super::window::{self, GRACE_MS, OpenWindow, WindowCall};
use lane::{Lane, Piece};

/// How a mapping wants its records. The units are those of [`super::EventSourceMapping`].
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) limits: BatchLimits,
    pub(super) batching_window: Duration,
    pub(super) lanes: usize,
    pub(super) is_bisecting: bool,
    pub(super) is_reporting: bool,
    pub(super) retries_max: Option<u32>,
    pub(super) age_ms_max: Option<i64>,
    pub(super) window_ms: Option<i64>,
    pub(super) shard_id: String,
}

/// The time, for waiting and for comparing with arrivals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) ms: i64,
}

/// Why records are given up, in the service's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// The last attempt failed.
    RetryAttemptsExhausted,
    /// They are older than the mapping takes.
    RecordAgeExceeded,
    /// A single record does not fit into an event. The service's word for it is not documented.
    RecordSizeExceeded,
}

impl Condition {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
            Self::RecordSizeExceeded => "RecordSizeExceeded",
        }
    }
}

/// What is to be done now for a lane; its records are [`Shard::batch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Call the function; the answer goes to [`Shard::invoked`].
    Invoke { lane: usize, window: Option<WindowCall> },
    /// Send the records to the on-failure destination; the answer goes to [`Shard::discarded`].
    Discard { lane: usize, condition: Condition, invocations: u32 },
}

/// How an invocation ended.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// The function answered.
    Answered(Report),
    /// It failed, or was cut off.
    Failed,
    /// It was not called, for want of concurrency. Attempts are not used up by this.
    Throttled,
}

/// What an invocation's end means for the mapping's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Effect {
    /// Records handled.
    pub(super) handled: usize,
    /// Whether all or a part of the batch failed.
    pub(super) is_error: bool,
}

/// The state of one shard of a mapping.
#[derive(Debug)]
pub(super) struct Shard {
    policy: Policy,
    lanes: Vec<Lane>,
    /// The counter after the last record that was read.
    read_to: u64,
    /// The counter after the last record that is known to be there.
    tail: u64,
    is_closed: bool,
    window: Option<OpenWindow>,
}

impl Shard {
    /// Begins at `from`, within `window` if one was left open.
    pub(super) fn new(policy: Policy, from: u64, window: Option<OpenWindow>) -> Self {
        // State is handed on within one lane.
        let lanes = if policy.window_ms.is_some() { 1 } else { policy.lanes.max(1) };
        let lanes = (0..lanes).map(|_| Lane::new(policy.limits)).collect();
        Self { policy, lanes, read_to: from, tail: from, is_closed: false, window }
    }

    /// What may be read now; `None` while a lane has a batch waiting, or when all was read.
    pub(super) fn room(&self) -> Option<ReadLimit> {
        if self.is_caught_up() || !self.wants_more() {
            return None;
        }
        let rooms = || self.lanes.iter().map(|lane| lane.backlog.room());
        // A lane that is almost full does not make all others wait for single records: it may get a quarter more.
        let records = rooms().map(|room| room.records).min().unwrap_or(1).max(self.policy.limits.records / 4).max(1);
        let bytes = rooms().map(|room| room.bytes).min().unwrap_or(1).max(self.policy.limits.payload_bytes / 4).max(1);
        Some(ReadLimit { records, bytes })
    }

    /// Whether there is room for more records than are known.
    pub(super) fn wants_more(&self) -> bool {
        !self.lanes.iter().any(|lane| lane.backlog.is_full())
    }

    /// Where the next read begins.
    pub(super) fn read_to(&self) -> u64 {
        self.read_to
    }

    /// Notes how far the shard goes, and whether it has ended.
    pub(super) fn note_tail(&mut self, next_counter: u64, is_closed: bool) {
        self.tail = self.tail.max(next_counter);
        self.is_closed |= is_closed;
    }

    /// Takes what was read: the records to handle, and where the next read begins.
    pub(super) fn extend(&mut self, records: Vec<Record>, read_to: u64, now: Now) {
        let closes_at = now.instant + self.policy.batching_window;
        let count = self.lanes.len();
        for record in records {
            let lane = lane::of_key(&record.partition_key, count);
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.push(record, closes_at);
            }
        }
        self.read_to = self.read_to.max(read_to);
        self.tail = self.tail.max(read_to);
    }

    /// The next step, if one is due. The lane is then busy until its end is told.
    pub(super) fn next_step(&mut self, now: Now, is_draining: bool) -> Option<Step> {
        (0..self.lanes.len()).find_map(|lane| self.step_of(lane, now, is_draining))
    }

    /// The records of a busy lane's step; empty for the final call of a window.
    pub(super) fn batch(&self, lane: usize) -> &[Record] {
        self.lanes.get(lane).map_or(&[], Lane::batch)
    }

    /// Takes the end of an invocation.
    pub(super) fn invoked(&mut self, lane: usize, outcome: Outcome, now: Now, random: u64) -> Effect {
        let Some(Lane { work, is_busy, not_before, failures, is_final, .. }) = self.lanes.get_mut(lane) else {
            return Effect::default();
        };
        *is_busy = false;
        let was_final = std::mem::take(is_final);
        let report = match outcome {
            Outcome::Throttled => {
                *failures = failures.saturating_add(1);
                *not_before = Some(now.instant + backoff(*failures, random));
                return Effect::default();
            }
            Outcome::Failed => None,
            Outcome::Answered(report) => Some(report),
        };
        let Some(piece) = work.front_mut().filter(|_| !was_final) else {
            return self.closed_window(lane, report.is_some(), now, random);
        };
        piece.invocations = piece.invocations.saturating_add(1);
        let numbers = piece.records.iter().map(|record| record.sequence_number);
        let verdict = match (&report, &mut self.window) {
            (None, _) => Verdict::Failure,
            (Some(report), None) => decide(report, numbers, self.policy.is_reporting),
            // Within a window an answer without state is a failure.
            (Some(Report { state: None, .. }), Some(_)) => Verdict::Failure,
            (Some(report @ Report { state: Some(state), .. }), Some(window)) => {
                let verdict = decide(report, numbers, self.policy.is_reporting);
                if verdict != Verdict::Failure {
                    window.take(state);
                }
                verdict
            }
        };
        let handled = match verdict {
            Verdict::Success => piece.records.len(),
            Verdict::Partial { done } => done,
            Verdict::Failure => 0,
        };
        piece.records.drain(..handled);
        let is_error = !piece.records.is_empty();
        if is_error {
            let is_whole = handled == 0;
            piece.fail(is_whole, &self.policy);
            *failures = if is_whole { failures.saturating_add(1) } else { 1 };
            *not_before = Some(now.instant + backoff(*failures, random));
            if is_whole && self.policy.is_bisecting && piece.condemned.is_none() {
                lane::bisect(work);
            }
        } else {
            work.pop_front();
            *failures = 0;
        }
        Effect { handled, is_error }
    }

    /// The records of a lane's step are kept elsewhere, or not: then the same step comes again after a pause. The answer
    /// is how many were given up.
    pub(super) fn discarded(&mut self, lane: usize, is_kept: bool, now: Now, random: u64) -> usize {
        let Some(lane) = self.lanes.get_mut(lane) else { return 0 };
        lane.is_busy = false;
        if is_kept {
            lane.failures = 0;
            return lane.work.pop_front().map_or(0, |piece| piece.records.len());
        }
        lane.failures = lane.failures.saturating_add(1);
        lane.not_before = Some(now.instant + backoff(lane.failures, random));
        0
    }

    /// The counter before which every record is handled or given up.
    pub(super) fn low_water(&self) -> u64 {
        let waiting = self.lanes.iter().filter_map(Lane::first).map(|record| record.sequence_number.counter());
        waiting.min().unwrap_or(self.read_to)
    }

    /// The arrival of the oldest record that waits.
    pub(super) fn waiting_since_ms(&self) -> Option<i64> {
        self.lanes.iter().filter_map(Lane::first).map(|record| record.arrival_ms).min()
    }

    /// The window that is open.
    pub(super) fn window(&self) -> Option<&OpenWindow> {
        self.window.as_ref()
    }

    /// Whether the shard has ended and nothing of it is left.
    pub(super) fn is_finished(&self) -> bool {
        self.has_ended() && self.window.is_none() && self.lanes.iter().all(Lane::is_empty)
    }

    /// When a step may be due without anything happening.
    pub(super) fn wake_at(&self, now: Now) -> Option<Instant> {
        let lanes = self.lanes.iter().filter(|lane| !lane.is_busy);
        let of_lanes = lanes.filter_map(Lane::due_at);
        let of_window = self.window.as_ref().map(|window| {
            let left_ms = self.closes_at_ms(window).saturating_sub(now.ms).max(0);
            now.instant + Duration::from_millis(u64::try_from(left_ms).unwrap_or(0))
        });
        of_lanes.chain(of_window.filter(|_| self.lanes.iter().all(|lane| !lane.is_busy))).min()
    }

    fn step_of(&mut self, index: usize, now: Now, is_draining: bool) -> Option<Step> {
        let lane = self.lanes.get(index)?;
        if lane.is_busy || lane.not_before.is_some_and(|at| at > now.instant) {
            return None;
        }
        if lane.work.is_empty() {
            if let Some(call) = self.closing_call(now) {
                let lane = self.lanes.get_mut(index)?;
                (lane.is_busy, lane.is_final) = (true, true);
                return Some(Step::Invoke { lane: index, window: Some(call) });
            }
            self.take_batch(index, now, is_draining)?;
        }
        let lane = self.lanes.get_mut(index)?;
        lane.not_before = None;
        lane.expire(self.policy.age_ms_max.map(|age_ms| now.ms.saturating_sub(age_ms)));
        let piece = lane.work.front()?;
        lane.is_busy = true;
        if let Some(condition) = piece.condemned {
            return Some(Step::Discard { lane: index, condition, invocations: piece.invocations });
        }
        let window = self.window.as_ref().map(|window| self.call(window, false));
        Some(Step::Invoke { lane: index, window })
    }

    /// Makes the waiting records of a lane its work, if a batch is due.
    fn take_batch(&mut self, index: usize, now: Now, is_draining: bool) -> Option<()> {
        let can_grow = !self.is_caught_up() && self.room().is_some();
        let has_ended = self.has_ended();
        let window_ms = self.policy.window_ms;
        let lane = self.lanes.get_mut(index)?;
        let window_of = |record: &Record| window_ms.map(|window_ms| window::start_ms(record.arrival_ms, window_ms));
        let first = lane.backlog.first()?;
        let start_ms = window_of(first);
        let is_window_complete = lane.backlog.last().map(window_of) != Some(start_ms);
        let is_full = lane.backlog.is_full() || is_window_complete;
        let is_due = is_draining || has_ended || lane.closes_at.is_none_or(|at| at <= now.instant);
        if !is_full && (can_grow || !is_due) {
            return None;
        }
        let taken = lane.backlog.take(|record| window_of(record) == start_ms);
        if lane.backlog.is_empty() {
            lane.closes_at = None;
        }
        let condemned = taken.is_too_large.then_some(Condition::RecordSizeExceeded);
        lane.work.push_back(Piece { records: taken.records, failures: 0, invocations: 0, condemned });
        if let (Some(start_ms), None) = (start_ms, &self.window) {
            self.window = Some(OpenWindow::new(start_ms));
        }
        Some(())
    }

    /// The final call of the open window, if it is due: its end is past and all of it was handled, its state grew too
    /// large, a record of a later window waits, or the shard has ended.
    fn closing_call(&self, now: Now) -> Option<WindowCall> {
        let (window, lane) = (self.window.as_ref()?, self.lanes.first()?);
        let later = |record: &Record| {
            self.policy
                .window_ms
                .is_none_or(|window_ms| window::start_ms(record.arrival_ms, window_ms) > window.start_ms)
        };
        let is_over = match lane.backlog.first() {
            Some(record) => later(record),
            None => self.has_ended() || (self.is_caught_up() && now.ms >= self.closes_at_ms(window)),
        };
        (is_over || window.is_terminated_early).then(|| self.call(window, true))
    }

    /// The final call of a window has ended. It is made until it succeeds: what is behind it waits.
    fn closed_window(&mut self, index: usize, is_success: bool, now: Now, random: u64) -> Effect {
        if is_success {
            self.window = None;
        }
        if let Some(lane) = self.lanes.get_mut(index) {
            lane.failures = if is_success { 0 } else { lane.failures.saturating_add(1) };
            lane.not_before = (!is_success).then(|| now.instant + backoff(lane.failures, random));
        }
        Effect { handled: 0, is_error: !is_success }
    }

    fn call(&self, window: &OpenWindow, is_final: bool) -> WindowCall {
        // A shard that ended closes its window before its time, as a state that grew too large does.
        let is_cut_short = is_final && self.has_ended() && self.lanes.iter().all(Lane::is_empty);
        WindowCall {
            start_ms: window.start_ms,
            end_ms: window.start_ms.saturating_add(self.policy.window_ms.unwrap_or(0)),
            state: window.state.clone(),
            shard_id: self.policy.shard_id.clone(),
            is_final,
            is_terminated_early: window.is_terminated_early || is_cut_short,
        }
    }

    fn closes_at_ms(&self, window: &OpenWindow) -> i64 {
        window.start_ms.saturating_add(self.policy.window_ms.unwrap_or(0)).saturating_add(GRACE_MS)
    }

    fn is_caught_up(&self) -> bool {
        self.read_to >= self.tail
    }

    fn has_ended(&self) -> bool {
        self.is_closed && self.is_caught_up()
    }
}

#[cfg(test)]
mod tests;
