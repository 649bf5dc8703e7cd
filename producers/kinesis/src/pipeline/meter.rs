//! Hands figures to the `metrics` facade, in few and cheap steps: counters as they stand once a round, histograms once a Kinesis
//! record or request.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::{
    error::FailureClass,
    metrics as names,
    pipeline::batch::Batch,
    stats::{Counters, Stats},
};

/// How often a shard's use is sampled while there is traffic.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A sample covers no more than this: after a pause it tells of the traffic since, not of the pause.
const SAMPLE_MAX: Duration = Duration::from_secs(10);

/// What a shard takes.
const SHARD_BYTES_PER_S: f64 = 1e6;
const SHARD_RECORDS_PER_S: f64 = 1e3;

pub(crate) struct Meter {
    stream: Arc<str>,
    aggregate_bytes_max: usize,
    record_deadline: Duration,
    counters: Vec<(Counter, Figure)>,
    gauges: Vec<(Gauge, Figure)>,
    attempts: [Counter; 3],
    time_in_buffer: Histogram,
    delivery_time: Histogram,
    request_time: Histogram,
    fill: Histogram,
    shards: HashMap<Arc<str>, ShardUse>,
    sampled_at: Instant,
}

/// Picks the figure of one metric.
type Figure = fn(&Figures) -> u64;

/// What the counters are brought up to.
struct Figures {
    stats: Stats,
    expired: u64,
    aggregated: u64,
}

struct ShardUse {
    bytes: u64,
    records: u64,
    used: Histogram,
}

impl std::fmt::Debug for Meter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Meter").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Meter {
    pub(crate) fn new(stream: &str, aggregate_bytes_max: usize, record_deadline: Duration, now: Instant) -> Self {
        names::describe();
        let stream: Arc<str> = stream.into();
        let label = || stream.to_string();
        let count = |name: &'static str| counter!(name, "stream" => label());
        let count_class =
            |name: &'static str, class: &'static str| counter!(name, "stream" => label(), "class" => class);
        let level = |name: &'static str| gauge!(name, "stream" => label());
        let spread = |name: &'static str| histogram!(name, "stream" => label());
        let counters: Vec<(Counter, Figure)> = vec![
            (count(names::OFFERED), |now| now.stats.offered),
            (count(names::ACKNOWLEDGED), |now| now.stats.acknowledged),
            (count_class(names::FAILED, "expired"), |now| now.expired),
            (count_class(names::FAILED, "spool"), |now| now.stats.spool_refused),
            (count_class(names::FAILED, "refused"), |now| {
                now.stats.failed.saturating_sub(now.expired + now.stats.spool_refused)
            }),
            (count(names::AGGREGATED), |now| now.aggregated),
            (count(names::AGGREGATES), |now| now.stats.aggregates),
            (count(names::PUT), |now| now.stats.kinesis_records),
            (count(names::PUT_BYTES), |now| now.stats.bytes),
            (count(names::REQUESTS), |now| now.stats.requests),
            (count(names::RETRIED), |now| now.stats.retried),
            (count(names::SHARD_MAP_CHANGES), |now| now.stats.shard_map_changes),
            (count(names::SPOOLED), |now| now.stats.spooled),
            (count(names::SPOOL_DRAINED), |now| now.stats.spool_drained),
        ];
        let gauges: Vec<(Gauge, Figure)> = vec![
            (level(names::SPOOL_BACKLOG), |now| now.stats.spool_backlog),
            (level(names::SPOOL_DISK_BYTES), |now| now.stats.spool_disk_bytes),
            (level(names::BUFFERED_BYTES), |now| now.stats.buffered_bytes),
        ];
        Meter {
            aggregate_bytes_max,
            record_deadline,
            counters,
            gauges,
            attempts: ["throttled", "temporary", "refused"].map(|class| count_class(names::FAILED_ATTEMPTS, class)),
            time_in_buffer: spread(names::TIME_IN_BUFFER),
            delivery_time: spread(names::DELIVERY_TIME),
            request_time: spread(names::REQUEST_TIME),
            fill: spread(names::FILL),
            shards: HashMap::new(),
            sampled_at: now,
            stream,
        }
    }

    /// A Kinesis record is sent for the first time.
    pub(crate) fn first_sent(&self, now: Instant, batch: &Batch) {
        if let Some(age) = self.age(now, batch) {
            self.time_in_buffer.record(age);
        }
        if batch.is_aggregate {
            self.fill.record(ratio(batch.entry.data.len(), self.aggregate_bytes_max));
        }
    }

    /// A shard has stored a Kinesis record.
    pub(crate) fn stored(&mut self, now: Instant, shard_id: &Arc<str>, batch: &Batch) {
        if let Some(age) = self.age(now, batch) {
            self.delivery_time.record(age);
        }
        let stream = &self.stream;
        if !self.shards.contains_key(shard_id) {
            let used = histogram!(names::SHARD_USED, "stream" => stream.to_string(), "shard" => shard_id.to_string());
            self.shards.insert(Arc::clone(shard_id), ShardUse { bytes: 0, records: 0, used });
        }
        if let Some(shard) = self.shards.get_mut(shard_id) {
            shard.bytes += u64::try_from(batch.entry.bytes()).unwrap_or(u64::MAX);
            shard.records += 1;
        }
    }

    pub(crate) fn attempt_failed(&self, class: FailureClass) {
        let [throttled, temporary, refused] = &self.attempts;
        match class {
            FailureClass::Throttled => throttled.increment(1),
            FailureClass::Temporary => temporary.increment(1),
            FailureClass::Refused => refused.increment(1),
        }
    }

    pub(crate) fn request_ended(&self, took: Duration) {
        self.request_time.record(took);
    }

    /// Brings everything up to date.
    pub(crate) fn publish(&mut self, now: Instant, counters: &Counters, buffered_bytes: u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let figures = Figures {
            stats: counters.stats(buffered_bytes),
            expired: read(&counters.expired),
            aggregated: read(&counters.aggregated),
        };
        for (counter, figure) in &self.counters {
            counter.absolute(figure(&figures));
        }
        for (gauge, figure) in &self.gauges {
            gauge.set(to_f64(figure(&figures)));
        }
        let since = now.saturating_duration_since(self.sampled_at);
        if since >= SAMPLE_INTERVAL {
            self.sampled_at = now;
            self.sample(since.min(SAMPLE_MAX).as_secs_f64());
        }
    }

    /// Shards without traffic are forgotten: after a split or merge they are gone.
    fn sample(&mut self, seconds: f64) {
        self.shards.retain(|_, shard| {
            let bytes = to_f64(std::mem::take(&mut shard.bytes)) / (seconds * SHARD_BYTES_PER_S);
            let records = to_f64(std::mem::take(&mut shard.records)) / (seconds * SHARD_RECORDS_PER_S);
            let is_used = records > 0.0;
            if is_used {
                shard.used.record(bytes.max(records));
            }
            is_used
        });
    }

    /// How old the oldest record is whose sender waits. What was read back from disk came long ago, or in another process.
    fn age(&self, now: Instant, batch: &Batch) -> Option<Duration> {
        let oldest = batch.tickets.iter().find(|ticket| !ticket.reply.is_durable())?;
        let accepted_at = oldest.deadline.checked_sub(self.record_deadline)?;
        Some(now.saturating_duration_since(accepted_at))
    }
}

fn ratio(part: usize, whole: usize) -> f64 {
    let count = |count: usize| to_f64(u64::try_from(count).unwrap_or(u64::MAX));
    count(part) / count(whole.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "a figure on a dashboard is exact enough beyond 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
