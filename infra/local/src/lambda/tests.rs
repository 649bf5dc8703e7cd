//! Mappings over a real store: order, retries, checkpoints.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::event::kinesis::KinesisEventRecord;

use crate::clock::Clock;
use crate::kinesis::{Kinesis, StreamMode};

use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

struct Fixture {
    _dir: tempfile::TempDir,
    data: Arc<DataDir>,
    store: Store,
    lambda: Lambda,
    kinesis: Kinesis,
}

impl Fixture {
    async fn new(shards: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
        let store = Store::open(Arc::clone(&data), Clock::default(), false).unwrap();
        store.create("s", StreamMode::Provisioned, shards).await.unwrap();
        let lambda = Lambda::new(Arc::clone(&data), store.clone(), CONCURRENCY_DEFAULT);
        Self { _dir: dir, data, kinesis: Kinesis::new(store.clone()), store, lambda }
    }

    async fn put(&self, texts: impl IntoIterator<Item = String>) {
        let record = |text: &String| {
            let data = base64_simd::STANDARD.encode_to_string(text);
            let key = text.split(' ').next().unwrap();
            format!(r#"{{"Data":"{data}","PartitionKey":"{key}"}}"#)
        };
        let records: Vec<String> = texts.into_iter().map(|text| record(&text)).collect();
        for chunk in records.chunks(500) {
            let body = format!(r#"{{"StreamName":"s","Records":[{}]}}"#, chunk.join(","));
            let answer = self.kinesis.call("PutRecords", body.as_bytes()).await.unwrap();
            assert!(answer.starts_with(br#"{"FailedRecordCount":0"#));
        }
    }

    async fn call(&self, operation: &str, body: &str) {
        self.kinesis.call(operation, body.as_bytes()).await.unwrap();
    }
}

/// What a function got, in the order of its invocations.
#[derive(Clone, Default)]
struct Got(Arc<Mutex<Vec<Vec<String>>>>);

impl Got {
    fn note(&self, records: &[KinesisEventRecord]) -> usize {
        let texts = records.iter().map(|record| String::from_utf8(record.kinesis.data.0.clone()).unwrap()).collect();
        let mut all = self.0.lock().unwrap();
        all.push(texts);
        all.len()
    }

    fn batches(&self) -> Vec<Vec<String>> {
        self.0.lock().unwrap().clone()
    }

    fn texts(&self) -> Vec<String> {
        self.batches().concat()
    }
}

/// A function that notes what it gets and answers by a rule over (invocation from 1, records).
fn function<F>(got: &Got, rule: F) -> Handler
where
    F: Fn(usize, &[KinesisEventRecord]) -> anyhow::Result<KinesisEventResponse> + Send + Sync + 'static,
{
    let (got, rule) = (got.clone(), Arc::new(rule));
    Arc::new(move |event| {
        let (got, rule) = (got.clone(), Arc::clone(&rule));
        Box::pin(async move { rule(got.note(&event.records), &event.records) })
    })
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("k {number}")).collect()
}

fn mapping(batch_size: usize) -> EventSourceMapping {
    EventSourceMapping { batch_size, ..EventSourceMapping::new("test", "s") }
}

fn failed(record: &KinesisEventRecord) -> KinesisEventResponse {
    let mut response = KinesisEventResponse::default();
    response.add_failure(record.kinesis.sequence_number.clone());
    response
}

#[tokio::test]
async fn batches_keep_order_and_size() {
    let fixture = Fixture::new(1).await;
    fixture.put(numbers(0..25)).await;
    let got = Got::default();
    let mapping = fixture.lambda.map(mapping(10), function(&got, |_, _| Ok(KinesisEventResponse::default()))).await;
    let mapping = mapping.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    assert_eq!(got.batches().iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 5]);
    assert_eq!(got.texts(), numbers(0..25));
    fixture.put(numbers(25..30)).await;
    mapping.drain(DEADLINE).await.unwrap();
    assert_eq!(got.texts(), numbers(0..30));
    let progress = mapping.progress();
    assert_eq!((progress.waiting_records, progress.lag_ms, progress.records, progress.errors), (0, 0, 30, 0));
    assert_eq!(progress.invocations, u64::try_from(got.batches().len()).unwrap());
}

#[tokio::test]
async fn a_window_gathers_and_draining_does_not_wait_for_it() {
    let fixture = Fixture::new(1).await;
    let got = Got::default();
    let mapping = EventSourceMapping { batching_window: BATCHING_WINDOW_MAX, ..mapping(10) };
    let mapping =
        fixture.lambda.map(mapping, function(&got, |_, _| Ok(KinesisEventResponse::default()))).await.unwrap();
    for number in 0..13 {
        fixture.put(numbers(number..number + 1)).await;
    }
    mapping.drain(DEADLINE).await.unwrap();
    assert_eq!(got.texts(), numbers(0..13));
    assert_eq!(got.batches()[0].len(), 10, "the first batch closed by its size");
}

#[tokio::test]
async fn failures_of_each_kind_are_tried_again_from_the_right_record() {
    let fixture = Fixture::new(1).await;
    fixture.put(numbers(0..10)).await;
    let got = Got::default();
    let rule = |invocation: usize, records: &[KinesisEventRecord]| match invocation {
        1 => anyhow::bail!("the table is not there"),
        2 => panic!("on purpose"),
        3 => Ok(failed(&records[4])),
        4 => {
            let mut response = failed(&records[3]);
            response.add_failure(records[1].kinesis.sequence_number.clone());
            Ok(response)
        }
        5 => {
            let mut response = KinesisEventResponse::default();
            response.add_failure("");
            Ok(response)
        }
        _ => Ok(KinesisEventResponse::default()),
    };
    let mapping = fixture.lambda.map(mapping(10), function(&got, rule)).await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    let first: Vec<String> = got.batches().iter().map(|batch| format!("{} x{}", batch[0], batch.len())).collect();
    assert_eq!(first, ["k 0 x10", "k 0 x10", "k 0 x10", "k 4 x6", "k 5 x5", "k 5 x5"]);
    let progress = mapping.progress();
    assert_eq!((progress.invocations, progress.errors, progress.records), (6, 5, 10));
}

#[tokio::test]
async fn a_hanging_function_is_cut_off_and_a_batch_can_be_given_up() {
    let fixture = Fixture::new(1).await;
    fixture.put(numbers(0..4)).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let handler: Handler = Arc::new(move |event| {
        let counted = Arc::clone(&counted);
        Box::pin(async move {
            counted.fetch_add(1, Ordering::Relaxed);
            if event.records[0].kinesis.data.0 == b"k 0" {
                std::future::pending::<()>().await;
            }
            Ok(KinesisEventResponse::default())
        })
    });
    let timeout = Duration::from_millis(20);
    let mapping = EventSourceMapping { timeout, maximum_retry_attempts: Some(2), ..mapping(2) };
    let mapping = fixture.lambda.map(mapping, handler).await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    let progress = mapping.progress();
    assert_eq!((progress.records_discarded, progress.records, progress.errors), (2, 2, 3));
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[tokio::test]
async fn a_restart_goes_on_at_the_checkpoint() {
    let fixture = Fixture::new(2).await;
    fixture.put((0..40).map(|number| format!("k{number} x"))).await;
    let got = Got::default();
    let ok = |_: usize, _: &[KinesisEventRecord]| Ok(KinesisEventResponse::default());
    let first = fixture.lambda.map(mapping(7), function(&got, ok)).await.unwrap();
    first.drain(DEADLINE).await.unwrap();
    let error = fixture.lambda.map(mapping(7), function(&got, ok)).await.unwrap_err();
    assert!(matches!(error, MappingError::Exists { .. }));
    first.stop().await;
    fixture.put((40..50).map(|number| format!("k{number} x"))).await;
    assert_eq!(first.progress().waiting_records, 10);
    // A new process: what counts is on the disk.
    let lambda = Lambda::new(Arc::clone(&fixture.data), fixture.store.clone(), 1);
    let second = lambda.map(mapping(7), function(&got, ok)).await.unwrap();
    second.drain(DEADLINE).await.unwrap();
    let texts = got.texts();
    assert_eq!(texts.len(), 50, "nothing came twice");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 50, "nothing was skipped");
    second.stop().await;
}

#[tokio::test]
async fn children_wait_for_their_parents_over_splits_and_merges() {
    let fixture = Fixture::new(1).await;
    let texts = |round: u32| (0..20).map(move |key| format!("k{key} {round}"));
    fixture.put(texts(0)).await;
    let half = 1_u128 << 127;
    let split = format!(r#"{{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"{half}"}}"#);
    fixture.call("SplitShard", &split).await;
    fixture.put(texts(1)).await;
    let merge =
        r#"{"StreamName":"s","ShardToMerge":"shardId-000000000001","AdjacentShardToMerge":"shardId-000000000002"}"#;
    let got = Got::default();
    let rule = |invocation: usize, records: &[KinesisEventRecord]| match invocation % 3 {
        1 => Ok(failed(&records[records.len() / 2])),
        _ => Ok(KinesisEventResponse::default()),
    };
    let mapping = fixture.lambda.map(mapping(6), function(&got, rule)).await.unwrap();
    fixture.call("MergeShards", merge).await;
    fixture.put(texts(2)).await;
    mapping.drain(DEADLINE).await.unwrap();
    let all = got.texts();
    for key in 0..20 {
        let prefix = format!("k{key} ");
        let rounds: Vec<&str> = all.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        assert!(rounds.is_sorted(), "{key}: {rounds:?}");
        assert_eq!(rounds.iter().collect::<BTreeSet<_>>().len(), 3, "{key}: {rounds:?}");
    }
    assert_eq!(mapping.progress().records, 60);
}

#[tokio::test]
async fn a_drain_that_cannot_end_says_what_is_left() {
    let fixture = Fixture::new(1).await;
    fixture.put(numbers(0..3)).await;
    let got = Got::default();
    let mapping = fixture.lambda.map(mapping(10), function(&got, |_, _| anyhow::bail!("no"))).await.unwrap();
    let error = mapping.drain(Duration::from_millis(1)).await.unwrap_err();
    assert_eq!(error, NotDrained { mapping: "test".to_owned(), records: 3 });
    fixture.lambda.stop().await;
    assert!(fixture.lambda.running().is_empty());
}

#[tokio::test]
async fn bad_mappings_are_refused() {
    let fixture = Fixture::new(1).await;
    let good = EventSourceMapping::new("test", "s");
    let cases = [
        (EventSourceMapping { name: "a/b".to_owned(), ..good.clone() }, "name must be 1 to 64 letters"),
        (EventSourceMapping { batch_size: 0, ..good.clone() }, "batch_size must be 1 to 10,000"),
        (EventSourceMapping { batch_size: 10_001, ..good.clone() }, "batch_size must be 1 to 10,000"),
        (EventSourceMapping { batching_window: Duration::from_secs(301), ..good.clone() }, "batching_window must be"),
        (EventSourceMapping { timeout: Duration::ZERO, ..good.clone() }, "timeout must be"),
        (EventSourceMapping { payload_bytes_max: PAYLOAD_BYTES_MAX + 1, ..good.clone() }, "payload_bytes_max must be"),
        (EventSourceMapping { stream: "none".to_owned(), ..good }, "there is no stream none"),
    ];
    let handler: Handler = Arc::new(|_| Box::pin(async { Ok(KinesisEventResponse::default()) }));
    for (mapping, expected) in cases {
        let error = fixture.lambda.map(mapping, Arc::clone(&handler)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
