//! Failed events: put on their Firehose delivery stream, whole or not at all.

use std::time::Duration;

use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use chrono::DateTime;
use claim_check::LargeFailedEvents;
use claim_check::failed::{LargeFailedError, fit};
use events::envelope::{Event, EventType};
use events::event_id::EventId;
use events::failed::{FailedEvent, PROCESSOR_INGEST, Refusal};
use kinesis_consumer::UserRecord;

use crate::calculate::Fault;

/// Most entries of one `PutRecordBatch` (service quota).
const BATCH_RECORDS_MAX: usize = 500;
/// Most bytes of one `PutRecordBatch` (service quota: 4 MiB).
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Attempts at the entries that a call did not take; then the batch is the event source's to repeat.
const ATTEMPTS_MAX: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// Where failed events go.
#[derive(Debug, Clone)]
pub struct FailedEvents {
    client: aws_sdk_firehose::Client,
    delivery_stream: String,
    large: Option<LargeFailedEvents>,
}

/// Why failed events are not durable.
#[derive(Debug, thiserror::Error)]
pub enum FailedEventsError {
    /// The call failed.
    #[error("put failed events on the delivery stream")]
    Call(
        #[source]
        Box<aws_sdk_firehose::error::SdkError<aws_sdk_firehose::operation::put_record_batch::PutRecordBatchError>>,
    ),
    /// Some entries were refused until the last attempt.
    #[error("{left} failed events were refused by the delivery stream {ATTEMPTS_MAX} times")]
    Refused {
        /// How many.
        left: usize,
    },
    /// An entry could not be built.
    #[error("build an entry of the delivery stream")]
    Build(#[from] aws_sdk_firehose::error::BuildError),
    /// One that is too large for Firehose is not durable.
    #[error("put a large failed event")]
    Large(#[from] LargeFailedError),
    /// An entry could not be written.
    #[error("write a failed event")]
    Write(#[from] serde_json::Error),
}

impl FailedEvents {
    /// A handle to a delivery stream.
    pub fn new(client: aws_sdk_firehose::Client, delivery_stream: String) -> Self {
        Self { client, delivery_stream, large: None }
    }

    /// With the place for those that are too large for Firehose; without it they are cut to what Firehose takes.
    #[must_use]
    pub fn with_large(self, large: Option<LargeFailedEvents>) -> Self {
        Self { large, ..self }
    }

    /// Adds a line to those that [`FailedEvents::put`] takes later. A large one is durable already when this returns, so
    /// that a batch of them does not gather in memory.
    ///
    /// # Errors
    /// When it is to be durable and is not.
    pub async fn collect(&self, line: Vec<u8>, now_ms: i64, lines: &mut Vec<Vec<u8>>) -> Result<(), FailedEventsError> {
        lines.extend(fit(line, self.large.as_ref(), now_ms).await?);
        Ok(())
    }

    /// Puts lines on the delivery stream; returns when all are durable there.
    ///
    /// # Errors
    /// When not all are: some may be, so that a repeat writes them twice, with the same `failed_event_id`.
    pub async fn put(&self, lines: Vec<Vec<u8>>) -> Result<(), FailedEventsError> {
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        for line in lines {
            let is_full = batch.len() == BATCH_RECORDS_MAX || batch_bytes + line.len() > BATCH_BYTES_MAX;
            if is_full && !batch.is_empty() {
                self.put_batch(std::mem::take(&mut batch)).await?;
                batch_bytes = 0;
            }
            batch_bytes += line.len();
            batch.push(Record::builder().data(Blob::new(line)).build()?);
        }
        if batch.is_empty() { Ok(()) } else { self.put_batch(batch).await }
    }

    async fn put_batch(&self, mut batch: Vec<Record>) -> Result<(), FailedEventsError> {
        let mut pause = PAUSE_FIRST;
        for _ in 0..ATTEMPTS_MAX {
            let call = self.client.put_record_batch().delivery_stream_name(&self.delivery_stream);
            let answer = call.set_records(Some(batch.clone())).send().await;
            let answer = answer.map_err(|error| FailedEventsError::Call(Box::new(error)))?;
            let outcomes = answer.request_responses();
            let refused = |index: usize| outcomes.get(index).is_none_or(|outcome| outcome.error_code().is_some());
            batch =
                batch.into_iter().enumerate().filter(|(index, _)| refused(*index)).map(|(_, entry)| entry).collect();
            if batch.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(FailedEventsError::Refused { left: batch.len() })
    }
}

/// The failed event of a record, as a line.
///
/// # Errors
/// Only if a failed event could not be written as JSON, which no value of it causes.
pub fn line(record: &UserRecord, shard_id: &str, fault: &Fault, now_ms: i64) -> Result<Vec<u8>, serde_json::Error> {
    let position = format!("{shard_id}:{}:{}", record.sequence_number, record.sub_sequence);
    let identity = Identity::of(&record.data);
    let refused = refused_body(&record.data);
    let refusal = refused.as_deref().and_then(|body| serde_json::from_str::<Refusal<'_>>(body).ok());
    let mut failed = FailedEvent {
        failed_event_id: EventId::of_content("", "failed_event", &position, &record.data),
        event_id: identity.event_id,
        tenant_id: identity.tenant_id.map(Into::into),
        received_ts: timestamp_text(identity.received_ts.or(record.arrival_ms).unwrap_or(now_ms)),
        failed_ts: timestamp_text(now_ms),
        failure_type: fault.failure_type(),
        error_code: fault.code().into(),
        error_path: fault.path().map(Into::into),
        error_message: fault.to_string().into(),
        payload: String::new(),
        payload_bytes: i64::try_from(record.data.len()).unwrap_or(i64::MAX),
        processor: "enrich".into(),
        processor_version: env!("CARGO_PKG_VERSION").into(),
        shard_id: shard_id.into(),
        sequence_number: (&*record.sequence_number).into(),
        sub_sequence: i64::from(record.sub_sequence),
    };
    match refusal {
        // The door said why, and gave the bytes in base64: both go on as they are.
        Some(refusal) => {
            failed.failure_type = refusal.failure_type;
            failed.error_code = refusal.error_code;
            failed.error_path = refusal.error_path;
            failed.error_message = refusal.error_message;
            failed.payload = refusal.payload.into_owned();
            failed.payload_bytes = refusal.payload_bytes;
            failed.processor = PROCESSOR_INGEST.into();
        }
        None => failed.payload = base64_simd::STANDARD.encode_to_string(&record.data),
    }
    let mut line = serde_json::to_vec(&failed)?;
    line.push(b'\n');
    Ok(line)
}

/// The body of a record that the collector wrote of something it refused.
fn refused_body(record: &[u8]) -> Option<String> {
    let event = Event::read(record).ok()?;
    let is_refused = event.envelope.event_type == EventType::FailedEvent;
    is_refused.then(|| event.original_body().ok().map(std::borrow::Cow::into_owned)).flatten()
}

/// What can still be read of a record that is no good event.
#[derive(serde::Deserialize, Default)]
struct Identity {
    event_id: Option<EventId>,
    tenant_id: Option<String>,
    received_ts: Option<i64>,
}

impl Identity {
    fn of(record: &[u8]) -> Self {
        // Nothing readable is an answer here: the columns are null then.
        serde_json::from_slice(record).unwrap_or_default()
    }
}

/// A time as SQL engines read it from JSON: `2026-11-22 17:00:00.123`, UTC.
fn timestamp_text(ts: i64) -> String {
    let time = DateTime::from_timestamp_millis(ts).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use events::failed::FailureType;

    use super::*;

    fn record(data: &str) -> UserRecord {
        UserRecord {
            partition_key: "k".into(),
            explicit_hash_key: None,
            data: data.to_owned().into(),
            sequence_number: "49".into(),
            sub_sequence: 2,
            arrival_ms: Some(1_795_000_000_000),
        }
    }

    fn failed(data: &str) -> FailedEvent<'static> {
        let line = line(&record(data), "shardId-000000000000", &Fault::Refused, 1_795_000_000_500).unwrap();
        let failed: FailedEvent<'_> = serde_json::from_slice(&line).unwrap();
        FailedEvent {
            payload: failed.payload.clone(),
            ..serde_json::from_value(serde_json::to_value(failed).unwrap()).unwrap()
        }
    }

    const REFUSED: &str = r#"{"event_id":"dd1fea66-86da-8627-8acd-eaef763c71b2","event_type":"failed_event","schema_version":1,"tenant_id":"demo","auction_id":"","received_ts":1795000000123,"endpoint":"/v1/ad_requests","handler_us":1,"body":{"failure_type":"json_syntax","event_type":"ad_request","error_code":"json.syntax","error_path":null,"error_message":"must not be empty","errors":1,"payload":"/3g=","payload_bytes":2}}"#;

    #[test]
    fn what_the_door_refused_keeps_its_reason_and_bytes() {
        let failed = failed(REFUSED);
        assert_eq!(
            (failed.failure_type, &*failed.error_code, &*failed.processor),
            (FailureType::JsonSyntax, "json.syntax", "ingest")
        );
        assert_eq!((failed.payload.as_str(), failed.payload_bytes, failed.error_path), ("/3g=", 2, None));
        assert_eq!(
            (failed.tenant_id.as_deref(), failed.received_ts.as_str()),
            (Some("demo"), "2026-11-18 11:06:40.123")
        );
    }

    #[test]
    fn a_refusal_that_is_none_is_kept_whole() {
        let broken = REFUSED.replace("\"failure_type\"", "\"failure\"");
        let failed = failed(&broken);
        assert_eq!((&*failed.processor, &*failed.error_code), ("enrich", "refused"));
        assert_eq!(failed.payload_bytes, i64::try_from(broken.len()).unwrap());
    }
}
