//! Batches as the event source hands them over: repeated, cut elsewhere, damaged.

use arrow::array::AsArray;
use events::enriched::Enrichment;
use events::envelope::{Envelope, EventType, SCHEMA_VERSION};
use events::event_id::EventId;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn enriched(number: u32, event_ts: i64) -> Vec<u8> {
    let body = format!(r#"{{"id":"{number}"}}"#);
    let envelope = Envelope {
        event_id: EventId::of_content("demo", "ad_request", &number.to_string(), body.as_bytes()),
        event_type: EventType::AdRequest,
        schema_version: SCHEMA_VERSION,
        tenant_id: "demo".into(),
        auction_id: number.to_string().into(),
        received_ts: event_ts,
        endpoint: "/v1/ad_requests".into(),
        handler_us: 1,
        warnings: vec![],
        enrichment: Some(Enrichment { event_ts, enriched_ts: event_ts + 5, imps: vec![], screen: None }),
    };
    envelope.write(&body).unwrap()
}

fn batch(records: &[(u64, Vec<u8>)]) -> KinesisEvent {
    let records = records.iter().map(|(sequence_number, data)| {
        serde_json::json!({
            "eventID": format!("shardId-000000000001:{sequence_number}"),
            "kinesis": {
                "approximateArrivalTimestamp": 1_795_000_000.987,
                "data": base64_simd::STANDARD.encode_to_string(data),
                "partitionKey": "k",
                "sequenceNumber": sequence_number.to_string(),
            }
        })
    });
    serde_json::from_value(serde_json::json!({ "Records": records.collect::<Vec<_>>() })).unwrap()
}

fn stager(store: &Arc<InMemory>) -> Stager {
    let sdk = aws_sdk_firehose::Config::builder()
        .behavior_version(aws_sdk_firehose::config::BehaviorVersion::latest())
        .build();
    let failed_events = FailedEvents::new(aws_sdk_firehose::Client::from_conf(sdk), "failed-events");
    Stager::new(Arc::clone(store) as Arc<dyn ObjectStore>, failed_events)
}

async fn stage(store: &Arc<InMemory>, event: &KinesisEvent, now_ms: i64) -> Result<Staged, StageError> {
    stager(store).stage(event, now_ms).await
}

async fn objects(store: &InMemory) -> Vec<(Path, Option<String>)> {
    let mut objects: Vec<_> =
        store.list(None).map_ok(|object| (object.location, object.e_tag)).try_collect().await.unwrap();
    objects.sort();
    objects
}

async fn auction_ids(store: &InMemory, path: &Path) -> Vec<String> {
    let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
    let batches = reader.map(Result::unwrap);
    let ids = batches.flat_map(|batch| {
        let column = batch.column_by_name("auction_id").unwrap().as_string::<i32>().clone();
        column.iter().map(|id| id.unwrap().to_owned()).collect::<Vec<_>>()
    });
    ids.collect()
}

#[tokio::test]
async fn a_batch_becomes_an_object_for_each_table_and_hour() {
    let store = Arc::new(InMemory::new());
    let records = [(9, enriched(1, 0)), (10, enriched(2, HOUR_MS)), (11, enriched(3, HOUR_MS + 1))];
    let staged = stage(&store, &batch(&records), 0).await.unwrap();
    assert_eq!((staged.events, staged.failed.len()), (3, 0));
    let paths: Vec<String> = staged.objects.iter().map(ToString::to_string).collect();
    expect_test::expect![[r#"
        staging/ad_requests/event_date=1970-01-01/event_hour=00/shardId-000000000001-9-11-1826b8e0.parquet
        staging/ad_requests/event_date=1970-01-01/event_hour=01/shardId-000000000001-9-11-1826b8e0.parquet"#]]
    .assert_eq(&paths.join("\n"));
    assert_eq!(auction_ids(&store, &staged.objects[1]).await, ["2", "3"]);
}

#[tokio::test]
async fn the_same_batch_again_changes_nothing_and_another_cut_gives_other_objects() {
    let store = Arc::new(InMemory::new());
    let records = [(1, enriched(1, 0)), (2, enriched(2, 0)), (3, enriched(3, 0))];
    let first = stage(&store, &batch(&records), 0).await.unwrap();
    let before = objects(&store).await;
    assert_eq!(stage(&store, &batch(&records), 99).await.unwrap(), first);
    assert_eq!(objects(&store).await, before);
    stage(&store, &batch(&records[1..]), 0).await.unwrap();
    // The same ends, another middle: two readers of one shard.
    stage(&store, &batch(&[records[0].clone(), records[2].clone()]), 0).await.unwrap();
    assert_eq!(objects(&store).await.len(), 3);
}

#[tokio::test]
async fn what_gives_no_rows_becomes_a_failed_event_and_the_rest_is_staged() {
    let store = Arc::new(InMemory::new());
    let records = [(1, b"no event".to_vec()), (2, enriched(2, 0))];
    let staged = stage(&store, &batch(&records), 1_795_000_001_000).await.unwrap();
    assert_eq!((staged.events, staged.objects.len(), staged.failed.len()), (1, 1, 1));
    let failed: serde_json::Value = serde_json::from_slice(&staged.failed[0]).unwrap();
    assert_eq!(failed["sequence_number"], "1");
    assert_eq!(failed["shard_id"], "shardId-000000000001");
    assert_eq!(failed["payload"], base64_simd::STANDARD.encode_to_string(b"no event"));
    assert_eq!(failed["received_ts"], "2026-11-18 11:06:40.987");
}

#[tokio::test]
async fn an_empty_batch_stages_nothing() {
    let store = Arc::new(InMemory::new());
    assert_eq!(stage(&store, &KinesisEvent::default(), 0).await.unwrap(), Staged::default());
    assert!(objects(&store).await.is_empty());
}

#[tokio::test]
async fn pointers_become_rows_of_their_events_in_as_many_files_as_memory_asks_for() {
    let bucket = Arc::new(InMemory::new());
    let claim_checks = ClaimChecks::new(Arc::clone(&bucket) as Arc<dyn ObjectStore>, "bucket", 100);
    let mut records = Vec::new();
    for number in 0..5 {
        let event = enriched(number, HOUR_MS);
        let pointer = claim_checks.check_in(claim_check::Stream::Enriched, event.into()).await.unwrap();
        records.push((u64::from(number) + 1, pointer.to_vec()));
    }
    records.push((6, enriched(6, HOUR_MS)));
    let store = Arc::new(InMemory::new());
    let event_bytes = enriched(1, HOUR_MS).len();
    let stager = Stager { large_bytes_max: event_bytes * 2, ..stager(&store).with_claim_checks(Some(claim_checks)) };
    let staged = stager.stage(&batch(&records), 0).await.unwrap();
    assert_eq!((staged.events, staged.failures, staged.objects.len()), (6, 0, 2));
    let mut ids = auction_ids(&store, &staged.objects[0]).await;
    assert_eq!(ids.len(), 3);
    ids.extend(auction_ids(&store, &staged.objects[1]).await);
    assert_eq!(ids, ["0", "1", "2", "3", "4", "6"]);
    let before = objects(&store).await;
    assert_eq!(stager.stage(&batch(&records), 9).await.unwrap(), staged);
    assert_eq!(objects(&store).await, before);

    // One whose object is gone is a failed event that says so.
    let gone = bucket.list(None).try_next().await.unwrap().unwrap().location;
    bucket.delete(&gone).await.unwrap();
    let staged = stager.stage(&batch(&records), 0).await.unwrap();
    assert_eq!((staged.events, staged.failures), (5, 1));
    let failed: serde_json::Value = serde_json::from_slice(&staged.failed[0]).unwrap();
    assert_eq!((&failed["error_code"], &failed["event_id"].is_string()), (&"claim_check.missing".into(), &true));
}
