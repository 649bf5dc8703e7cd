//! Logs of format 1, byte by byte, become this format's.

use super::*;

/// A frame of format 1.
fn frame(counter: u64, arrival_ms: i64, text: &str) -> Vec<u8> {
    let mut covered = counter.to_le_bytes().to_vec();
    covered.extend_from_slice(&arrival_ms.to_le_bytes());
    covered.extend_from_slice(b"\x03\0key");
    covered.extend_from_slice(text.as_bytes());
    let mut bytes = u32::try_from(covered.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend_from_slice(&crc32fast::hash(&covered).to_le_bytes());
    bytes.extend_from_slice(&covered);
    bytes
}

fn write_segment(stream: &Path, shard: &str, base: u64, frames: &[Vec<u8>]) {
    let head = [b"MRSHARD1".as_slice(), &base.to_le_bytes()].concat();
    fs::create_dir_all(stream.join(shard)).unwrap();
    fs::write(stream.join(shard).join(format!("{base:020}.log")), [head, frames.concat()].concat()).unwrap();
}

/// Shard 0 lost its first segment to retention and has a torn tail; shard 1 died within its second segment's head.
fn write_stream(stream: &Path) {
    write_segment(stream, "shardId-000000000000", 5, &[frame(5, 1_000, "a"), frame(6, 4_000, "b")]);
    let torn = frame(8, 9_000, "torn")[..20].to_vec();
    write_segment(stream, "shardId-000000000000", 7, &[frame(7, 9_000, "c"), torn]);
    write_segment(stream, "shardId-000000000001", 1, &[frame(1, 2_000, "x"), frame(2, 9_000, "y")]);
    fs::write(stream.join("shardId-000000000001").join(format!("{:020}.log", 3)), b"MRSH").unwrap();
    fs::create_dir_all(stream.join("shardId-000000000002")).unwrap();
}

fn check(bench: &Bench) {
    let open = bench.open();
    let texts = |counter: u64, texts: &[&str]| -> Vec<(u64, String)> {
        (counter..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
    };
    assert_eq!(read_all(&open.shards[0], LARGE), texts(5, &["a", "b", "c"]));
    assert_eq!(read_all(&open.shards[1], LARGE), texts(1, &["x", "y"]));
    assert_eq!(open.shards[2].tail().next_counter, 1);
    assert_eq!((open.shards[0].horizon(), open.shards[1].horizon()), (5, 1));
    assert_eq!(open.shards[0].counter_at(4_000).unwrap(), 6);
    assert_eq!(open.shards[1].counter_at(2_001).unwrap(), 2);
}

#[test]
fn records_keep_their_counters_and_arrivals() {
    let bench = Bench::new();
    let stream = bench.root.path();
    write_stream(stream);
    take_over(stream, &bench.dir(), 10_000).unwrap();
    check(&bench);
    assert!(!stream.join("shardId-000000000000").exists(), "what was taken over is gone");
    take_over(stream, &bench.dir(), 10_000).unwrap();
    check(&bench);
}

#[test]
fn a_copy_that_was_cut_short_is_begun_again() {
    let bench = Bench::new();
    let stream = bench.root.path();
    write_stream(stream);
    fs::create_dir(stream.join("log.tmp")).unwrap();
    fs::write(stream.join("log.tmp/000000000001-5.log"), b"half a copy").unwrap();
    take_over(stream, &bench.dir(), 10_000).unwrap();
    check(&bench);
    // And one that died after the new log had got its name, before the old ones were gone.
    write_stream(stream);
    take_over(stream, &bench.dir(), 10_000).unwrap();
    check(&bench);
}

#[test]
fn damage_before_the_end_stops_the_copy() {
    let bench = Bench::new();
    let stream = bench.root.path();
    write_stream(stream);
    write_segment(stream, "shardId-000000000000", 5, &[frame(5, 1_000, "a"), frame(6, 4_000, "b")[1..].to_vec()]);
    let result = take_over(stream, &bench.dir(), 10_000);
    assert!(matches!(result, Err(LogError::Damaged { .. })), "{result:?}");
    assert!(stream.join("shardId-000000000000").exists() && !bench.dir().exists());
}
