//! The load: some connections that put prepared requests, one after the other, until the time is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64_simd::STANDARD;
use kinesis_record::AggregateBuilder;

use crate::http::{Connection, request};
use crate::server::{Server, Usage};

pub(crate) const STREAM: &str = "bench";
/// Requests that each connection has prepared, so that no two of them follow each other with the same keys.
const PREPARED: u64 = 4;
/// KPL's default size of an aggregate.
const AGGREGATE_BYTES: usize = 51_200;

/// What is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Records of one request.
    pub(crate) records: usize,
    /// Bytes of a user record's data.
    pub(crate) bytes: usize,
    /// Whether user records come packed in KPL's aggregates.
    pub(crate) is_aggregated: bool,
}

/// What a load did to a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    /// User records that were acknowledged.
    pub(crate) records: u64,
    pub(crate) elapsed: Duration,
    pub(crate) before: Usage,
    pub(crate) after: Usage,
}

/// A prepared request, and the user records in it.
struct Prepared {
    request: Vec<u8>,
    records: u64,
}

impl Put {
    /// User records for each second of the server's CPU time.
    pub(crate) fn per_cpu_s(&self) -> f64 {
        ratio(self.records, self.cpu())
    }

    /// User records a second by the clock.
    pub(crate) fn per_s(&self) -> f64 {
        ratio(self.records, self.elapsed)
    }

    pub(crate) fn cpu(&self) -> Duration {
        self.after.cpu.saturating_sub(self.before.cpu)
    }
}

/// A count for each second of a time.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
pub(crate) fn ratio(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-9)
}

/// Makes the stream and waits until it is active.
#[expect(clippy::disallowed_methods, reason = "the bench has no runtime to block")]
pub(crate) fn create_stream(address: SocketAddr, shards: u32) -> anyhow::Result<()> {
    let mut connection = Connection::open(address)?;
    connection.ask("CreateStream", &format!(r#"{{"StreamName":"{STREAM}","ShardCount":{shards}}}"#))?;
    for _ in 0..300 {
        let answer = connection.ask("DescribeStreamSummary", &format!(r#"{{"StreamName":"{STREAM}"}}"#))?;
        if answer.pointer("/StreamDescriptionSummary/StreamStatus").and_then(|status| status.as_str()) == Some("ACTIVE")
        {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("the stream did not become active")
}

/// Puts from some connections for a time. Every record has to be taken.
pub(crate) fn put(server: &Server, shape: Shape, connections: u64, length: Duration) -> anyhow::Result<Put> {
    let prepared: Vec<Vec<Prepared>> = (0..connections)
        .map(|connection| (0..PREPARED).map(|part| prepare(shape, connection * PREPARED + part)).collect())
        .collect();
    let is_over = AtomicBool::new(false);
    let before = server.usage()?;
    let started = Instant::now();
    let records = thread::scope(|scope| -> anyhow::Result<u64> {
        let threads: Vec<_> =
            prepared.iter().map(|prepared| scope.spawn(|| put_until(server.address, prepared, &is_over))).collect();
        let asleep = Instant::now();
        while asleep.elapsed() < length && !threads.iter().any(thread::ScopedJoinHandle::is_finished) {
            thread::park_timeout(length.saturating_sub(asleep.elapsed()).min(Duration::from_millis(50)));
        }
        is_over.store(true, Ordering::Relaxed);
        let mut records = 0;
        for thread in threads {
            records += thread.join().ok().context("a load thread panicked")??;
        }
        Ok(records)
    })?;
    Ok(Put { records, elapsed: started.elapsed(), before, after: server.usage()? })
}

fn put_until(address: SocketAddr, prepared: &[Prepared], is_over: &AtomicBool) -> anyhow::Result<u64> {
    let mut connection = Connection::open(address)?;
    let mut records = 0;
    for next in prepared.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let (status, answer) = connection.call(&next.request)?;
        let is_whole = find(answer, b"\"FailedRecordCount\":").and_then(|at| answer.get(at..));
        let is_whole = is_whole.and_then(|rest| rest.iter().find(|byte| **byte != b' ')) == Some(&b'0');
        ensure!(status == 200 && is_whole, "PutRecords answered {status}: {}", shown(answer));
        records += next.records;
    }
    Ok(records)
}

/// The offset behind a word.
pub(crate) fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word).map(|at| at + word.len())
}

fn shown(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer.get(..answer.len().min(300)).unwrap_or_default()).into_owned()
}

fn prepare(shape: Shape, seed: u64) -> Prepared {
    let mut body = format!(r#"{{"StreamName":"{STREAM}","Records":["#);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut user_records = 0;
    for index in 0..shape.records {
        let key = format!("{:016x}", random.next());
        let (data, count) =
            if shape.is_aggregated { aggregate(shape, &mut random) } else { (random.bytes(shape.bytes), 1) };
        user_records += count;
        if index > 0 {
            body.push(',');
        }
        body.push_str(&format!(r#"{{"Data":"{}","PartitionKey":"{key}"}}"#, STANDARD.encode_to_string(&data)));
    }
    body.push_str("]}");
    Prepared { request: request("PutRecords", &body), records: user_records }
}

/// User records in one Kinesis record of this shape.
pub(crate) fn user_records_in_each(shape: Shape) -> u64 {
    if shape.is_aggregated { aggregate(shape, &mut Random(1)).1 } else { 1 }
}

fn aggregate(shape: Shape, random: &mut Random) -> (Vec<u8>, u64) {
    let mut builder = AggregateBuilder::new();
    let mut count = 0;
    loop {
        let key = format!("{:016x}", random.next());
        if builder.size_with(&key, None, shape.bytes) > AGGREGATE_BYTES {
            return (builder.encode().to_vec(), count);
        }
        builder.push(&key, None, random.bytes(shape.bytes).into());
        count += 1;
    }
}

/// Xorshift: the same load each time, and no two records alike.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(length);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_hold_what_they_say() {
        let check = |shape: Shape, user_records: u64| {
            let prepared = prepare(shape, 3);
            assert_eq!(prepared.records, user_records);
            let body = prepared.request.get(find(&prepared.request, b"\r\n\r\n").unwrap()..).unwrap();
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            let records = body["Records"].as_array().unwrap();
            assert_eq!(records.len(), shape.records);
            let data = STANDARD.decode_to_vec(records[0]["Data"].as_str().unwrap()).unwrap();
            assert_eq!(kinesis_record::opens_like_aggregate(&data), shape.is_aggregated);
        };
        check(Shape { records: 5, bytes: 1_000, is_aggregated: false }, 5);
        check(Shape { records: 2, bytes: 1_500, is_aggregated: true }, 66);
    }
}
