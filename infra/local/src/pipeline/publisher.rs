//! The publisher as a task: every few seconds what is staged becomes rows of the tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use etl::catalog::Catalog;
use etl::publish::{self, Publisher};
use events::table::AD_REQUESTS;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::clients;
use crate::clock;
use crate::cloud::Cloud;
use crate::names;

/// What was published since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Rows of `ad_requests`.
    pub rows: u64,
    /// Repeats that were removed.
    pub repeats: u64,
}

/// The running publisher.
#[derive(Debug)]
pub(super) struct Publishing {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    publisher: Publisher,
    /// One run at a time: two would only race each other for the same hours.
    running: Mutex<()>,
    rows: AtomicU64,
    repeats: AtomicU64,
}

impl Publishing {
    /// Makes the tables in the catalog and starts to publish every `interval`.
    pub(super) async fn start(cloud: &Cloud, aws: &SdkConfig, interval: Duration) -> anyhow::Result<Self> {
        let lake = clients::local_bucket(&cloud.endpoint(), names::LAKE_BUCKET)?;
        let catalog = Catalog::new(aws_sdk_glue::Client::new(aws), names::DATABASE);
        catalog.setup(names::LAKE_BUCKET).await.context("make the tables in the catalog")?;
        let publisher = Publisher { store: lake, bucket: names::LAKE_BUCKET.to_owned(), catalog: Some(catalog) };
        let shared = Arc::new(Shared {
            publisher,
            running: Mutex::new(()),
            rows: AtomicU64::new(0),
            repeats: AtomicU64::new(0),
        });
        let (stop, mut stopping) = watch::channel(false);
        let looping = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    _ = stopping.changed() => return,
                }
                if let Err(error) = looping.publish().await {
                    tracing::error!(error = format!("{error:#}"), "publishing failed; the next run repeats it");
                }
            }
        });
        Ok(Self { shared, stop, task })
    }

    /// What was published since the start.
    pub(super) fn published(&self) -> Published {
        Published {
            rows: self.shared.rows.load(Ordering::Relaxed),
            repeats: self.shared.repeats.load(Ordering::Relaxed),
        }
    }

    /// Publishes what is staged now.
    pub(super) async fn publish_now(&self) -> anyhow::Result<()> {
        self.shared.publish().await
    }

    /// Ends after the run that is under way.
    pub(super) async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the publisher did not end well");
        }
    }
}

impl Shared {
    async fn publish(&self) -> anyhow::Result<()> {
        let _one_at_a_time = self.running.lock().await;
        let report = publish::publish_all(&self.publisher, clock::now_ms()).await.context("publish")?;
        let mut failure = None;
        for hour in report.hours {
            match hour.outcome {
                Ok(published) if hour.table == AD_REQUESTS.name => {
                    self.rows.fetch_add(published.rows_added, Ordering::Relaxed);
                    self.repeats.fetch_add(published.resent + published.redelivered, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => {
                    let what = format!("publish {} {}", hour.table, hour.hour);
                    failure = Some(anyhow::Error::new(error).context(what));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }
}
