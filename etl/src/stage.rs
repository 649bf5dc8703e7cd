//! A batch of the enriched stream becomes one Parquet object for each table and hour.
//!
//! The object's name is fixed by what is in the batch, and it is put only if it is not there: the same batch again
//! changes nothing. A batch that is cut elsewhere at the next attempt gives objects that overlap; publishing removes
//! the repeats. The batch is done when every object, and every failed event, is durable.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;
use claim_check::{ClaimChecks, RedeemError, is_pointer};
use events::failed::FailureType;
use kinesis_consumer::{DeaggregateError, StageCounts, cmp_sequence_numbers, user_records};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};

use crate::failed::{FailedEvents, FailedEventsError, Failure};
use crate::rows::Rows;
use crate::{layout, parquet_file};

/// Rows of large events that are gathered before files are written, in bytes of those events: they do not count against
/// the size of a batch, where only their pointers are.
const LARGE_BYTES_MAX: usize = 128 << 20;

/// Stages batches.
#[derive(Debug, Clone)]
pub struct Stager {
    store: Arc<dyn ObjectStore>,
    failed_events: FailedEvents,
    claim_checks: Option<ClaimChecks>,
    large_bytes_max: usize,
    counts: Arc<StageCounts>,
}

/// Why a batch is to be given again, whole. Never because of what a record holds.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// An object could not be put.
    #[error("put staged object {path}")]
    Put {
        /// Which.
        path: Path,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// Rows could not be gathered.
    #[error("gather rows")]
    Rows(#[from] arrow::error::ArrowError),
    /// A file could not be written.
    #[error("write a staged file")]
    File(#[from] parquet::errors::ParquetError),
    /// A large event cannot be read now.
    #[error("read a large event")]
    ClaimCheck(#[from] RedeemError),
    /// A failed event could not be written.
    #[error("write a failed event")]
    Line(#[from] serde_json::Error),
    /// Failed events are not durable.
    #[error(transparent)]
    FailedEvents(#[from] FailedEventsError),
}

/// What became of a batch.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// Objects that are durable now, new or found.
    pub objects: Vec<Path>,
    /// User records that became rows.
    pub events: usize,
    /// Records that became failed events.
    pub failures: usize,
    /// Their lines of the `failed_events` table, not yet put anywhere but the large ones.
    pub failed: Vec<Vec<u8>>,
}

/// A batch that is being staged.
struct Batch<'b> {
    store: &'b dyn ObjectStore,
    failed_events: Option<&'b FailedEvents>,
    claim_checks: Option<&'b ClaimChecks>,
    large_bytes_max: usize,
    records: &'b [KinesisEventRecord],
    now_ms: i64,
    rows: Rows,
    /// Bytes of the large events among the rows.
    large_bytes: usize,
    /// Whether there was any so far: then what a file holds depends on more than the batch.
    has_large: bool,
    /// Over the positions of the rows since files were written.
    positions: crc32fast::Hasher,
    staged: Staged,
}

impl Stager {
    /// Objects go to the lake, failed events to Firehose.
    pub fn new(store: Arc<dyn ObjectStore>, failed_events: FailedEvents) -> Self {
        Self {
            store,
            failed_events,
            claim_checks: None,
            large_bytes_max: LARGE_BYTES_MAX,
            counts: Arc::new(StageCounts::new("Millrace", "stage")),
        }
    }

    /// With the bucket of events that are larger than a record.
    #[must_use]
    pub fn with_claim_checks(self, claim_checks: Option<ClaimChecks>) -> Self {
        Self { claim_checks, ..self }
    }

    /// What was counted, in all clones together.
    pub fn counts(&self) -> &StageCounts {
        &self.counts
    }

    /// Handles a Lambda event. When it returns, every record is in a durable object or a durable failed event, so the
    /// answer never names a failed item.
    ///
    /// # Errors
    /// When something is not durable. Lambda then gives the same batch again, or parts of it.
    pub async fn handle(&self, event: KinesisEvent, now_ms: i64) -> Result<KinesisEventResponse, StageError> {
        let staged = self.stage(&event, now_ms).await?;
        let (events, failed) = (staged.events, staged.failures);
        self.failed_events.put(staged.failed).await?;
        self.counts.add(event.records.len(), events, failed);
        tracing::info!(records = event.records.len(), events, failed, objects = staged.objects.len(), "staged a batch");
        Ok(KinesisEventResponse::default())
    }

    /// Stages the records of a Lambda event. Memory: the batch's rows and its files, a few times the size of the batch,
    /// and of 128 MiB of large events where there are pointers.
    ///
    /// # Errors
    /// As [`Stager::handle`].
    pub async fn stage(&self, event: &KinesisEvent, now_ms: i64) -> Result<Staged, StageError> {
        let batch = Batch {
            failed_events: Some(&self.failed_events),
            claim_checks: self.claim_checks.as_ref(),
            large_bytes_max: self.large_bytes_max,
            ..Batch::new(self.store.as_ref(), event, now_ms)
        };
        batch.stage().await
    }
}

/// Stages the records of a Lambda event where no record is a pointer; what fails is only collected.
///
/// # Errors
/// As [`Stager::handle`].
pub async fn stage(store: &dyn ObjectStore, event: &KinesisEvent, now_ms: i64) -> Result<Staged, StageError> {
    Batch::new(store, event, now_ms).stage().await
}

impl<'b> Batch<'b> {
    fn new(store: &'b dyn ObjectStore, event: &'b KinesisEvent, now_ms: i64) -> Self {
        Self {
            store,
            failed_events: None,
            claim_checks: None,
            large_bytes_max: LARGE_BYTES_MAX,
            records: &event.records,
            now_ms,
            rows: Rows::default(),
            large_bytes: 0,
            has_large: false,
            positions: crc32fast::Hasher::new(),
            staged: Staged::default(),
        }
    }

    async fn stage(mut self) -> Result<Staged, StageError> {
        for record in self.records {
            self.append(record).await?;
        }
        self.write().await?;
        Ok(self.staged)
    }

    async fn append(&mut self, record: &KinesisEventRecord) -> Result<(), StageError> {
        let user_records = match user_records(record) {
            Ok(user_records) => user_records,
            Err(DeaggregateError { source, .. }) => {
                let (code, message) = ("aggregate", source.to_string());
                return self.fail(Failure { code, message, ..unexplained(record) }).await;
            }
        };
        for user_record in user_records {
            let place =
                Failure { data: &user_record.data, sub_sequence: user_record.sub_sequence, ..unexplained(record) };
            let redeemed = match self.claim_checks {
                Some(claim_checks) if is_pointer(&user_record.data) => {
                    Some(claim_checks.redeem(&user_record.data).await)
                }
                Some(_) | None => None,
            };
            match redeemed {
                None => self.append_event(&user_record.data, place).await?,
                Some(Ok(event)) => {
                    self.large_bytes += event.len();
                    self.has_large = true;
                    self.append_event(&event, Failure { data: &event, ..place }).await?;
                    if self.large_bytes > self.large_bytes_max {
                        self.write().await?;
                    }
                }
                Some(Err(error)) if error.is_temporary() => return Err(error.into()),
                Some(Err(error)) => {
                    let (code, message) = (error.code(), error.to_string());
                    self.fail(Failure { code, message, ..place }).await?;
                }
            }
        }
        Ok(())
    }

    async fn append_event(&mut self, event: &[u8], place: Failure<'_>) -> Result<(), StageError> {
        let Err(error) = self.rows.append(event) else {
            self.staged.events += 1;
            self.positions.update(place.sequence_number.as_bytes());
            self.positions.update(&place.sub_sequence.to_be_bytes());
            return Ok(());
        };
        let (failure_type, code, message) = (error.failure_type(), error.code(), error.to_string());
        self.fail(Failure { failure_type, code, message, ..place }).await
    }

    async fn fail(&mut self, failure: Failure<'_>) -> Result<(), StageError> {
        self.staged.failures += 1;
        let line = failure.line(self.now_ms)?;
        match self.failed_events {
            Some(failed_events) => failed_events.collect(line, self.now_ms, &mut self.staged.failed).await?,
            None => self.staged.failed.push(line),
        }
        Ok(())
    }

    /// Writes the rows so far as an object for each table and hour.
    async fn write(&mut self) -> Result<(), StageError> {
        let positions = std::mem::take(&mut self.positions).finalize();
        let Some(name) = batch_name(self.records, self.has_large.then_some(positions)) else { return Ok(()) };
        for (table, hour, batch) in std::mem::take(&mut self.rows).finish()? {
            let path = layout::staging_hour(table, hour).join(name.as_str());
            let file = parquet_file::write_staged(table, &batch)?;
            match self.store.put_opts(&path, PutPayload::from(file), PutMode::Create.into()).await {
                // There already: the same batch was staged before.
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => self.staged.objects.push(path),
                Err(source) => return Err(StageError::Put { path, source }),
            }
        }
        self.large_bytes = 0;
        Ok(())
    }
}

/// A failure of a whole record, of which it remains to be said what is wrong.
fn unexplained(record: &KinesisEventRecord) -> Failure<'_> {
    Failure {
        shard_id: shard_id(record),
        sequence_number: &record.kinesis.sequence_number,
        sub_sequence: 0,
        arrival_ms: record.kinesis.approximate_arrival_timestamp.timestamp_millis(),
        data: &record.kinesis.data,
        failure_type: FailureType::LoaderError,
        code: "",
        message: String::new(),
    }
}

/// What the batch's objects are called: shard, first and last sequence number, and a check over all the numbers, since
/// with several readers of a shard two batches may have their ends in common and differ between. A batch with large
/// events also has `positions` in it, a check over those that are in the file: how many there are may differ from
/// attempt to attempt, because one of them can be lost meanwhile.
fn batch_name(records: &[KinesisEventRecord], positions: Option<u32>) -> Option<String> {
    let mut check = crc32fast::Hasher::new();
    if let Some(positions) = positions {
        check.update(&positions.to_be_bytes());
    }
    let mut sequence_numbers: Vec<&str> =
        records.iter().map(|record| record.kinesis.sequence_number.as_str()).collect();
    sequence_numbers.sort_by(|left, right| cmp_sequence_numbers(left, right));
    for sequence_number in &sequence_numbers {
        check.update(sequence_number.as_bytes());
        check.update(b"/");
    }
    let (first, last) = (sequence_numbers.first()?, sequence_numbers.last()?);
    Some(format!("{}-{first}-{last}-{:08x}.parquet", shard_id(records.first()?), check.finalize()))
}

/// The shard, which stands before the colon of the record's event id.
fn shard_id(record: &KinesisEventRecord) -> &str {
    let event_id = record.event_id.as_deref().unwrap_or_default();
    event_id.split_once(':').map_or("shardId-unknown", |(shard_id, _)| shard_id)
}

#[cfg(test)]
mod tests;
