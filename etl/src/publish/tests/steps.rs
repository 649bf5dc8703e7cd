//! What a pass does, step by step.

use std::sync::Arc;

use events::table::{AD_REQUESTS, Storage, TABLES};
use object_store::memory::InMemory;

use super::fixture::{FUTURE_MS, Faulty, keys, manifest, publish_all, put_staged, state};
use crate::hour::Hour;
use crate::publish::{CLOSE_GRACE_MS, RETIRED_GRACE_MS, SMALL_FILES_MAX};
use crate::{audit, layout};

fn hour() -> Hour {
    Hour::of(FUTURE_MS).unwrap()
}

#[tokio::test]
async fn a_pass_with_nothing_new_writes_nothing() {
    let store = Arc::new(InMemory::new());
    put_staged(&store, "a", [(1, FUTURE_MS)]).await;
    assert_eq!(publish_all(store.clone(), FUTURE_MS).await.rows_added(), 2, "a request and its imp");
    let before = store.fork();
    let report = publish_all(store.clone(), FUTURE_MS).await;
    assert_eq!(report.rows_added(), 0);
    assert_eq!(report.hours.len(), 2, "the hour is open, so it is looked at");
    for folder in ["data", "published", "manifests", "unsettled"] {
        assert_eq!(keys(&store, &folder.into()).await, keys(&before, &folder.into()).await);
    }
    assert_eq!(state(&store, &AD_REQUESTS, hour()).await.generation, 1);
}

#[tokio::test]
async fn small_files_of_an_open_hour_are_rewritten_when_there_are_many() {
    let store = Arc::new(InMemory::new());
    for number in 1..=20_u32 {
        put_staged(&store, &number.to_string(), [(number, FUTURE_MS)]).await;
        publish_all(store.clone(), FUTURE_MS).await;
        let state = state(&store, &AD_REQUESTS, hour()).await;
        assert!(state.files.len() < SMALL_FILES_MAX, "{}", state.files.len());
        assert_eq!(state.rows, u64::from(number));
    }
    let state = state(&store, &AD_REQUESTS, hour()).await;
    assert_eq!(state.retired.len(), 14, "the files of two rewrites");
    assert!(keys(&store, &"data/ad_requests".into()).await.len() == state.files.len() + 14, "queries may read them");
}

#[tokio::test]
async fn a_closed_hour_settles_and_is_forgotten_until_something_comes_late() {
    let store = Arc::new(InMemory::new());
    for name in ["a", "b", "c"] {
        put_staged(&store, name, [(name.len().try_into().unwrap(), FUTURE_MS), (9, FUTURE_MS)]).await;
        publish_all(store.clone(), FUTURE_MS).await;
    }
    let closed_ms = hour().end_ms() + CLOSE_GRACE_MS;
    publish_all(store.clone(), closed_ms).await;
    publish_all(store.clone(), closed_ms + RETIRED_GRACE_MS).await;
    assert_eq!(keys(&store, &layout::unsettled(&AD_REQUESTS)).await, Vec::<String>::new());
    let faulty = Faulty::new(store.clone(), None);
    assert!(publish_all(faulty.clone(), closed_ms).await.hours.is_empty());
    let tables = TABLES.iter().filter(|table| table.storage == Storage::Parquet).count();
    assert_eq!(faulty.operations(), 2 * u64::try_from(tables).unwrap(), "two lists a table");

    put_staged(&store, "late", [(10, FUTURE_MS)]).await;
    assert_eq!(publish_all(store.clone(), closed_ms + RETIRED_GRACE_MS).await.rows_added(), 2);
    assert_eq!(manifest(&store, &AD_REQUESTS, hour()).await.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_counted_and_one_that_is_redelivered_is_not() {
    let store = Arc::new(InMemory::new());
    put_staged(&store, "a", [(1, FUTURE_MS), (1, FUTURE_MS), (1, FUTURE_MS + 5)]).await;
    publish_all(store.clone(), FUTURE_MS).await;
    put_staged(&store, "b", [(1, FUTURE_MS + 5), (1, FUTURE_MS), (1, FUTURE_MS + 7)]).await;
    publish_all(store.clone(), FUTURE_MS).await;
    let counts = audit::published(store.as_ref(), &AD_REQUESTS).await.unwrap();
    let count = counts[0];
    assert_eq!((counts.len(), count.hour, count.rows, count.resent, count.redelivered), (1, hour(), 1, 2, 3));
    assert_eq!(audit::staged_objects(store.as_ref(), &AD_REQUESTS).await.unwrap(), 0);
}
