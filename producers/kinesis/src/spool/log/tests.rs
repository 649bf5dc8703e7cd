//! The log on real files: what is acknowledged is read back, once and in order, whatever happened to the end of the files.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::{Found, Log, RejectedRecords};
use crate::{
    record::Record,
    spool::{SpoolError, frame::encode, segment},
};

/// Small, so that a few records fill a file.
const SEGMENT_BYTES: u64 = 300;

fn record(number: u64) -> Record {
    Record::new(
        format!("key-{}", number % 3),
        format!("{number}:{}", "x".repeat(usize::try_from(number % 50).unwrap())),
    )
}

fn open(folder: &Path) -> (Log, Found) {
    Log::open(folder, SEGMENT_BYTES).unwrap()
}

fn append(log: &mut Log, numbers: std::ops::Range<u64>) {
    let mut frames = Vec::new();
    for number in numbers.clone() {
        encode(number, &record(number), None, &mut frames);
    }
    log.append(&numbers, &frames).unwrap();
}

/// Reads until nothing comes any more; every record is what was written under its number.
fn read_all(log: &mut Log) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..10_000 {
        let read = log.read(120).unwrap();
        for found in &read.records {
            assert_eq!(found.record, record(found.number));
        }
        numbers.extend(read.records.iter().map(|found| found.number));
        if read.records.is_empty() && read.is_at_end {
            return numbers;
        }
    }
    panic!("the end is never reached");
}

fn files(folder: &Path, extension: &str) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

#[test]
fn what_is_appended_is_read_and_deleted_when_drained() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, found) = open(folder.path());
    assert_eq!((found.next, found.done_below), (0, 0));
    for first in (0..100).step_by(5) {
        append(&mut log, first..first + 5);
    }
    assert!(files(folder.path(), "log").len() > 5);
    assert_eq!(read_all(&mut log), (0..100).collect::<Vec<_>>());
    append(&mut log, 100..101);
    assert_eq!(read_all(&mut log), [100]);
    let before = log.disk_bytes();
    log.drained(60).unwrap();
    assert!(log.disk_bytes() < before / 2 + 2 * SEGMENT_BYTES);
    log.drained(101).unwrap();
    assert_eq!(files(folder.path(), "log").len(), 1);
    assert!(log.disk_bytes() < SEGMENT_BYTES + 300);
}

#[test]
fn after_a_restart_exactly_the_rest_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    append(&mut log, 0..50);
    append(&mut log, 50..70);
    log.drained(33).unwrap();
    drop(log);
    let (mut log, found) = open(folder.path());
    assert_eq!((found.next, found.done_below), (70, 33));
    append(&mut log, 70..75);
    assert_eq!(read_all(&mut log), (33..75).collect::<Vec<_>>());
}

#[test]
fn one_producer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (log, _) = open(folder.path());
    assert!(matches!(Log::open(folder.path(), SEGMENT_BYTES), Err(SpoolError::InUse { .. })));
    drop(log);
    open(folder.path());
}

#[test]
fn files_of_another_version_are_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment::path(folder.path(), 5);
    let mut bytes = segment::head(5);
    bytes[7] += 1;
    bytes.extend_from_slice(b"what only a newer version can read");
    fs::write(&path, &bytes).unwrap();
    let Err(SpoolError::Format { path: named }) = Log::open(folder.path(), SEGMENT_BYTES) else { panic!("it opened") };
    assert_eq!((named, fs::read(&path).unwrap()), (path, bytes));
}

#[test]
fn a_write_that_failed_half_way_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    append(&mut log, 0..2);
    // What a full disk leaves behind: a part of the frames.
    let path = segment::path(folder.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(&[1, 2, 3]);
    fs::write(&path, bytes).unwrap();
    log.is_torn = true;
    append(&mut log, 4..6);
    assert_eq!(read_all(&mut log), [0, 1, 4, 5]);
    drop(log);
    let (mut log, found) = open(folder.path());
    assert_eq!(found.next, 6);
    assert_eq!(read_all(&mut log), [0, 1, 4, 5]);
}

#[test]
fn a_damaged_file_is_put_aside_and_the_next_ones_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    for first in (0..60).step_by(10) {
        append(&mut log, first..first + 10);
    }
    let second = files(folder.path(), "log")[1].clone();
    let mut bytes = fs::read(&second).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&second, &bytes).unwrap();
    let numbers = read_all(&mut log);
    let lost: Vec<u64> = (0..60).filter(|number| !numbers.contains(number)).collect();
    assert!(!lost.is_empty() && lost.iter().all(|number| (10..20).contains(number)), "{lost:?}");
    assert_eq!(fs::read(&files(folder.path(), "damaged")[0]).unwrap(), bytes, "kept for a person to look at");
}

#[test]
fn a_damaged_last_file_does_not_stop_writing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    append(&mut log, 0..5);
    let path = segment::path(folder.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    bytes[segment::HEAD_BYTES + 20] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(read_all(&mut log).is_empty());
    append(&mut log, 5..8);
    assert_eq!(read_all(&mut log), [5, 6, 7]);
}

#[test]
fn rejected_records_are_kept_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(RejectedRecords::open(folder.path()).unwrap().count(), 0);
    let (mut log, _) = open(folder.path());
    for first in (0..40).step_by(10) {
        append(&mut log, first..first + 10);
    }
    log.reject(&[3, 25]).unwrap();
    log.reject(&[39]).unwrap();
    log.drained(40).unwrap();
    let rejected: Vec<Record> = RejectedRecords::open(folder.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(rejected, [record(3), record(25), record(39)]);
    assert!(log.disk_bytes() > fs::metadata(folder.path().join("rejected")).unwrap().len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The file ends anywhere, or holds anything, behind what was acknowledged: the process died in the middle of a write.
    #[test]
    fn a_torn_end_takes_nothing_that_was_acknowledged(
        appends in proptest::collection::vec(1..8_u64, 1..10),
        keep in any::<prop::sample::Index>(),
        garbage in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = open(folder.path());
        let mut next = 0;
        for count in &appends {
            append(&mut log, next..next + count);
            next += count;
        }
        let acknowledged = log.last().bytes;
        drop(log);
        let tail = files(folder.path(), "log").pop().unwrap();
        let mut torn = Vec::new();
        encode(next, &record(next), None, &mut torn);
        torn.truncate(keep.index(torn.len()));
        torn.extend(garbage);
        let mut bytes = fs::read(&tail).unwrap();
        bytes.extend(torn);
        fs::write(&tail, bytes).unwrap();

        let (mut log, found) = open(folder.path());
        prop_assert_eq!(found.next, next);
        prop_assert_eq!(log.last().bytes, acknowledged);
        append(&mut log, next..next + 3);
        prop_assert_eq!(read_all(&mut log), (0..next + 3).collect::<Vec<_>>());
    }
}
