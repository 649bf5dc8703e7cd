//! The core against a model of the disk: whatever happens in whatever order, and wherever the process dies, nothing that was
//! acknowledged is lost, keys keep their order, and what is sent again is bounded.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use tokio::sync::oneshot;

use super::{Core, Limits, ReadBack, Waiting};
use crate::{
    record::Record,
    spool::{
        SpoolError, SpoolPolicy,
        frame::{Decoded, Framed, decode, frame_bytes},
        log::{Found, Read},
        segment::Numbered,
        worker::{Done, Job},
    },
};

const WINDOW_BYTES: usize = 3_000;

fn limits(policy: SpoolPolicy) -> Limits {
    Limits { bytes_max: 1 << 20, window_bytes: WINDOW_BYTES, policy }
}

fn waiting() -> Waiting {
    Waiting { sender: oneshot::channel().0, epoch: 0, cost: 0 }
}

/// What survives the process.
#[derive(Debug, Default)]
struct Disk {
    records: BTreeMap<u64, Record>,
    done_below: u64,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Stage,
    /// The thread does its oldest job.
    Work,
    /// The thread fails at its oldest job.
    Fail,
    /// The stream stores one of the records on their way.
    Store(prop::sample::Index),
    Wait(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Stage),
        8 => Just(Step::Work),
        1 => Just(Step::Fail),
        6 => any::<prop::sample::Index>().prop_map(Step::Store),
        3 => (1..2_000_u64).prop_map(Step::Wait),
        1 => Just(Step::Crash),
    ]
}

struct Bench {
    now: Instant,
    disk: Disk,
    core: Core,
    jobs: VecDeque<Job>,
    read_from: u64,
    /// Sent to the stream, and not stored.
    on_way: Vec<u64>,
    stored: BTreeSet<u64>,
    acknowledged: Vec<u64>,
    staged: VecDeque<u64>,
    repeats: usize,
}

impl Bench {
    fn new() -> Self {
        let disk = Disk::default();
        let found = Found { next: 0, done_below: 0, disk_bytes: 0 };
        Bench {
            now: Instant::now(),
            disk,
            core: Core::new(limits(SpoolPolicy::Always), found, true),
            jobs: VecDeque::new(),
            read_from: 0,
            on_way: Vec::new(),
            stored: BTreeSet::new(),
            acknowledged: Vec::new(),
            staged: VecDeque::new(),
            repeats: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Stage => {
                let number = self.core.next_number();
                let record = Record::new("k", number.to_string());
                assert_eq!(self.core.stage(&record, waiting()).unwrap(), number);
                self.staged.push_back(number);
            }
            Step::Work => {
                if let Some(job) = self.jobs.pop_front() {
                    let done = self.disk.work(job, &mut self.read_from);
                    self.core.done(self.now, done);
                }
            }
            Step::Fail => {
                if let Some(job) = self.jobs.pop_front() {
                    self.core.done(self.now, fail(job));
                }
            }
            Step::Store(index) => {
                if !self.on_way.is_empty() {
                    self.store(index.index(self.on_way.len()));
                }
            }
            Step::Wait(ms) => self.now += Duration::from_millis(ms),
            Step::Crash => self.crash(),
        }
        self.act();
    }

    fn store(&mut self, at: usize) {
        let number = self.on_way.remove(at);
        self.stored.insert(number);
        self.core.stored(self.now, number);
    }

    fn act(&mut self) {
        for (_, error) in self.core.take_settled() {
            let number = self.staged.pop_front().expect("each is settled once, in order");
            if error.is_none() {
                assert!(self.disk.records.contains_key(&number), "acknowledged and not on disk");
                self.acknowledged.push(number);
            }
        }
        for ReadBack { number, record, .. } in self.core.take_read_back() {
            assert_eq!(record.data, number.to_string());
            assert!(self.on_way.last().is_none_or(|last| *last < number), "records are sent in their order");
            self.repeats += usize::from(self.stored.contains(&number));
            self.on_way.push(number);
        }
        while let Some(job) = self.core.poll(self.now) {
            self.jobs.push_back(job);
        }
        assert!(self.jobs.len() <= 4, "one job of each kind");
        assert!(self.core.window.bytes() <= WINDOW_BYTES + 2 * 320, "{}", self.core.window.bytes());
        assert!(self.core.wake().is_none_or(|at| at > self.now), "a timer that is due has had its effect");
    }

    /// The process ends and another one begins.
    fn crash(&mut self) {
        self.jobs.clear();
        self.on_way.clear();
        self.staged.clear();
        // As the log does it: what failed to be written may be the last that was counted as done.
        let next = self.disk.next.max(self.disk.done_below);
        let found = Found { next, done_below: self.disk.done_below, disk_bytes: 0 };
        self.read_from = found.done_below;
        let would_repeat = self.stored.iter().filter(|number| **number >= found.done_below);
        let bytes: usize = would_repeat.map(|number| 256 + frame_bytes(&Record::new("k", number.to_string()))).sum();
        assert!(bytes <= WINDOW_BYTES + 2 * 320, "{bytes} bytes would be sent again");
        self.core = Core::new(limits(SpoolPolicy::Always), found, true);
    }

    fn finish(mut self) {
        for _ in 0..100_000 {
            self.step(Step::Work);
            if !self.on_way.is_empty() {
                self.store(0);
            }
            self.step(Step::Wait(2_000));
            if self.jobs.is_empty() && self.on_way.is_empty() && self.disk.done_below == self.core.read_below {
                break;
            }
        }
        for number in &self.acknowledged {
            assert!(self.stored.contains(number), "{number} was acknowledged and is lost");
        }
        assert!(self.staged.is_empty());
    }
}

impl Disk {
    fn work(&mut self, job: Job, read_from: &mut u64) -> Done {
        match job {
            Job::Append { numbers, frames } => {
                let mut bytes = bytes::Bytes::from(frames);
                for expect in numbers.clone() {
                    let Decoded::Frame { frame: Framed { number, record, .. }, bytes: length } = decode(&bytes) else {
                        panic!("{expect}")
                    };
                    assert_eq!(number, expect);
                    self.records.insert(number, record);
                    drop(bytes.split_to(length));
                }
                assert!(bytes.is_empty());
                self.next = numbers.end;
                Done::Appended { numbers, frames: Vec::new(), result: Ok(()), disk_bytes: 0 }
            }
            Job::Read { bytes_max } => {
                let mut read = Read::default();
                let mut taken = 0;
                for (number, record) in self.records.range(*read_from..) {
                    if taken >= bytes_max {
                        break;
                    }
                    taken += frame_bytes(record) + 256;
                    let frame_bytes = frame_bytes(record);
                    read.records.push(Numbered { number: *number, record: record.clone(), sent_as: None, frame_bytes });
                    *read_from = number + 1;
                }
                read.read_below = *read_from;
                read.is_at_end = self.records.range(*read_from..).next().is_none();
                Done::Read(Ok(read))
            }
            Job::Drained { below } => {
                assert!(below >= self.done_below);
                self.done_below = below;
                Done::Drained { below, result: Ok(()), disk_bytes: 0 }
            }
            Job::Reject { numbers } => Done::Rejected { numbers, result: Ok(()), disk_bytes: 0 },
        }
    }
}

fn fail(job: Job) -> Done {
    let error = SpoolError::Io { action: "fail", path: "disk".into(), source: Arc::new(io::Error::other("scripted")) };
    match job {
        Job::Append { numbers, .. } => {
            Done::Appended { numbers, frames: Vec::new(), result: Err(error), disk_bytes: 0 }
        }
        Job::Read { .. } => Done::Read(Err(error)),
        Job::Drained { below } => Done::Drained { below, result: Err(error), disk_bytes: 0 },
        Job::Reject { numbers } => Done::Rejected { numbers, result: Err(error), disk_bytes: 0 },
    }
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_and_repeats_are_bounded(steps in proptest::collection::vec(step(), 0..300)) {
        let mut bench = Bench::new();
        for step in steps {
            bench.step(step);
        }
        bench.finish();
    }
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_drained() {
    let found = Found { next: 0, done_below: 0, disk_bytes: 0 };
    let mut core = Core::new(Limits { bytes_max: 100, ..limits(SpoolPolicy::Always) }, found, true);
    let record = Record::new("k", vec![b'x'; 30]);
    let now = Instant::now();
    assert!(core.stage(&record, waiting()).is_ok() && core.stage(&record, waiting()).is_ok());
    let (_, error) = core.stage(&record, waiting()).unwrap_err();
    assert!(matches!(error, SpoolError::Full { bytes_max: 100 }));
    let Some(Job::Append { numbers, frames }) = core.poll(now) else { panic!("it writes") };
    assert!(core.stage(&record, waiting()).is_err(), "what is being written counts");
    core.done(now, Done::Appended { numbers, frames, result: Ok(()), disk_bytes: 100 });
    assert!(core.stage(&record, waiting()).is_err());
    core.done(now, Done::Drained { below: 2, result: Ok(()), disk_bytes: 20 });
    assert!(core.stage(&record, waiting()).is_ok());
}

#[test]
fn the_way_over_the_disk_ends_when_the_stream_keeps_pace() {
    let after = Duration::from_secs(1);
    let policy = SpoolPolicy::WhenSlow { after };
    let found = Found { next: 2, done_below: 0, disk_bytes: 0 };
    let mut core = Core::new(limits(policy), found, false);
    let now = Instant::now();
    assert!(core.is_open(), "there is a backlog");
    assert!(core.poll(now).is_none(), "the shards are not known");
    core.set_ready();
    let Some(Job::Read { .. }) = core.poll(now) else { panic!("it reads") };
    assert!(!core.close_if_drained(now));
    let numbered = |number| Numbered {
        number,
        record: Record::new("k", "x"),
        sent_as: None,
        frame_bytes: frame_bytes(&Record::new("k", "x")),
    };
    let read = Read { records: vec![numbered(0), numbered(1)], read_below: 2, is_at_end: true, damaged_files: 0 };
    core.done(now, Done::Read(Ok(read)));
    assert!(!core.close_if_drained(now), "nothing was stored yet");
    core.stored(now, 0);
    assert!(!core.close_if_drained(now + after), "the other one waits too long");
    assert!(core.close_if_drained(now + after / 2), "both are young");
    assert!(!core.is_open());
}
