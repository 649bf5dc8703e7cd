//! The whole pipeline in one process: the local cloud, and every stage on it as it is deployed.
//!
//! The stages meet only through the cloud's wire protocols and its event source mappings; what runs here as a task
//! runs on AWS as a function or a container. Start and end go in the order of an event: the door opens last and
//! closes first, so that nothing is left on the way.

mod isolated;
mod publisher;
mod resources;
mod stages;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use tokio::net::TcpListener;

use crate::clients;
use crate::cloud::{Cloud, CloudConfig, CloudError, Doors};
use crate::faults::FaultRule;
use crate::names;

pub use isolated::Binaries;
pub use publisher::Published;
use publisher::Publishing;
use stages::Stages;

/// How long the stages may take to work off what is on their streams when the pipeline stops.
const DRAIN_DEADLINE: Duration = Duration::from_secs(60);
/// File in the data directory that says where a running local cloud listens. It is removed once a pipeline has stopped
/// with everything it accepted in the tables.
pub const ENDPOINT_FILE: &str = "endpoint";

/// How the pipeline is laid out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory that holds everything.
    pub data_dir: PathBuf,
    /// Address of the local cloud.
    pub cloud: SocketAddr,
    /// How the local cloud is reached beside that.
    pub doors: Doors,
    /// How long its streams are `CREATING`, `UPDATING` and `DELETING`.
    pub stream_transition: Duration,
    /// Address of the collection API.
    pub ingest: SocketAddr,
    /// Shards of a raw stream that is not there yet.
    pub raw_shards: u16,
    /// The screens table, one JSON object a line.
    pub screens: Vec<u8>,
    /// Time between publications.
    pub publish_interval: Duration,
    /// The functions' binaries, where they are to run as they are deployed; none: their code runs in this process.
    pub binaries: Option<Binaries>,
    /// Faults of the local cloud from the start on.
    pub faults: Vec<FaultRule>,
}

/// A running pipeline.
#[derive(Debug)]
pub struct Pipeline {
    cloud: Cloud,
    aws: SdkConfig,
    data_dir: PathBuf,
    ingest: SocketAddr,
    stages: Stages,
    publishing: Publishing,
}

/// What happened so far, and what is on its way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    /// Events answered with 2xx since the start.
    pub accepted: u64,
    /// Events refused with 4xx since the start.
    pub refused: u64,
    /// Kinesis records that wait on the raw stream.
    pub raw_waiting: u64,
    /// Kinesis records that wait on the enriched stream.
    pub enriched_waiting: u64,
    /// Age of the oldest record that waits on either, in milliseconds.
    pub lag_ms: u64,
    /// Rows published since the start, and in how many publications.
    pub published: Published,
}

impl Pipeline {
    /// Starts the cloud, makes what is missing on it, and starts every stage; the collection API last.
    ///
    /// # Errors
    /// A busy address, a data directory that is in use or of another version, and whatever a stage says.
    pub async fn start(options: Options) -> anyhow::Result<Self> {
        let listener = listen(options.ingest).await?;
        let ingest = listener.local_addr().context("read the collection API's address")?;
        let (doors, stream_transition, faults) = (options.doors, options.stream_transition, options.faults);
        let config =
            CloudConfig { doors, stream_transition, faults, ..CloudConfig::new(&options.data_dir, options.cloud) };
        let cloud = match Box::pin(Cloud::start(config)).await {
            Err(CloudError::Busy { address }) => {
                bail!(
                    "cannot listen on {address} for the local cloud, it is in use: choose another with --cloud 127.0.0.1:PORT"
                )
            }
            started => started?,
        };
        let aws = clients::local(&cloud.endpoint()).await;
        for bucket in [names::LAKE_BUCKET, names::RESULTS_BUCKET] {
            cloud.s3().create_bucket(bucket).await.with_context(|| format!("create the bucket {bucket}"))?;
        }
        // On the heap, as the cloud's start: these futures would make every caller's as large.
        Box::pin(resources::make(&aws, options.raw_shards)).await?;
        let stages = Stages::start(&cloud, &aws, options.screens, listener, options.binaries);
        let stages = Box::pin(stages).await?;
        let publishing = Publishing::start(&cloud, &aws, options.publish_interval).await?;
        let endpoint_file = options.data_dir.join(ENDPOINT_FILE);
        tokio::fs::write(&endpoint_file, cloud.endpoint()).await.context("write where the local cloud listens")?;
        Ok(Self { cloud, aws, data_dir: options.data_dir, ingest, stages, publishing })
    }

    /// Clients of the local cloud.
    pub fn aws(&self) -> &SdkConfig {
        &self.aws
    }

    /// The local cloud.
    pub fn cloud(&self) -> &Cloud {
        &self.cloud
    }

    /// Where the collection API listens.
    pub fn ingest(&self) -> SocketAddr {
        self.ingest
    }

    /// What happened so far.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot { published: self.publishing.published(), ..self.stages.snapshot() }
    }

    /// Works off everything accepted so far: onto the enriched stream, into staged objects, into the tables.
    ///
    /// # Errors
    /// When a stage does not get there within a minute, or publishing fails.
    pub async fn drain(&self) -> anyhow::Result<()> {
        self.stages.drain(DRAIN_DEADLINE).await?;
        self.cloud.firehose().flush_all().await.context("deliver the failed events")?;
        self.publishing.publish_now().await
    }

    /// Closes the door, works off what was accepted, stops.
    ///
    /// # Errors
    /// As [`Pipeline::drain`]; everything stops all the same, and what is left is worked off after the next start.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stages.close_door().await;
        let drained = self.drain().await;
        self.publishing.stop().await;
        self.stages.stop().await;
        self.cloud.shutdown().await;
        // It stays behind where events still wait, and says so to whoever asks the directory at rest.
        drained?;
        tokio::fs::remove_file(self.data_dir.join(ENDPOINT_FILE)).await.context("remove the endpoint file")
    }
}

/// Binds the collection API's address, with the way out in the message when it is taken.
async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for the collection API: choose another with --ingest 127.0.0.1:PORT")
    })
}
