//! The Lambda function of the raw stream's event source mapping.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use aws_lambda_events::event::kinesis::KinesisEvent;
use claim_check::{ClaimChecks, LargeFailedEvents};
use kinesis_producer::Producer;
use lambda_runtime::{LambdaEvent, service_fn};
use object_store::ObjectStoreExt as _;
use object_store::aws::AmazonS3Builder;

use enrich::failed::FailedEvents;
use enrich::screens::Screens;
use enrich::{Config, Enricher};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    log_json();
    let vars: Vec<(String, String)> = std::env::vars().collect();
    let config = Config::from_vars(vars.clone())?;
    let screens = Arc::new(read_screens(&config, vars.clone()).await?);
    tracing::info!(screens = screens.len(), "screens table read");
    let aws = aws_config::load_from_env().await;
    let mut producer_config = kinesis_producer::Config::new(&config.enriched_stream);
    producer_config.record_bytes_max = config.record_bytes_max;
    let producer = Producer::start(producer_config, aws_sdk_kinesis::Client::new(&aws)).await?;
    let (claim_checks, large) = (claim_checks(&config)?, large_failed_events(&config, vars)?);
    let failed =
        FailedEvents::new(aws_sdk_firehose::Client::new(&aws), config.failed_delivery_stream).with_large(large);
    let enricher = Enricher::new(screens, producer, failed).with_claim_checks(claim_checks);
    let handler = |event: LambdaEvent<KinesisEvent>| {
        let enricher = enricher.clone();
        async move {
            let handled = enricher.handle(event.payload, now_ms()).await;
            print_metrics(enricher.counts().take_line(now_ms()));
            handled.map_err(lambda_runtime::Error::from)
        }
    };
    lambda_runtime::run(service_fn(handler)).await.map_err(anyhow::Error::from_boxed)
}

/// One JSON object a line on standard output, whatever the function's log format is; `RUST_LOG` filters it.
fn log_json() {
    use lambda_runtime::tracing::subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    fmt().json().with_ansi(false).with_env_filter(filter).init();
}

/// Embedded metrics stand on a line of their own.
fn print_metrics(line: Option<String>) {
    if let Some(line) = line {
        #[expect(clippy::print_stdout, reason = "Lambda reads embedded metrics from standard output")]
        {
            println!("{line}");
        }
    }
}

async fn read_screens(config: &Config, vars: Vec<(String, String)>) -> anyhow::Result<Screens> {
    let options = vars.into_iter().map(|(name, value)| (name.to_lowercase(), value));
    let (store, path) = object_store::parse_url_opts(&config.screens_url, options).context("open the screens table")?;
    let table = store.get(&path).await.context("read the screens table")?.bytes().await?;
    Ok(Screens::from_ndjson(&table)?)
}

fn claim_checks(config: &Config) -> anyhow::Result<Option<ClaimChecks>> {
    let Some(bucket) = config.claim_check_bucket.as_deref() else { return Ok(None) };
    let (builder, endpoint) = (AmazonS3Builder::from_env(), config.s3_endpoint.as_deref());
    let opened = ClaimChecks::open(builder, bucket, endpoint, config.record_bytes_max);
    Ok(Some(opened.context("open the bucket of large events")?))
}

fn large_failed_events(config: &Config, vars: Vec<(String, String)>) -> anyhow::Result<Option<LargeFailedEvents>> {
    let Some(url) = &config.failed_events_url else { return Ok(None) };
    let options = vars.into_iter().map(|(name, value)| (name.to_lowercase(), value));
    let (store, folder) = object_store::parse_url_opts(url, options).context("open the folder of failed events")?;
    Ok(Some(LargeFailedEvents::new(Arc::from(store), folder.as_ref())))
}

fn now_ms() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the rim of the function is where its clock is read")]
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
