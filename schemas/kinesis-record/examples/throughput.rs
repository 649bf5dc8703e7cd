//! How fast aggregates are read and packed on one core, beside the MD5 that the format demands.
//!
//! `cargo run --release -p kinesis-record --example throughput [FILE]`. With a file of JSON lines it also says what compression
//! makes of them. Rates are per second of CPU time of the one thread where the kernel tells it, so other work on the machine
//! matters little; MB are 10^6 bytes.

#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use kinesis_record::{
    Aggregate, AggregateBuilder, CONTENT_BYTES_MAX, Compressor, UnpackError, check_digests, unpack_aggregate,
};
use md5::{Digest, Md5};

/// The size at which producers close an aggregate: two PUT payload units.
const AGGREGATE_BYTES: usize = 51_200;

/// Beyond the caches of a core, as a stream is.
const AGGREGATES: usize = 400;

/// The kernel counts CPU time in steps of a few milliseconds.
const LINES_REPEATED: usize = 60;

/// Every figure is the best of so many rounds.
const ROUNDS: usize = 7;

fn main() {
    for record_bytes in [100, 300, 1_000] {
        let aggregates = aggregates(record_bytes);
        let len =
            |data| unpack_aggregate(data, CONTENT_BYTES_MAX).ok().flatten().map_or(0, |aggregate| aggregate.len());
        let records: usize = aggregates.iter().map(len).sum();
        let bytes = total(&aggregates);
        println!("{} aggregates of {AGGREGATE_BYTES} bytes, records of {record_bytes} bytes", aggregates.len());
        report("MD5 alone, one by one", bytes, records, || {
            for data in &aggregates {
                black_box(Md5::digest(data));
            }
        });
        report("unpack one by one", bytes, records, || {
            for data in &aggregates {
                unpack(data);
            }
        });
        report("digests alone, 16 at once", bytes, records, || {
            for some in aggregates.chunks(16) {
                black_box(check_digests(some.iter().cloned()));
            }
        });
        report("unpack, 16 digests at once", bytes, records, || {
            for some in aggregates.chunks(16) {
                check_digests(some.iter().cloned())
                    .iter()
                    .for_each(|checked| read_owned(checked.unpack(CONTENT_BYTES_MAX)));
            }
        });
        report("the same, borrowed", bytes, records, || {
            for some in aggregates.chunks(16) {
                check_digests(some.iter().cloned()).iter().for_each(|checked| read(checked.unpack(CONTENT_BYTES_MAX)));
            }
        });
    }
    match std::env::args().nth(1).map(std::fs::read) {
        None => println!("no file of JSON lines given: compression not measured"),
        Some(Err(error)) => println!("the file of JSON lines cannot be read: {error}"),
        Some(Ok(lines)) => compression(&lines),
    }
}

fn aggregates(record_bytes: usize) -> Vec<Bytes> {
    let mut number = 0_u32;
    let aggregate = |_| {
        let mut builder = AggregateBuilder::new();
        loop {
            let key = format!("screen-{}", number % 40_000);
            if builder.size_with(&key, Some(u128::MAX / 3), record_bytes) > AGGREGATE_BYTES {
                return builder.encode();
            }
            let data: Vec<u8> =
                (0_u8..=255).cycle().skip(usize::from(number.to_le_bytes()[0])).take(record_bytes).collect();
            builder.push(&key, Some(u128::MAX / 3), data.into());
            number += 1;
        }
    };
    (0..AGGREGATES).map(aggregate).collect()
}

type Read = Result<Option<Aggregate>, UnpackError>;

/// Reads every record of an aggregate.
fn read_owned(aggregate: Read) {
    for record in aggregate.expect("it was just packed").expect("an aggregate") {
        black_box(record);
    }
}

/// The same without taking anything out of it.
fn read(aggregate: Read) {
    for record in aggregate.expect("it was just packed").expect("an aggregate").records() {
        black_box(record);
    }
}

fn unpack(data: &Bytes) {
    read_owned(unpack_aggregate(data, CONTENT_BYTES_MAX));
}

/// What a shard that takes 1 MB/s carries of these lines, at several levels, and what it costs.
fn compression(lines: &[u8]) {
    let lines: Vec<Bytes> =
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(Bytes::copy_from_slice).collect();
    println!("{} JSON lines of {} bytes on average", lines.len(), total(&lines) / lines.len().max(1));
    // An aggregate holds each line once at most, and there is enough to measure.
    let lines: Vec<Bytes> = (0..LINES_REPEATED).flat_map(|_| lines.iter().cloned()).collect();
    for level in [-3, -1, 1, 3, 6] {
        let (aggregates, json_bytes, records) = compressed(&lines, level);
        let wire_bytes = total(&aggregates);
        let tenths = json_bytes * 10 / wire_bytes.max(1);
        let filled = wire_bytes / aggregates.len().max(1);
        println!(
            "level {level}: {}.{} MB of JSON per MB on the wire, {filled} bytes per record",
            tenths / 10,
            tenths % 10
        );
        report("  compress", json_bytes, records, || {
            black_box(compressed(&lines, level));
        });
        report("  decompress and unpack", json_bytes, records, || aggregates.iter().for_each(unpack));
    }
}

/// All lines in compressed aggregates that are about full, how many bytes of JSON those hold, and in how many records.
fn compressed(lines: &[Bytes], level: i32) -> (Vec<Bytes>, usize, usize) {
    let mut compressor = Compressor::new(level);
    let mut aggregates = Vec::new();
    let mut builder = AggregateBuilder::new();
    let mut content_max = AGGREGATE_BYTES;
    for line in lines {
        if builder.size_with("screen-17", Some(0), line.len()) > content_max {
            let data = compressor.compress(&builder).expect("far below the limit");
            content_max = (builder.size() * AGGREGATE_BYTES / data.len()).clamp(AGGREGATE_BYTES, 4 << 20);
            aggregates.push(data);
            builder = AggregateBuilder::new();
        }
        builder.push("screen-17", Some(0), line.clone());
    }
    if !builder.is_empty() {
        aggregates.push(compressor.compress(&builder).expect("far below the limit"));
    }
    (aggregates, total(lines), lines.len())
}

fn total(parts: &[Bytes]) -> usize {
    parts.iter().map(Bytes::len).sum()
}

fn report(what: &str, bytes: usize, records: usize, mut work: impl FnMut()) {
    let nanoseconds = (0..ROUNDS).map(|_| spent(&mut work)).min().unwrap_or(1).max(1);
    let mb_per_s = bytes as u128 * 1_000 / nanoseconds;
    let krecords_per_s = records as u128 * 1_000_000 / nanoseconds;
    println!("{what:26} {mb_per_s:6} MB/s {krecords_per_s:8} thousand records/s");
}

/// Nanoseconds of CPU time that `work` took, or of time where the kernel does not tell.
fn spent(work: &mut impl FnMut()) -> u128 {
    let (cpu_before, started_at) = (cpu_nanoseconds(), Instant::now());
    work();
    match (cpu_before, cpu_nanoseconds()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        (_, _) => started_at.elapsed().as_nanos(),
    }
}

/// What this thread has had of the CPU so far.
fn cpu_nanoseconds() -> Option<u128> {
    std::fs::read_to_string("/proc/thread-self/schedstat").ok()?.split(' ').next()?.parse().ok()
}
