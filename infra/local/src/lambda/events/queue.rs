//! Asynchronous events that wait: what comes of an attempt, and when the next is. Pure; times are arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Attempts again after errors of the function, unless its settings say fewer.
pub(in crate::lambda) const RETRIES_MAX: u32 = 2;
/// After the first failed attempt and after the second.
const RETRY_PAUSES_MS: [i64; 2] = [60_000, 120_000];
/// What is throttled, or fails for a reason that is not the function's, comes again after pauses that double from the
/// one to the other.
const PAUSE_MS_MIN: i64 = 1_000;
const PAUSE_MS_MAX: i64 = 300_000;
/// How long an event waits at most, unless its function's settings say less.
pub(in crate::lambda) const AGE_S_MAX: u32 = 21_600;
/// How long a destination that takes nothing is tried.
const DELIVERY_MS_MAX: i64 = 3_600_000;

/// An event that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Event {
    pub(super) request_id: String,
    /// The function's name.
    pub(super) function: String,
    /// JSON.
    pub(super) payload: Arc<str>,
    pub(super) accepted_ms: i64,
    #[serde(flatten)]
    pub(super) state: State,
}

/// How far an event has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// From when on something is to be done about it.
    pub(super) due_ms: i64,
    /// Attempts that the function failed.
    #[serde(default)]
    pub(super) failures: u32,
    /// Attempts in a row that did not reach the function, or its destination.
    #[serde(default)]
    pub(super) delays: u32,
    /// What became of it, while that is not in its destination yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ending: Option<Ending>,
    /// What the function answered last, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Arc<str>>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) condition: Condition,
    pub(super) ended_ms: i64,
    /// How often the function was called.
    pub(super) invocations: u32,
    /// What it answered, JSON; none where it was never called.
    pub(super) response: Option<Arc<str>>,
}

/// How an event ended, by the service's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Condition {
    Success,
    RetriesExhausted,
    EventAgeExceeded,
}

impl Condition {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::RetriesExhausted => "RetriesExhausted",
            Self::EventAgeExceeded => "EventAgeExceeded",
        }
    }
}

/// What a function's settings say about its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) retries_max: u32,
    pub(super) age_s_max: u32,
    /// Its reserved concurrency is 0: nothing will run.
    pub(super) is_switched_off: bool,
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered(Arc<str>),
    Failed(Arc<str>),
    /// Throttled, or not started.
    NotRun,
}

/// What is to be done about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    Wait(State),
    End(Ending),
}

impl Event {
    /// The ending of an event that is not to be tried at all.
    pub(super) fn refused(&self, policy: Policy, now_ms: i64) -> Option<Ending> {
        let age_ms = i64::from(policy.age_s_max) * 1_000;
        let condition = if now_ms.saturating_sub(self.accepted_ms) >= age_ms {
            Condition::EventAgeExceeded
        } else if policy.is_switched_off {
            Condition::RetriesExhausted
        } else {
            return None;
        };
        Some(ending(condition, self.state.failures, self.state.error.clone(), now_ms))
    }

    /// What follows from an attempt.
    pub(super) fn after(&self, outcome: Outcome, policy: Policy, now_ms: i64) -> Next {
        let state = &self.state;
        match outcome {
            Outcome::Answered(response) => {
                Next::End(ending(Condition::Success, state.failures.saturating_add(1), Some(response), now_ms))
            }
            Outcome::Failed(response) => {
                let failures = state.failures.saturating_add(1);
                if failures > policy.retries_max {
                    return Next::End(ending(Condition::RetriesExhausted, failures, Some(response), now_ms));
                }
                let pause_ms = usize::try_from(failures).ok().and_then(|count| RETRY_PAUSES_MS.get(count - 1));
                let due_ms = now_ms.saturating_add(pause_ms.copied().unwrap_or(PAUSE_MS_MAX));
                Next::Wait(State { due_ms, failures, delays: 0, ending: None, error: Some(response) })
            }
            Outcome::NotRun => Next::Wait(state.delayed(now_ms)),
        }
    }

    /// After a destination took nothing: when it is tried again; none when it was tried for long enough.
    pub(super) fn undelivered(&self, ending: &Ending, now_ms: i64) -> Option<State> {
        let is_hopeless = now_ms.saturating_sub(ending.ended_ms) >= DELIVERY_MS_MAX;
        (!is_hopeless).then(|| State { ending: Some(ending.clone()), ..self.state.delayed(now_ms) })
    }

    pub(super) fn bytes(&self) -> usize {
        self.payload.len()
    }
}

fn ending(condition: Condition, invocations: u32, response: Option<Arc<str>>, now_ms: i64) -> Ending {
    Ending { condition, ended_ms: now_ms, invocations, response }
}

impl State {
    fn delayed(&self, now_ms: i64) -> Self {
        let pause_ms = (PAUSE_MS_MIN << self.delays.min(20)).min(PAUSE_MS_MAX);
        let (due_ms, delays) = (now_ms.saturating_add(pause_ms), self.delays.saturating_add(1));
        Self { due_ms, delays, ..self.clone() }
    }
}

/// A change to the events that wait, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    Accepted { number: u64, event: Event },
    Waits { number: u64, state: State },
    Done { number: u64 },
}

/// The events that wait or run.
#[derive(Debug, Default)]
pub(super) struct Queue {
    events: BTreeMap<u64, Event>,
    /// Those that run; they are due again only when they are told to wait.
    running: std::collections::BTreeSet<u64>,
    next_number: u64,
    bytes: usize,
}

impl Queue {
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Accepted { number, event } => {
                self.next_number = self.next_number.max(number + 1);
                self.bytes += event.bytes();
                self.events.insert(number, event);
            }
            Change::Waits { number, state } => {
                self.running.remove(&number);
                if let Some(event) = self.events.get_mut(&number) {
                    event.state = state;
                }
            }
            Change::Done { number } => {
                self.running.remove(&number);
                let done = self.events.remove(&number);
                self.bytes -= done.map_or(0, |event| event.bytes());
            }
        }
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes the events that are due, of functions that are there; they run from here on.
    pub(super) fn take_due(&mut self, is_there: impl Fn(&Event) -> bool, now_ms: i64) -> Vec<(u64, Event)> {
        let is_due = |number: &u64, event: &Event| event.state.due_ms <= now_ms && !self.running.contains(number);
        let due = self.events.iter().filter(|(number, event)| is_due(number, event) && is_there(event));
        let due: Vec<_> = due.map(|(number, event)| (*number, event.clone())).collect();
        self.running.extend(due.iter().map(|(number, _)| *number));
        due
    }

    /// When the next one is due, of functions that are there.
    pub(super) fn next_due_ms(&self, is_there: impl Fn(&Event) -> bool) -> Option<i64> {
        let waiting = self.events.iter().filter(|(number, event)| !self.running.contains(number) && is_there(event));
        waiting.map(|(_, event)| event.state.due_ms).min()
    }

    /// The events of a function that is gone.
    pub(super) fn of_function(&self, function: &str) -> Vec<u64> {
        self.events.iter().filter(|(_, event)| event.function == function).map(|(number, _)| *number).collect()
    }

    pub(super) fn as_changes(&self) -> impl Iterator<Item = Change> {
        self.events.iter().map(|(number, event)| Change::Accepted { number: *number, event: event.clone() })
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy { retries_max: RETRIES_MAX, age_s_max: AGE_S_MAX, is_switched_off: false };

    fn event(accepted_ms: i64) -> Event {
        let state = State { due_ms: accepted_ms, ..State::default() };
        Event { request_id: "r".to_owned(), function: "f".to_owned(), payload: "{}".into(), accepted_ms, state }
    }

    /// The times of all attempts, and how the event ends.
    fn run(policy: Policy, outcome: impl Fn(usize) -> Outcome) -> (Vec<i64>, Ending) {
        let (mut event, mut attempts, mut now_ms) = (event(0), Vec::new(), 0);
        loop {
            if let Some(ending) = event.refused(policy, now_ms) {
                return (attempts, ending);
            }
            attempts.push(now_ms / 1_000);
            match event.after(outcome(attempts.len()), policy, now_ms) {
                Next::Wait(state) => {
                    now_ms = state.due_ms;
                    event.state = state;
                }
                Next::End(ending) => return (attempts, ending),
            }
        }
    }

    fn failed() -> Outcome {
        Outcome::Failed("no".into())
    }

    #[test]
    fn errors_are_tried_again_after_one_minute_and_after_two() {
        let (attempts, ending) = run(POLICY, |_| failed());
        assert_eq!(
            (attempts, ending.condition, ending.invocations),
            (vec![0, 60, 180], Condition::RetriesExhausted, 3)
        );
        assert_eq!(ending.response.as_deref(), Some("no"));
        let (attempts, ending) =
            run(POLICY, |attempt| if attempt == 2 { Outcome::Answered("yes".into()) } else { failed() });
        assert_eq!((attempts, ending.condition, ending.invocations), (vec![0, 60], Condition::Success, 2));
        let (attempts, ending) = run(Policy { retries_max: 0, ..POLICY }, |_| failed());
        assert_eq!((attempts, ending.invocations), (vec![0], 1));
        let (attempts, ending) = run(Policy { age_s_max: 60, ..POLICY }, |_| failed());
        assert_eq!((attempts, ending.condition), (vec![0], Condition::EventAgeExceeded));
    }

    #[test]
    fn what_is_throttled_waits_longer_and_longer_up_to_six_hours() {
        let (attempts, ending) = run(POLICY, |_| Outcome::NotRun);
        assert_eq!(attempts[..6], [0, 1, 3, 7, 15, 31]);
        assert_eq!(attempts[10] - attempts[9], 300);
        assert_eq!((ending.condition, ending.invocations, ending.response), (Condition::EventAgeExceeded, 0, None));
        assert!(attempts.last().unwrap() < &21_600 && ending.ended_ms >= 21_600_000);
        let (attempts, ending) = run(Policy { is_switched_off: true, ..POLICY }, |_| Outcome::NotRun);
        assert_eq!((attempts, ending.condition), (vec![], Condition::RetriesExhausted));
    }

    #[test]
    fn a_destination_is_tried_for_an_hour() {
        let mut event = event(0);
        let Next::End(ending) = event.after(Outcome::Answered("yes".into()), POLICY, 5) else { panic!("it ends") };
        let mut tries = 0;
        while let Some(state) = event.undelivered(&ending, event.state.due_ms) {
            event.state = state;
            tries += 1;
        }
        assert!((3_600_000..4_000_000).contains(&event.state.due_ms), "{tries} tries until {}", event.state.due_ms);
        assert_eq!(event.state.ending, Some(ending));
    }

    #[test]
    fn what_is_due_is_taken_once_and_a_replay_is_the_same_queue() {
        let mut queue = Queue::default();
        for number in 0..3_i64 {
            let change = Change::Accepted { number: queue.next_number(), event: event(number * 10) };
            queue.apply(change);
        }
        assert!(queue.take_due(|_| false, 10).is_empty(), "the function is not there");
        let numbers = |due: Vec<(u64, Event)>| due.into_iter().map(|(number, _)| number).collect::<Vec<_>>();
        assert_eq!(numbers(queue.take_due(|_| true, 10)), [0, 1]);
        assert_eq!(numbers(queue.take_due(|_| true, 10)), Vec::<u64>::new());
        assert_eq!((queue.next_due_ms(|_| true), queue.next_due_ms(|_| false)), (Some(20), None));
        queue.apply(Change::Done { number: 0 });
        queue.apply(Change::Waits { number: 1, state: State { due_ms: 15, failures: 1, ..State::default() } });
        assert_eq!((queue.len(), queue.bytes(), queue.next_due_ms(|_| true)), (2, 4, Some(15)));
        let text = serde_json::to_string(&queue.as_changes().collect::<Vec<_>>()).unwrap();
        let mut again = Queue::default();
        serde_json::from_str::<Vec<Change>>(&text).unwrap().into_iter().for_each(|change| again.apply(change));
        assert_eq!((again.events, again.bytes, again.next_number), (queue.events.clone(), 4, 3));
        assert_eq!(queue.of_function("f"), [1, 2]);
    }
}
