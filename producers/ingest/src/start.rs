//! What both binaries do first: logs, clients, the producer.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use kinesis_producer::{Producer, StartError};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::ingest::Ingest;
use crate::tenants::{Tenants, TenantsError, watch_file};

/// How long an event is retried before its sender gets 503. Shorter than the 30 s after which most HTTP clients and
/// load balancers give up, so that the sender hears the outcome.
const RECORD_DEADLINE: Duration = Duration::from_secs(10);

/// Where the log goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people, on standard error.
    Text,
    /// One JSON object a line on standard output, as Lambda collects them.
    Json,
}

/// Starts the log; `RUST_LOG` filters it, `info` by default.
///
/// # Errors
/// If the process has a log already.
pub fn logging(format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let started = match format {
        LogFormat::Text => builder.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().with_ansi(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!(error).context("start the log"))
}

/// How often the tenants file is looked at.
const TENANTS_INTERVAL: Duration = Duration::from_secs(5);

/// The collection API over a producer, for the tenants of the file that the settings name, or for the built-in one.
/// The file is watched until the runtime ends.
///
/// # Errors
/// When the tenants file cannot be read, or is wrong.
pub fn ingest(config: &Config, producer: Producer) -> Result<Ingest, TenantsError> {
    let Some(path) = config.tenants_file.clone() else { return Ok(Ingest::new(producer, config.settings.clone())) };
    let tenants = Tenants::read(&path)?;
    tracing::info!(tenants = tenants.len(), "tenants file read");
    let (sender, receiver) = watch::channel(Arc::new(tenants));
    tokio::spawn(async move { watch_file(&path, TENANTS_INTERVAL, sender).await });
    Ok(Ingest::with_tenants(producer, config.settings.clone(), receiver))
}

/// Connects to the stream; endpoint, region and credentials come from where every AWS SDK takes them.
///
/// # Errors
/// If the stream cannot be found or its shards cannot be read.
pub async fn producer(config: &Config) -> Result<Producer, StartError> {
    let sdk = aws_config::load_from_env().await;
    let client = aws_sdk_kinesis::Client::new(&sdk);
    let mut settings = kinesis_producer::Config::new(&config.raw_stream);
    settings.linger = config.linger;
    settings.buffer_bytes_max = config.buffer_bytes_max;
    settings.record_deadline = RECORD_DEADLINE;
    Producer::start(settings, client).await
}
