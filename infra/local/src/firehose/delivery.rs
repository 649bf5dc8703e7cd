//! Delivering buffers to S3, one after the other, until each is there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::active::Active;
use super::config::StreamConfig;
use super::destination::Destination;
use super::lane::Lane;
use super::segment::{self, Content};
use super::{FirehoseError, Surroundings};
use crate::meter::{Sizes, count};
use crate::s3::{Attributes, PutOptions};

use object::Prepared;

mod object;
mod schema;

/// A failed delivery is tried again after this long, doubled each time up to the second.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What the worker is given.
#[derive(Debug)]
pub(super) enum Job {
    /// A buffer that takes no more records. Without a lane it is one of an earlier run.
    Deliver { path: PathBuf, lane: Option<Lane>, bytes: u64 },
    /// Answered when everything before it is delivered.
    Barrier(oneshot::Sender<()>),
}

impl Job {
    /// Of the buffer.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Deliver { bytes, .. } => *bytes,
            Self::Barrier(_) => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) config: Arc<StreamConfig>,
    pub(super) destination: Arc<Destination>,
    pub(super) around: Surroundings,
    /// Bytes sealed and not delivered.
    pub(super) undelivered: Arc<AtomicU64>,
    /// Held for a few additions.
    pub(super) delivered: Arc<Mutex<Delivered>>,
    pub(super) active: Active,
}

/// What was delivered since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Delivered {
    pub(super) records: u64,
    /// Before compression and conversion.
    pub(super) bytes: u64,
    pub(super) objects: u64,
    /// Records that were converted, and those that could not be.
    pub(super) converted: u64,
    pub(super) unconverted: u64,
    /// How old the oldest record of an object was, in seconds.
    pub(super) freshness_s: Sizes,
}

impl Worker {
    /// Runs until the stream is closed. What is then left stays on disk for the next start.
    pub(super) async fn run(self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Barrier(reply) => drop(reply.send(())),
                Job::Deliver { path, lane, bytes } => {
                    self.deliver_until_done(&path).await;
                    self.undelivered.fetch_sub(bytes, Ordering::Relaxed);
                    if let Some(lane) = lane {
                        self.active.remove(&lane);
                    }
                }
            }
        }
    }

    async fn deliver_until_done(&self, path: &Path) {
        let mut wait = FIRST_RETRY;
        while let Err(error) = self.deliver(path).await {
            tracing::warn!(stream = %self.config.name, %error, "delivery to S3 failed, will try again");
            tokio::time::sleep(wait).await;
            wait = LAST_RETRY.min(wait * 2);
        }
    }

    async fn deliver(&self, path: &Path) -> Result<(), FirehoseError> {
        let content = match read(path.to_owned()).await {
            // A stream whose destination was changed may have delivered it while it ended.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            content => content?,
        };
        if content.entries.is_empty() {
            return remove(path).await;
        }
        let prepared = self.prepare(content, segment::id(path).to_owned()).await?;
        // A failed record is in S3 before the others: after a crash both are made again, under the same names.
        for object in &prepared.objects {
            let attributes =
                Attributes { content_type: Some("application/octet-stream".to_owned()), ..Attributes::default() };
            let options = PutOptions { attributes, ..PutOptions::default() };
            self.around.s3.put(&self.destination.bucket, &object.key, object.body.clone(), options).await?;
        }
        self.note(&prepared);
        remove(path).await
    }

    async fn prepare(&self, content: Content, id: String) -> Result<Prepared, FirehoseError> {
        let (config, destination) = (Arc::clone(&self.config), Arc::clone(&self.destination));
        let is_failed = matches!(content.head.lane, Lane::Failed { .. });
        let schema = match &destination.conversion {
            Some(conversion) if !is_failed => {
                Some(schema::find(conversion, config.table.as_ref(), &self.around.glue).await?)
            }
            Some(_) | None => None,
        };
        let now_ms = self.around.clock.now_ms();
        let name = config.name.clone();
        let stream = object::Stream { name, version: config.version, id, now_ms };
        let prepared = tokio::task::spawn_blocking(move || object::prepare(&content, &stream, &destination, schema));
        Ok(prepared.await.map_err(io::Error::other)??)
    }

    /// Counts what lies in S3.
    fn note(&self, prepared: &Prepared) {
        let now_ms = self.around.clock.now_ms();
        let age_s = usize::try_from((now_ms - prepared.first_arrival_ms) / 1_000).unwrap_or(0);
        let interval_s = usize::try_from(self.destination.hints.interval_s).unwrap_or(usize::MAX);
        let mut delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        delivered.records += count(prepared.records);
        delivered.bytes += count(prepared.bytes);
        delivered.objects += count(prepared.objects.len());
        delivered.converted += count(prepared.converted);
        delivered.unconverted += count(prepared.unconverted);
        delivered.freshness_s.note(age_s, interval_s, now_ms);
    }
}

async fn read(path: PathBuf) -> io::Result<Content> {
    let content = tokio::task::spawn_blocking(move || {
        let content = segment::read(&path)?;
        if content.torn > 0 {
            let (path, bytes, records) = (path.display(), content.torn, content.entries.len());
            tracing::warn!(%path, bytes, records, "left out an unacknowledged end of a buffer");
        }
        Ok(content)
    });
    content.await.map_err(io::Error::other)?
}

async fn remove(path: &Path) -> Result<(), FirehoseError> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}
