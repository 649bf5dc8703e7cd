//! The Lambda function that stages batches of the enriched stream.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use aws_lambda_events::event::kinesis::KinesisEvent;
use claim_check::LargeFailedEvents;
use etl::config::Config;
use etl::failed::FailedEvents;
use etl::layout::FAILED_EVENTS;
use etl::stage::Stager;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    log_json();
    let config = Config::from_env().context("read the settings")?;
    let aws = aws_config::load_from_env().await;
    let store = config.store().context("open the lake")?;
    let large = LargeFailedEvents::new(Arc::clone(&store), FAILED_EVENTS);
    let failed_events = FailedEvents::new(aws_sdk_firehose::Client::new(&aws), &config.failed_events_stream);
    let claim_checks = config.claim_checks().context("open the bucket of large events")?;
    let stager = Stager::new(store, failed_events.with_large(Some(large))).with_claim_checks(claim_checks);
    let stager = &stager;
    let handler = |event: LambdaEvent<KinesisEvent>| async move {
        let staged = stager.handle(event.payload, now_ms()).await;
        print_metrics(stager.counts().take_line(now_ms()));
        staged.map_err(|error| Diagnostic {
            error_type: "StageError".to_owned(),
            error_message: format!("{:#}", anyhow::Error::from(error)),
        })
    };
    lambda_runtime::run(service_fn(handler)).await
}

/// One JSON object a line on standard output, whatever the function's log format is; `RUST_LOG` filters it.
fn log_json() {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    tracing_subscriber::fmt().json().with_ansi(false).with_env_filter(filter).init();
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

#[expect(clippy::disallowed_methods, reason = "the program's rim, where the clock is read")]
fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
