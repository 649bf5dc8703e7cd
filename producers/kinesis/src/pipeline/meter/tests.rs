//! What a recorder sees of a producer, with a small recorder of our own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use kinesis_record::HashRange;
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tokio::sync::oneshot;

use crate::{
    config::Config,
    error::{Failure, FailureClass},
    metrics as names,
    pipeline::{
        Accepted, Pipeline,
        batch::routing_hash_key,
        outcome::{EntryOutcome, Outcome},
    },
    record::Record,
    reply::Reply,
    shard_map::{Shard, ShardMap},
    stats::Counters,
};

/// Every value of a metric, by name and labels. A lock, because the facade wants handles that are shared.
#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Values>>);

type Values = BTreeMap<String, Vec<f64>>;

#[derive(Debug)]
struct Handle {
    name: String,
    kept: Kept,
}

impl Handle {
    fn keep(&self, value: f64) {
        self.kept.0.lock().unwrap().entry(self.name.clone()).or_default().push(value);
    }
}

impl CounterFn for Handle {
    fn increment(&self, value: u64) {
        let before = self.kept.last(&self.name).unwrap_or(0.0);
        self.keep(before + super::to_f64(value));
    }

    fn absolute(&self, value: u64) {
        self.keep(super::to_f64(value));
    }
}

impl GaugeFn for Handle {
    fn increment(&self, _: f64) {}
    fn decrement(&self, _: f64) {}
    fn set(&self, value: f64) {
        self.keep(value);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.keep(value);
    }
}

impl Kept {
    fn handle(&self, key: &Key) -> Arc<Handle> {
        let labels: Vec<String> = key.labels().map(|label| format!(" {}={}", label.key(), label.value())).collect();
        Arc::new(Handle { name: format!("{}{}", key.name(), labels.concat()), kept: self.clone() })
    }

    fn last(&self, name: &str) -> Option<f64> {
        self.0.lock().unwrap().get(name)?.last().copied()
    }

    fn all(&self, name: &str) -> Vec<f64> {
        self.0.lock().unwrap().get(name).cloned().unwrap_or_default()
    }
}

impl Recorder for Kept {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        assert!(unit.is_some() && !text.is_empty(), "{name:?}");
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        assert!(unit.is_some() && !text.is_empty(), "{name:?}");
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        assert!(unit.is_some() && !text.is_empty(), "{name:?}");
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.handle(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.handle(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.handle(key))
    }
}

struct Bench {
    pipeline: Pipeline,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        let range = HashRange { start: 0, end: u128::MAX };
        let map = ShardMap::new(vec![Shard { id: "s0".into(), range }]).unwrap();
        let mut config = Config::new("events");
        config.aggregate_bytes_max = 1_024;
        config.record_deadline = Duration::from_secs(10);
        Bench { pipeline: Pipeline::new(config, &map, start, Arc::new(Counters::default()), 1), start }
    }

    fn put(&mut self, at_ms: u64) {
        let record = Record::new("key", vec![b'x'; 220]);
        let (hash_key, cost) = (routing_hash_key(&record), record.cost(1_000).unwrap());
        let reply = Reply::Sender(oneshot::channel().0);
        self.pipeline.accept(self.start + Duration::from_millis(at_ms), Accepted { record, hash_key, cost, reply });
    }

    /// Sends what there is to send and ends the request so.
    fn exchange(&mut self, sent_ms: u64, ended_ms: u64, end: impl Fn() -> EntryOutcome) {
        let request =
            self.pipeline.poll(self.start + Duration::from_millis(sent_ms)).expect("there is something to send");
        let ended = Outcome::Answered(request.entries.iter().map(|_| end()).collect());
        self.pipeline.complete(self.start + Duration::from_millis(ended_ms), request.id, ended);
    }
}

fn stored() -> EntryOutcome {
    EntryOutcome::Stored { shard_id: "s0".into(), sequence_number: "1".into() }
}

fn failed(class: FailureClass) -> EntryOutcome {
    EntryOutcome::Failed(Failure::service("Code", "words", class))
}

#[test]
fn figures_reach_the_recorder() {
    let kept = Kept::default();
    let recorder = kept.clone();
    metrics::with_local_recorder(&recorder, || {
        let mut bench = Bench::new();
        for _ in 0..4 {
            bench.put(0);
        }
        bench.exchange(3, 23, || failed(FailureClass::Throttled));
        bench.exchange(1_000, 1_020, stored);
        bench.put(1_100);
        bench.exchange(1_200, 1_210, || failed(FailureClass::Refused));
        bench.put(1_300);
        bench.exchange(2_000, 2_010, || failed(FailureClass::Temporary));
        // Its deadline passes while it waits for the next attempt.
        bench.exchange(11_299, 11_400, || failed(FailureClass::Temporary));
        bench.pipeline.publish(bench.start + Duration::from_secs(12), 7);
        assert_eq!(bench.pipeline.counters.expired.load(Ordering::Relaxed), 1);
    });
    let last = |name: &str| kept.last(&format!("{name} stream=events")).unwrap_or(-1.0).round();
    let class =
        |name: &str, class: &str| kept.last(&format!("{name} stream=events class={class}")).unwrap_or(-1.0).round();
    let found = [
        last(names::OFFERED),
        last(names::ACKNOWLEDGED),
        class(names::FAILED, "expired"),
        class(names::FAILED, "refused"),
        class(names::FAILED, "spool"),
        last(names::AGGREGATES),
        last(names::AGGREGATED),
        last(names::PUT),
        last(names::REQUESTS),
        last(names::RETRIED),
        class(names::FAILED_ATTEMPTS, "throttled"),
        class(names::FAILED_ATTEMPTS, "temporary"),
        class(names::FAILED_ATTEMPTS, "refused"),
        last(names::BUFFERED_BYTES),
    ];
    let expect = [6, 4, 1, 1, 0, 1, 4, 1, 5, 2, 1, 2, 1, 7].map(f64::from);
    assert_eq!(format!("{found:?}"), format!("{expect:?}"));

    let ms = |name: &str| -> Vec<u64> {
        let all = kept.all(&format!("{name} stream=events"));
        all.into_iter().map(|seconds| Duration::from_secs_f64(seconds).as_millis().try_into().unwrap()).collect()
    };
    assert_eq!(ms(names::TIME_IN_BUFFER), [3, 100, 700], "once a Kinesis record, not once an attempt");
    assert_eq!(ms(names::DELIVERY_TIME), [1_020]);
    assert_eq!(ms(names::REQUEST_TIME), [20, 20, 10, 10, 101]);
    let fill = kept.all("kinesis_producer_aggregate_fill_ratio stream=events");
    assert!(fill.len() == 1 && (0.85..1.0).contains(&fill[0]), "{fill:?}");
    let used = kept.all("kinesis_producer_shard_used_ratio stream=events shard=s0");
    // One record in ten seconds, of a thousand a second.
    assert!(used.len() == 1 && (0.000_09..0.000_12).contains(&used[0]), "{used:?}");
}
