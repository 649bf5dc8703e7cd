//! Mappings over a real store: order, retries, checkpoints.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::event::kinesis::KinesisEventRecord;
use aws_lambda_events::event::streams::KinesisEventResponse;
use bytes::Bytes;

use crate::clock::Clock;
use crate::kinesis::{Kinesis, StreamMode};
use crate::s3::S3;

use super::*;

mod destinations;

const DEADLINE: Duration = Duration::from_secs(60);

struct Fixture {
    _dir: tempfile::TempDir,
    data: Arc<DataDir>,
    store: Store,
    s3: S3,
    lambda: Lambda,
    kinesis: Kinesis,
}

impl Fixture {
    async fn new(shards: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
        let store = Store::open(Arc::clone(&data), Clock::default(), false).unwrap();
        store.create("s", StreamMode::Provisioned, shards).await.unwrap();
        let s3 = S3::open(data.join("s3")).await.unwrap();
        let lambda = start(&data, &store, &s3, CONCURRENCY_DEFAULT).await;
        Self { _dir: dir, data, kinesis: Kinesis::new(store.clone()), store, s3, lambda }
    }

    async fn put(&self, texts: impl IntoIterator<Item = String>) {
        let record = |text: &String| {
            let data = base64_simd::STANDARD.encode_to_string(text);
            let key = serde_json::Value::from(text.split(' ').next().unwrap());
            format!(r#"{{"Data":"{data}","PartitionKey":{key}}}"#)
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

async fn start(data: &Arc<DataDir>, store: &Store, s3: &S3, concurrency: usize) -> Lambda {
    Lambda::open_in(Arc::clone(data), store.clone(), s3.clone(), concurrency).await
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
    let lambda = start(&fixture.data, &fixture.store, &fixture.s3, 1).await;
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
        (EventSourceMapping { parallelization_factor: 11, ..good.clone() }, "parallelization_factor must be 1 to 10"),
        (
            EventSourceMapping { maximum_record_age: Some(Duration::from_secs(59)), ..good.clone() },
            "maximum_record_age must be",
        ),
        (EventSourceMapping { tumbling_window: Some(Duration::ZERO), ..good.clone() }, "tumbling_window must be 1"),
        (
            EventSourceMapping { tumbling_window: Some(Duration::from_secs(1)), ..good.clone() },
            "tumbling_window must be none for a function that does not take",
        ),
        (
            EventSourceMapping {
                tumbling_window: Some(Duration::from_secs(1)),
                parallelization_factor: 2,
                ..good.clone()
            },
            "parallelization_factor must be 1 with a tumbling window",
        ),
        (EventSourceMapping { filters: vec!["[]".to_owned()], ..good.clone() }, "cannot use its filters"),
        (EventSourceMapping { stream: "none".to_owned(), ..good }, "there is no stream none"),
    ];
    let handler: Handler = Arc::new(|_| Box::pin(async { Ok(KinesisEventResponse::default()) }));
    for (mapping, expected) in cases {
        let error = fixture.lambda.map(mapping, Arc::clone(&handler)).await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn lanes_work_beside_each_other_and_keep_each_key_in_order() {
    let fixture = Fixture::new(1).await;
    fixture.put((0..200).map(|number| format!("k{} {number:03}", number % 10))).await;
    let got = Got::default();
    let rule = |invocation: usize, records: &[KinesisEventRecord]| match invocation % 4 {
        1 => Ok(failed(&records[records.len() / 2])),
        2 => anyhow::bail!("on purpose"),
        _ => Ok(KinesisEventResponse::default()),
    };
    let mapping = EventSourceMapping { parallelization_factor: 4, ..mapping(5) };
    let mapping = fixture.lambda.map(mapping, function(&got, rule)).await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    let all = got.texts();
    for key in 0..10 {
        let prefix = format!("k{key} ");
        let mut seen: Vec<&str> = Vec::new();
        for number in all.iter().filter_map(|text| text.strip_prefix(&prefix)) {
            // A failed batch comes again as a whole; what is new always follows.
            assert!(
                seen.contains(&number) || seen.last().is_none_or(|last| *last < number),
                "{key}: {number} {seen:?}"
            );
            if !seen.contains(&number) {
                seen.push(number);
            }
        }
        assert_eq!(seen.len(), 20, "{key}");
    }
    assert_eq!(mapping.progress().records, 200);
}

#[tokio::test]
async fn given_up_records_lie_in_the_bucket_with_their_event() {
    let fixture = Fixture::new(1).await;
    fixture.s3.create_bucket("dead-letters").await.unwrap();
    fixture.put(numbers(0..6)).await;
    let got = Got::default();
    let rule = |_: usize, records: &[KinesisEventRecord]| {
        if records.iter().any(|record| record.kinesis.data.0 == b"k 3") {
            anyhow::bail!("poison")
        }
        Ok(KinesisEventResponse::default())
    };
    let mapping = EventSourceMapping {
        bisect_batch_on_function_error: true,
        maximum_retry_attempts: Some(0),
        on_failure: Some(Destination::Bucket { bucket: "dead-letters".to_owned() }),
        ..mapping(6)
    };
    let mapping = fixture.lambda.map(mapping, function(&got, rule)).await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    let progress = mapping.progress();
    assert_eq!((progress.records, progress.records_discarded), (5, 1));
    let all = crate::s3::ListRequest { max_keys: 10, ..crate::s3::ListRequest::default() };
    let page = fixture.s3.list("dead-letters", all).await.unwrap();
    assert_eq!(page.entries.len(), 1, "{page:?}");
}

#[tokio::test]
async fn a_missing_bucket_holds_the_records_back_until_it_is_there() {
    let fixture = Fixture::new(1).await;
    fixture.put(numbers(0..2)).await;
    let got = Got::default();
    let mapping = EventSourceMapping {
        maximum_retry_attempts: Some(0),
        on_failure: Some(Destination::Bucket { bucket: "later".to_owned() }),
        ..mapping(6)
    };
    let mapping = fixture.lambda.map(mapping, function(&got, |_, _| anyhow::bail!("no"))).await.unwrap();
    mapping.drain(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(mapping.progress().records_discarded, 0);
    fixture.s3.create_bucket("later").await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    assert_eq!(mapping.progress().records_discarded, 2);
    assert_eq!(got.batches().len(), 1, "the function is not called again");
}

#[tokio::test]
async fn filters_decide_what_the_function_gets() {
    let fixture = Fixture::new(1).await;
    fixture.put(["{\"n\":1}", "{\"n\":2}", "no JSON", "{\"n\":3}"].map(str::to_owned)).await;
    let got = Got::default();
    let filters = vec![r#"{"data":{"n":[{"numeric":[">",1]}]}}"#.to_owned()];
    let mapping = EventSourceMapping { filters, ..mapping(10) };
    let ok = |_: usize, _: &[KinesisEventRecord]| Ok(KinesisEventResponse::default());
    let mapping = fixture.lambda.map(mapping, function(&got, ok)).await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    assert_eq!(got.texts(), ["{\"n\":2}", "{\"n\":3}"]);
    let progress = mapping.progress();
    assert_eq!((progress.records, progress.records_filtered, progress.waiting_records), (2, 2, 0));
}

#[tokio::test]
async fn starting_positions_hold_over_a_restart() {
    let fixture = Fixture::new(2).await;
    fixture.put((0..10).map(|number| format!("k{number} before"))).await;
    let got = Got::default();
    let ok = |_: usize, _: &[KinesisEventRecord]| Ok(KinesisEventResponse::default());
    let latest = EventSourceMapping { starting_position: StartingPosition::Latest, ..mapping(10) };
    let first = fixture.lambda.map(latest.clone(), function(&got, ok)).await.unwrap();
    // Stopped before anything came; what comes meanwhile is not skipped by the next start.
    first.stop().await;
    fixture.put((0..10).map(|number| format!("k{number} after"))).await;
    let second = fixture.lambda.map(latest, function(&got, ok)).await.unwrap();
    second.drain(DEADLINE).await.unwrap();
    assert_eq!(got.texts().len(), 10);
    assert!(got.texts().iter().all(|text| text.ends_with(" after")));

    let got = Got::default();
    let at_ms = fixture.store.clock().now_ms() + 1;
    fixture.store.clock().jump(1_000);
    fixture.put((0..10).map(|number| format!("k{number} at"))).await;
    let at = EventSourceMapping { starting_position: StartingPosition::AtTimestamp { at_ms }, ..mapping(10) };
    let third = EventSourceMapping { name: "third".to_owned(), ..at };
    let third = fixture.lambda.map(third, function(&got, ok)).await.unwrap();
    third.drain(DEADLINE).await.unwrap();
    assert_eq!(got.texts().len(), 10);
    assert!(got.texts().iter().all(|text| text.ends_with(" at")));
}

#[tokio::test]
async fn a_window_s_state_survives_a_restart() {
    let fixture = Fixture::new(1).await;
    let calls: Arc<Mutex<Vec<serde_json::Value>>> = Arc::default();
    let noted = Arc::clone(&calls);
    let handler: PayloadHandler = Arc::new(move |payload: Bytes| {
        let noted = Arc::clone(&noted);
        Box::pin(async move {
            let event: serde_json::Value = serde_json::from_slice(&payload)?;
            let count = event["state"]["count"].as_u64().unwrap_or(0)
                + u64::try_from(event["Records"].as_array().map_or(0, Vec::len))?;
            noted.lock().unwrap().push(event);
            Ok(Bytes::from(format!(r#"{{"state":{{"count":{count}}}}}"#)))
        })
    });
    let windows = EventSourceMapping { tumbling_window: Some(Duration::from_secs(900)), ..mapping(100) };
    for round in 0..2 {
        fixture.put(numbers(round * 3..round * 3 + 3)).await;
        let running = fixture.lambda.map(windows.clone(), Target::Payload(Arc::clone(&handler))).await.unwrap();
        running.drain(DEADLINE).await.unwrap();
        running.stop().await;
    }
    fixture.store.clock().jump(901_000);
    let running = fixture.lambda.map(windows, Target::Payload(handler)).await.unwrap();
    let is_final = |event: &serde_json::Value| event["isFinalInvokeForWindow"] == true;
    let mut moves = 0;
    while !calls.lock().unwrap().iter().any(is_final) {
        tokio::task::yield_now().await;
        moves += 1;
        assert!(moves < 50_000_000, "the window is never closed");
    }
    running.stop().await;
    let calls = calls.lock().unwrap();
    let last = calls.last().unwrap();
    assert_eq!((last["state"]["count"].as_u64(), last["Records"].as_array().map(Vec::len)), (Some(6), Some(0)));
}

#[tokio::test]
async fn without_concurrency_a_batch_waits_and_uses_up_no_attempt() {
    let fixture = Fixture::new(2).await;
    let lambda = start(&fixture.data, &fixture.store, &fixture.s3, 1).await;
    fixture.put((0..40).map(|number| format!("k{number} x"))).await;
    let got = Got::default();
    let ok = |_: usize, _: &[KinesisEventRecord]| Ok(KinesisEventResponse::default());
    let mapping = EventSourceMapping { maximum_retry_attempts: Some(0), ..mapping(3) };
    let mapping = lambda.map(mapping, function(&got, ok)).await.unwrap();
    mapping.drain(DEADLINE).await.unwrap();
    let progress = mapping.progress();
    assert_eq!((progress.records, progress.records_discarded, progress.errors), (40, 0, 0));
}
