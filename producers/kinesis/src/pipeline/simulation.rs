//! The whole pipeline in simulated time against a simulated stream: faults, splits, merges, limits, all from one seed. Nothing
//! waits, so minutes pass in milliseconds, and a failing seed fails again.

#[cfg(test)]
mod crowd;
mod ledger;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod outage;
mod proof;
mod stream;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot::{self, Receiver};

#[cfg(feature = "simulation")]
pub use self::proof::{Proof, prove};
use self::stream::{Faults, Model, SimulatedStream};
use super::{
    Accepted, Pipeline,
    batch::routing_hash_key,
    outcome::Outcome,
    request::{Request, RequestId},
};
use crate::{
    config::Config,
    error::PutError,
    record::{Delivered, Record},
    reply::Reply,
    shard_map::ShardMap,
    stats::{Counters, Stats},
};

/// One way from the producer to the stream, or back.
const ONE_WAY: Duration = Duration::from_millis(8);

#[derive(Debug)]
enum Event {
    Arrive(Request),
    /// From a producer that is no more.
    ArriveUnasked(Request),
    Answer(RequestId, Outcome),
    AskMap {
        asked_at: Instant,
    },
    Map {
        asked_at: Instant,
        map: ShardMap,
    },
    Reshard,
}

/// A record that was put, by key and number within the key.
struct Put {
    name: (usize, usize),
    reply: Receiver<Result<Delivered, PutError>>,
}

struct Simulation {
    random: StdRng,
    start: Instant,
    now: Instant,
    pipeline: Pipeline,
    counters: Arc<Counters>,
    stream: SimulatedStream,
    events: BTreeMap<(Instant, u64), Event>,
    event_number: u64,
    puts: Vec<Put>,
    /// Acknowledged and failed.
    settled: (u64, u64),
    numbers: HashMap<usize, usize>,
    buffered_bytes: usize,
    polls: usize,
}

impl Simulation {
    fn new(seed: u64, shards: u32, faults: Faults, model: Model, config: Config) -> Self {
        let start = Instant::now();
        let stream = SimulatedStream::new(shards, faults, model, seed);
        let counters = Arc::new(Counters::default());
        Simulation {
            random: StdRng::seed_from_u64(seed),
            start,
            now: start,
            pipeline: Pipeline::new(config, &stream.map(), start, Arc::clone(&counters), seed),
            counters,
            stream,
            events: BTreeMap::new(),
            event_number: 0,
            puts: Vec::new(),
            settled: (0, 0),
            numbers: HashMap::new(),
            buffered_bytes: 0,
            polls: 0,
        }
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.event_number += 1;
        self.events.insert((self.now + after, self.event_number), event);
    }

    fn one_way(&mut self) -> Duration {
        ONE_WAY.mul_f64(self.random.random_range(0.8..1.2))
    }

    /// Puts the next record of a key; its payload says which it is.
    fn put(&mut self, key: usize, bytes: usize) {
        let number = self.numbers.entry(key).or_default();
        let name = (key, *number);
        *number += 1;
        let data = format!("{key}:{}:{}", name.1, "x".repeat(bytes));
        let record = Record::new(format!("key-{key}"), data);
        let (reply, receiver) = oneshot::channel();
        let cost = record.cost(usize::MAX).unwrap();
        self.buffered_bytes += usize::try_from(cost).unwrap();
        let hash_key = routing_hash_key(&record);
        self.pipeline.accept(self.now, Accepted { record, hash_key, cost, reply: Reply::Sender(reply) });
        self.puts.push(Put { name, reply: receiver });
    }

    /// Does what the pipeline wants done now.
    fn act(&mut self) {
        if self.pipeline.wants_map(self.now) {
            let (asked_at, way) = (self.now, self.one_way());
            self.schedule(way, Event::AskMap { asked_at });
        }
        self.polls += 1;
        while let Some(request) = self.pipeline.poll(self.now) {
            let way = self.one_way();
            self.schedule(way, Event::Arrive(request));
        }
        self.buffered_bytes -= self.pipeline.take_freed_bytes();
    }

    /// Goes on until `end`, or until nothing is left to happen before.
    fn run_until(&mut self, end: Instant) {
        loop {
            self.act();
            let event_at = self.events.keys().next().map(|(at, _)| *at);
            let next = [event_at, self.pipeline.next_wake()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            // A timer that is due already must have had its effect in the poll before.
            assert!(next > self.now || event_at == Some(next), "the pipeline asks to be woken without end");
            self.now = next.max(self.now);
            if event_at == Some(next)
                && let Some((_, event)) = self.events.pop_first()
            {
                self.happen(event);
            }
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(request) => {
                let (after, outcome) = self.stream.put_records(self.now.duration_since(self.start), &request.entries);
                let after = after + self.one_way();
                self.schedule(after, Event::Answer(request.id, outcome));
            }
            Event::ArriveUnasked(request) => {
                drop(self.stream.put_records(self.now.duration_since(self.start), &request.entries));
            }
            Event::Answer(id, outcome) => self.pipeline.complete(self.now, id, outcome),
            Event::AskMap { asked_at } => {
                let (way, map) = (self.one_way(), self.stream.map());
                self.schedule(way, Event::Map { asked_at, map });
            }
            Event::Map { asked_at, map } => self.pipeline.map_read(asked_at, &map),
            Event::Reshard => self.stream.reshard(),
        }
    }

    /// Lets everything end and checks what must hold in every run.
    fn finish(&mut self) -> Stats {
        let (flush, mut flushed) = oneshot::channel();
        self.pipeline.flush(flush);
        for _ in 0..600 {
            self.run_until(self.now + Duration::from_secs(1));
            if self.pipeline.is_empty() {
                break;
            }
        }
        assert!(self.pipeline.is_empty(), "everything has its result after ten minutes");
        assert!(flushed.try_recv().is_ok());
        assert_eq!(self.buffered_bytes, 0, "all room is given back");
        self.settle_puts();
        assert!(self.puts.is_empty(), "every record has its result");
        let (acknowledged, failed) = self.settled;
        let stats = self.counters.stats(0);
        assert_eq!((stats.offered, stats.acknowledged, stats.failed), (acknowledged + failed, acknowledged, failed));
        self.stream.check_order();
        assert_eq!(self.stream.dropped_by_kcl, 0);
        assert!(self.stream.copies() <= self.stream.stored_without_answer, "duplicates come from lost answers only");
        stats
    }

    /// Takes the results that are there, and checks what they say.
    fn settle_puts(&mut self) {
        let (stream, (acknowledged, failed)) = (&self.stream, &mut self.settled);
        self.puts.retain_mut(|put| {
            let Ok(result) = put.reply.try_recv() else { return true };
            match result {
                Ok(delivered) => {
                    *acknowledged += 1;
                    let Delivered::Stored(delivered) = delivered else { panic!("there is no log") };
                    let at = (delivered.shard_id, delivered.sequence_number, delivered.sub_sequence);
                    assert!(stream.is_stored_at(&at, put.name), "it is where it was said to be");
                }
                Err(PutError::Expired { .. }) => *failed += 1,
                Err(error) => panic!("{error}"),
            }
            false
        });
    }
}

fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::new("events");
    config.record_deadline = Duration::from_secs(300);
    change(&mut config);
    config
}

/// Two minutes of changing load on 60 keys with all faults, and the map changing under it.
fn check_survives(seed: u64, config: Config) {
    let faults = Faults { entry_percent: 5, call_percent: 1, lost_percent: 1, unanswered_percent: 1 };
    let is_marked = config.dedupe_tag.is_some();
    let mut simulation = Simulation::new(seed, 3, faults, Model::Burst, config);
    for second in [20, 35, 36, 60, 80, 90, 91] {
        simulation.schedule(Duration::from_secs(second), Event::Reshard);
    }
    let end = simulation.now + Duration::from_secs(120);
    while simulation.now < end {
        for _ in 0..simulation.random.random_range(1..30) {
            let key = simulation.random.random_range(0..60);
            let is_large = simulation.random.random_ratio(1, 500);
            let bytes = simulation.random.random_range(if is_large { 40_000..90_000 } else { 0..600 });
            simulation.put(key, bytes);
        }
        let pause = Duration::from_millis(simulation.random.random_range(1..200));
        simulation.run_until(simulation.now + pause);
    }
    let stats = simulation.finish();
    assert_eq!(stats.failed, 0, "the deadline is long enough for every record: seed {seed}, {stats:?}");
    assert!(stats.shard_map_changes >= 4, "{stats:?}");
    assert!(stats.retried > 50, "{stats:?}");
    if is_marked {
        assert!(simulation.stream.copies() > 0, "there was something to remove");
        simulation.stream.check_read_once();
    }
}

#[test]
fn order_and_every_record_survive_faults_and_reshards() {
    for seed in 0..8 {
        check_survives(seed, config(|config| config.lanes_per_shard = if seed % 3 == 0 { 4 } else { 1 }));
    }
}

#[test]
fn marked_records_are_read_once() {
    for seed in 300..302 {
        check_survives(
            seed,
            config(|config| {
                config.dedupe_tag = Some(crate::config::ProducerId { producer: 17, epoch: seed });
                config.compression_level = (seed % 2 == 0).then_some(1);
                config.lanes_per_shard = if seed % 3 == 0 { 4 } else { 1 };
                config.record_deadline = Duration::from_secs(60);
            }),
        );
    }
}

#[test]
fn order_and_every_record_survive_compressed() {
    for seed in [200, 201] {
        check_survives(
            seed,
            config(|config| {
                config.compression_level = Some(1);
                config.lanes_per_shard = if seed % 3 == 0 { 4 } else { 1 };
            }),
        );
    }
}

#[test]
fn order_and_every_record_survive_without_aggregation() {
    for seed in 100..104 {
        check_survives(seed, config(|config| config.aggregation = false));
    }
}

#[test]
fn a_dead_stream_expires_everything_and_costs_little() {
    let mut simulation = Simulation::new(
        7,
        4,
        Faults::NONE,
        Model::Burst,
        config(|config| {
            config.record_deadline = Duration::from_secs(20);
        }),
    );
    simulation.stream.is_down = true;
    for _ in 0..100 {
        for key in 0..200 {
            simulation.put(key, 500);
        }
        simulation.run_until(simulation.now + Duration::from_millis(100));
    }
    let polls_before = simulation.polls;
    simulation.run_until(simulation.now + Duration::from_secs(5));
    // Four lanes that come back every half to whole second, and the answer of each.
    assert!(simulation.polls - polls_before < 200, "{} polls in 5 s", simulation.polls - polls_before);
    let stats = simulation.finish();
    assert_eq!((stats.failed, stats.acknowledged), (20_000, 0));
}

#[test]
fn an_outage_ends_and_all_is_sent_within_seconds() {
    let mut simulation = Simulation::new(8, 8, Faults::NONE, Model::Burst, config(|_| {}));
    simulation.stream.is_down = true;
    for _ in 0..100 {
        for key in 0..80 {
            simulation.put(key, 500);
        }
        simulation.run_until(simulation.now + Duration::from_millis(500));
    }
    simulation.stream.is_down = false;
    // 4 MB wait for 8 shards: a second at their limit, and at most one for the last backoff.
    simulation.run_until(simulation.now + Duration::from_secs(3));
    assert!(simulation.pipeline.is_empty());
    simulation.finish();
}

/// Saturates a shard for 40 seconds; the used share of its limit and the throttled share of attempts are checked, in
/// thousandths.
fn check_saturated(model: Model, record_bytes: usize, aggregation: bool, used_min: u64, throttled_max: u64) {
    const SECONDS: u64 = 40;
    let config = config(|config| config.aggregation = aggregation);
    let mut simulation = Simulation::new(9, 1, Faults::NONE, model, config);
    let end = simulation.now + Duration::from_secs(SECONDS);
    while simulation.now < end {
        while simulation.buffered_bytes < 1_000_000 {
            let key = simulation.random.random_range(0..100_000);
            simulation.put(key, record_bytes);
        }
        simulation.run_until(simulation.now + Duration::from_millis(20));
    }
    let stats = simulation.counters.stats(0);
    let used = simulation.stream.used_permille(SECONDS);
    let throttled = stats.throttled * 1000 / (stats.kinesis_records + stats.throttled);
    let what = format!("{model:?}, {record_bytes} B, aggregation {aggregation}");
    assert!(used >= used_min && throttled <= throttled_max, "{what}: {used} used, {throttled} throttled, of 1,000");
}

#[test]
fn limits_are_used_and_respected() {
    for model in [Model::Burst, Model::Smooth, Model::HardWindow] {
        check_saturated(model, 1_000, true, 985, 0);
        check_saturated(model, 5_000, false, 985, 0);
        check_saturated(model, 10, false, 985, 0);
    }
}
