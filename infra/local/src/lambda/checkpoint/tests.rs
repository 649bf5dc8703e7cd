//! The log of positions: what comes back after any end of the process.

use crate::kinesis::HashKeyRange;

use super::*;

fn shard(number: u64, epoch_s: u64) -> ShardDescription {
    ShardDescription {
        number,
        range: HashKeyRange::new(0, u128::MAX),
        parents: Vec::new(),
        epoch_s,
        created_ms: 0,
        closed: None,
    }
}

fn at(next_counter: u64) -> Checkpoint {
    Checkpoint { next_counter, is_finished: false, window: None }
}

/// Runs the writer until everything noted is written.
async fn written(checkpoints: &Checkpoints) {
    let running = tokio::spawn(checkpoints.clone().run());
    checkpoints.close().await;
    running.await.unwrap();
}

#[tokio::test]
async fn positions_come_back_for_their_own_shard_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("a");
    let first = Checkpoints::open(dir.clone(), 77).unwrap();
    assert!(first.is_new());
    assert_eq!(first.read(&shard(1, 5)), None);
    let window = OpenWindow { start_ms: 60_000, state: r#"{"n":1}"#.to_owned(), is_terminated_early: false };
    let last = Checkpoint { next_counter: 42, is_finished: true, window: Some(window) };
    first.note(&shard(1, 5), at(7));
    first.note(&shard(2, 5), at(9));
    first.note(&shard(1, 5), last.clone());
    assert_eq!(first.read(&shard(1, 5)), Some(last.clone()), "what is noted is read");
    written(&first).await;
    let second = Checkpoints::open(dir.clone(), 77).unwrap();
    assert!(!second.is_new());
    assert_eq!(second.mapping_id(), first.mapping_id());
    assert_eq!((second.read(&shard(1, 5)), second.read(&shard(2, 5))), (Some(last), Some(at(9))));
    assert_eq!(second.read(&shard(1, 6)), None, "another shard of that number");
    let of_another_stream = Checkpoints::open(dir, 78).unwrap();
    assert_eq!(of_another_stream.read(&shard(1, 5)), None);
    assert!(of_another_stream.is_new());
}

#[tokio::test]
async fn a_log_cut_anywhere_gives_an_earlier_position_and_never_a_later_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(LOG_FILE);
    let checkpoints = Checkpoints::open(dir.path().to_owned(), 77).unwrap();
    let mut log = LogFile::default();
    for counter in 1..=20 {
        checkpoints.note(&shard(0, 5), at(counter));
        checkpoints.inner.write(&mut log, &path, counter % 7 == 0).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let mut seen = 0;
    for cut in 0..=whole.len() {
        let (lines, bad_lines) = parse(&whole[..cut]);
        assert_eq!(bad_lines, 0, "a torn end is no damage");
        let counter = u64::try_from(lines.len().saturating_sub(1)).unwrap();
        let next = shard(0, 5).sequence_number(counter).to_string();
        let last_is_it =
            |line: &Line| matches!(line, Line::Position { next_sequence_number, .. } if *next_sequence_number == next);
        assert!(counter == 0 || lines.last().is_some_and(last_is_it), "cut at {cut}");
        assert!(counter == seen || counter == seen + 1, "{counter} after {seen}, cut at {cut}");
        seen = counter;
    }
    assert_eq!(seen, 20);
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    let found = Checkpoints::open(dir.path().to_owned(), 77).unwrap().read(&shard(0, 5));
    assert_eq!(found, Some(at(19)));
    for flip in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[flip] ^= 1;
        let (lines, bad_lines) = parse(&damaged);
        assert!(bad_lines > 0 || lines.len() < 21, "a flipped bit at {flip} is seen");
    }
}

#[tokio::test]
async fn the_log_is_rewritten_when_it_is_mostly_old() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(LOG_FILE);
    let checkpoints = Checkpoints::open(dir.path().to_owned(), 77).unwrap();
    let mut log = LogFile::default();
    let mut longest = 0;
    for counter in 1..=20_000 {
        checkpoints.note(&shard(counter % 3, 5), at(counter));
        checkpoints.inner.write(&mut log, &path, false).unwrap();
        longest = longest.max(log.bytes);
    }
    assert!(longest > COMPACT_BYTES_MIN && longest < COMPACT_BYTES_MIN + 1_024, "{longest}");
    let again = Checkpoints::open(dir.path().to_owned(), 77).unwrap();
    assert_eq!(again.read(&shard(20_000 % 3, 5)), Some(at(20_000)));
}

#[tokio::test]
async fn a_disk_that_refuses_loses_nothing_that_was_noted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(LOG_FILE);
    let checkpoints = Checkpoints::open(dir.path().to_owned(), 77).unwrap();
    let mut log = LogFile::default();
    checkpoints.note(&shard(0, 5), at(1));
    checkpoints.inner.write(&mut log, &path, true).unwrap();
    checkpoints.note(&shard(0, 5), at(2));
    log = LogFile::default();
    let elsewhere = dir.path().join("not/there");
    checkpoints.inner.write(&mut log, &elsewhere, true).unwrap_err();
    checkpoints.inner.write(&mut log, &path, true).unwrap();
    let again = Checkpoints::open(dir.path().to_owned(), 77).unwrap();
    assert_eq!(again.read(&shard(0, 5)), Some(at(2)));
}
