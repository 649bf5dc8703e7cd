//! Whatever is staged, and wherever programs die: one row an event, every other arrival counted once, nothing left over.

use std::collections::BTreeSet;
use std::sync::Arc;

use events::table::{AD_REQUESTS, IMPS};
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::fixture::{FUTURE_MS, Fault, Faulty, keys, manifest, publish_all, publisher, put_staged, read, state};
use crate::hour::Hour;
use crate::publish::{CLOSE_GRACE_MS, RETIRED_GRACE_MS};
use crate::{layout, publish};

const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Clone)]
enum Action {
    /// Stages events: a number, and the time of receipt in steps of 20 minutes over two hours.
    Stage(Vec<(u32, i64)>),
    /// Publishes with a fault, and ten minutes later.
    Publish(Option<Fault>),
}

fn action() -> impl Strategy<Value = Action> {
    let events = prop::collection::vec((0_u32..12, 0_i64..6), 1..8);
    let fault = (0_u64..60, any::<bool>(), any::<bool>());
    let fault = fault.prop_map(|(after, takes_effect, dead)| Fault { after, takes_effect, dead });
    prop_oneof![2 => events.prop_map(Action::Stage), 3 => prop::option::weighted(0.8, fault).prop_map(Action::Publish)]
}

async fn check(actions: Vec<Action>) {
    let store = Arc::new(InMemory::new());
    let hours: Vec<Hour> = [0, 60].map(|minutes| Hour::of(FUTURE_MS + minutes * MINUTE_MS).unwrap()).to_vec();
    let mut arrivals = BTreeSet::new();
    let mut now_ms = FUTURE_MS;
    for (number, action) in actions.into_iter().enumerate() {
        match action {
            Action::Stage(events) => {
                let events: Vec<_> =
                    events.into_iter().map(|(id, step)| (id, FUTURE_MS + step * 20 * MINUTE_MS)).collect();
                arrivals.extend(events.iter().copied());
                // Names repeat on purpose: a consumed object may come again.
                put_staged(&store, &format!("batch-{number}"), events).await;
            }
            Action::Publish(fault) => {
                // Errors are what the fault asks for; the state of the lake is what counts.
                drop(publish::publish_all(&publisher(Faulty::new(Arc::clone(&store), fault)), now_ms).await);
                now_ms += 10 * MINUTE_MS;
            }
        }
    }
    publish_all(store.clone(), now_ms).await;
    now_ms = now_ms.max(FUTURE_MS + 120 * MINUTE_MS) + CLOSE_GRACE_MS;
    publish_all(store.clone(), now_ms).await;
    publish_all(store.clone(), now_ms + RETIRED_GRACE_MS).await;
    let events: BTreeSet<u32> = arrivals.iter().map(|(event, _)| *event).collect();
    for table in [&AD_REQUESTS, &IMPS] {
        let (mut rows, mut resent, mut files) = (Vec::new(), 0, Vec::new());
        for hour in &hours {
            if arrivals.iter().all(|(_, time)| Hour::of(*time) != Some(*hour)) {
                continue;
            }
            let state = state(&store, table, *hour).await;
            let named: Vec<String> = state.files.iter().map(|file| file.key.clone()).collect();
            assert_eq!(manifest(&store, table, *hour).await, named);
            assert!(named.len() <= 1, "a closed hour is in one file: {named:?}");
            let found = read(&store, table, *hour).await;
            assert_eq!(found.len(), usize::try_from(state.rows).unwrap());
            assert!(found.iter().all(|row| arrivals.contains(row)));
            rows.extend(found);
            resent += state.resent;
            files.extend(named);
        }
        assert_eq!(rows.len(), events.len());
        assert_eq!(rows.iter().map(|(event, _)| *event).collect::<BTreeSet<_>>(), events);
        assert_eq!(usize::try_from(resent).unwrap(), arrivals.len() - events.len());
        files.sort();
        assert_eq!(keys(&store, &format!("data/{}", table.name).into()).await, files, "no file is left over");
        assert!(keys(&store, &layout::staging(table)).await.is_empty());
        assert!(keys(&store, &layout::unsettled(table)).await.is_empty());
    }
}

fn run(actions: Vec<Action>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(actions));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_the_distinct_events(actions in prop::collection::vec(action(), 1..14)) {
        run(actions);
    }
}

/// Every operation of two passes fails once, in each way.
#[test]
fn a_crash_at_any_step_is_repaired() {
    let stage = || vec![Action::Stage(vec![(1, 0), (2, 1), (1, 2)]), Action::Stage(vec![(1, 0), (3, 4), (2, 3)])];
    let operations = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(InMemory::new());
            put_staged(&store, "batch-1", [(1, FUTURE_MS), (2, FUTURE_MS), (3, FUTURE_MS + 90 * MINUTE_MS)]).await;
            let faulty = Faulty::new(store, None);
            publish_all(faulty.clone(), FUTURE_MS).await;
            faulty.operations()
        })
    };
    assert!(operations > 20, "{operations}");
    for after in 0..operations + 10 {
        for (takes_effect, dead) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut actions = stage();
            actions.push(Action::Publish(Some(Fault { after, takes_effect, dead })));
            actions.push(Action::Stage(vec![(2, 1), (4, 5)]));
            run(actions);
        }
    }
}
