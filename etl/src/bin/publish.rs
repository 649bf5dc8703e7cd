//! Publishes what is staged: in a loop, or once.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Parser;
use etl::catalog::Catalog;
use etl::config::Config;
use etl::publish::{Publisher, publish_all, run};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Publishes staged files as tables. Settings: `LAKE_BUCKET`, `GLUE_DATABASE`, `PUBLISH_INTERVAL_S`, and the AWS variables.
#[derive(Debug, Parser)]
struct Arguments {
    /// Make one pass and end; the exit code tells whether every hour was published.
    #[arg(long)]
    once: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();
    let config = Config::from_env().context("read the settings")?;
    let aws = aws_config::load_from_env().await;
    let catalog = Catalog::new(aws_sdk_glue::Client::new(&aws), &config.database);
    catalog.setup(&config.bucket).await.context("set the catalog up")?;
    let store = config.store().context("open the lake")?;
    let publisher = Publisher { store: Arc::clone(&store), bucket: config.bucket, catalog: Some(catalog) };
    if !arguments.once {
        let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        };
        run(&publisher, config.publish_interval, now_ms, shutdown).await;
        return Ok(());
    }
    let report = publish_all(&publisher, now_ms()).await.context("publish what is staged")?;
    for hour in &report.hours {
        tracing::info!("{hour}");
    }
    if report.failures().next().is_some() {
        bail!("some hours were not published");
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the program's rim, where the clock is read")]
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
