//! What both binaries do first: logs, clients, the producer.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use claim_check::ClaimChecks;
use kinesis_producer::{Producer, StartError};
use object_store::aws::AmazonS3Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::ingest::{Ingest, Settings};
use crate::tenants::source::Source;
use crate::tenants::{self, Tenants};
use crate::tls::Tls;

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

/// The collection API over a producer, for the tenants of the place that the settings name, or for the built-in one.
/// They are read again until the runtime ends.
///
/// # Errors
/// When the tenants cannot be read, or are wrong, or the bucket of large events cannot be opened.
pub async fn ingest(config: &Config, producer: Producer) -> anyhow::Result<Ingest> {
    let settings = Settings { claim_checks: claim_checks(config)?, ..config.settings.clone() };
    let Some(location) = &config.tenants else { return Ok(Ingest::new(producer, settings)) };
    let source = Source::new(location, config.tenants_endpoint.as_deref())?;
    let tenants = Tenants::parse(&source.read().await?)?;
    tracing::info!(tenants = tenants.len(), "tenants read");
    let (sender, receiver) = watch::channel(Arc::new(tenants));
    let every = source.interval();
    tokio::spawn(tenants::watch(source, every, sender));
    Ok(Ingest::with_tenants(producer, settings, receiver))
}

/// The bucket of large events, with credentials and region from the environment.
fn claim_checks(config: &Config) -> anyhow::Result<Option<ClaimChecks>> {
    let Some(bucket) = config.claim_check_bucket.as_deref() else { return Ok(None) };
    let builder = AmazonS3Builder::from_env();
    let opened = ClaimChecks::open(builder, bucket, config.s3_endpoint.as_deref(), config.record_bytes_max);
    Ok(Some(opened.context("open the bucket of large events")?))
}

/// How often the certificate is looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);

/// The certificate that the settings name, watched until the runtime ends; SIGHUP reads it at once.
///
/// # Errors
/// When it cannot be read or used.
pub fn tls(config: &Config) -> anyhow::Result<Option<Tls>> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    let (tls, renewal) = Tls::read(files)?;
    let hang_up = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tokio::spawn(renewal.watch(CERTIFICATE_INTERVAL, hang_up));
    Ok(Some(tls))
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
    settings.compression_level = config.compression_level;
    settings.buffer_bytes_max = config.buffer_bytes_max;
    settings.record_deadline = RECORD_DEADLINE;
    settings.spool.clone_from(&config.spool);
    settings.record_bytes_max = config.record_bytes_max;
    Producer::start(settings, client).await
}
