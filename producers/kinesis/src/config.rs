//! The settings of a producer, and their bounds.

use std::time::Duration;

use crate::spool::SpoolConfig;

/// Largest record (data and partition key) that any stream can be set to accept: 10 MiB.
const SERVICE_RECORD_BYTES_MAX: usize = 10 << 20;

/// Smallest useful aggregate: below this the tables cost more than is gained.
const AGGREGATE_BYTES_MIN: usize = 1 << 10;

/// What an aggregate adds to a single record in it, at most: 20 bytes around, 45 of tables, 14 of lengths and indices, 47 of the
/// mark, and an outer partition key of a shard id (128 bytes) with the number of a lane.
pub(crate) const WRAPPING_BYTES_MAX: usize = 256;

/// What the mark of a record from the log on disk adds to that: 84 bytes, and 12 for its number.
const SPOOL_MARK_BYTES_MAX: usize = 96;

/// How a producer behaves. [`Config::new`] fills in defaults that suit most streams.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches that are independent of each other")]
pub struct Config {
    /// Name or ARN of the stream.
    pub stream: String,
    /// Pack many records into one Kinesis record (default). Otherwise every record goes as it is; order per key then costs
    /// one round trip per record of the same key.
    pub aggregation: bool,
    /// How long a record may wait for company while others are on their way, 5 ms by default. A record that comes when
    /// nothing is on its way does not wait.
    pub linger: Duration,
    /// Aggregates are closed at this size, 51,200 bytes by default: two PUT payload units. At least 1 KiB.
    pub aggregate_bytes_max: usize,
    /// Largest record, data and partition key, that the stream accepts: 1 MiB by default, at most 10 MiB. Larger ones are
    /// refused at the door.
    pub record_bytes_max: usize,
    /// Bytes of records (data, key and 256 bytes of bookkeeping each) that the producer holds at most; 64 MiB by
    /// default. `send` waits for room, `try_send` gives the record back.
    pub buffer_bytes_max: usize,
    /// How long a record is retried, 30 s by default. It is told to have expired then, or once the request that carries it
    /// at that moment has ended.
    pub record_deadline: Duration,
    /// How long one request may take, 6 s by default. A request that took longer may have been stored none the less.
    pub request_timeout: Duration,
    /// Requests on their way at the same time, 8 by default. Their bodies (up to 1 MiB each, unless a single record is
    /// larger) are memory beyond the buffer.
    pub requests_in_flight_max: usize,
    /// In which format records are put on the stream: JSON by default.
    pub wire_format: WireFormat,
    /// Independent lanes per shard, 1 by default, at most 64. One aggregate is on its way per lane, and each lane has its
    /// own outer partition key: set it to the Lambda parallelization factor, or higher if the round trip is long.
    pub lanes_per_shard: u8,
    /// Wrap records that travel alone into aggregates too, so that each lane has a single outer partition key. Needed when
    /// readers run with a Lambda parallelization factor above 1 and depend on the order per key. Off by default.
    pub wrap_single_records: bool,
    /// Compress aggregates at this zstd level, 1 to 9; off by default. The shard then carries several times its bytes of JSON,
    /// but only readers that know the format (`kinesis-consumer`) can read it: to all others an aggregate is one record with
    /// bytes that are no text. Level 1 is the one to begin with. Needs `aggregation`.
    pub compression_level: Option<i32>,
    /// Mark aggregates so that readers that know the mark (`kinesis-consumer`) can remove what was stored twice after a request
    /// without an answer; off by default. Other readers skip the mark. Every record then travels in an aggregate, so the
    /// largest that is accepted is 256 bytes less than `record_bytes_max`, or 352 with a spool. Needs `aggregation`.
    pub dedupe_tag: Option<ProducerId>,
    /// Share of each shard's limits (1,000 records/s, 1,000,000 bytes/s) to use, in percent; 100 by default.
    pub rate_limit_percent: u32,
    /// How often the shard map is read again when nothing hints that it changed; 60 s by default.
    pub shard_map_refresh: Duration,
    /// For processes that are frozen between uses, such as Lambda functions: a flush also waits for a shard map that is being
    /// read, so that nothing at all is under way when it ends. Off by default; not together with a spool.
    pub freezable: bool,
    /// A log on disk for what the stream does not take now; none by default.
    pub spool: Option<SpoolConfig>,
}

/// In which format records are put on the stream. All else, such as reading the shards, is JSON in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WireFormat {
    /// What every SDK speaks, and what is documented. Payloads are base64 in it.
    #[default]
    Json,
    /// What AWS' SDKs for Java speak to Kinesis. Payloads are bytes in it, so requests are a quarter smaller and cost less to hash
    /// and sign. It stands in no public description of the service: an endpoint that does not know it refuses every call.
    Cbor,
}

/// Who marks aggregates: see [`Config::dedupe_tag`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerId {
    /// A number that no other producer of the stream has, such as a random one.
    pub producer: u64,
    /// A number that this producer never had before, such as the time at which it starts. Readers keep the runs of a
    /// producer apart by it and know nothing of their order, so two runs at the same time do no harm.
    pub epoch: u64,
}

impl ProducerId {
    /// A producer that nobody knows yet, in its only epoch.
    pub fn random() -> Self {
        ProducerId { producer: rand::random(), epoch: 0 }
    }
}

/// A setting that is out of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be {bounds}")]
pub struct ConfigError {
    /// The field of [`Config`].
    pub setting: &'static str,
    /// What it has to be.
    pub bounds: &'static str,
}

impl Config {
    /// The defaults for `stream`, a name or an ARN.
    pub fn new(stream: impl Into<String>) -> Self {
        Config {
            stream: stream.into(),
            aggregation: true,
            linger: Duration::from_millis(5),
            aggregate_bytes_max: 51_200,
            record_bytes_max: 1 << 20,
            buffer_bytes_max: 64 << 20,
            record_deadline: Duration::from_secs(30),
            request_timeout: Duration::from_secs(6),
            requests_in_flight_max: 8,
            wire_format: WireFormat::Json,
            lanes_per_shard: 1,
            wrap_single_records: false,
            compression_level: None,
            dedupe_tag: None,
            rate_limit_percent: 100,
            shard_map_refresh: Duration::from_secs(60),
            freezable: false,
            spool: None,
        }
    }

    /// The part of the buffer for what senders put in; the rest is for what is read back from the log on disk.
    pub(crate) fn senders_bytes_max(&self) -> usize {
        if self.spool.is_some() { self.buffer_bytes_max / 2 } else { self.buffer_bytes_max }
    }

    /// Largest user record (data and partition key) that is accepted.
    pub(crate) fn user_record_bytes_max(&self) -> usize {
        let wrapping = if self.dedupe_tag.is_some() { WRAPPING_BYTES_MAX } else { 0 };
        let spooled = if self.dedupe_tag.is_some() && self.spool.is_some() { SPOOL_MARK_BYTES_MAX } else { 0 };
        self.record_bytes_max.saturating_sub(wrapping + spooled)
    }

    /// Checks every bound; the first one that is broken is told.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let record_cost_max = self.record_bytes_max.saturating_add(crate::record::RECORD_OVERHEAD_BYTES);
        let bounds = [
            (!self.stream.is_empty(), "stream", "a name or an ARN"),
            (
                (AGGREGATE_BYTES_MIN..=self.record_bytes_max).contains(&self.aggregate_bytes_max),
                "aggregate_bytes_max",
                "at least 1 KiB and at most record_bytes_max",
            ),
            ((1..=SERVICE_RECORD_BYTES_MAX).contains(&self.record_bytes_max), "record_bytes_max", "1 to 10 MiB"),
            (
                (record_cost_max..=tokio::sync::Semaphore::MAX_PERMITS).contains(&self.senders_bytes_max()),
                "buffer_bytes_max",
                "enough for a record of record_bytes_max and its bookkeeping, or two of them with a spool",
            ),
            (!self.record_deadline.is_zero(), "record_deadline", "more than zero"),
            (!self.request_timeout.is_zero(), "request_timeout", "more than zero"),
            ((1..=1000).contains(&self.requests_in_flight_max), "requests_in_flight_max", "1 to 1,000"),
            ((1..=64).contains(&self.lanes_per_shard), "lanes_per_shard", "1 to 64"),
            (
                self.compression_level.is_none_or(|level| self.aggregation && (1..=9).contains(&level)),
                "compression_level",
                "1 to 9, and with aggregation on",
            ),
            (self.dedupe_tag.is_none() || self.aggregation, "dedupe_tag", "off if aggregation is off"),
            ((1..=100).contains(&self.rate_limit_percent), "rate_limit_percent", "1 to 100"),
            (!self.shard_map_refresh.is_zero(), "shard_map_refresh", "more than zero"),
            (!(self.freezable && self.spool.is_some()), "freezable", "off if there is a spool"),
            (self.spool.as_ref().is_none_or(SpoolConfig::has_room_to_work), "spool.bytes_max", "at least 1 MiB"),
        ];
        match bounds.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, setting, bounds)) => Err(ConfigError { setting, bounds }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Config, ProducerId};

    #[test]
    fn bounds_are_named() {
        let check = |expect: Option<&str>, change: fn(&mut Config)| {
            let mut config = Config::new("events");
            change(&mut config);
            assert_eq!(config.check().err().map(|error| error.setting), expect);
        };
        check(None, |_| {});
        check(Some("stream"), |config| config.stream.clear());
        check(Some("aggregate_bytes_max"), |config| config.aggregate_bytes_max = 100);
        check(Some("aggregate_bytes_max"), |config| config.aggregate_bytes_max = config.record_bytes_max + 1);
        check(Some("record_bytes_max"), |config| config.record_bytes_max = (10 << 20) + 1);
        check(Some("buffer_bytes_max"), |config| config.buffer_bytes_max = config.record_bytes_max);
        check(Some("record_deadline"), |config| config.record_deadline = Duration::ZERO);
        check(Some("requests_in_flight_max"), |config| config.requests_in_flight_max = 0);
        check(Some("lanes_per_shard"), |config| config.lanes_per_shard = 65);
        check(Some("compression_level"), |config| config.compression_level = Some(0));
        check(None, |config| config.compression_level = Some(9));
        check(Some("compression_level"), |config| {
            config.aggregation = false;
            config.compression_level = Some(1);
        });
        check(None, |config| config.dedupe_tag = Some(ProducerId::random()));
        check(Some("dedupe_tag"), |config| {
            config.aggregation = false;
            config.dedupe_tag = Some(ProducerId { producer: 1, epoch: 1 });
        });
        check(Some("rate_limit_percent"), |config| config.rate_limit_percent = 0);
        check(None, |config| config.linger = Duration::ZERO);
    }
}
