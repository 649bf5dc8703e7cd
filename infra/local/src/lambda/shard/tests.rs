//! The decisions against a model: whatever fails, each record is handled or given up, and each key stays in order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::value::RawValue;

use crate::kinesis::SequenceNumber;

use super::*;

const START_MS: i64 = 1_700_000_000_000;

fn record(counter: u64, key: &str, arrival_ms: i64) -> Record {
    let sequence_number = SequenceNumber::new(1_700_000_000, 0, counter);
    Record { sequence_number, arrival_ms, partition_key: key.to_owned(), data: b"0123456789".to_vec().into() }
}

fn policy(batch_size: usize) -> Policy {
    Policy {
        limits: BatchLimits { records: batch_size, payload_bytes: 1 << 20, arn_bytes: 10 },
        batching_window: Duration::ZERO,
        lanes: 1,
        is_bisecting: false,
        is_reporting: true,
        retries_max: None,
        age_ms_max: None,
        window_ms: None,
        shard_id: "shardId-000000000000".to_owned(),
    }
}

fn failures(numbers: &[SequenceNumber]) -> Report {
    Report { failures: numbers.iter().map(|number| Some(number.to_string())).collect(), ..Report::default() }
}

fn counters(batch: &[Record]) -> Vec<u64> {
    batch.iter().map(|record| record.sequence_number.counter()).collect()
}

/// A shard under test, with a clock of its own and a function that fails at will.
struct Simulation {
    shard: Shard,
    policy: Policy,
    rng: StdRng,
    begun: Instant,
    elapsed_ms: u64,
    records: Vec<Record>,
    /// Counters whose batches always fail.
    poison: BTreeSet<u64>,
    done: BTreeSet<u64>,
    given_up: BTreeSet<u64>,
    /// Calls that each record was in.
    calls: BTreeMap<u64, u32>,
    in_flight: Vec<Step>,
    low_water: u64,
}

impl Simulation {
    fn now(&self) -> Now {
        let elapsed = Duration::from_millis(self.elapsed_ms);
        Now { instant: self.begun + elapsed, ms: START_MS + i64::try_from(self.elapsed_ms).unwrap() }
    }

    fn batch(&self, step: &Step) -> Vec<Record> {
        let (Step::Invoke { lane, .. } | Step::Discard { lane, .. }) = step;
        self.shard.batch(*lane).to_vec()
    }

    fn open(&self, counter: u64) -> bool {
        !self.done.contains(&counter) && !self.given_up.contains(&counter)
    }

    /// Reads some of what is there.
    fn read(&mut self) {
        if let Some(room) = self.shard.room() {
            let from = usize::try_from(self.shard.read_to()).unwrap() - 1;
            let to = (from + self.rng.random_range(1..=room.records)).min(self.records.len());
            let now = self.now();
            self.shard.extend(self.records[from..to].to_vec(), u64::try_from(to).unwrap() + 1, now);
        }
    }

    /// Checks a step that is about to be taken.
    fn check(&self, step: &Step) {
        let batch = self.batch(step);
        assert!(!batch.is_empty() && batch.len() <= self.policy.limits.records, "{} records", batch.len());
        assert!(counters(&batch).is_sorted());
        let keys: BTreeSet<&str> = batch.iter().map(|record| record.partition_key.as_str()).collect();
        for other in &self.in_flight {
            let others = self.batch(other);
            assert!(others.iter().all(|record| !keys.contains(record.partition_key.as_str())), "a key twice at once");
        }
        // The first open record of each key is in the batch, and none is skipped between.
        let inside: BTreeSet<u64> = counters(&batch).into_iter().collect();
        let last = inside.last().copied().unwrap();
        for record in &self.records {
            let counter = record.sequence_number.counter();
            if counter < last && keys.contains(record.partition_key.as_str()) && self.open(counter) {
                assert!(inside.contains(&counter), "record {counter} is overtaken");
            }
        }
        assert!(inside.iter().all(|counter| self.open(*counter)), "handled twice");
    }

    /// Ends a step that is under way.
    fn end(&mut self, step: Step) {
        let batch = self.batch(&step);
        let now = self.now();
        let random = self.rng.random();
        match step {
            Step::Discard { lane, condition, invocations } => {
                let is_kept = self.rng.random_bool(0.7);
                let given_up = self.shard.discarded(lane, is_kept, now, random);
                if !is_kept {
                    assert_eq!(given_up, 0);
                    return;
                }
                assert_eq!(given_up, batch.len());
                for record in &batch {
                    self.check_given_up(record, condition, invocations, now);
                    self.given_up.insert(record.sequence_number.counter());
                }
            }
            Step::Invoke { lane, window: None } => {
                let outcome = self.outcome(&batch);
                if !matches!(outcome, Outcome::Throttled) {
                    counters(&batch).into_iter().for_each(|counter| *self.calls.entry(counter).or_default() += 1);
                }
                let effect = self.shard.invoked(lane, outcome, now, random);
                self.done.extend(counters(&batch).into_iter().take(effect.handled));
            }
            Step::Invoke { window: Some(_), .. } => panic!("there are no windows"),
        }
    }

    fn check_given_up(&self, record: &Record, condition: Condition, invocations: u32, now: Now) {
        let calls = self.calls.get(&record.sequence_number.counter()).copied().unwrap_or(0);
        assert!(invocations <= calls, "{invocations} of {calls}");
        match condition {
            Condition::RetryAttemptsExhausted => {
                let attempts = self.policy.retries_max.unwrap() + 1;
                assert!(calls >= attempts, "{calls} calls of {attempts}");
            }
            Condition::RecordAgeExceeded => {
                assert!(now.ms - record.arrival_ms > self.policy.age_ms_max.unwrap());
            }
            Condition::RecordSizeExceeded => panic!("none is too large"),
        }
    }

    fn outcome(&mut self, batch: &[Record]) -> Outcome {
        let poison = batch.iter().position(|record| self.poison.contains(&record.sequence_number.counter()));
        match (self.rng.random_range(0..10), poison) {
            (0, _) => Outcome::Throttled,
            (1, _) => Outcome::Failed,
            (2, None) => {
                let at = self.rng.random_range(0..batch.len());
                Outcome::Answered(failures(&[batch[at].sequence_number]))
            }
            (3, None) => Outcome::Answered(Report { failures: vec![None], ..Report::default() }),
            (_, None) => Outcome::Answered(Report::default()),
            (4 | 5, Some(_)) => Outcome::Failed,
            (_, Some(_)) if !self.policy.is_reporting => Outcome::Failed,
            (_, Some(at)) => Outcome::Answered(failures(&[batch[at].sequence_number])),
        }
    }

    fn run(&mut self) {
        self.shard.note_tail(u64::try_from(self.records.len()).unwrap() + 1, true);
        for _ in 0..200_000 {
            if self.rng.random_bool(0.7) {
                self.read();
            }
            let now = self.now();
            while let Some(step) = self.shard.next_step(now, false) {
                self.check(&step);
                self.in_flight.push(step);
            }
            assert!(self.in_flight.len() <= self.policy.lanes);
            self.check_low_water();
            if self.shard.is_finished() {
                return;
            }
            if !self.in_flight.is_empty() && self.rng.random_bool(0.8) {
                let at = self.rng.random_range(0..self.in_flight.len());
                let step = self.in_flight.swap_remove(at);
                self.end(step);
            } else if self.in_flight.is_empty() && self.shard.room().is_none() {
                let wake_at = self.shard.wake_at(now).expect("something is due at some time");
                let pause = wake_at.saturating_duration_since(now.instant).as_millis();
                self.elapsed_ms += u64::try_from(pause).unwrap() + 1;
            }
        }
        panic!("it does not end: {} of {}", self.done.len() + self.given_up.len(), self.records.len());
    }

    fn check_low_water(&mut self) {
        let low_water = self.shard.low_water();
        assert!(low_water >= self.low_water, "it goes back");
        assert!((1..low_water).all(|counter| !self.open(counter)), "it passes an open record");
        self.low_water = low_water;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn every_record_is_handled_or_given_up_in_order(
        seed in any::<u64>(),
        (count, batch_size, lanes) in (1_usize..80, 1_usize..12, 1_usize..5),
        (is_bisecting, is_reporting) in any::<(bool, bool)>(),
        retries_max in 0_u32..4,
        age_s in proptest::option::of(60_i64..90),
    ) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut policy = policy(batch_size);
        (policy.lanes, policy.is_bisecting, policy.is_reporting) = (lanes, is_bisecting, is_reporting);
        (policy.retries_max, policy.age_ms_max) = (Some(retries_max), age_s.map(|age_s| age_s * 1_000));
        policy.batching_window = Duration::from_millis(rng.random_range(0..3_000));
        let mut arrival_ms = START_MS - rng.random_range(0..100_000);
        let records: Vec<Record> = (1..=u64::try_from(count).unwrap()).map(|counter| {
            arrival_ms += rng.random_range(0..3_000);
            record(counter, &format!("k{}", rng.random_range(0..6)), arrival_ms)
        }).collect();
        let poison = (1..=u64::try_from(count).unwrap()).filter(|_| rng.random_bool(0.05)).collect();
        let shard = Shard::new(policy.clone(), 1, None);
        let mut simulation = Simulation {
            shard, policy, rng, begun: Instant::now(), elapsed_ms: 0, records, poison,
            done: BTreeSet::new(), given_up: BTreeSet::new(), calls: BTreeMap::new(), in_flight: Vec::new(), low_water: 1,
        };
        simulation.run();
        prop_assert_eq!(simulation.done.len() + simulation.given_up.len(), count);
        prop_assert_eq!(simulation.shard.low_water(), u64::try_from(count).unwrap() + 1);
        let poison_handled = simulation.poison.intersection(&simulation.done).count();
        prop_assert!(!simulation.policy.is_reporting || poison_handled == 0, "a poisoned record counts as handled");
    }
}

/// A shard with its records read, whose one lane answers by a script; what it was called with.
fn script(policy: Policy, records: &[Record], outcomes: &mut dyn FnMut(&[Record]) -> Outcome) -> Vec<String> {
    let mut shard = Shard::new(policy, 1, None);
    let mut now = Now { instant: Instant::now(), ms: START_MS };
    shard.note_tail(u64::try_from(records.len()).unwrap() + 1, true);
    let mut calls = Vec::new();
    while !shard.is_finished() {
        if let Some(room) = shard.room() {
            let from = usize::try_from(shard.read_to()).unwrap() - 1;
            let to = (from + room.records).min(records.len());
            shard.extend(records[from..to].to_vec(), u64::try_from(to).unwrap() + 1, now);
        }
        match shard.next_step(now, false) {
            Some(Step::Invoke { lane, .. }) => {
                let batch = shard.batch(lane).to_vec();
                calls.push(format!("{:?}", counters(&batch)));
                shard.invoked(lane, outcomes(&batch), now, 0);
            }
            Some(Step::Discard { lane, condition, invocations }) => {
                let batch = counters(shard.batch(lane));
                calls.push(format!("{batch:?} {} after {invocations}", condition.text()));
                shard.discarded(lane, true, now, 0);
            }
            None => now.instant += Duration::from_secs(10),
        }
    }
    calls
}

#[test]
fn bisecting_finds_the_record_that_fails() {
    let mut policy = policy(8);
    (policy.is_bisecting, policy.retries_max) = (true, Some(1));
    let records: Vec<Record> = (1..=8).map(|counter| record(counter, "k", START_MS)).collect();
    let mut fails_at_6 = |batch: &[Record]| {
        if counters(batch).contains(&6) { Outcome::Failed } else { Outcome::Answered(Report::default()) }
    };
    expect_test::expect![[r#"
        [1, 2, 3, 4, 5, 6, 7, 8]
        [1, 2, 3, 4]
        [5, 6, 7, 8]
        [5, 6]
        [5]
        [6]
        [6]
        [6] RetryAttemptsExhausted after 5
        [7, 8]"#]]
    .assert_eq(&script(policy, &records, &mut fails_at_6).join("\n"));
}

#[test]
fn a_report_cuts_the_batch_and_its_rest_has_failed_once() {
    let mut policy = policy(8);
    policy.retries_max = Some(1);
    let records: Vec<Record> = (1..=6).map(|counter| record(counter, "k", START_MS)).collect();
    let mut reports_4 = |batch: &[Record]| {
        let at = counters(batch).iter().position(|counter| *counter == 4);
        Outcome::Answered(at.map_or_else(Report::default, |at| failures(&[batch[at].sequence_number])))
    };
    expect_test::expect![[r#"
        [1, 2, 3, 4, 5, 6]
        [4, 5, 6]
        [4, 5, 6] RetryAttemptsExhausted after 2"#]]
    .assert_eq(&script(policy.clone(), &records, &mut reports_4).join("\n"));
    policy.is_bisecting = true;
    expect_test::expect![[r#"
        [1, 2, 3, 4, 5, 6]
        [4, 5, 6]
        [4]
        [4] RetryAttemptsExhausted after 3
        [5, 6]"#]]
    .assert_eq(&script(policy, &records, &mut reports_4).join("\n"));
}

#[test]
fn old_records_are_given_up_and_large_ones_never_called_with() {
    let mut policy = policy(8);
    policy.age_ms_max = Some(60_000);
    let old = (1..=2).map(|counter| record(counter, "k", START_MS - 60_001));
    let mut records: Vec<Record> = old.chain((3..=5).map(|counter| record(counter, "k", START_MS - 60_000))).collect();
    records[3].data = vec![0; 2 << 20].into();
    let mut succeeds = |_: &[Record]| Outcome::Answered(Report::default());
    expect_test::expect![[r#"
        [1, 2] RecordAgeExceeded after 0
        [3]
        [4] RecordSizeExceeded after 0
        [5]"#]]
    .assert_eq(&script(policy, &records, &mut succeeds).join("\n"));
}

fn state(text: &str) -> Outcome {
    let state = Some(RawValue::from_string(text.to_owned()).unwrap());
    Outcome::Answered(Report { state, ..Report::default() })
}

/// Takes the next step of a shard with windows, says what it was called with, and answers.
fn turn(shard: &mut Shard, now: Now, outcome: Outcome) -> String {
    match shard.next_step(now, false) {
        Some(Step::Invoke { lane, window: Some(window) }) => {
            let batch = counters(shard.batch(lane));
            shard.invoked(lane, outcome, now, 0);
            let (start, state) = ((window.start_ms - START_MS) / 1_000, window.state);
            let marks = [(window.is_final, " final"), (window.is_terminated_early, " early")];
            let marks: String = marks.iter().filter(|(is_set, _)| *is_set).map(|(_, mark)| *mark).collect();
            format!("{batch:?} window {start} {state}{marks}")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn windows_hand_their_state_on_and_close_in_order() {
    let mut policy = policy(2);
    policy.window_ms = Some(60_000);
    // The window that holds the start begins 20 s before it.
    let base = window::start_ms(START_MS, 60_000);
    let at = |second: i64| base + second * 1_000;
    let mut shard = Shard::new(policy, 1, None);
    let mut now = Now { instant: Instant::now(), ms: at(10) };
    let records = vec![record(1, "a", at(1)), record(2, "b", at(2)), record(3, "a", at(3)), record(4, "b", at(61))];
    shard.note_tail(5, false);
    let read = |shard: &mut Shard, to: usize, now: Now| {
        let from = usize::try_from(shard.read_to()).unwrap() - 1;
        shard.extend(records[from..to].to_vec(), u64::try_from(to).unwrap() + 1, now);
    };
    read(&mut shard, 2, now);
    let offset = (base - START_MS) / 1_000;
    let begins = |index: i64| offset + 60 * index;
    assert_eq!(turn(&mut shard, now, state("1")), format!("[1, 2] window {} {{}}", begins(0)));
    read(&mut shard, 4, now);
    assert_eq!(shard.low_water(), 3);
    // An answer without state is a failure; the same batch comes again, cut at the end of the window.
    assert_eq!(turn(&mut shard, now, Outcome::Answered(Report::default())), format!("[3] window {} 1", begins(0)));
    assert_eq!(turn(&mut shard, now, state("2")), "None");
    now.instant += Duration::from_secs(10);
    assert_eq!(turn(&mut shard, now, state("2")), format!("[3] window {} 1", begins(0)));
    // Record 4 is of the next window: this one is closed first, and again until that succeeds.
    assert_eq!(turn(&mut shard, now, Outcome::Failed), format!("[] window {} 2 final", begins(0)));
    now.instant += Duration::from_secs(10);
    assert_eq!(turn(&mut shard, now, state("0")), format!("[] window {} 2 final", begins(0)));
    let large = format!("\"{}\"", "x".repeat(window::STATE_BYTES_MAX));
    assert_eq!(turn(&mut shard, now, state(&large)), format!("[4] window {} {{}}", begins(1)));
    assert_eq!(turn(&mut shard, now, state("0")), format!("[] window {} {{}} final early", begins(1)));
    assert_eq!(turn(&mut shard, now, state("0")), "None");
    // Time alone closes a window as well, a little after its end.
    shard.extend(vec![record(5, "a", at(62))], 6, now);
    assert_eq!(turn(&mut shard, now, state("5")), format!("[5] window {} {{}}", begins(1)));
    now.ms = at(120);
    assert_eq!(turn(&mut shard, now, state("0")), "None");
    let wake_at = shard.wake_at(now).unwrap();
    assert_eq!(wake_at - now.instant, Duration::from_millis(500));
    now.ms += 500;
    assert_eq!(turn(&mut shard, now, state("0")), format!("[] window {} 5 final", begins(1)));
    assert_eq!(shard.window(), None);
}
