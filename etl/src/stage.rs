//! A batch of the enriched stream becomes one Parquet object for each table and hour.
//!
//! The object's name is fixed by what is in the batch, and it is put only if it is not there: the same batch again
//! changes nothing. A batch that is cut elsewhere at the next attempt gives objects that overlap; publishing removes
//! the repeats. The batch is done when every object, and every failed event, is durable.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;
use events::failed::FailureType;
use kinesis_consumer::{DeaggregateError, cmp_sequence_numbers, user_records};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};

use crate::failed::{FailedEvents, FailedEventsError, Failure};
use crate::metrics::Counts;
use crate::rows::Rows;
use crate::{layout, parquet_file};

/// Stages batches.
#[derive(Debug, Clone)]
pub struct Stager {
    store: Arc<dyn ObjectStore>,
    failed_events: FailedEvents,
    counts: Arc<Counts>,
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
    /// Lines of the `failed_events` table, not yet put anywhere.
    pub failed: Vec<Vec<u8>>,
}

impl Stager {
    /// Objects go to the lake, failed events to Firehose.
    pub fn new(store: Arc<dyn ObjectStore>, failed_events: FailedEvents) -> Self {
        Self { store, failed_events, counts: Arc::default() }
    }

    /// What was counted, in all clones together.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Handles a Lambda event. When it returns, every record is in a durable object or a durable failed event, so the
    /// answer never names a failed item.
    ///
    /// # Errors
    /// When something is not durable. Lambda then gives the same batch again, or parts of it.
    pub async fn handle(&self, event: KinesisEvent, now_ms: i64) -> Result<KinesisEventResponse, StageError> {
        let staged = stage(self.store.as_ref(), &event, now_ms).await?;
        let (events, failed) = (staged.events, staged.failed.len());
        self.failed_events.put(staged.failed).await?;
        self.counts.add(event.records.len(), events, failed);
        tracing::info!(records = event.records.len(), events, failed, objects = staged.objects.len(), "staged a batch");
        Ok(KinesisEventResponse::default())
    }
}

/// Stages the records of a Lambda event. Memory: the batch's rows and its files, a few times the size of the batch.
///
/// # Errors
/// As [`Stager::handle`].
pub async fn stage(store: &dyn ObjectStore, event: &KinesisEvent, now_ms: i64) -> Result<Staged, StageError> {
    let mut staged = Staged::default();
    let Some(name) = batch_name(&event.records) else { return Ok(staged) };
    let mut rows = Rows::default();
    for record in &event.records {
        append(&mut rows, &mut staged, record, now_ms)?;
    }
    for (table, hour, batch) in rows.finish()? {
        let path = layout::staging_hour(table, hour).join(name.as_str());
        let file = parquet_file::write_staged(table, &batch)?;
        match store.put_opts(&path, PutPayload::from(file), PutMode::Create.into()).await {
            // There already: the same batch was staged before.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => staged.objects.push(path),
            Err(source) => return Err(StageError::Put { path, source }),
        }
    }
    Ok(staged)
}

fn append(
    rows: &mut Rows,
    staged: &mut Staged,
    record: &KinesisEventRecord,
    now_ms: i64,
) -> Result<(), serde_json::Error> {
    let user_records = match user_records(record) {
        Ok(user_records) => user_records,
        Err(DeaggregateError { source, .. }) => {
            let failure = Failure {
                failure_type: FailureType::LoaderError,
                code: "aggregate",
                message: source.to_string(),
                ..unexplained(record)
            };
            staged.failed.push(failure.line(now_ms)?);
            return Ok(());
        }
    };
    for user_record in user_records {
        let Err(error) = rows.append(&user_record.data) else {
            staged.events += 1;
            continue;
        };
        let failure = Failure {
            data: &user_record.data,
            sub_sequence: user_record.sub_sequence,
            failure_type: error.failure_type(),
            code: error.code(),
            message: error.to_string(),
            ..unexplained(record)
        };
        staged.failed.push(failure.line(now_ms)?);
    }
    Ok(())
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
/// with several readers of a shard two batches may have their ends in common and differ between.
fn batch_name(records: &[KinesisEventRecord]) -> Option<String> {
    let mut check = crc32fast::Hasher::new();
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
