//! Several publishers of two hours of one table, their steps mixed, while batches arrive.

use std::collections::BTreeSet;
use std::sync::Arc;

use events::table::{AD_REQUESTS, IMPS};
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::fixture::{Faulty, keys, manifest, publish_all, publisher, put_staged, read, state};
use crate::hour::Hour;
use crate::publish::{self, PublishError};

const HOUR_MS: i64 = 3_600_000;
/// In the real past, so that no file is ever old enough to be taken for a left-over.
const PAST_MS: i64 = 1_600_000_000_000 / HOUR_MS * HOUR_MS;

async fn check(seeds: [u64; 3], batches: u32) {
    let store = Arc::new(InMemory::new());
    // Every event is sent again an hour later.
    let event = |number: u32| (number, PAST_MS + i64::from(number));
    let again = |number: u32| (number, PAST_MS + HOUR_MS + i64::from(number));
    for batch in 0..batches {
        put_staged(&store, &format!("first-{batch}"), (batch..batch + 4).map(event)).await;
        put_staged(&store, &format!("again-{batch}"), (batch..batch + 2).map(again)).await;
    }
    let publish = |seed: u64| {
        let publisher = publisher(Faulty::yielding(Arc::clone(&store), seed));
        async move {
            for _ in 0..2 {
                let report = publish::publish_all(&publisher, PAST_MS).await.unwrap();
                let unexpected = report.failures().find(|(_, error)| !matches!(error, PublishError::Contended));
                assert!(unexpected.is_none(), "{unexpected:?}");
            }
        }
    };
    let stage = async {
        for batch in 0..batches {
            tokio::task::yield_now().await;
            put_staged(&store, &format!("late-{batch}"), (batch + 2..batch + 5).flat_map(|n| [event(n), again(n)]))
                .await;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(publish(seeds[0]), publish(seeds[1]), publish(seeds[2]), stage);
    publish_all(store.clone(), PAST_MS).await;
    let events = usize::try_from(batches).unwrap() + 4;
    for table in [&AD_REQUESTS, &IMPS] {
        let (mut rows, mut resent, mut named) = (Vec::new(), 0, Vec::new());
        for hour in [PAST_MS, PAST_MS + HOUR_MS].map(|time| Hour::of(time).unwrap()) {
            let state = state(&store, table, hour).await;
            let files: Vec<String> = state.files.iter().map(|file| file.key.clone()).collect();
            assert_eq!(manifest(&store, table, hour).await, files);
            rows.extend(read(&store, table, hour).await);
            resent += usize::try_from(state.resent).unwrap();
            named.extend(files);
            named.extend(state.retired.into_iter().map(|file| file.key));
        }
        assert_eq!(rows.iter().map(|(event, _)| *event).collect::<BTreeSet<_>>().len(), events);
        assert_eq!((rows.len(), resent), (events, events), "each once, and each sent again once");
        named.sort();
        assert_eq!(
            keys(&store, &format!("data/{}", table.name).into()).await,
            named,
            "losers cleared their files away"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn publishers_that_race_publish_each_event_once(seeds in any::<[u64; 3]>(), batches in 1_u32..4) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(seeds, batches));
    }
}
