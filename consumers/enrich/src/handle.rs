//! A batch of the raw stream, as the Lambda service hands it over.
//!
//! Bad data never fails a batch, because a failed record makes its shard come again from there: it becomes a failed
//! event at once. Only our own faults (a stream that does not take records) are reported, at the lowest sequence
//! number, and everything from there on comes again.

use std::fmt;
use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;
use bytes::Bytes;
use claim_check::{ClaimChecks, Stream, is_pointer};
use kinesis_consumer::{BatchFailures, StageCounts, UserRecord};
use kinesis_producer::{Delivery, Producer, Record};

use crate::calculate::{self, Fault};
use crate::failed::{self, FailedEvents, FailedEventsError};
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
    claim_checks: Option<ClaimChecks>,
    counts: Arc<StageCounts>,
}

/// What becomes of one user record.
enum Step {
    /// It goes on the enriched stream.
    Put(Record),
    /// It becomes a failed event.
    Fail(UserRecord, Fault),
    /// Nothing can be done now, for a fault of ours: it has to come again.
    Stuck,
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
        Self { screens, enriched, failed, claim_checks: None, counts: Arc::new(StageCounts::new("Millrace", "enrich")) }
    }

    /// With the bucket of events that are larger than a record: those of the raw stream are read from it, those for the
    /// enriched stream put into it.
    #[must_use]
    pub fn with_claim_checks(self, claim_checks: Option<ClaimChecks>) -> Self {
        Self { claim_checks, ..self }
    }

    /// What was counted, in all clones together.
    pub fn counts(&self) -> &StageCounts {
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
                let line = failed::line(&damaged, &shard_id, &Fault::Aggregate(error), now_ms)?;
                self.failed.collect(line, now_ms, failed_lines).await?;
                return Ok(entry);
            }
        };
        for user_record in user_records {
            match self.step(user_record, now_ms).await {
                Step::Put(record) => match self.enriched.send(record).await {
                    Ok(delivery) => entry.deliveries.push(delivery),
                    Err(error) => {
                        tracing::error!(%error, "the enriched stream takes no records");
                        entry.is_refused = true;
                    }
                },
                Step::Fail(record, fault) => {
                    let line = failed::line(&record, &shard_id, &fault, now_ms)?;
                    self.failed.collect(line, now_ms, failed_lines).await?;
                }
                Step::Stuck => entry.is_refused = true,
            }
            if entry.is_refused {
                break;
            }
        }
        Ok(entry)
    }

    /// Enriches one record; what it stands for, if it is a pointer.
    async fn step(&self, record: UserRecord, now_ms: i64) -> Step {
        let record = if is_pointer(&record.data) {
            let Some(claim_checks) = &self.claim_checks else { return Step::Fail(record, Fault::NoClaimChecks) };
            match claim_checks.redeem(&record.data).await {
                Ok(data) => UserRecord { data, ..record },
                Err(error) if error.is_temporary() => {
                    tracing::error!(error = %DisplayChain(&error), "a large event cannot be read now");
                    return Step::Stuck;
                }
                Err(error) => return Step::Fail(record, Fault::ClaimCheck(error)),
            }
        } else {
            record
        };
        let data = match calculate::enriched_record(&record.data, &self.screens, now_ms) {
            Ok(data) => Bytes::from(data),
            Err(fault) => return Step::Fail(record, fault),
        };
        let partition_key = record.partition_key.to_string();
        let data = match &self.claim_checks {
            None if data.len() > EVENT_BYTES_MAX => {
                let bytes = data.len();
                return Step::Fail(record, Fault::TooLarge { bytes });
            }
            Some(claim_checks) if !claim_checks.fits(data.len() + partition_key.len()) => {
                match claim_checks.check_in(Stream::Enriched, data).await {
                    Ok(pointer) => pointer,
                    Err(error) => {
                        tracing::error!(error = %DisplayChain(&error), "a large event cannot be stored now");
                        return Step::Stuck;
                    }
                }
            }
            None | Some(_) => data,
        };
        Step::Put(Record { partition_key, explicit_hash_key: None, data })
    }
}

/// An error with what caused it, as one line.
struct DisplayChain<'e>(&'e (dyn std::error::Error + 'static));

impl fmt::Display for DisplayChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(formatter, ": {error}")?;
            source = error.source();
        }
        Ok(())
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
