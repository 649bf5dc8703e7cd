//! A producer with a log on disk that dies again and again, in simulated time: each life sends what the last one had not noted as
//! done, cut in other ways, while requests of the last one may still arrive. A reader that looks at the marks has every record of
//! the log, once, in order.
//!
//! The log is a model here: the real one has its own tests, and `spool_kills` joins both.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kinesis_record::{CONTENT_BYTES_MAX, Origin, unpack_aggregate};
use rand::Rng;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    super::{batch::routing_hash_key, spool_marks::SpoolMarks, spooled::Place},
    Accepted, Config, Event, Model, Pipeline, Put, Record, Reply, Request, Simulation, config,
    stream::Faults,
};
use crate::{config::ProducerId, reply::SpoolResult, spool::Series};

const KEYS: usize = 40;

/// Records that are read from the log and not done.
const WINDOW: usize = 400;

/// Every so many records that are done, progress is durable.
const NOTED_EVERY: u64 = 60;

struct Lives {
    simulation: Simulation,
    /// Survives: the records with the mark under which they were on their way before, and how far all is noted as done.
    log: Vec<(Record, Option<Origin>)>,
    series: Vec<Series>,
    noted_below: u64,
    /// Of this life.
    read_to: u64,
    done: BTreeSet<u64>,
    adopted: BTreeSet<u64>,
    results: UnboundedReceiver<SpoolResult>,
    results_sender: UnboundedSender<SpoolResult>,
    life: u64,
}

impl Lives {
    fn new(seed: u64) -> Self {
        let faults = Faults { entry_percent: 5, call_percent: 2, lost_percent: 2, unanswered_percent: 5 };
        let simulation = Simulation::new(seed, 3, faults, Model::Burst, life_config(seed, 0));
        let (results_sender, results) = unbounded_channel();
        Lives {
            simulation,
            log: Vec::new(),
            series: Vec::new(),
            noted_below: 0,
            read_to: 0,
            done: BTreeSet::new(),
            adopted: BTreeSet::new(),
            results,
            results_sender,
            life: 0,
        }
    }

    /// The process ends at once, and another one begins over what is on disk.
    fn die(&mut self, seed: u64) {
        self.life += 1;
        let simulation = &mut self.simulation;
        let mut late = BTreeMap::new();
        for (at, event) in std::mem::take(&mut simulation.events) {
            match event {
                // Some of what was on its way arrives, some of it when the next life has begun.
                Event::Arrive(request) if simulation.random.random_ratio(1, 2) => {
                    // Without numbers it can be told only if it comes before the next life.
                    let delay = Duration::from_millis(simulation.random.random_range(0..1_500));
                    let at = if is_numbered(&request) { (at.0 + delay, at.1) } else { (simulation.now, at.1) };
                    late.insert(at, Event::ArriveUnasked(request));
                }
                Event::Reshard | Event::ArriveUnasked(_) => {
                    late.insert(at, event);
                }
                Event::Arrive(_) | Event::Answer(..) | Event::AskMap { .. } | Event::Map { .. } => {}
            }
        }
        simulation.events = late;
        // Senders whose records were not durable are told nothing.
        simulation.puts.clear();
        let config = life_config(seed, self.life);
        let (map, counters) = (simulation.stream.map(), std::sync::Arc::clone(&simulation.counters));
        simulation.pipeline = Pipeline::new(config, &map, simulation.now, counters, seed ^ self.life);
        (self.results_sender, self.results) = unbounded_channel();
        self.done = (0..self.noted_below).collect();
        self.adopted.clear();
        self.read_to = self.noted_below;
        let next = self.log.len() as u64;
        self.series.push(Series { from: next, name: simulation.random.random() });
        *simulation.pipeline.spool_marks() = SpoolMarks::new(self.series.clone());
        // What arrives without numbers does so now.
        let now = simulation.now;
        while simulation.events.first_key_value().is_some_and(|((at, _), _)| *at <= now)
            && let Some((_, event)) = simulation.events.pop_first()
        {
            simulation.happen(event);
        }
    }

    fn next_record(&mut self) -> Record {
        let key = self.simulation.random.random_range(0..KEYS);
        let bytes = self.simulation.random.random_range(0..900);
        let number = self.simulation.numbers.entry(key).or_default();
        let data = format!("{key}:{number}:{}", "x".repeat(bytes));
        *number += 1;
        Record::new(format!("key-{key}"), data)
    }

    /// Records go to the stream by themselves for a moment, and then the log is taken into use.
    fn send_and_adopt(&mut self) {
        for _ in 0..self.simulation.random.random_range(1..200) {
            let record = self.next_record();
            let (reply, receiver) = tokio::sync::oneshot::channel();
            let hash_key = routing_hash_key(&record);
            let now = self.simulation.now;
            self.simulation.pipeline.accept(now, Accepted { record, hash_key, cost: 0, reply: Reply::Sender(reply) });
            self.simulation.puts.push(Put { name: (0, 0), reply: receiver });
        }
        let pause = Duration::from_millis(self.simulation.random.random_range(0..60));
        self.simulation.run_until(self.simulation.now + pause);
        let (mut sent, mut waiting) = (Vec::new(), Vec::new());
        for unsettled in self.simulation.pipeline.take_unsettled() {
            match unsettled.place {
                Place::Sent { batch, position, origin } => sent.push((unsettled.record, batch, position, origin)),
                Place::Waiting { .. } => waiting.push(unsettled.record),
            }
        }
        for (record, batch, position, origin) in sent {
            let number = self.log.len() as u64;
            let reply = Reply::Spool { number, results: self.results_sender.clone() };
            assert!(self.simulation.pipeline.make_durable(batch, position, reply).is_some());
            self.log.push((record, origin));
            self.adopted.insert(number);
        }
        self.log.extend(waiting.into_iter().map(|record| (record, None)));
        self.simulation.puts.clear();
    }

    /// Reads on, sends, and takes results in, for a while.
    fn run(&mut self, pause: Duration) {
        while self.read_to < self.log.len() as u64 && (self.read_to - self.done_below()) < WINDOW as u64 {
            let number = self.read_to;
            self.read_to += 1;
            if self.adopted.contains(&number) {
                continue;
            }
            let (record, sent_as) = self.log[usize::try_from(number).unwrap()].clone();
            if let Some(origin) = sent_as {
                self.simulation.pipeline.spool_marks().was_sent_as(number, origin);
            }
            let hash_key = routing_hash_key(&record);
            let reply = Reply::Spool { number, results: self.results_sender.clone() };
            self.simulation.pipeline.accept(self.simulation.now, Accepted { record, hash_key, cost: 0, reply });
        }
        self.simulation.run_until(self.simulation.now + pause);
        while let Ok((number, result)) = self.results.try_recv() {
            assert!(result.is_ok(), "{result:?}");
            self.done.insert(number);
        }
        let done_below = self.done_below();
        self.simulation.pipeline.spool_marks().advance(done_below);
        self.noted_below = self.noted_below.max(done_below / NOTED_EVERY * NOTED_EVERY);
    }

    fn done_below(&self) -> u64 {
        (self.noted_below..).find(|number| !self.done.contains(number)).unwrap()
    }
}

fn is_numbered(request: &Request) -> bool {
    request.entries.iter().all(|entry| {
        let aggregate = unpack_aggregate(&entry.data, CONTENT_BYTES_MAX).unwrap().unwrap();
        aggregate.spool_mark().is_some_and(|_| aggregate.spool_numbers().all(|number| number.is_some()))
    })
}

/// Every life cuts in its own way.
fn life_config(seed: u64, life: u64) -> Config {
    config(|config| {
        config.dedupe_tag = Some(ProducerId { producer: seed, epoch: life });
        config.lanes_per_shard = [1, 3, 2][usize::try_from(life % 3).unwrap()];
        config.compression_level = (life % 4 == 2).then_some(1);
        config.aggregate_bytes_max = [51_200, 4_096, 12_000][usize::try_from((seed + life) % 3).unwrap()];
    })
}

fn check_lives(seed: u64) {
    let mut lives = Lives::new(seed);
    let mut copies_dropped_by_number = 0;
    for life in 0..12 {
        lives.die(seed);
        if life % 3 == 1 {
            lives.simulation.stream.reshard();
        }
        // Nobody takes the log into use while it is.
        if lives.read_to == lives.log.len() as u64 {
            lives.send_and_adopt();
        }
        for _ in 0..lives.simulation.random.random_range(1..40) {
            for _ in 0..lives.simulation.random.random_range(0..60) {
                let record = lives.next_record();
                lives.log.push((record, None));
            }
            let pause = Duration::from_millis(lives.simulation.random.random_range(1..80));
            lives.run(pause);
        }
        copies_dropped_by_number = lives.simulation.stream.records_left_out;
        // Now and then a life ends in peace, so that the next one takes a new log into use.
        for _ in 0..if life % 2 == 0 { 1_500 } else { 0 } {
            lives.run(Duration::from_millis(20));
            if lives.done_below() == lives.log.len() as u64 {
                lives.noted_below = lives.done_below();
                break;
            }
        }
    }
    for _ in 0..100_000 {
        lives.run(Duration::from_millis(20));
        if lives.done_below() == lives.log.len() as u64 {
            break;
        }
    }
    assert_eq!(lives.done_below(), lives.log.len() as u64, "everything in the log is stored in the end: seed {seed}");
    lives.simulation.run_until(lives.simulation.now + Duration::from_secs(5));
    let stream = &lives.simulation.stream;
    stream.check_order();
    stream.check_read_once();
    stream.check_was_read(lives.log.iter().map(|(record, _)| &record.data));
    assert!(stream.copies() > 100 && copies_dropped_by_number > 50, "{} {copies_dropped_by_number}", stream.copies());
}

#[test]
fn what_is_sent_again_after_a_crash_is_read_once() {
    for seed in 0..3 {
        check_lives(seed);
    }
}
