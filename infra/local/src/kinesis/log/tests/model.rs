//! The log against a list per shard: whatever is done in whatever order, both hold the same.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u64, usize)>),
    Jump(i64),
    Stop,
    Kill,
    Trim(i64),
    Read { shard: usize, from: u64, limit: ReadLimit },
    Seek { shard: usize, arrival_ms: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let lengths = proptest::collection::vec((0_u64..3, prop_oneof![0_usize..300, 60_000_usize..140_000]), 1..6);
    let limit = (prop_oneof![1_usize..4, Just(10_000)], prop_oneof![0_usize..500, Just(10 << 20)]);
    let limit = limit.prop_map(|(records, bytes)| ReadLimit { records, bytes });
    prop_oneof![
        8 => lengths.prop_map(Step::Append),
        2 => (-HOUR_MS / 2..2 * HOUR_MS).prop_map(Step::Jump),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
        1 => (0..20 * HOUR_MS).prop_map(Step::Trim),
        6 => (0_usize..3, 0_u64..60, limit).prop_map(|(shard, from, limit)| Step::Read { shard, from, limit }),
        2 => (0_usize..3, 0..20 * HOUR_MS).prop_map(|(shard, arrival_ms)| Step::Seek { shard, arrival_ms }),
    ]
}

/// What a shard holds: each record's length and arrival. The first is number 1.
type Model = Vec<Vec<(usize, i64)>>;

async fn take(bench: &Bench, open: Open, model: &mut Model, step: Step) -> Open {
    let last_ms = model.iter().flatten().map(|(_, arrival_ms)| *arrival_ms).max().unwrap_or(0);
    match step {
        Step::Append(records) => {
            let arrival_ms = bench.clock.now_ms().max(last_ms).max(1_000_000);
            let texts: Vec<(u64, String)> =
                records.iter().map(|(shard, length)| (*shard, "x".repeat(*length))).collect();
            let texts: Vec<(u64, &str)> = texts.iter().map(|(shard, text)| (*shard, text.as_str())).collect();
            open.append(&texts).await.unwrap();
            for (shard, length) in records {
                model[usize::try_from(shard).unwrap()].push((length, arrival_ms));
            }
            open
        }
        Step::Jump(by_ms) => {
            bench.clock.jump(by_ms);
            open
        }
        Step::Stop => {
            open.writer.stop().await;
            drop(open);
            bench.open()
        }
        Step::Kill => {
            // The thread is let end, but leaves nothing that a killed one would not: an older index, or none.
            let index = segment::list(&bench.dir()).unwrap().pop().unwrap().index_path(&bench.dir());
            let before = fs::read(&index).ok();
            open.writer.stop().await;
            drop(open);
            match before {
                Some(before) => fs::write(&index, before).unwrap(),
                None => fs::remove_file(&index).unwrap(),
            }
            bench.open()
        }
        Step::Trim(horizon_ms) => {
            let before: Vec<u64> = open.shards.iter().map(ShardLog::horizon).collect();
            open.log.trim(horizon_ms).unwrap();
            for ((shard, before), model) in open.shards.iter().zip(before).zip(model) {
                for counter in before..shard.horizon() {
                    assert!(model[usize::try_from(counter).unwrap() - 1].1 < horizon_ms);
                }
            }
            open
        }
        Step::Read { shard, from, limit } => {
            let log = &open.shards[shard];
            let first = from.max(log.horizon());
            for run in [Some(log.read(from, limit).unwrap()), log.read_recent(from, limit)].into_iter().flatten() {
                let there = model[shard].len() + 1 - usize::try_from(first).unwrap().min(model[shard].len() + 1);
                assert!(run.len() <= limit.records.max(1) && (run.len() > 0) == (there > 0));
                let bytes: usize = run.records().skip(1).map(|record| record.bytes()).sum();
                assert!(bytes <= limit.bytes);
                for (counter, record) in (first..).zip(run.records()) {
                    let wanted = model[shard][usize::try_from(counter).unwrap() - 1];
                    assert_eq!((record.counter, record.data().len(), record.arrival_ms), (counter, wanted.0, wanted.1));
                }
            }
            open
        }
        Step::Seek { shard, arrival_ms } => {
            let log = &open.shards[shard];
            let wanted = 1 + model[shard].partition_point(|(_, at_ms)| *at_ms < arrival_ms);
            assert_eq!(log.counter_at(arrival_ms).unwrap(), u64::try_from(wanted).unwrap().max(log.horizon()));
            open
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_log_is_a_list_per_shard(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new();
            let mut open = bench.open();
            let mut model = vec![Vec::new(); SHARDS.len()];
            for step in steps {
                open = take(&bench, open, &mut model, step).await;
            }
            for (shard, model) in open.shards.iter().zip(&model) {
                assert_eq!(shard.tail().next_counter, u64::try_from(model.len()).unwrap() + 1);
            }
        });
    }
}
