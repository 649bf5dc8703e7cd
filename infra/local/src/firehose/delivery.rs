//! Delivering buffers to S3, one after the other, until each is there.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{mpsc, oneshot};

use super::destination::Destination;
use super::segment::{self, Content};
use super::{FirehoseError, now_ms};
use crate::meter::{Sizes, count};
use crate::s3::{Attributes, PutOptions, S3};

/// A failed delivery is tried again after this long, doubled each time up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What the worker is given.
#[derive(Debug)]
pub(super) enum Job {
    /// A buffer that takes no more records.
    Deliver { path: PathBuf, bytes: u64 },
    /// Answered when everything before it is delivered.
    Barrier(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) stream: String,
    pub(super) destination: Destination,
    pub(super) s3: S3,
    /// Bytes sealed and not delivered.
    pub(super) undelivered: Arc<AtomicU64>,
    /// Held for a few additions.
    pub(super) delivered: Arc<Mutex<Delivered>>,
}

/// What was delivered since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delivered {
    pub(super) records: u64,
    /// Before compression.
    pub(super) bytes: u64,
    pub(super) objects: u64,
    /// How old the oldest record of an object was, in seconds.
    pub(super) freshness_s: Sizes,
}

impl Worker {
    /// Runs until the stream is closed. What is then left stays on disk for the next start.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Barrier(reply) => drop(reply.send(())),
                Job::Deliver { path, bytes } => {
                    self.deliver_until_done(&path).await;
                    self.undelivered.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
        }
    }

    async fn deliver_until_done(&self, path: &Path) {
        let mut wait = FIRST_RETRY;
        while let Err(error) = self.deliver(path).await {
            tracing::warn!(stream = %self.stream, %error, "delivery to S3 failed, will try again");
            tokio::time::sleep(wait).await;
            wait = LAST_RETRY.min(wait * 2);
        }
    }

    /// Counts an object that lies in S3.
    fn note(&self, records: usize, bytes: usize, first_arrival_ms: i64) {
        let age_s = usize::try_from((now_ms() - first_arrival_ms) / 1_000).unwrap_or(0);
        let interval_s = usize::try_from(self.destination.hints.interval_s).unwrap_or(usize::MAX);
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        delivered.records += count(records);
        delivered.bytes += count(bytes);
        delivered.objects += 1;
        delivered.freshness_s.note(age_s, interval_s, now_ms());
    }

    async fn deliver(&self, path: &Path) -> Result<(), FirehoseError> {
        let (source, gzip) = (path.to_owned(), self.destination.gzip);
        let prepared =
            tokio::task::spawn_blocking(move || prepare(&source, gzip)).await.map_err(io::Error::other)??;
        let Some(Prepared { body, records, bytes, first_arrival_ms }) = prepared else {
            return Ok(tokio::fs::remove_file(path).await?);
        };
        let key = object_key(&self.stream, &self.destination, first_arrival_ms, segment::id(path));
        let attributes =
            Attributes { content_type: Some("application/octet-stream".to_owned()), ..Attributes::default() };
        let options = PutOptions { attributes, ..PutOptions::default() };
        self.s3.put(&self.destination.bucket, &key, body.into(), options).await?;
        self.note(records, bytes, first_arrival_ms);
        // A crash before this removal delivers the same object under the same name again.
        Ok(tokio::fs::remove_file(path).await?)
    }
}

/// An object's bytes, and what they were made of.
struct Prepared {
    body: Vec<u8>,
    records: usize,
    bytes: usize,
    /// The time of the oldest record.
    first_arrival_ms: i64,
}

/// The object's bytes and the time of its oldest record; `None` for a buffer without a record.
fn prepare(path: &Path, gzip: bool) -> io::Result<Option<Prepared>> {
    let Content { data, records, first_arrival_ms, torn } = segment::read(path)?;
    if torn > 0 {
        tracing::warn!(path = %path.display(), bytes = torn, records, "left out an unacknowledged end of a buffer");
    }
    let Some(first_arrival_ms) = first_arrival_ms else { return Ok(None) };
    let bytes = data.len();
    if !gzip {
        return Ok(Some(Prepared { body: data, records, bytes, first_arrival_ms }));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(&data)?;
    Ok(Some(Prepared { body: encoder.finish()?, records, bytes, first_arrival_ms }))
}

fn object_key(stream: &str, destination: &Destination, first_arrival_ms: i64, id: &str) -> String {
    let at: DateTime<Utc> = DateTime::from_timestamp_millis(first_arrival_ms).unwrap_or_default();
    let prefix = destination.prefix.eval(at, id);
    let extension = match (&destination.extension, destination.gzip) {
        (Some(extension), _) => extension.as_str(),
        (None, true) => ".gz",
        (None, false) => "",
    };
    format!("{prefix}{stream}-1-{}-{}{extension}", at.format("%Y-%m-%d-%H-%M-%S"), hyphenated(id))
}

fn hyphenated(id: &str) -> String {
    uuid::Uuid::try_parse(id).map_or_else(|_not_ours| id.to_owned(), |id| id.hyphenated().to_string())
}
