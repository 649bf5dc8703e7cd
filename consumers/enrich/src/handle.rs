//! A batch of the raw stream, as the Lambda service hands it over.
//!
//! Bad data never fails a batch, because a failed record makes its shard come again from there: it becomes a failed
//! event at once. Only our own faults (a stream that does not take records) are reported, at the lowest sequence
//! number, and everything from there on comes again.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;
use kinesis_consumer::{BatchFailures, UserRecord};
use kinesis_producer::{Delivery, Producer, Record};

use crate::calculate::{self, Fault};
use crate::failed::{self, FailedEvents, FailedEventsError};
use crate::metrics::Counts;
use crate::screens::Screens;

/// Largest enriched event: a record may have 1 MiB with its partition key (service quota), which has up to 256
/// characters of up to 4 bytes.
const EVENT_BYTES_MAX: usize = 1_048_576 - 1_024;

/// The enrichment of batches; cheap to clone.
#[derive(Debug, Clone)]
pub struct Enricher {
    screens: Arc<Screens>,
    enriched: Producer,
    failed: FailedEvents,
    counts: Arc<Counts>,
}

/// Why a whole batch is to be repeated.
#[derive(Debug, thiserror::Error)]
pub enum EnrichError {
    /// Failed events could not be made durable.
    #[error(transparent)]
    FailedEvents(#[from] FailedEventsError),
    /// A failed event could not be written.
    #[error("write a failed event")]
    Write(#[from] serde_json::Error),
}

/// What became of the user records of one Kinesis record so far.
struct Pending {
    sequence_number: String,
    deliveries: Vec<Delivery>,
    is_refused: bool,
}

impl Enricher {
    /// An enrichment with its reference data and its two ways out.
    pub fn new(screens: Arc<Screens>, enriched: Producer, failed: FailedEvents) -> Self {
        Self { screens, enriched, failed, counts: Arc::default() }
    }

    /// What was counted, in all clones together.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Enriches a batch. Returns once every event is durable on the enriched stream or as a failed event, or
    /// reported as an item to repeat.
    ///
    /// # Errors
    /// When the batch is to be repeated whole.
    pub async fn handle(&self, event: KinesisEvent, now_ms: i64) -> Result<KinesisEventResponse, EnrichError> {
        let mut pending = Vec::with_capacity(event.records.len());
        let mut failed_lines = Vec::new();
        for record in event.records {
            let entry = self.put_record(record, now_ms, &mut failed_lines).await?;
            let is_stuck = entry.is_refused;
            pending.push(entry);
            if is_stuck {
                break; // Everything from here on comes again: work on it now would only make repeats.
            }
        }
        let events = pending.iter().map(|entry| entry.deliveries.len()).sum();
        self.counts.add(pending.len(), events, failed_lines.len());
        if !failed_lines.is_empty() {
            tracing::warn!(failed_events = failed_lines.len(), "records became failed events");
            self.failed.put(failed_lines).await?;
        }
        Ok(failures(pending).await.into_response())
    }

    async fn put_record(
        &self,
        record: KinesisEventRecord,
        now_ms: i64,
        failed_lines: &mut Vec<Vec<u8>>,
    ) -> Result<Pending, EnrichError> {
        let shard_id = shard_id(&record).to_owned();
        let sequence_number = record.kinesis.sequence_number.clone();
        let mut entry = Pending { sequence_number, deliveries: Vec::new(), is_refused: false };
        let user_records = match kinesis_consumer::user_records(&record) {
            Ok(user_records) => user_records,
            Err(error) => {
                let damaged = whole_record(record);
                failed_lines.push(failed::line(&damaged, &shard_id, &Fault::Aggregate(error), now_ms)?);
                return Ok(entry);
            }
        };
        for user_record in user_records {
            let data = match self.enriched_record(&user_record, now_ms) {
                Ok(data) => data,
                Err(fault) => {
                    failed_lines.push(failed::line(&user_record, &shard_id, &fault, now_ms)?);
                    continue;
                }
            };
            let partition_key = user_record.partition_key.to_string();
            let record = Record { partition_key, explicit_hash_key: None, data: data.into() };
            match self.enriched.send(record).await {
                Ok(delivery) => entry.deliveries.push(delivery),
                Err(error) => {
                    tracing::error!(%error, "the enriched stream takes no records");
                    entry.is_refused = true;
                    break;
                }
            }
        }
        Ok(entry)
    }

    fn enriched_record(&self, record: &UserRecord, now_ms: i64) -> Result<Vec<u8>, Fault> {
        let data = calculate::enriched_record(&record.data, &self.screens, now_ms)?;
        if data.len() > EVENT_BYTES_MAX {
            return Err(Fault::TooLarge { bytes: data.len() });
        }
        Ok(data)
    }
}

/// The shard in `eventID`, which is `shardId-000000000000:4959…`.
fn shard_id(record: &KinesisEventRecord) -> &str {
    let event_id = record.event_id.as_deref().unwrap_or_default();
    event_id.split_once(':').map_or("", |(shard_id, _)| shard_id)
}

/// A damaged aggregate as one record, so that its bytes are kept.
fn whole_record(record: KinesisEventRecord) -> UserRecord {
    UserRecord {
        partition_key: record.kinesis.partition_key.as_str().into(),
        explicit_hash_key: None,
        data: record.kinesis.data.0.into(),
        sequence_number: record.kinesis.sequence_number.as_str().into(),
        sub_sequence: 0,
        arrival_ms: Some(record.kinesis.approximate_arrival_timestamp.timestamp_millis()),
    }
}

/// Waits for all deliveries; the records of which one failed.
async fn failures(pending: Vec<Pending>) -> BatchFailures {
    let mut failures = BatchFailures::new();
    for entry in pending {
        let mut is_done = !entry.is_refused;
        for delivery in entry.deliveries {
            if let Err(error) = delivery.await {
                tracing::error!(%error, "an enriched event was not put");
                is_done = false;
            }
        }
        if !is_done {
            failures.add(&entry.sequence_number);
        }
    }
    failures
}
