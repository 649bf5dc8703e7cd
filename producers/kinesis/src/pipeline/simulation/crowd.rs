//! Several producers on one shard, in simulated time: how much of it they use together, how often they are throttled, and how
//! evenly they share it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use super::{
    Event, ONE_WAY, config,
    stream::{Faults, Model, SimulatedStream},
};
use crate::{
    pipeline::{Accepted, Pipeline, batch::routing_hash_key},
    record::Record,
    reply::Reply,
    stats::Counters,
};

/// What each producer has waiting at least, so that it could always send more.
const BACKLOG_BYTES: usize = 120_000;
const RECORD_BYTES: usize = 1_000;
const MEMBERS: usize = 8;
/// Between the starts of two of them.
const STAGGER: Duration = Duration::from_millis(300);
/// How often they are given new records.
const STEP: Duration = Duration::from_millis(10);

struct Member {
    pipeline: Pipeline,
    counters: Arc<Counters>,
    waiting_bytes: usize,
    starts_at: Instant,
}

/// What happens to which of them.
type MemberEvent = (usize, Event);

struct Crowd {
    random: StdRng,
    start: Instant,
    now: Instant,
    members: Vec<Member>,
    stream: SimulatedStream,
    events: BTreeMap<(Instant, u64), MemberEvent>,
    event_number: u64,
}

/// What happened within some time, in thousandths of the limit, of attempts, and of an even distribution.
#[derive(Debug, Clone, Copy)]
struct Shares {
    used: u64,
    throttled: u64,
    jain: u64,
}

impl Crowd {
    fn new(model: Model, seed: u64) -> Self {
        let start = Instant::now();
        let mut stream = SimulatedStream::new(1, Faults::NONE, model, seed);
        stream.keep_no_log();
        let member = |index: u32| {
            let counters = Arc::new(Counters::default());
            // Longer than any run: the shards stay as they are.
            let config = config(|config| config.shard_map_refresh = Duration::from_secs(3600));
            let pipeline = Pipeline::new(config, &stream.map(), start, Arc::clone(&counters), seed + u64::from(index));
            Member { pipeline, counters, waiting_bytes: 0, starts_at: start + STAGGER * index }
        };
        let members = (0..u32::try_from(MEMBERS).unwrap()).map(member).collect();
        let random = StdRng::seed_from_u64(seed);
        Crowd { random, start, now: start, members, stream, events: BTreeMap::new(), event_number: 0 }
    }

    /// Now and then a request is held up on the way, as on a busy machine, and comes in together with others.
    fn one_way(&mut self) -> Duration {
        let is_held_up = self.random.random_ratio(1, 50);
        ONE_WAY.mul_f64(self.random.random_range(if is_held_up { 3.0..8.0 } else { 0.7..1.3 }))
    }

    fn schedule(&mut self, member: usize, after: Duration, event: Event) {
        self.event_number += 1;
        self.events.insert((self.now + after, self.event_number), (member, event));
    }

    fn offer(&mut self) {
        for member in &mut self.members {
            while member.waiting_bytes < BACKLOG_BYTES && member.starts_at <= self.now {
                let key = self.random.random_range(0..100_000);
                let record = Record::new(format!("key-{key}"), format!("{key}:0:{}", "x".repeat(RECORD_BYTES)));
                let (hash_key, cost) = (routing_hash_key(&record), record.cost(usize::MAX).unwrap());
                member.waiting_bytes += usize::try_from(cost).unwrap();
                let reply = Reply::Sender(oneshot::channel().0);
                member.pipeline.accept(self.now, Accepted { record, hash_key, cost, reply });
            }
        }
    }

    fn act(&mut self, index: usize) {
        while let Some(request) = self.members[index].pipeline.poll(self.now) {
            let way = self.one_way();
            self.schedule(index, way, Event::Arrive(request));
        }
        let member = &mut self.members[index];
        member.waiting_bytes -= member.pipeline.take_freed_bytes();
    }

    fn happen(&mut self, member: usize, event: Event) {
        match event {
            Event::Arrive(request) => {
                let (_, outcome) = self.stream.put_records(self.now.duration_since(self.start), &request.entries);
                let way = self.one_way();
                self.schedule(member, way, Event::Answer(request.id, outcome));
            }
            Event::Answer(id, outcome) => self.members[member].pipeline.complete(self.now, id, outcome),
            Event::AskMap { .. } | Event::Map { .. } | Event::Reshard => unreachable!("the shards stay as they are"),
            Event::ArriveUnasked(_) => unreachable!("nobody dies"),
        }
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while self.now < end {
            self.offer();
            let step_end = self.now + STEP;
            loop {
                (0..MEMBERS).for_each(|index| self.act(index));
                let event_at = self.events.keys().next().map(|(at, _)| *at);
                let wakes = self.members.iter().filter_map(|member| member.pipeline.next_wake());
                let Some(next) = wakes.chain(event_at).min().filter(|next| *next <= step_end) else { break };
                assert!(next > self.now || event_at == Some(next), "a pipeline asks to be woken without end");
                self.now = next;
                if event_at == Some(next)
                    && let Some((_, (member, event))) = self.events.pop_first()
                {
                    self.happen(member, event);
                }
            }
            self.now = step_end;
        }
    }

    fn measure(&mut self, length: Duration) -> Shares {
        let count = |crowd: &Crowd| {
            let stats: Vec<_> = crowd.members.iter().map(|member| member.counters.stats(0)).collect();
            let sum = |pick: fn(&crate::stats::Stats) -> u64| stats.iter().map(pick).sum::<u64>();
            let parts: Vec<u64> = stats.iter().map(|stats| stats.bytes).collect();
            (parts, sum(|stats| stats.throttled), sum(|stats| stats.kinesis_records))
        };
        let (parts, throttled, stored) = count(self);
        self.run(length);
        let (parts_after, throttled_after, stored_after) = count(self);
        let parts: Vec<u64> = parts_after.iter().zip(parts).map(|(after, before)| (after - before) / 1_000).collect();
        let (throttled, stored) = (throttled_after - throttled, stored_after - stored);
        let sum: u64 = parts.iter().sum();
        let squares: u64 = parts.iter().map(|part| part * part).sum();
        Shares {
            used: sum * 1_000 / (length.as_secs() * 1_000),
            throttled: throttled * 1_000 / (throttled + stored),
            jain: sum * sum * 1_000 / (squares * u64::try_from(MEMBERS).unwrap()),
        }
    }
}

/// In the model in which producers meet most: a shard that allows bursts of a tenth of a second.
#[test]
fn a_crowd_uses_a_shard_evenly_and_is_hardly_throttled() {
    let mut crowd = Crowd::new(Model::Smooth, 1);
    crowd.run(Duration::from_secs(25));
    let shares = crowd.measure(Duration::from_secs(20));
    assert!(shares.used >= 950 && shares.throttled <= 10 && shares.jain >= 900, "{shares:?}");
}
