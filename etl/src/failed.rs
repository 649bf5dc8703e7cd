//! Failed events of this stage, put to Firehose: records of the enriched stream that give no rows.
//!
//! The enriched stream is ours, so each of them is a fault of ours to look into; nothing is lost meanwhile.

use aws_sdk_firehose::Client;
use aws_sdk_firehose::error::SdkError;
use aws_sdk_firehose::operation::put_record_batch::PutRecordBatchError;
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use chrono::DateTime;
use claim_check::LargeFailedEvents;
use claim_check::failed::{LargeFailedError, fit};
use events::envelope::Event;
use events::event_id::EventId;
use events::failed::{FailedEvent, FailureType};
use tokio::time::{Duration, sleep};

/// Firehose: records a `PutRecordBatch`.
const BATCH_RECORDS_MAX: usize = 500;
/// Firehose: bytes a `PutRecordBatch`, before base64.
const BATCH_BYTES_MAX: usize = 4 << 20;
/// Attempts at a batch of which some records were refused for the moment; with the pauses below, 6 s.
const ATTEMPTS_MAX: u32 = 7;
/// First pause between attempts; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// Where failed events go.
#[derive(Debug, Clone)]
pub struct FailedEvents {
    client: Client,
    delivery_stream: String,
    large: Option<LargeFailedEvents>,
}

/// Why failed events are not durable.
#[derive(Debug, thiserror::Error)]
pub enum FailedEventsError {
    /// The call failed, after the SDK's own retries.
    #[error("put failed events")]
    Put(#[source] Box<SdkError<PutRecordBatchError>>),
    /// One that is too large for Firehose is not durable.
    #[error("put a large failed event")]
    Large(#[from] LargeFailedError),
    /// Firehose kept refusing some.
    #[error("{records} failed events were refused {ATTEMPTS_MAX} times, last with {code}")]
    Refused {
        /// How many.
        records: usize,
        /// Firehose's code for the last one.
        code: String,
    },
}

/// A record as it stood in the enriched stream, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Failure<'f> {
    /// Shard.
    pub shard_id: &'f str,
    /// Sequence number.
    pub sequence_number: &'f str,
    /// Position in an aggregated record.
    pub sub_sequence: u32,
    /// When the stream received it, in milliseconds since the epoch.
    pub arrival_ms: i64,
    /// The record.
    pub data: &'f [u8],
    /// Kind of failure.
    pub failure_type: FailureType,
    /// Short name of the error.
    pub code: &'static str,
    /// A sentence, without values of the event.
    pub message: String,
}

impl FailedEvents {
    /// Failed events go to this delivery stream.
    pub fn new(client: Client, delivery_stream: impl Into<String>) -> Self {
        Self { client, delivery_stream: delivery_stream.into(), large: None }
    }

    /// With the place for those that are too large for Firehose; without it they are cut to what Firehose takes.
    #[must_use]
    pub fn with_large(self, large: Option<LargeFailedEvents>) -> Self {
        Self { large, ..self }
    }

    /// Adds a line to those that [`FailedEvents::put`] takes later. A large one is durable already when this returns.
    ///
    /// # Errors
    /// When it is to be durable and is not.
    pub async fn collect(&self, line: Vec<u8>, now_ms: i64, lines: &mut Vec<Vec<u8>>) -> Result<(), FailedEventsError> {
        lines.extend(fit(line, self.large.as_ref(), now_ms).await?);
        Ok(())
    }

    /// Puts lines, each a failed event, and returns when all are durable.
    ///
    /// # Errors
    /// When some are not. Those that are may be put again: they carry their identity.
    pub async fn put(&self, lines: Vec<Vec<u8>>) -> Result<(), FailedEventsError> {
        for batch in batches(lines) {
            self.put_batch(batch).await?;
        }
        Ok(())
    }

    async fn put_batch(&self, mut records: Vec<Record>) -> Result<(), FailedEventsError> {
        let mut pause = PAUSE_MIN;
        let mut code = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                sleep(pause).await;
                pause *= 2;
            }
            let request = self
                .client
                .put_record_batch()
                .delivery_stream_name(&self.delivery_stream)
                .set_records(Some(records.clone()));
            let answer = request.send().await.map_err(|error| FailedEventsError::Put(Box::new(error)))?;
            if answer.failed_put_count() == 0 {
                return Ok(());
            }
            let mut refused = Vec::new();
            for (record, outcome) in records.into_iter().zip(answer.request_responses()) {
                if let Some(error_code) = outcome.error_code() {
                    error_code.clone_into(&mut code);
                    refused.push(record);
                }
            }
            records = refused;
        }
        Err(FailedEventsError::Refused { records: records.len(), code })
    }
}

/// Lines as records, cut into calls that Firehose takes.
fn batches(lines: Vec<Vec<u8>>) -> Vec<Vec<Record>> {
    let mut batches = Vec::new();
    let mut batch = Vec::new();
    let mut batch_bytes = 0;
    for line in lines {
        let is_full = batch.len() == BATCH_RECORDS_MAX || batch_bytes + line.len() > BATCH_BYTES_MAX;
        if is_full && !batch.is_empty() {
            batches.push(std::mem::take(&mut batch));
            batch_bytes = 0;
        }
        batch_bytes += line.len();
        batch.extend(Record::builder().data(Blob::new(line)).build());
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

impl Failure<'_> {
    /// The line of the `failed_events` table, with its line feed.
    ///
    /// # Errors
    /// Only if it could not be written as JSON, which no value of it causes.
    pub fn line(&self, now_ms: i64) -> Result<Vec<u8>, serde_json::Error> {
        let event = Event::read(self.data).ok();
        let envelope = event.as_ref().map(|event| &event.envelope);
        let position = format!("{}/{}/{}", self.shard_id, self.sequence_number, self.sub_sequence);
        let failed = FailedEvent {
            failed_event_id: EventId::of_content("", "failed_event", &position, self.data),
            event_id: envelope.map(|envelope| envelope.event_id),
            tenant_id: envelope.map(|envelope| envelope.tenant_id.as_ref().into()),
            received_ts: timestamp(envelope.map_or(self.arrival_ms, |envelope| envelope.received_ts)),
            failed_ts: timestamp(now_ms),
            failure_type: self.failure_type,
            error_code: self.code.into(),
            error_path: None,
            error_message: self.message.as_str().into(),
            payload: base64_simd::STANDARD.encode_to_string(self.data),
            payload_bytes: i64::try_from(self.data.len()).unwrap_or(i64::MAX),
            processor: "stage".into(),
            processor_version: env!("CARGO_PKG_VERSION").into(),
            shard_id: self.shard_id.into(),
            sequence_number: self.sequence_number.into(),
            sub_sequence: i64::from(self.sub_sequence),
        };
        let mut line = serde_json::to_vec(&failed)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// A time as the table has it; the epoch for one beyond all calendars.
fn timestamp(time_ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(time_ms).unwrap_or_default();
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    use claim_check::failed::is_large;

    use super::*;

    fn failure(data: &[u8]) -> Failure<'_> {
        Failure {
            shard_id: "shardId-000000000000",
            sequence_number: "49",
            sub_sequence: 3,
            arrival_ms: 1_795_000_000_123,
            data,
            failure_type: FailureType::JsonSyntax,
            code: "event",
            message: "read the event".into(),
        }
    }

    #[test]
    fn a_failed_event_keeps_the_record_and_its_place() {
        let line = failure(b"\xffx").line(1_795_000_001_000).unwrap();
        expect_test::expect![[r#"
            {"failed_event_id":"82ce777e-4ac6-8976-833e-2f9b96f04515","event_id":null,"tenant_id":null,"received_ts":"2026-11-18 11:06:40.123","failed_ts":"2026-11-18 11:06:41.000","failure_type":"json_syntax","error_code":"event","error_path":null,"error_message":"read the event","payload":"/3g=","payload_bytes":2,"processor":"stage","processor_version":"0.1.0","shard_id":"shardId-000000000000","sequence_number":"49","sub_sequence":3}
        "#]]
        .assert_eq(std::str::from_utf8(&line).unwrap());
    }

    #[test]
    fn attempts_at_one_record_have_one_id_and_records_have_their_own() {
        let id = |data: &[u8], now_ms| {
            let line = failure(data).line(now_ms).unwrap();
            serde_json::from_slice::<serde_json::Value>(&line).unwrap()["failed_event_id"].to_string()
        };
        assert_eq!(id(b"x", 1), id(b"x", 2));
        assert_ne!(id(b"x", 1), id(b"y", 1));
    }

    #[tokio::test]
    async fn large_ones_are_cut_or_go_beside_firehose() {
        let sdk = aws_sdk_firehose::Config::builder()
            .behavior_version(aws_sdk_firehose::config::BehaviorVersion::latest())
            .build();
        let events = FailedEvents::new(Client::from_conf(sdk), "failed-events");
        let line = failure(&vec![b'x'; 10 << 20]).line(0).unwrap();
        let mut lines = Vec::new();
        events.collect(line.clone(), 0, &mut lines).await.unwrap();
        assert!(lines.len() == 1 && !is_large(&lines[0]));
        let store = std::sync::Arc::new(object_store::memory::InMemory::new());
        let large = LargeFailedEvents::new(store, crate::layout::FAILED_EVENTS);
        events.with_large(Some(large)).collect(line, 0, &mut lines).await.unwrap();
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn calls_keep_the_limits_and_lose_nothing() {
        for (lines, bytes, expect) in
            [(0, 1, 0), (1, 1, 1), (500, 1, 1), (501, 1, 2), (5, 1_000_000, 2), (9, 1_000_000, 3)]
        {
            let batches = batches(vec![vec![b'x'; bytes]; lines]);
            assert_eq!(batches.len(), expect, "{lines} of {bytes}");
            assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), lines);
            for batch in &batches {
                let batch_bytes: usize = batch.iter().map(|record| record.data().as_ref().len()).sum();
                assert!(batch.len() <= BATCH_RECORDS_MAX && batch_bytes <= BATCH_BYTES_MAX);
            }
        }
    }
}
