//! Failed events that are too large for Firehose: lines of the `failed_events` table, each an object of its own.
//!
//! They lie where Firehose delivers the others to, compressed as those are, so that SQL finds them whole.

use std::io::Write as _;
use std::sync::Arc;

use chrono::DateTime;
use events::failed::FailedEvent;
use flate2::Compression;
use flate2::write::GzEncoder;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};

/// Largest line that Firehose takes (service quota: 1,000 KiB a record, before base64).
pub const FIREHOSE_RECORD_BYTES_MAX: usize = 1_024_000;

/// What is kept of a record where there is no store: in base64 this leaves a quarter of the limit for all other members.
const PAYLOAD_BYTES_MAX: usize = FIREHOSE_RECORD_BYTES_MAX / 4 * 3;

/// Where large failed events go.
#[derive(Debug, Clone)]
pub struct LargeFailedEvents {
    store: Arc<dyn ObjectStore>,
    folder: Path,
}

/// Why a large failed event is not durable.
#[derive(Debug, thiserror::Error)]
pub enum LargeFailedError {
    /// What is to be put is no line of the table: a fault of the caller.
    #[error("read the line of a failed event")]
    Line(#[from] serde_json::Error),
    /// It could not be compressed, which memory alone can cause.
    #[error("compress a failed event")]
    Compress(#[source] std::io::Error),
    /// S3 did not take it.
    #[error("put {key}")]
    Put {
        /// The object.
        key: Path,
        /// Why.
        #[source]
        source: object_store::Error,
    },
}

/// Whether a line is too large for Firehose.
pub fn is_large(line: &[u8]) -> bool {
    line.len() > FIREHOSE_RECORD_BYTES_MAX
}

/// A line as Firehose takes it. One that is too large is put where there is a place for it, and nothing is left for Firehose;
/// without a place it is cut.
///
/// # Errors
/// When a large one is neither durable nor cut.
pub async fn fit(
    line: Vec<u8>,
    large: Option<&LargeFailedEvents>,
    now_ms: i64,
) -> Result<Option<Vec<u8>>, LargeFailedError> {
    match large {
        _ if !is_large(&line) => Ok(Some(line)),
        Some(large) => large.put(&line, now_ms).await.map(|()| None),
        None => Ok(Some(cut(&line)?)),
    }
}

/// A line with so much of its record as Firehose takes; its `payload_bytes` still tells the whole size.
///
/// # Errors
/// When it is no line of the table.
fn cut(line: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut failed: FailedEvent<'_> = serde_json::from_slice(line)?;
    // Whole groups of four digits, of which it is always more than these.
    failed.payload.truncate(PAYLOAD_BYTES_MAX);
    let mut line = serde_json::to_vec(&failed)?;
    line.push(b'\n');
    Ok(line)
}

impl LargeFailedEvents {
    /// They go to a folder of a store: the one that Firehose delivers to.
    pub fn new(store: Arc<dyn ObjectStore>, folder: &str) -> Self {
        Self { store, folder: Path::from(folder) }
    }

    /// Puts one line, which came up at `now_ms`; again for the same failure in the same hour changes nothing.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn put(&self, line: &[u8], now_ms: i64) -> Result<(), LargeFailedError> {
        let failed: FailedEvent<'_> = serde_json::from_slice(line)?;
        let time = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let (day, hour) = (time.format("event_date=%Y-%m-%d").to_string(), time.format("event_hour=%H").to_string());
        let key = self.folder.clone().join(day.as_str()).join(hour.as_str());
        let key = key.join(format!("large-{}.gz", failed.failed_event_id).as_str());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(line).map_err(LargeFailedError::Compress)?;
        let compressed = encoder.finish().map_err(LargeFailedError::Compress)?;
        let put = self.store.put(&key, PutPayload::from(compressed)).await;
        put.map(drop).map_err(|source| LargeFailedError::Put { key, source })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use events::event_id::EventId;
    use events::failed::FailureType;
    use flate2::read::GzDecoder;
    use futures::TryStreamExt;
    use object_store::memory::InMemory;

    use super::*;

    fn line(payload_bytes: usize) -> Vec<u8> {
        let failed = FailedEvent {
            failed_event_id: EventId::of_content("", "failed_event", "s:1:0", b""),
            event_id: None,
            tenant_id: None,
            received_ts: "2026-11-22 17:00:00.123".into(),
            failed_ts: "2026-11-22 17:00:01.000".into(),
            failure_type: FailureType::SizeViolation,
            error_code: "x".into(),
            error_path: None,
            error_message: "m".into(),
            payload: "QUJD".repeat(payload_bytes / 3),
            payload_bytes: i64::try_from(payload_bytes).unwrap(),
            processor: "enrich".into(),
            processor_version: "1".into(),
            shard_id: "s".into(),
            sequence_number: "1".into(),
            sub_sequence: 0,
        };
        let mut line = serde_json::to_vec(&failed).unwrap();
        line.push(b'\n');
        line
    }

    #[tokio::test]
    async fn a_large_line_is_an_object_of_its_own() {
        let store = Arc::new(InMemory::new());
        let large = LargeFailedEvents::new(Arc::clone(&store) as Arc<dyn ObjectStore>, "failed_events");
        let line = line(3_000_000);
        for _ in 0..2 {
            large.put(&line, 1_795_000_000_123).await.unwrap();
        }
        let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
        assert_eq!(objects.len(), 1);
        let key = objects[0].location.to_string();
        assert!(
            key.starts_with("failed_events/event_date=2026-11-18/event_hour=11/large-") && key.ends_with(".gz"),
            "{key}"
        );
        let object = store.get(&objects[0].location).await.unwrap().bytes().await.unwrap();
        let mut read = Vec::new();
        GzDecoder::new(&object[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, line);
    }

    #[test]
    fn a_line_is_cut_to_what_firehose_takes() {
        let whole = line(3_000_000);
        assert!(is_large(&whole) && !is_large(&line(700_000)));
        let cut = cut(&whole).unwrap();
        assert!(!is_large(&cut) && cut.ends_with(b"\n"));
        let failed: FailedEvent<'_> = serde_json::from_slice(&cut).unwrap();
        assert_eq!((failed.payload.len() % 4, failed.payload_bytes), (0, 3_000_000));
    }
}
