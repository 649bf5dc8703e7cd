//! The metrics of a producer, by name, for whatever recorder the program has installed with the `metrics` facade.
//!
//! All carry the label `stream`. A recorder must be installed before [`Producer::start`](crate::Producer::start): the handles
//! are made there. Counters are brought up to date once a round of the producer's task, histograms once a Kinesis record or
//! request: nothing is done per user record.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// User records accepted.
pub const OFFERED: &str = "kinesis_producer_offered_records_total";
/// User records that the stream has stored, with their senders waiting.
pub const ACKNOWLEDGED: &str = "kinesis_producer_acknowledged_records_total";
/// User records given up, by `class`: `expired`, `refused` or `spool`.
pub const FAILED: &str = "kinesis_producer_failed_records_total";
/// User records that went in aggregates.
pub const AGGREGATED: &str = "kinesis_producer_aggregated_records_total";
/// Aggregates made.
pub const AGGREGATES: &str = "kinesis_producer_aggregates_total";
/// Kinesis records stored.
pub const PUT: &str = "kinesis_producer_put_records_total";
/// Bytes (data and partition key) of Kinesis records stored.
pub const PUT_BYTES: &str = "kinesis_producer_put_bytes_total";
/// Requests made.
pub const REQUESTS: &str = "kinesis_producer_requests_total";
/// Attempts of Kinesis records after their first.
pub const RETRIED: &str = "kinesis_producer_retried_total";
/// Attempts of Kinesis records that failed, by `class`: `throttled`, `temporary` or `refused`.
pub const FAILED_ATTEMPTS: &str = "kinesis_producer_failed_attempts_total";
/// Times that the shard map changed.
pub const SHARD_MAP_CHANGES: &str = "kinesis_producer_shard_map_changes_total";
/// User records made durable on disk.
pub const SPOOLED: &str = "kinesis_producer_spooled_records_total";
/// User records read back from disk and stored by the stream.
pub const SPOOL_DRAINED: &str = "kinesis_producer_spool_drained_records_total";
/// User records on disk that the stream is not known to have stored.
pub const SPOOL_BACKLOG: &str = "kinesis_producer_spool_backlog_records";
/// Bytes that the spool takes on disk.
pub const SPOOL_DISK_BYTES: &str = "kinesis_producer_spool_disk_bytes";
/// Bytes charged against the buffer.
pub const BUFFERED_BYTES: &str = "kinesis_producer_buffered_bytes";
/// From acceptance to the first request, of the oldest record in each Kinesis record.
pub const TIME_IN_BUFFER: &str = "kinesis_producer_time_in_buffer_seconds";
/// From acceptance to acknowledgement, of the oldest record in each Kinesis record.
pub const DELIVERY_TIME: &str = "kinesis_producer_delivery_seconds";
/// Of each request, until its answer or its failure.
pub const REQUEST_TIME: &str = "kinesis_producer_request_seconds";
/// Size of each aggregate as a part of `aggregate_bytes_max`.
pub const FILL: &str = "kinesis_producer_aggregate_fill_ratio";
/// Part of a shard's limit, in bytes or in records, whichever is used more, that was stored there; by `shard`. A sample is taken
/// about once a second while there is traffic, and covers the time since the one before, ten seconds at most.
pub const SHARD_USED: &str = "kinesis_producer_shard_used_ratio";

/// Tells the installed recorder what the metrics mean, and their units. Called by `Producer::start`.
pub fn describe() {
    let counters = [
        (OFFERED, Unit::Count, "User records accepted"),
        (ACKNOWLEDGED, Unit::Count, "User records that the stream has stored, with their senders waiting"),
        (FAILED, Unit::Count, "User records given up, by class"),
        (AGGREGATED, Unit::Count, "User records that went in aggregates"),
        (AGGREGATES, Unit::Count, "Aggregates made"),
        (PUT, Unit::Count, "Kinesis records stored"),
        (PUT_BYTES, Unit::Bytes, "Data and partition keys of Kinesis records stored"),
        (REQUESTS, Unit::Count, "PutRecords requests made"),
        (RETRIED, Unit::Count, "Attempts of Kinesis records after their first"),
        (FAILED_ATTEMPTS, Unit::Count, "Attempts of Kinesis records that failed, by class"),
        (SHARD_MAP_CHANGES, Unit::Count, "Times that the shard map changed"),
        (SPOOLED, Unit::Count, "User records made durable on disk"),
        (SPOOL_DRAINED, Unit::Count, "User records read back from disk and stored by the stream"),
    ];
    for (name, unit, meaning) in counters {
        describe_counter!(name, unit, meaning);
    }
    let gauges = [
        (SPOOL_BACKLOG, Unit::Count, "User records on disk that the stream is not known to have stored"),
        (SPOOL_DISK_BYTES, Unit::Bytes, "Bytes that the spool takes on disk"),
        (BUFFERED_BYTES, Unit::Bytes, "Bytes charged against the buffer"),
    ];
    for (name, unit, meaning) in gauges {
        describe_gauge!(name, unit, meaning);
    }
    let histograms = [
        (TIME_IN_BUFFER, Unit::Seconds, "From acceptance to the first request, oldest record of each Kinesis record"),
        (DELIVERY_TIME, Unit::Seconds, "From acceptance to acknowledgement, oldest record of each Kinesis record"),
        (REQUEST_TIME, Unit::Seconds, "Of each request, until its answer or its failure"),
        (FILL, Unit::Count, "Size of each aggregate as a part of the configured size"),
        (SHARD_USED, Unit::Count, "Part of a shard's limit that was stored there"),
    ];
    for (name, unit, meaning) in histograms {
        describe_histogram!(name, unit, meaning);
    }
}
