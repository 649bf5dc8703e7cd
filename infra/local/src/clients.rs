//! The AWS clients of one endpoint: the local cloud's, or AWS itself as the environment configures it.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;

/// The region that the local cloud says it is.
pub const REGION: &str = "us-east-1";

/// Clients for the local cloud at `endpoint`, with credentials that it accepts like any other.
pub async fn local(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::from_keys("local", "local", None))
        .load()
        .await
}

/// Clients for AWS, from the environment.
pub async fn aws() -> SdkConfig {
    aws_config::load_defaults(BehaviorVersion::latest()).await
}

/// A bucket of the local cloud, with conditional writes.
///
/// # Errors
/// An endpoint that is no URL.
pub fn local_bucket(endpoint: &str, bucket: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let builder =
        AmazonS3Builder::new().with_region(REGION).with_access_key_id("local").with_secret_access_key("local");
    etl::config::lake(builder, bucket, Some(endpoint))
}
