//! The stages of the pipeline: collection API, enrichment, staging; each the code that is deployed.
//!
//! The functions are called in this process, or run as the binaries that are deployed ([`Binaries`]).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::SdkConfig;
use claim_check::{ClaimChecks, LargeFailedEvents};
use enrich::Enricher;
use enrich::failed::FailedEvents;
use enrich::screens::Screens;
use etl::layout::FAILED_EVENTS;
use etl::stage::Stager;
use ingest::Ingest;
use kinesis_producer::Producer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Snapshot;
use super::isolated::Binaries;
use crate::clients;
use crate::clock;
use crate::cloud::Cloud;
use crate::lambda::{EventSourceMapping, Handler, Mapping, Target};
use crate::names;
use crate::s3::PutOptions;

/// Enrichment is for latency: a batch closes after this, or when it is full.
const ENRICH_WINDOW: Duration = Duration::from_millis(200);
/// Staging is for few objects: a batch closes after this, or when it is full.
const STAGE_WINDOW: Duration = Duration::from_secs(3);
/// Events on their way through the collection API, in bytes.
const INGEST_BUFFER_BYTES: usize = 64 << 20;
/// Largest body of one event: as base64 it is still within the 6 MB that a function can be called with.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Largest record of a stream that was not set to more (service quota); events above it lie in the lake.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// How long the collection API tries to put an event before it answers 503.
const INGEST_DEADLINE: Duration = Duration::from_secs(10);

/// The running stages.
pub(super) struct Stages {
    ingest: Ingest,
    raw: Producer,
    /// Only where enrichment runs in this process.
    enriched: Option<Producer>,
    enrich_mapping: Mapping,
    stage_mapping: Mapping,
    door: Option<Door>,
}

/// The collection API's server: told to close, and waited for.
struct Door {
    close: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl std::fmt::Debug for Stages {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Stages").field("ingest", &self.ingest).finish_non_exhaustive()
    }
}

impl Stages {
    /// Starts the stages from the last to the first.
    pub(super) async fn start(
        cloud: &Cloud,
        aws: &SdkConfig,
        screens: Vec<u8>,
        listener: TcpListener,
        binaries: Option<Binaries>,
    ) -> anyhow::Result<Self> {
        let kinesis = aws_sdk_kinesis::Client::new(aws);
        let table = Screens::from_ndjson(&screens)?;
        let (lake, key) = (names::LAKE_BUCKET, names::SCREENS_KEY);
        let put = cloud.s3().put(lake, key, screens.into(), PutOptions::default()).await;
        put.context("put the screens table into the lake")?;
        let (stage, enrich, enriched) = match binaries {
            Some(binaries) => {
                let (stage, enrich) = binaries.create(cloud).await?;
                (Target::from(stage), Target::from(enrich), None)
            }
            None => {
                let config = kinesis_producer::Config::new(names::ENRICHED_STREAM);
                let enriched = Producer::start(config, kinesis.clone()).await.context("start the enriched producer")?;
                (staging(cloud, aws)?.into(), enrichment(cloud, aws, table, enriched.clone())?.into(), Some(enriched))
            }
        };
        let stage_mapping = map_staging(cloud, stage).await?;
        let enrich_mapping = map_enrichment(cloud, enrich).await?;
        let mut raw_config = kinesis_producer::Config::new(names::RAW_STREAM);
        raw_config.buffer_bytes_max = INGEST_BUFFER_BYTES;
        raw_config.record_deadline = INGEST_DEADLINE;
        let raw = Producer::start(raw_config, kinesis).await.context("start the raw producer")?;
        let settings = ingest::Settings {
            body_bytes_max: BODY_BYTES_MAX,
            claim_checks: Some(claim_checks(cloud)?),
            ..ingest::Settings::default()
        };
        let ingest = Ingest::new(raw.clone(), settings);
        let (close, closed) = oneshot::channel();
        let app = ingest::app(ingest.clone());
        let server = tokio::spawn(async move {
            let shutdown = async move {
                // A dropped sender closes the door as well.
                drop(closed.await);
            };
            ingest::run(listener, app, ingest::server::Limits::default(), shutdown).await;
        });
        Ok(Self { ingest, raw, enriched, enrich_mapping, stage_mapping, door: Some(Door { close, server }) })
    }

    /// What the stages say of themselves.
    pub(super) fn snapshot(&self) -> Snapshot {
        let counts = self.ingest.counters();
        let (raw, enriched) = (self.enrich_mapping.progress(), self.stage_mapping.progress());
        Snapshot {
            accepted: counts.accepted,
            refused: counts.invalid + counts.too_large + counts.undecodable,
            raw_waiting: raw.waiting_records,
            enriched_waiting: enriched.waiting_records,
            lag_ms: raw.lag_ms.max(enriched.lag_ms),
            ..Snapshot::default()
        }
    }

    /// Lets no more events in, and answers the senders that wait.
    pub(super) async fn close_door(&mut self) {
        let Some(Door { close, server }) = self.door.take() else { return };
        if close.send(()).is_err() {
            tracing::warn!("the collection API had ended before it was told to");
        }
        if let Err(error) = server.await {
            tracing::error!(%error, "the collection API did not end well");
        }
        self.raw.flush().await;
    }

    /// Works off what is on the streams now: through the enrichment, then into staged objects.
    pub(super) async fn drain(&self, deadline: Duration) -> anyhow::Result<()> {
        self.raw.flush().await;
        self.enrich_mapping.drain(deadline).await.context("work off the raw stream")?;
        if let Some(enriched) = &self.enriched {
            enriched.flush().await;
        }
        self.stage_mapping.drain(deadline).await.context("work off the enriched stream")
    }

    /// Stops reading and writing.
    pub(super) async fn stop(self) {
        self.enrich_mapping.stop().await;
        self.stage_mapping.stop().await;
        self.raw.close().await;
        if let Some(enriched) = self.enriched {
            enriched.close().await;
        }
    }
}

/// The staging function, in this process.
fn staging(cloud: &Cloud, aws: &SdkConfig) -> anyhow::Result<Handler> {
    let firehose = aws_sdk_firehose::Client::new(aws);
    let failed = etl::failed::FailedEvents::new(firehose, names::FAILED_DELIVERY_STREAM);
    let lake = clients::local_bucket(&cloud.endpoint(), names::LAKE_BUCKET)?;
    let failed = failed.with_large(Some(LargeFailedEvents::new(Arc::clone(&lake), FAILED_EVENTS)));
    let stager = Stager::new(lake, failed).with_claim_checks(Some(claim_checks(cloud)?));
    Ok(Arc::new(move |event| {
        let stager = stager.clone();
        Box::pin(async move { Ok(stager.handle(event, clock::now_ms()).await?) })
    }))
}

/// The enrichment function, in this process.
fn enrichment(cloud: &Cloud, aws: &SdkConfig, screens: Screens, enriched: Producer) -> anyhow::Result<Handler> {
    let lake = clients::local_bucket(&cloud.endpoint(), names::LAKE_BUCKET)?;
    let failed = FailedEvents::new(aws_sdk_firehose::Client::new(aws), names::FAILED_DELIVERY_STREAM.to_owned());
    let failed = failed.with_large(Some(LargeFailedEvents::new(lake, FAILED_EVENTS)));
    let enricher = Enricher::new(Arc::new(screens), enriched, failed).with_claim_checks(Some(claim_checks(cloud)?));
    Ok(Arc::new(move |event| {
        let enricher = enricher.clone();
        Box::pin(async move { Ok(enricher.handle(event, clock::now_ms()).await?) })
    }))
}

/// The lake as the bucket of large events.
fn claim_checks(cloud: &Cloud) -> anyhow::Result<ClaimChecks> {
    let lake = clients::local_bucket(&cloud.endpoint(), names::LAKE_BUCKET)?;
    Ok(ClaimChecks::new(lake, names::LAKE_BUCKET, RECORD_BYTES_MAX))
}

async fn map_staging(cloud: &Cloud, target: Target) -> anyhow::Result<Mapping> {
    let mut mapping = EventSourceMapping::new("stage", names::ENRICHED_STREAM);
    mapping.batch_size = 10_000;
    mapping.batching_window = STAGE_WINDOW;
    cloud.map(mapping, target).await.context("map the enriched stream to the staging function")
}

async fn map_enrichment(cloud: &Cloud, target: Target) -> anyhow::Result<Mapping> {
    let mut mapping = EventSourceMapping::new("enrich", names::RAW_STREAM);
    mapping.batch_size = 1_000;
    mapping.batching_window = ENRICH_WINDOW;
    cloud.map(mapping, target).await.context("map the raw stream to the enrichment function")
}
