//! `ingest-lambda`: the collection API as a Lambda function behind API Gateway, a function URL or an ALB; classic, or on
//! Managed Instances, where one environment serves many calls at once and their events share records.

use ingest::app;
use ingest::config::{Config, Front};
use ingest::start::{self, LogFormat};

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_env(Front::Lambda)?;
    start::logging(LogFormat::Json)?;
    let producer = start::producer(&config).await?;
    ingest::gateway::run(app(start::ingest(&config, producer).await?)).await
}
