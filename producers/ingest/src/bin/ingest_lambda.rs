//! `ingest-lambda`: the collection API as a Lambda function behind API Gateway, a function URL or an ALB.
//!
//! Each answer waits for its event to be on the stream, so nothing is left to do when the environment freezes.

use ingest::app;
use ingest::config::{Config, Front};
use ingest::start::{self, LogFormat};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let config = Config::from_env(Front::Lambda)?;
    start::logging(LogFormat::Json)?;
    let producer = start::producer(&config).await?;
    lambda_http::run(app(start::ingest(&config, producer)?)).await
}
