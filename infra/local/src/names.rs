//! The names of what the pipeline uses, as the deployed one has them.

use aws_config::SdkConfig;

/// Stream of received events.
pub const RAW_STREAM: &str = "ad-events";
/// Stream of enriched events.
pub const ENRICHED_STREAM: &str = "ad-events-enriched";
/// Delivery stream of failed events.
pub const FAILED_DELIVERY_STREAM: &str = "failed-events";
/// Bucket of staged objects, published files, manifests, failed events and reference data.
pub const LAKE_BUCKET: &str = "millrace-lake";
/// Bucket of query results.
pub const RESULTS_BUCKET: &str = "millrace-results";
/// Database of the catalog.
pub const DATABASE: &str = "adx";
/// Key of the screens table in the lake.
pub const SCREENS_KEY: &str = "reference/screens.ndjson";
/// Folder of the lake that failed events are delivered to.
pub const FAILED_FOLDER: &str = "failed_events";

/// A runner of queries over the pipeline's tables.
pub fn athena(aws: &SdkConfig) -> queries::Athena {
    queries::Athena::new(aws_sdk_athena::Client::new(aws), DATABASE).with_output(format!("s3://{RESULTS_BUCKET}/"))
}
