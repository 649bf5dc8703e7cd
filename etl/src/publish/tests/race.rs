//! Several publishers of one hour, their steps mixed.

use std::sync::Arc;

use events::table::AD_REQUESTS;
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::fixture::{Faulty, manifest, publish_all, publisher, put_staged, read, state};
use crate::hour::Hour;

/// In the real past, so that no file is ever old enough to be taken for a left-over.
const PAST_MS: i64 = 1_600_000_000_000 / 3_600_000 * 3_600_000;

async fn check(seeds: [u64; 3], batches: u32) {
    let store = Arc::new(InMemory::new());
    let hour = Hour::of(PAST_MS).unwrap();
    let event = |number: u32| (number, PAST_MS + i64::from(number));
    for batch in 0..batches {
        put_staged(&store, &format!("first-{batch}"), (batch..batch + 4).map(event)).await;
    }
    let publish = |seed: u64| {
        let publisher = publisher(Faulty::yielding(Arc::clone(&store), seed));
        async move {
            for _ in 0..3 {
                publisher.publish_hour(&AD_REQUESTS, hour, PAST_MS).await.unwrap();
            }
        }
    };
    let stage = async {
        for batch in 0..batches {
            tokio::task::yield_now().await;
            put_staged(&store, &format!("second-{batch}"), (batch + 2..batch + 5).map(event)).await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(publish(seeds[0]), publish(seeds[1]), publish(seeds[2]), stage);
    publish_all(store.clone(), PAST_MS).await;
    let state = state(&store, &AD_REQUESTS, hour).await;
    let named: Vec<String> = state.files.iter().map(|file| file.key.clone()).collect();
    assert_eq!(manifest(&store, &AD_REQUESTS, hour).await, named);
    let mut rows = read(&store, &AD_REQUESTS, hour).await;
    rows.sort_unstable();
    assert_eq!(rows, (0..batches + 4).map(event).collect::<Vec<_>>());
    assert_eq!(state.resent, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn publishers_that_race_publish_each_event_once(seeds in any::<[u64; 3]>(), batches in 1_u32..4) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(seeds, batches));
    }
}
