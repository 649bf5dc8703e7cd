//! The pipeline step by step: who sends when, and what shares a request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kinesis_record::{HashRange, Unpacked, unpack, unpack_aggregate};
use tokio::sync::oneshot::{self, Receiver};

use super::{
    Accepted, Pipeline,
    batch::{Entry, routing_hash_key},
    outcome::{EntryOutcome, Outcome},
    request::Request,
};
use crate::{
    config::{Config, ProducerId},
    error::{Failure, FailureClass, PutError},
    record::{Delivered, Record},
    shard_map::{Shard, ShardMap},
    stats::Counters,
};

type Reply = Receiver<Result<Delivered, PutError>>;

struct Bench {
    start: Instant,
    now: Instant,
    pipeline: Pipeline,
}

/// Shards that divide the hash keys evenly, numbered from `first`.
fn map(first: usize, count: u128) -> ShardMap {
    let width = u128::MAX / count;
    let shard = |index: u128| Shard {
        id: format!("s{}", first + usize::try_from(index).unwrap()).into(),
        range: HashRange {
            start: if index == 0 { 0 } else { width * index + 1 },
            end: if index + 1 == count { u128::MAX } else { width * (index + 1) },
        },
    };
    ShardMap::new((0..count).map(shard).collect()).unwrap()
}

impl Bench {
    fn new(shards: u128, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new("events");
        config.linger = Duration::from_millis(8);
        change(&mut config);
        let start = Instant::now();
        let pipeline = Pipeline::new(config, &map(0, shards), start, Arc::new(Counters::default()), 1);
        Bench { start, now: start, pipeline }
    }

    fn at_ms(&mut self, ms: u64) {
        self.now = self.start + Duration::from_millis(ms);
    }

    fn put(&mut self, hash_key: u128, data: &str) -> Reply {
        let record = Record { explicit_hash_key: Some(hash_key), ..Record::new("k", data.to_owned()) };
        let (reply, receiver) = oneshot::channel();
        let cost = record.cost(usize::MAX).unwrap();
        let hash_key = routing_hash_key(&record);
        self.pipeline.accept(self.now, Accepted { record, hash_key, cost, reply: crate::reply::Reply::Sender(reply) });
        receiver
    }

    /// The payloads of each entry of the next request, and the request's end as a success.
    fn poll(&mut self) -> Option<(Request, Vec<String>)> {
        let request = self.pipeline.poll(self.now)?;
        let texts = request.entries.iter().map(payloads).collect();
        Some((request, texts))
    }

    fn check_poll(&mut self, expect: &[&str]) -> Request {
        let (request, mut texts) = self.poll().expect("there is something to send");
        // Which lane is first rotates.
        texts.sort();
        assert_eq!(texts, expect);
        request
    }

    /// Nothing is sent now; returns in how many milliseconds the pipeline wants to be asked again.
    fn check_quiet(&mut self) -> u128 {
        assert!(self.poll().is_none());
        self.pipeline.next_wake().expect("the shard map is read again some time").duration_since(self.start).as_millis()
    }

    fn succeed(&mut self, request: &Request) {
        let stored = |_: &Entry| EntryOutcome::Stored { shard_id: "s0".into(), sequence_number: "1".into() };
        let outcome = Outcome::Answered(request.entries.iter().map(stored).collect());
        self.pipeline.complete(self.now, request.id, outcome);
    }

    fn throttle(&mut self, request: &Request) {
        let throttled = |_: &Entry| {
            EntryOutcome::Failed(Failure::service("ProvisionedThroughputExceeded", "", FailureClass::Throttled))
        };
        let outcome = Outcome::Answered(request.entries.iter().map(throttled).collect());
        self.pipeline.complete(self.now, request.id, outcome);
    }

    fn fail(&mut self, request: &Request) {
        let failure = Failure::service("InternalFailure", "", FailureClass::Temporary);
        self.pipeline.complete(self.now, request.id, Outcome::Failed(failure));
    }
}

fn payloads(entry: &Entry) -> String {
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    match unpack(&entry.data).unwrap() {
        Unpacked::Plain => text(&entry.data),
        Unpacked::Aggregate(records) => records.iter().map(|record| text(&record.data)).collect::<Vec<_>>().join("+"),
    }
}

const LOW: u128 = 1;
const HIGH: u128 = u128::MAX;

#[test]
fn an_idle_producer_sends_at_once_and_a_busy_one_waits_for_company() {
    let mut bench = Bench::new(1, |config| config.linger = Duration::from_millis(12));
    drop(bench.put(LOW, "a"));
    let first = bench.check_poll(&["a"]);
    drop((bench.put(LOW, "b"), bench.put(LOW, "c")));
    // One aggregate of a lane is on its way at a time.
    assert_eq!(bench.check_quiet(), 30_000, "the deadline of what waits");
    bench.at_ms(1);
    bench.succeed(&first);
    assert_eq!(bench.check_quiet(), 2, "a quarter of the linger, less a tick, for nothing is on its way");
    bench.at_ms(2);
    let second = bench.check_poll(&["b+c"]);
    bench.at_ms(20);
    bench.succeed(&second);
    drop(bench.put(LOW, "d"));
    bench.check_poll(&["d"]);
}

#[test]
fn lanes_share_requests_and_fall_into_step() {
    let mut bench = Bench::new(2, |_| {});
    drop(bench.put(LOW, "a"));
    let first = bench.check_poll(&["a"]);
    bench.at_ms(1);
    drop(bench.put(HIGH, "b"));
    assert_eq!(bench.check_quiet(), 4, "requests keep 5 ms apart while one is on its way, less a tick");
    bench.at_ms(4);
    let second = bench.check_poll(&["b"]);
    drop((bench.put(LOW, "c"), bench.put(HIGH, "d")));
    bench.succeed(&first);
    assert_eq!(bench.check_quiet(), 8, "another 5 ms, less a tick");
    bench.succeed(&second);
    bench.at_ms(5);
    // Nothing is on its way: the first is due after 2 ms, the second after 6, and they go together.
    let third = bench.check_poll(&["c", "d"]);
    // What is full or flushed keeps no distance.
    bench.succeed(&third);
    drop(bench.put(LOW, "e"));
    bench.at_ms(8);
    bench.check_poll(&["e"]);
    drop(bench.put(HIGH, "f"));
    let (flush, _flushed) = oneshot::channel();
    bench.pipeline.flush(flush);
    bench.check_poll(&["f"]);
}

#[test]
fn a_large_aggregate_that_a_crowded_shard_throttles_is_cut_anew() {
    let mut bench = Bench::new(1, |_| {});
    let payloads: Vec<String> = (0..20).map(|number| format!("{number}{}", "x".repeat(2_000))).collect();
    let replies: Vec<Reply> = payloads.iter().map(|data| bench.put(LOW, data)).collect();
    let (mut throttled, mut stored) = (0, Vec::new());
    for ms in (0..60_000).step_by(50) {
        bench.at_ms(ms);
        let Some((request, texts)) = bench.poll() else { continue };
        if texts.iter().map(String::len).sum::<usize>() > 40_000 {
            bench.throttle(&request);
            throttled += 1;
        } else {
            bench.succeed(&request);
            stored.extend(texts);
        }
    }
    assert!(
        (1..20).contains(&throttled) && stored.len() > 1,
        "{throttled} times throttled, then {} pieces",
        stored.len()
    );
    assert_eq!(stored.join("+"), payloads.join("+"), "all of it, in order");
    for mut reply in replies {
        let delivered = reply.try_recv().unwrap().unwrap();
        assert_eq!(delivered.stored().unwrap().attempts, throttled + 1);
    }
}

#[test]
fn full_lanes_and_flushes_do_not_wait() {
    let mut bench = Bench::new(2, |config| config.aggregate_bytes_max = 1_024);
    drop((bench.put(LOW, "a"), bench.put(HIGH, "b")));
    let first = bench.check_poll(&["a", "b"]);
    bench.succeed(&first);
    let big = "x".repeat(600);
    drop((bench.put(LOW, &big), bench.put(LOW, &big), bench.put(HIGH, "c")));
    let (full, texts) = bench.poll().unwrap();
    assert_eq!(texts[0], big, "two of them do not fit one aggregate");
    bench.succeed(&full);
    let (flush, mut flushed) = oneshot::channel();
    bench.pipeline.flush(flush);
    let last = bench.poll().unwrap().0;
    assert!(flushed.try_recv().is_err());
    // What comes after the flush waits as always.
    drop(bench.put(HIGH, "d"));
    while let Some((request, _)) = bench.poll() {
        bench.succeed(&request);
    }
    bench.succeed(&last);
    assert!(flushed.try_recv().is_ok());
    assert!(!bench.pipeline.is_empty());
}

#[test]
fn a_retry_sends_the_same_bytes_before_anything_later() {
    let mut bench = Bench::new(1, |_| {});
    drop((bench.put(LOW, "a"), bench.put(LOW, "b")));
    let first = bench.check_poll(&["a+b"]);
    drop(bench.put(LOW, "c"));
    bench.fail(&first);
    let again_ms = u64::try_from(bench.check_quiet()).unwrap();
    assert!((25..=50).contains(&again_ms));
    bench.at_ms(again_ms + 1);
    let second = bench.check_poll(&["a+b"]);
    assert_eq!(second.entries, first.entries);
    bench.succeed(&second);
    bench.check_poll(&["c"]);
}

#[test]
fn a_new_map_moves_what_waits_and_holds_it_behind_what_is_on_its_way() {
    let mut bench = Bench::new(1, |_| {});
    let mut replies = vec![bench.put(LOW, "a"), bench.put(HIGH, "b")];
    let first = bench.check_poll(&["a+b"]);
    replies.extend([bench.put(LOW, "c"), bench.put(HIGH, "d"), bench.put(LOW, "e")]);
    bench.pipeline.map_read(bench.now, &map(1, 2));
    assert_eq!(bench.check_quiet(), 30_000, "both new lanes wait for the old one's batch");
    bench.fail(&first);
    bench.pipeline.map_read(bench.now, &map(3, 3));
    bench.at_ms(100);
    let again = bench.check_poll(&["a+b"]);
    assert_eq!(again.entries, first.entries);
    bench.succeed(&again);
    let last = bench.check_poll(&["c+e", "d"]);
    assert_eq!(last.entries[0].partition_key.as_ref(), "s3/0");
    bench.succeed(&last);
    assert!(bench.pipeline.is_empty());
    assert!(replies.iter_mut().all(|reply| reply.try_recv().unwrap().is_ok()));
}

#[test]
fn records_with_time_left_are_cut_anew_when_others_of_their_batch_expire() {
    let mut bench = Bench::new(1, |config| config.record_deadline = Duration::from_secs(1));
    drop(bench.put(LOW, "a"));
    let first = bench.check_poll(&["a"]);
    let mut old = bench.put(LOW, "old");
    bench.at_ms(900);
    let mut young = [bench.put(LOW, "b"), bench.put(LOW, "c")];
    bench.succeed(&first);
    let second = bench.check_poll(&["old+b+c"]);
    drop(bench.put(LOW, "d"));
    bench.at_ms(990);
    bench.fail(&second);
    let error = old.try_recv().unwrap().unwrap_err();
    assert!(matches!(error, PutError::Expired { attempts: 1, last: Some(_) }), "{error}");
    let third = bench.check_poll(&["b+c+d"]);
    assert_eq!(third.entries[0].explicit_hash_key.as_deref(), Some("0"));
    bench.succeed(&third);
    assert!(young.iter_mut().all(|reply| reply.try_recv().unwrap().is_ok()));
}

#[test]
fn marked_records_stay_in_their_aggregate_until_the_last_expires() {
    let mut bench = Bench::new(1, |config| {
        config.record_deadline = Duration::from_secs(1);
        config.dedupe_tag = Some(ProducerId { producer: 9, epoch: 1 });
    });
    drop(bench.put(LOW, "a"));
    let first = bench.check_poll(&["a"]);
    let origin = |request: &Request| {
        let aggregate = unpack_aggregate(&request.entries[0].data, 0).unwrap();
        aggregate.expect("even a record alone is wrapped").origin().unwrap()
    };
    assert_eq!((origin(&first).producer, origin(&first).epoch), (9, 1));
    let mut old = bench.put(LOW, "old");
    bench.at_ms(900);
    let mut young = bench.put(LOW, "b");
    bench.succeed(&first);
    let second = bench.check_poll(&["old+b"]);
    assert!(origin(&second).counter > origin(&first).counter);
    assert_eq!(origin(&second).lane, origin(&first).lane);
    bench.at_ms(990);
    bench.fail(&second);
    bench.at_ms(1_100);
    // One of them has expired, and might be stored without our knowing: both go again under the same mark.
    let third = bench.check_poll(&["old+b"]);
    assert_eq!(third.entries, second.entries);
    assert!(old.try_recv().is_err(), "no result yet");
    bench.at_ms(1_950);
    bench.fail(&third);
    for reply in [&mut old, &mut young] {
        let error = reply.try_recv().unwrap().unwrap_err();
        assert!(matches!(error, PutError::Expired { attempts: 2, last: Some(_) }), "{error}");
    }
    assert!(bench.pipeline.is_empty());
}
