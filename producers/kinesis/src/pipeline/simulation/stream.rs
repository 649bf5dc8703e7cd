//! A stream as the simulation needs it: shards that split and merge, limits after three models, faults by chance, and a memory
//! of everything that was stored, in order.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use kinesis_consumer::{Repeats, ShardWindows};
use kinesis_record::{CONTENT_BYTES_MAX, HashRange, SubRecord, first_outside, hash_key, unpack_aggregate};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    super::{
        batch::Entry,
        outcome::{EntryOutcome, Outcome},
    },
    ledger::Ledger,
};
use crate::{
    error::{Failure, FailureClass},
    shard_map::{Shard, ShardMap},
};

const BYTES_PER_S: u64 = 1_000_000;
const RECORDS_PER_S: u64 = 1_000;

/// How a shard enforces its limits. The service does not say.
#[derive(Debug, Clone, Copy)]
pub(super) enum Model {
    /// A bucket that holds a second of the rate.
    Burst,
    /// A bucket that holds a tenth of a second.
    Smooth,
    /// So much in each second of the clock.
    HardWindow,
}

/// How often what fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    /// Single records, one in ten of them as throttled.
    pub(super) entry_percent: u32,
    /// Whole calls, with an internal error.
    pub(super) call_percent: u32,
    /// Calls that never arrive.
    pub(super) lost_percent: u32,
    /// Calls that are carried out, but whose answer is lost.
    pub(super) unanswered_percent: u32,
}

impl Faults {
    pub(super) const NONE: Faults =
        Faults { entry_percent: 0, call_percent: 0, lost_percent: 0, unanswered_percent: 0 };
}

/// Shard, sequence number, sub-sequence.
pub(super) type Position = (Arc<str>, Arc<str>, u32);

/// Key and number within the key.
type Name = (usize, usize);

#[derive(Debug)]
struct SimulatedShard {
    shard: Shard,
    tokens: (u64, u64),
    refilled_at: Duration,
}

#[derive(Debug)]
pub(super) struct SimulatedStream {
    random: StdRng,
    model: Model,
    faults: Faults,
    shards: Vec<SimulatedShard>,
    made: u64,
    /// What a reader finds.
    pub(super) ledger: Ledger,
    /// What a reader finds that removes marked repeats.
    pub(super) read_ledger: Ledger,
    /// Whether all that is stored is kept below, for exact checks.
    keeps_log: bool,
    /// Every user record in the order in which it was stored.
    log: Vec<Name>,
    places: HashMap<Position, Name>,
    /// What a reader makes of it that removes marked repeats.
    read: Vec<Name>,
    /// Records that it left out one by one, by their numbers in a log.
    pub(super) records_left_out: usize,
    windows: ShardWindows,
    stored_bytes: u64,
    stored_records: u64,
    pub(super) is_down: bool,
    pub(super) dropped_by_kcl: usize,
    /// User records in calls whose answer was lost.
    pub(super) stored_without_answer: usize,
}

impl SimulatedStream {
    pub(super) fn new(shards: u32, faults: Faults, model: Model, seed: u64) -> Self {
        let mut stream = SimulatedStream {
            random: StdRng::seed_from_u64(seed ^ 0xFA17),
            model,
            faults,
            shards: Vec::new(),
            made: 0,
            ledger: Ledger::default(),
            read_ledger: Ledger::default(),
            keeps_log: true,
            log: Vec::new(),
            places: HashMap::new(),
            read: Vec::new(),
            records_left_out: 0,
            windows: ShardWindows::default(),
            stored_bytes: 0,
            stored_records: 0,
            is_down: false,
            dropped_by_kcl: 0,
            stored_without_answer: 0,
        };
        stream.add_shard(0, u128::MAX, &[]);
        while stream.shards.len() < usize::try_from(shards).unwrap() {
            // The oldest is the widest.
            stream.split(0);
        }
        stream
    }

    pub(super) fn map(&self) -> ShardMap {
        ShardMap::new(self.shards.iter().map(|shard| shard.shard.clone()).collect()).unwrap()
    }

    /// Splits a shard, or merges two neighbours.
    pub(super) fn reshard(&mut self) {
        self.shards.sort_by_key(|shard| shard.shard.range.start);
        let index = self.random.random_range(0..self.shards.len());
        let merges = self.shards.len() > 2 && index > 0 && self.random.random_ratio(2, 5);
        if merges {
            let right = self.shards.remove(index).shard;
            let left = self.shards.remove(index - 1).shard;
            self.add_shard(left.range.start, right.range.end, &[&*left.id, &*right.id]);
        } else {
            self.split(index);
        }
    }

    fn split(&mut self, index: usize) {
        let Shard { id, range } = self.shards.remove(index).shard;
        let middle = range.start + (range.end - range.start) / 2;
        self.add_shard(range.start, middle, &[&*id]);
        self.add_shard(middle + 1, range.end, &[&*id]);
    }

    fn add_shard(&mut self, start: u128, end: u128, parents: &[&str]) {
        self.made += 1;
        let shard = Shard { id: format!("s{}", self.made).into(), range: HashRange { start, end } };
        // A reader comes to a shard when it has read the parents to their ends.
        self.windows.begin_after(&shard.id, parents);
        // A new shard starts with all it can hold.
        self.shards.push(SimulatedShard { shard, tokens: self.model.capacity(), refilled_at: Duration::ZERO });
    }

    /// Carries out a call; the answer leaves after the duration that is returned.
    pub(super) fn put_records(&mut self, at: Duration, entries: &[Entry]) -> (Duration, Outcome) {
        const TIMEOUT: Duration = Duration::from_secs(6);
        assert!((1..=500).contains(&entries.len()));
        assert!(entries.iter().map(Entry::bytes).sum::<usize>() <= 10 << 20);
        let internal = Failure::service("InternalFailureException", "", FailureClass::Temporary);
        if self.is_down || self.happens(self.faults.call_percent) {
            return (Duration::ZERO, Outcome::Failed(internal));
        }
        let no_answer = || Outcome::Failed(Failure::NoAnswer(Arc::new(std::io::Error::other("timeout"))));
        if self.happens(self.faults.lost_percent) {
            return (TIMEOUT, no_answer());
        }
        let before = self.ledger.stored;
        let results = entries.iter().map(|entry| self.put_record(at, entry)).collect();
        if self.happens(self.faults.unanswered_percent) {
            self.stored_without_answer += self.ledger.stored - before;
            return (TIMEOUT, no_answer());
        }
        (Duration::ZERO, Outcome::Answered(results))
    }

    fn put_record(&mut self, at: Duration, entry: &Entry) -> EntryOutcome {
        const THROTTLED: &str = "ProvisionedThroughputExceededException";
        let failed = |code, class| EntryOutcome::Failed(Failure::service(code, "", class));
        if self.happens(self.faults.entry_percent) {
            return if self.random.random_ratio(1, 10) {
                failed(THROTTLED, FailureClass::Throttled)
            } else {
                failed("InternalFailure", FailureClass::Temporary)
            };
        }
        let explicit = entry.explicit_hash_key.as_deref().map(|key| key.parse().unwrap());
        let landing: u128 = explicit.unwrap_or_else(|| hash_key(&entry.partition_key));
        let (model, bytes) = (self.model, u64::try_from(entry.bytes()).unwrap());
        let shard = self.shards.iter_mut().find(|shard| shard.shard.range.contains(landing)).unwrap();
        if !shard.take(model, at, bytes) {
            return failed(THROTTLED, FailureClass::Throttled);
        }
        let shard = shard.shard.clone();
        self.stored_bytes += bytes;
        self.stored_records += 1;
        let sequence_number: Arc<str> = self.stored_records.to_string().into();
        let aggregate = unpack_aggregate(&entry.data, CONTENT_BYTES_MAX).unwrap();
        let repeats = match &aggregate {
            Some(aggregate) => self.windows.repeats(&shard.id, aggregate, &sequence_number),
            None => Repeats::Records(Vec::new()),
        };
        let records: Vec<SubRecord> = match aggregate {
            Some(aggregate) => aggregate.into_iter().collect(),
            None => vec![SubRecord {
                partition_key: Arc::clone(&entry.partition_key),
                explicit_hash_key: explicit,
                data: entry.data.clone(),
            }],
        };
        let is_repeat = |sub_sequence: u32| match &repeats {
            Repeats::All => true,
            Repeats::Records(repeats) => repeats.contains(&sub_sequence),
        };
        if let Repeats::Records(repeats) = &repeats {
            self.records_left_out += repeats.len();
        }
        self.dropped_by_kcl += usize::from(first_outside(&records, shard.range).is_some());
        for (sub_sequence, record) in (0..).zip(&records) {
            let name = name(record);
            self.ledger.note(name.0, name.1);
            if !is_repeat(sub_sequence) {
                self.read_ledger.note(name.0, name.1);
            }
            if !self.keeps_log {
                continue;
            }
            if !is_repeat(sub_sequence) {
                self.read.push(name);
            }
            self.log.push(name);
            self.places.insert((Arc::clone(&shard.id), Arc::clone(&sequence_number), sub_sequence), name);
        }
        EntryOutcome::Stored { shard_id: shard.id, sequence_number }
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    /// For runs that are too long for memory: the ledger has to do.
    pub(super) fn keep_no_log(&mut self) {
        self.keeps_log = false;
    }

    pub(super) fn is_stored_at(&self, position: &Position, name: Name) -> bool {
        !self.keeps_log || self.places.get(position) == Some(&name)
    }

    /// User records that were stored once more than needed.
    pub(super) fn copies(&self) -> usize {
        if !self.keeps_log {
            return self.ledger.copies;
        }
        self.log.len() - self.log.iter().collect::<HashSet<_>>().len()
    }

    /// A reader that removes marked repeats has every record that is stored, once.
    pub(super) fn check_read_once(&self) {
        let stored: HashSet<&Name> = self.log.iter().collect();
        let read: HashSet<&Name> = self.read.iter().collect();
        assert_eq!(
            (read.len(), self.read.len()),
            (stored.len(), stored.len()),
            "records read, with and without repeats"
        );
    }

    /// All of these were read.
    pub(super) fn check_was_read<'a>(&self, data: impl Iterator<Item = &'a bytes::Bytes>) {
        let read: HashSet<&Name> = self.read.iter().collect();
        for data in data {
            assert!(read.contains(&name_of(data)), "{data:?} was durable and is not read");
        }
    }

    /// Within each key, no record is stored for the first time after a later one.
    pub(super) fn check_order(&self) {
        let mut last: HashMap<usize, usize> = HashMap::new();
        let mut seen = HashSet::new();
        for (key, number) in &self.log {
            let is_first_copy = seen.insert((*key, *number));
            let last = last.entry(*key).or_insert(*number);
            assert!(!is_first_copy || *number >= *last, "key {key}: {last} comes before {number}");
            *last = (*last).max(*number);
        }
    }

    /// How much of what all shards take in so many seconds was stored, in the dimension that is nearer to its limit.
    pub(super) fn used_permille(&self, seconds: u64) -> u64 {
        let shard_seconds = u64::try_from(self.shards.len()).unwrap() * seconds;
        let permille = |stored: u64, limit_per_s: u64| stored * 1000 / (limit_per_s * shard_seconds);
        permille(self.stored_bytes, BYTES_PER_S).max(permille(self.stored_records, RECORDS_PER_S))
    }
}

fn name(record: &SubRecord) -> Name {
    name_of(&record.data)
}

fn name_of(data: &[u8]) -> Name {
    let text = std::str::from_utf8(data).unwrap();
    let mut parts = text.split(':').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap(), parts.next().unwrap())
}

impl Model {
    fn capacity(self) -> (u64, u64) {
        match self {
            Model::Burst | Model::HardWindow => (BYTES_PER_S, RECORDS_PER_S),
            Model::Smooth => (BYTES_PER_S / 10, RECORDS_PER_S / 10),
        }
    }
}

impl SimulatedShard {
    fn take(&mut self, model: Model, at: Duration, bytes: u64) -> bool {
        let capacity = model.capacity();
        match model {
            Model::HardWindow if at.as_secs() > self.refilled_at.as_secs() => {
                self.tokens = capacity;
                self.refilled_at = at;
            }
            Model::HardWindow => {}
            Model::Burst | Model::Smooth => {
                let elapsed = at.saturating_sub(self.refilled_at);
                let earned_ms = u64::try_from(elapsed.as_millis()).unwrap();
                self.tokens.0 = (self.tokens.0 + earned_ms * BYTES_PER_S / 1000).min(capacity.0);
                self.tokens.1 = (self.tokens.1 + earned_ms * RECORDS_PER_S / 1000).min(capacity.1);
                // The part of a millisecond stays for the next time.
                self.refilled_at += Duration::from_millis(earned_ms);
            }
        }
        let fits = self.tokens.0 >= bytes && self.tokens.1 >= 1;
        if fits {
            self.tokens.0 -= bytes;
            self.tokens.1 -= 1;
        }
        fits
    }
}
