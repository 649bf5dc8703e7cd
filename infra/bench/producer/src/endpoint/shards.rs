//! The shards of the endpoint: their limits, and what each has counted.

use std::fmt;

use base64_simd::{Out, STANDARD};
use bytes::Bytes;
use hdrhistogram::Histogram;
use kinesis_record::{Unpacked, hash_key, unpack};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shard_limits::WriteLimiter;

use super::{
    EndpointOptions,
    wire::{self, Entry, EntryResult, PutRecords, count_compressed, count_sub_records, shard_id},
};

/// A payload begins with its time in so many hexadecimal digits, when payloads are read.
const STAMP_BYTES: usize = 16;

/// The longest wait that the histogram tells apart: a minute, in microseconds.
const WAIT_US_MAX: u64 = 60_000_000;

/// What the endpoint has counted since it was started or reset, over all shards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Kinesis records that were taken.
    pub records: u64,
    /// Bytes of data and partition keys in them.
    pub bytes: u64,
    /// Records that were in those.
    pub user_records: u64,
    /// Kinesis records that were not taken, for a limit.
    pub throttled: u64,
    /// Requests that carried records.
    pub requests: u64,
    /// Bytes of the shard that took most.
    pub shard_bytes_max: u64,
    /// Bytes of the one that took least.
    pub shard_bytes_min: u64,
    /// Digests that do not fit, and payloads without a time: 0, or the producer is broken.
    pub malformed: u64,
    /// From the time in the payload to the arrival of the request's head, in microseconds: the median.
    pub wait_us_p50: u64,
    /// And its p99.
    pub wait_us_p99: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string(self).map_err(|_unwritable| fmt::Error)?)
    }
}

#[derive(Debug)]
struct Shard {
    limiter: Option<WriteLimiter>,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Shards {
    shards: Vec<Shard>,
    reads_payloads: bool,
    pub(super) is_down: bool,
    sequence: u64,
    counted: Tally,
    waits: Histogram<u64>,
    /// Reused, so that decoding does not allocate.
    decoded: Vec<u8>,
    results: Vec<EntryResult>,
}

impl Shards {
    pub(super) fn new(options: &EndpointOptions) -> Self {
        let limiter = |_| Shard { limiter: options.model.map(|model| WriteLimiter::with_model(model, 0)), bytes: 0 };
        Shards {
            shards: (0..options.shards.max(1)).map(limiter).collect(),
            reads_payloads: options.reads_payloads,
            is_down: false,
            sequence: 0,
            counted: Tally::default(),
            waits: Histogram::new_with_max(WAIT_US_MAX, 3).expect("three digits of a minute fit"),
            decoded: Vec::new(),
            results: Vec::new(),
        }
    }

    pub(super) fn put_records(&mut self, put: &PutRecords<'_>, now_ms: i64, arrived_us: u64) -> String {
        self.counted.requests += 1;
        self.results.clear();
        for entry in &put.records {
            let result = self.put(entry, now_ms, arrived_us);
            self.results.push(result);
        }
        wire::put_records_answer(&self.results)
    }

    pub(super) fn put_record(&mut self, entry: &Entry<'_>, now_ms: i64, arrived_us: u64) -> (u16, String) {
        self.counted.requests += 1;
        let result = self.put(entry, now_ms, arrived_us);
        wire::put_record_answer(result)
    }

    fn put(&mut self, entry: &Entry<'_>, now_ms: i64, arrived_us: u64) -> EntryResult {
        let explicit = entry.explicit_hash_key.as_deref().and_then(|key| key.parse().ok());
        let index = self.index(explicit.unwrap_or_else(|| hash_key(&entry.partition_key)));
        self.decoded.resize(entry.data.len(), 0);
        let Ok(data) = STANDARD.decode(entry.data.as_bytes(), Out::from_slice(&mut self.decoded)) else {
            self.counted.malformed += 1;
            return EntryResult::Throttled;
        };
        let bytes = data.len() + entry.partition_key.len();
        let size = u64::try_from(bytes).unwrap_or(u64::MAX);
        let Some(shard) = self.shards.get_mut(index) else { return EntryResult::Throttled };
        if shard.limiter.as_mut().is_some_and(|limiter| !limiter.admit(bytes, now_ms)) {
            self.counted.throttled += 1;
            return EntryResult::Throttled;
        }
        shard.bytes += size;
        self.counted.bytes += size;
        self.counted.records += 1;
        if self.reads_payloads {
            let data = Bytes::copy_from_slice(data);
            self.read(&data, arrived_us);
        } else {
            self.counted.user_records += count_sub_records(data).or_else(|| count_compressed(data)).unwrap_or(1);
        }
        self.sequence += 1;
        EntryResult::Stored { shard: index, sequence: self.sequence }
    }

    /// The shard of a hash key: all ranges have the same width.
    fn index(&self, hash_key: u128) -> usize {
        let shards = self.shards.len();
        let index = hash_key / width(shards);
        usize::try_from(index).unwrap_or(usize::MAX).min(shards - 1)
    }

    fn read(&mut self, data: &Bytes, arrived_us: u64) {
        match unpack(data) {
            Ok(Unpacked::Plain) => self.read_payload(data, arrived_us),
            Ok(Unpacked::Aggregate(records)) => {
                for record in records {
                    self.read_payload(&record.data, arrived_us);
                }
            }
            Err(_) => self.counted.malformed += 1,
        }
    }

    fn read_payload(&mut self, payload: &[u8], arrived_us: u64) {
        self.counted.user_records += 1;
        let text = payload.get(..STAMP_BYTES).and_then(|stamp| std::str::from_utf8(stamp).ok());
        match text.and_then(|text| u64::from_str_radix(text, 16).ok()) {
            Some(sent_us) => self.waits.saturating_record(arrived_us.saturating_sub(sent_us)),
            None => self.counted.malformed += 1,
        }
    }

    pub(super) fn reset(&mut self) {
        self.counted = Tally::default();
        self.waits.reset();
        for shard in &mut self.shards {
            shard.bytes = 0;
        }
    }

    pub(super) fn tally(&self) -> Tally {
        Tally {
            shard_bytes_max: self.shards.iter().map(|shard| shard.bytes).max().unwrap_or(0),
            shard_bytes_min: self.shards.iter().map(|shard| shard.bytes).min().unwrap_or(0),
            wait_us_p50: self.waits.value_at_quantile(0.5),
            wait_us_p99: self.waits.value_at_quantile(0.99),
            ..self.counted.clone()
        }
    }

    pub(super) fn list(&self) -> String {
        json!({ "Shards": self.listed() }).to_string()
    }

    /// A description of the stream; clients read what they need of it.
    pub(super) fn describe(&self, name: &str) -> String {
        json!({ name: {
            "StreamName": "events",
            "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/events",
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" },
            "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 0,
            "EnhancedMonitoring": [],
            "OpenShardCount": self.shards.len(),
            "HasMoreShards": false,
            "Shards": self.listed(),
        }})
        .to_string()
    }

    fn listed(&self) -> Vec<serde_json::Value> {
        let count = self.shards.len();
        let shard = |index: usize| {
            let start = width(count) * u128::try_from(index).unwrap_or(0);
            let end = if index + 1 == count { u128::MAX } else { start + (width(count) - 1) };
            json!({
                "ShardId": shard_id(index),
                "HashKeyRange": { "StartingHashKey": start.to_string(), "EndingHashKey": end.to_string() },
                "SequenceNumberRange": { "StartingSequenceNumber": "0" },
            })
        };
        (0..count).map(shard).collect()
    }
}

/// Hash keys of one shard; the last one has the remainder too.
fn width(shards: usize) -> u128 {
    match u128::try_from(shards) {
        Ok(shards) if shards > 1 => u128::MAX / shards + 1,
        Ok(_) | Err(_) => u128::MAX,
    }
}

/// The time at the head of a payload.
pub(crate) fn stamp(now_us: u64) -> String {
    format!("{now_us:0STAMP_BYTES$x}")
}

#[cfg(test)]
mod tests {
    use base64_simd::STANDARD;
    use bytes::Bytes;
    use kinesis_record::AggregateBuilder;
    use serde_json::json;
    use shard_limits::WriteModel;

    use super::{Shards, stamp};
    use crate::endpoint::EndpointOptions;

    fn shards(count: u32, model: Option<WriteModel>) -> Shards {
        Shards::new(&EndpointOptions { shards: count, model, round_trip_ms: 0, reads_payloads: true })
    }

    fn put(shards: &mut Shards, data: &[u8], hash_key: u128, now_ms: i64) -> (u16, String) {
        let entry = json!({"Data": STANDARD.encode_to_string(data), "PartitionKey": "k", "ExplicitHashKey": hash_key.to_string()});
        shards.put_record(&serde_json::from_str(&entry.to_string()).unwrap(), now_ms, 1_500)
    }

    #[test]
    fn records_land_where_the_listing_says() {
        for count in [1, 2, 3, 7, 400] {
            let mut shards = shards(count, None);
            let listed = shards.listed();
            let mut next = 0_u128;
            for (index, shard) in listed.iter().enumerate() {
                let bound = |name: &str| shard["HashKeyRange"][name].as_str().unwrap().parse::<u128>().unwrap();
                assert_eq!(bound("StartingHashKey"), next, "{index} of {count}");
                assert_eq!(shards.index(bound("StartingHashKey")), index);
                assert_eq!(shards.index(bound("EndingHashKey")), index);
                next = bound("EndingHashKey").wrapping_add(1);
            }
            assert_eq!(next, 0, "all hash keys are covered");
            let (_, answer) = put(&mut shards, stamp(0).as_bytes(), u128::MAX, 0);
            assert!(answer.contains(&format!("shardId-{:012}", count - 1)), "{answer}");
        }
    }

    #[test]
    fn what_is_taken_is_counted_and_what_is_not_is_throttled() {
        let mut shards = shards(1, Some(WriteModel::HardWindow));
        let mut builder = AggregateBuilder::new();
        for number in 0..3 {
            let payload = format!("{}{}", stamp(1_000), "x".repeat(400_000));
            builder.push(&format!("key-{number}"), None, Bytes::from(payload));
        }
        let aggregate = builder.encode();
        assert_eq!(put(&mut shards, &aggregate, 0, 10).0, 200);
        assert_eq!(put(&mut shards, &aggregate, 0, 20).0, 400);
        assert_eq!(put(&mut shards, b"no time in here, at all", 0, 1_000).0, 200);
        let tally = shards.tally();
        assert_eq!((tally.records, tally.user_records, tally.throttled, tally.malformed), (2, 4, 1, 1));
        assert_eq!((tally.wait_us_p50, tally.wait_us_p99), (500, 500));
        shards.reset();
        assert_eq!(shards.tally(), super::Tally::default());
    }
}
