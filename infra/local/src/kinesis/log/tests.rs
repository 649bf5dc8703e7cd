//! The log against files: what comes back, what survives, what is cut.

use std::fs;

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::frame::{Frames, Payload};

use super::writer::{AppendError, Writer};
use super::*;

const HOUR_MS: i64 = 3_600_000;

struct Bench {
    root: tempfile::TempDir,
    clock: Clock,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), clock: Clock::standing_at(1_000_000) }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("shard")
    }

    /// Opens the log and starts its writer. Returns the bytes that recovery cut, too.
    fn open(&self) -> (ShardLog, Writer, u64) {
        let data = Arc::new(DataDir::open(&self.root.path().join("data")).unwrap());
        fs::create_dir_all(self.dir()).unwrap();
        let opened = ShardLog::open(&self.dir()).unwrap();
        let writer = Writer::start(opened.log.clone(), opened.seed, self.clock.clone(), data).unwrap();
        (opened.log, writer, opened.torn_bytes)
    }

    fn last_segment(&self) -> PathBuf {
        segment::log_path(&self.dir(), *segment::list(&self.dir()).unwrap().last().unwrap())
    }
}

fn frames(texts: &[&str]) -> Frames {
    let mut frames = Frames::default();
    for text in texts {
        frames.push("key", Payload::Raw(text.as_bytes())).unwrap();
    }
    frames
}

async fn append(writer: &Writer, texts: &[&str]) -> Result<u64, AppendError> {
    writer.append(frames(texts)).await.await.unwrap()
}

fn read_all(log: &ShardLog, limit: ReadLimit) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    let mut position = Position::at(0);
    loop {
        let (records, next) = log.read(position, limit).unwrap();
        if records.is_empty() {
            return all;
        }
        assert!(records.len() <= limit.records);
        all.extend(records.into_iter().map(|record| {
            assert_eq!(record.partition_key, "key");
            (record.counter, String::from_utf8(record.data.to_vec()).unwrap())
        }));
        position = next;
    }
}

fn expected(texts: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
}

const LARGE: ReadLimit = ReadLimit { records: 10_000, bytes: 10 << 20 };

#[tokio::test]
async fn what_was_appended_is_read_at_any_limit_and_after_reopening() {
    let bench = Bench::new();
    let (log, writer, _) = bench.open();
    assert_eq!(append(&writer, &["a", "b"]).await, Ok(1));
    bench.clock.jump(HOUR_MS);
    assert_eq!(append(&writer, &["c"]).await, Ok(3));
    bench.clock.jump(HOUR_MS);
    assert_eq!(append(&writer, &["d", "e", "f"]).await, Ok(4));
    let all = expected(&["a", "b", "c", "d", "e", "f"]);
    assert_eq!(segment::list(&bench.dir()).unwrap(), [1, 3, 4], "an hour old segment is sealed");
    for limit in [LARGE, ReadLimit { records: 1, bytes: 1 }, ReadLimit { records: 2, bytes: 9 }] {
        assert_eq!(read_all(&log, limit), all);
    }
    assert_eq!(log.tail(), Tail { next_counter: 7, is_closed: false });
    writer.stop().await;
    assert_eq!(append(&writer, &["late"]).await, Err(AppendError::Failed));
    let (log, writer, torn_bytes) = bench.open();
    assert_eq!(torn_bytes, 0);
    assert_eq!(append(&writer, &["g"]).await, Ok(7));
    assert_eq!(read_all(&log, LARGE).len(), 7);
}

#[tokio::test]
async fn a_torn_tail_is_cut_and_nothing_before_it() {
    let whole = {
        let bench = Bench::new();
        let (_, writer, _) = bench.open();
        append(&writer, &["one", "two"]).await.unwrap();
        writer.stop().await;
        fs::read(bench.last_segment()).unwrap()
    };
    let frame_bytes = frame::HEADER_BYTES + 6;
    assert_eq!(whole.len(), 16 + 2 * frame_bytes);
    for cut in 1..whole.len() {
        let bench = Bench::new();
        fs::create_dir_all(bench.dir()).unwrap();
        fs::write(segment::log_path(&bench.dir(), 1), &whole[..whole.len() - cut]).unwrap();
        let (log, writer, torn_bytes) = bench.open();
        let kept = (whole.len() - cut).saturating_sub(16) / frame_bytes;
        assert_eq!(read_all(&log, LARGE), expected(&["one", "two"][..kept]), "cut {cut}");
        let torn = (whole.len() - cut).saturating_sub(16) % frame_bytes;
        assert_eq!(torn_bytes, u64::try_from(torn).unwrap(), "cut {cut}");
        assert_eq!(append(&writer, &["next"]).await, Ok(u64::try_from(kept).unwrap() + 1));
        assert_eq!(read_all(&log, LARGE).len(), kept + 1);
    }
}

#[tokio::test]
async fn garbage_and_stale_frames_behind_the_end_are_cut() {
    let bench = Bench::new();
    let (_, writer, _) = bench.open();
    append(&writer, &["one"]).await.unwrap();
    writer.stop().await;
    let good = fs::read(bench.last_segment()).unwrap();
    let stale = good[16..].to_vec();
    for tail in [vec![0; 5_000], vec![0xff; 40], stale] {
        fs::write(bench.last_segment(), [good.clone(), tail.clone()].concat()).unwrap();
        let (log, writer, torn_bytes) = bench.open();
        assert_eq!(torn_bytes, u64::try_from(tail.len()).unwrap());
        assert_eq!(read_all(&log, LARGE), expected(&["one"]));
        writer.stop().await;
        assert_eq!(fs::read(bench.last_segment()).unwrap(), good);
    }
}

#[tokio::test]
async fn an_index_is_made_again_and_damage_is_said() {
    let bench = Bench::new();
    let (log, writer, _) = bench.open();
    append(&writer, &["one", "two"]).await.unwrap();
    bench.clock.jump(HOUR_MS);
    append(&writer, &["three"]).await.unwrap();
    fs::remove_file(bench.dir().join(format!("{:020}.idx", 1))).unwrap();
    assert_eq!(read_all(&log, LARGE), expected(&["one", "two", "three"]));
    let sealed = segment::log_path(&bench.dir(), 1);
    let mut bytes = fs::read(&sealed).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&sealed, bytes).unwrap();
    let (records, next) = log.read(Position::at(1), LARGE).unwrap();
    assert_eq!(records.len(), 1, "what is whole before the damage is given");
    assert!(matches!(log.read(next, LARGE), Err(LogError::Damaged { segment: 1, .. })));
}

#[tokio::test]
async fn arrivals_find_their_records() {
    let bench = Bench::new();
    let (log, writer, _) = bench.open();
    let start_ms = bench.clock.now_ms();
    for text in ["a", "b", "c", "d"] {
        append(&writer, &[text]).await.unwrap();
        bench.clock.jump(HOUR_MS / 2);
    }
    let check =
        |arrival_ms: i64, counter: u64| assert_eq!(log.counter_at(arrival_ms).unwrap(), counter, "{arrival_ms}");
    check(0, 1);
    check(start_ms, 1);
    check(start_ms + 1, 2);
    check(start_ms + HOUR_MS, 3);
    check(start_ms + HOUR_MS + 1, 4);
    check(start_ms + 2 * HOUR_MS, 5);
}

#[tokio::test]
async fn trimming_frees_whole_segments_and_moves_readers_on() {
    let bench = Bench::new();
    let (log, writer, _) = bench.open();
    let start_ms = bench.clock.now_ms();
    for text in ["a", "b", "c"] {
        append(&writer, &[text]).await.unwrap();
        bench.clock.jump(HOUR_MS);
    }
    assert_eq!(log.trim(start_ms + HOUR_MS).unwrap(), 0, "the next segment's first record is not older");
    assert_eq!(log.trim(start_ms + HOUR_MS + 1).unwrap(), 1);
    assert_eq!(log.trim(i64::MAX).unwrap(), 1, "the last segment stays");
    assert_eq!(read_all(&log, LARGE), [(3, "c".to_owned())]);
    assert_eq!(log.horizon(), 3);
}

#[tokio::test]
async fn a_clock_that_goes_back_does_not_reorder_arrivals() {
    let bench = Bench::new();
    let (log, writer, _) = bench.open();
    append(&writer, &["a"]).await.unwrap();
    bench.clock.jump(-HOUR_MS);
    append(&writer, &["b"]).await.unwrap();
    let (records, _) = log.read(Position::at(1), LARGE).unwrap();
    assert_eq!(records[0].arrival_ms, records[1].arrival_ms);
}

#[tokio::test]
async fn concurrent_appends_are_all_kept_in_their_own_order() {
    let bench = Bench::new();
    let (log, writer, _) = bench.open();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let writer = writer.clone();
            tokio::spawn(async move {
                for step in 0..50 {
                    append(&writer, &[&format!("{task} {step}")]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = read_all(&log, LARGE);
    assert_eq!(all.iter().map(|(counter, _)| *counter).collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>());
    for task in 0..8 {
        let steps: Vec<_> = all.iter().filter_map(|(_, text)| text.strip_prefix(&format!("{task} "))).collect();
        assert_eq!(steps, (0..50).map(|step: i32| step.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn closing_refuses_appends_and_reopening_takes_them_again() {
    let bench = Bench::new();
    let (_, writer, _) = bench.open();
    append(&writer, &["a"]).await.unwrap();
    assert_eq!(writer.close().await, Some(2));
    assert_eq!(append(&writer, &["b"]).await, Err(AppendError::Closed));
    writer.reopen().await;
    assert_eq!(append(&writer, &["b"]).await, Ok(2));
}
