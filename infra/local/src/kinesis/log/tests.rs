//! The log against files: what comes back, what survives, what is cut.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::block::{Blocks, Payload};

use super::writer::{AppendFailed, Writer};
use super::*;

mod legacy;
mod model;
mod torn;

const HOUR_MS: i64 = 3_600_000;
const SHARDS: [u64; 3] = [0, 1, 2];

struct Bench {
    root: tempfile::TempDir,
    clock: Clock,
    /// A writer whose handle is gone ends in its own time, so each has a data directory of its own to lock.
    opened: Cell<u32>,
}

/// A log with its writer and shards.
struct Open {
    log: StreamLog,
    writer: Writer,
    shards: Vec<ShardLog>,
    torn: Option<Torn>,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), clock: Clock::standing_at(1_000_000), opened: Cell::new(0) }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("log")
    }

    fn try_open(&self) -> Result<Open, LogError> {
        fs::create_dir_all(self.dir()).unwrap();
        let Opened { log, seed, torn } = StreamLog::open(&self.dir(), self.clock.now_ms(), HashMap::new())?;
        self.opened.set(self.opened.get() + 1);
        let data = Arc::new(DataDir::open(&self.root.path().join(format!("data-{}", self.opened.get()))).unwrap());
        let shards: Vec<ShardLog> = SHARDS.iter().map(|number| log.shard(*number, seed.counter(*number))).collect();
        let writer = Writer::start(log.clone(), seed, &shards, self.clock.clone(), data).unwrap();
        Ok(Open { log, writer, shards, torn })
    }

    fn open(&self) -> Open {
        self.try_open().unwrap()
    }

    fn segments(&self) -> Vec<u64> {
        segment::list(&self.dir()).unwrap().iter().map(|id| id.number).collect()
    }

    fn last_segment(&self) -> PathBuf {
        segment::list(&self.dir()).unwrap().last().unwrap().log_path(&self.dir())
    }
}

impl Open {
    /// Appends texts to shards. The counter that each block got.
    async fn append(&self, texts: &[(u64, &str)]) -> Result<Vec<Option<u64>>, AppendFailed> {
        let mut blocks = Blocks::default();
        for (shard, text) in texts {
            blocks.push(*shard, "key", Payload::Raw(text.as_bytes())).unwrap();
        }
        blocks.seal();
        Ok(self.writer.append(blocks).await?.into_iter().map(|run| run.counter).collect())
    }

    async fn append_one(&self, text: &str) -> Result<Vec<Option<u64>>, AppendFailed> {
        self.append(&[(0, text)]).await
    }
}

fn read_all(log: &ShardLog, limit: ReadLimit) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let run = log.read(from, limit).unwrap();
        if run.len() == 0 {
            return all;
        }
        assert!(run.len() <= limit.records);
        assert_eq!(run.records().count(), run.len());
        all.extend(run.records().map(|record| {
            assert_eq!(record.partition_key(), "key");
            (record.counter, String::from_utf8(record.data().to_vec()).unwrap())
        }));
        from = run.next();
    }
}

fn expected(texts: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
}

const LARGE: ReadLimit = ReadLimit { records: 10_000, bytes: 10 << 20 };
const LIMITS: [ReadLimit; 4] =
    [LARGE, ReadLimit { records: 1, bytes: 1 }, ReadLimit { records: 2, bytes: 9 }, ReadLimit { records: 3, bytes: 0 }];

#[tokio::test]
async fn what_was_appended_is_read_at_any_limit_and_after_reopening() {
    let bench = Bench::new();
    let open = bench.open();
    assert_eq!(open.append(&[(0, "a"), (0, "b"), (1, "x")]).await, Ok(vec![Some(1), Some(1)]));
    bench.clock.jump(HOUR_MS);
    assert_eq!(open.append(&[(1, "y"), (0, "c")]).await, Ok(vec![Some(2), Some(3)]));
    bench.clock.jump(HOUR_MS);
    assert_eq!(open.append(&[(0, "d"), (1, "z"), (0, "e"), (0, "f")]).await, Ok(vec![Some(4), Some(3), Some(5)]));
    let check = |open: &Open| {
        for limit in LIMITS {
            assert_eq!(read_all(&open.shards[0], limit), expected(&["a", "b", "c", "d", "e", "f"]));
            assert_eq!(read_all(&open.shards[1], limit), expected(&["x", "y", "z"]));
            assert_eq!(read_all(&open.shards[2], limit), []);
        }
    };
    assert_eq!(bench.segments(), [1, 2, 3], "an hour old segment is sealed");
    check(&open);
    assert_eq!(open.shards[0].tail(), Tail { next_counter: 7, is_closed: false });
    open.writer.stop().await;
    assert_eq!(open.append_one("late").await, Err(AppendFailed));
    drop(open);
    // Once with the index that the stop left, once from the blocks, as after a kill.
    for _ in 0..2 {
        let open = bench.open();
        assert_eq!(open.torn, None);
        check(&open);
        open.writer.stop().await;
        fs::remove_file(bench.dir().join("000000000003.idx")).unwrap();
    }
    assert_eq!(bench.open().append_one("g").await, Ok(vec![Some(7)]));
}

#[tokio::test]
async fn an_index_is_made_again_and_damage_is_said() {
    let bench = Bench::new();
    let open = bench.open();
    open.append(&[(0, "one"), (1, "x"), (0, "two")]).await.unwrap();
    bench.clock.jump(HOUR_MS);
    open.append_one("three").await.unwrap();
    open.writer.stop().await;
    let all = expected(&["one", "two", "three"]);
    let index = bench.dir().join("000000000001.idx");
    let whole = fs::read(&index).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&index, bytes).unwrap();
        assert_eq!(read_all(&bench.open().shards[0], LARGE), all, "byte {at}");
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(read_all(&bench.open().shards[0], LARGE), all);
    assert_eq!(fs::read(&index).unwrap(), whole, "it is made again as it was");
    let sealed = segment::list(&bench.dir()).unwrap()[0].log_path(&bench.dir());
    let mut bytes = fs::read(&sealed).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&sealed, bytes).unwrap();
    let log = &bench.open().shards[0];
    let run = log.read(1, LARGE).unwrap();
    assert_eq!(run.len(), 1, "what is whole before the damage is given");
    assert!(matches!(log.read(run.next(), LARGE), Err(LogError::Damaged { segment: 1, .. })));
}

#[tokio::test]
async fn arrivals_find_their_records() {
    let bench = Bench::new();
    let open = bench.open();
    let start_ms = bench.clock.now_ms();
    for text in ["a", "b", "c", "d"] {
        open.append_one(text).await.unwrap();
        open.append(&[(2, "other")]).await.unwrap();
        bench.clock.jump(HOUR_MS / 2);
    }
    let check = |log: &ShardLog| {
        for (arrival_ms, counter) in [
            (0, 1),
            (start_ms, 1),
            (start_ms + 1, 2),
            (start_ms + HOUR_MS, 3),
            (start_ms + HOUR_MS + 1, 4),
            (start_ms + 2 * HOUR_MS, 5),
        ] {
            assert_eq!(log.counter_at(arrival_ms).unwrap(), counter, "{arrival_ms}");
        }
    };
    check(&open.shards[0]);
    assert_eq!(open.shards[1].counter_at(start_ms + 1).unwrap(), 1, "an empty shard");
    open.writer.stop().await;
    check(&bench.open().shards[0]);
}

#[tokio::test]
async fn trimming_frees_whole_segments_and_moves_readers_on() {
    let bench = Bench::new();
    let open = bench.open();
    let start_ms = bench.clock.now_ms();
    for text in ["a", "b", "c"] {
        open.append_one(text).await.unwrap();
        bench.clock.jump(HOUR_MS);
    }
    assert_eq!(open.log.trim(start_ms + HOUR_MS).unwrap(), 0, "the next segment did not begin before");
    assert_eq!(open.log.trim(start_ms + HOUR_MS + 1).unwrap(), 1);
    assert_eq!(open.log.trim(i64::MAX).unwrap(), 1, "the last segment stays");
    let check = |open: &Open| {
        assert_eq!(read_all(&open.shards[0], LARGE), [(3, "c".to_owned())]);
        assert_eq!((open.shards[0].horizon(), open.shards[1].horizon()), (3, 1));
    };
    check(&open);
    assert_eq!(fs::read_dir(bench.dir()).unwrap().count(), 1, "segments go with their indexes");
    open.writer.stop().await;
    check(&bench.open());
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_reorder_arrivals() {
    let bench = Bench::new();
    let open = bench.open();
    open.append_one("a").await.unwrap();
    bench.clock.jump(-HOUR_MS);
    open.append_one("b").await.unwrap();
    open.writer.stop().await;
    bench.open().append_one("c").await.unwrap();
    let run = bench.open().shards[0].read(1, LARGE).unwrap();
    let arrivals: Vec<i64> = run.records().map(|record| record.arrival_ms).collect();
    assert_eq!(arrivals, [1_000_000; 3]);
}

#[tokio::test]
async fn concurrent_appends_are_all_kept_in_their_own_order() {
    let bench = Bench::new();
    let open = Arc::new(bench.open());
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let open = Arc::clone(&open);
            tokio::spawn(async move {
                for step in 0..50 {
                    open.append(&[(0, &format!("{task} {step}")), (1, "x")]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    open.writer.stop().await;
    for open in [&*open, &bench.open()] {
        let all = read_all(&open.shards[0], LARGE);
        assert_eq!(all.iter().map(|(counter, _)| *counter).collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>());
        for task in 0..8 {
            let steps: Vec<_> = all.iter().filter_map(|(_, text)| text.strip_prefix(&format!("{task} "))).collect();
            assert_eq!(steps, (0..50).map(|step: i32| step.to_string()).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn closed_shards_refuse_their_part_and_reopening_takes_it_again() {
    let bench = Bench::new();
    let open = bench.open();
    open.append(&[(0, "a"), (1, "x")]).await.unwrap();
    assert_eq!(open.writer.close(vec![1]).await, Some(vec![2]));
    assert_eq!(open.append(&[(0, "b"), (1, "y"), (2, "p")]).await, Ok(vec![Some(2), None, Some(1)]));
    assert_eq!(open.append(&[(1, "y")]).await, Ok(vec![None]));
    open.writer.reopen(vec![1]).await;
    assert_eq!(open.append(&[(1, "z")]).await, Ok(vec![Some(2)]));
    let added = open.log.shard(7, 1);
    assert_eq!(open.append(&[(7, "n")]).await, Ok(vec![None]), "nobody has said that there is such a shard");
    open.writer.add(vec![added.clone()]).await;
    assert_eq!(open.append(&[(7, "n")]).await, Ok(vec![Some(1)]));
    assert_eq!(read_all(&added, LARGE), expected(&["n"]));
    open.writer.stop().await;
    let open = bench.open();
    assert_eq!(open.torn, None, "what a closed shard refused is not on the disk");
    assert_eq!(read_all(&open.shards[1], LARGE), expected(&["x", "z"]));
    assert_eq!(read_all(&open.shards[2], LARGE), expected(&["p"]));
}

#[tokio::test]
async fn what_the_disk_refuses_is_refused_and_the_next_is_taken() {
    let bench = Bench::new();
    let open = bench.open();
    open.append_one("a").await.unwrap();
    bench.clock.jump(HOUR_MS);
    let away = bench.root.path().join("away");
    fs::rename(bench.dir(), &away).unwrap();
    for _ in 0..2 {
        assert_eq!(open.append_one("lost").await, Err(AppendFailed), "no segment can be begun");
    }
    fs::rename(&away, bench.dir()).unwrap();
    assert_eq!(open.append_one("b").await, Ok(vec![Some(2)]));
    assert_eq!(read_all(&open.shards[0], LARGE), expected(&["a", "b"]));
    open.writer.stop().await;
    assert_eq!(read_all(&bench.open().shards[0], LARGE), expected(&["a", "b"]));
}

#[tokio::test]
async fn old_records_are_read_from_full_segments() {
    let bench = Bench::new();
    let open = bench.open();
    let text = "x".repeat(100_000);
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    // A third of it fits in memory; the rest comes from the disk.
    for step in 0..50_u64 {
        let texts: Vec<(u64, &str)> = (0..20).map(|part| ((step + part) % 3 % 2, text.as_str())).collect();
        open.append(&texts).await.unwrap();
        for (shard, _) in texts {
            *written.entry(shard).or_default() += 1;
        }
    }
    assert_eq!(bench.segments(), [1, 2, 3]);
    for (shard, count) in written {
        let all = read_all(&open.shards[usize::try_from(shard).unwrap()], ReadLimit { records: 50, bytes: 1 << 20 });
        assert_eq!(u64::try_from(all.len()).unwrap(), count);
        assert!(all.is_sorted_by_key(|(counter, _)| *counter));
    }
    let shard = &open.shards[1];
    let run = shard.read(1, LARGE).unwrap();
    assert!(run.records().map(|record| record.bytes()).sum::<usize>() > 9 << 20, "one read goes through segments");
    assert!(shard.read_recent(1, LARGE).is_none(), "the beginning is not in memory any more");
    assert!(shard.read_recent(shard.tail().next_counter - 1, LARGE).is_some(), "the end is");
}
