//! The settings of the two programs, from the environment, and the lake's store.

use std::sync::Arc;
use std::time::Duration;

use claim_check::ClaimChecks;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};

/// Settings of both programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `LAKE_BUCKET`: the bucket of staged and published files. Required.
    pub bucket: String,
    /// `GLUE_DATABASE`: the database of the tables; `adx`.
    pub database: String,
    /// `FAILED_EVENTS_STREAM`: the Firehose stream of failed events; `failed-events`.
    pub failed_events_stream: String,
    /// `PUBLISH_INTERVAL_S`: seconds between passes of the publisher, 1 to 3600; 30.
    pub publish_interval: Duration,
    /// `CLAIM_CHECK_BUCKET`: the bucket of events larger than a record; none.
    pub claim_check_bucket: Option<String>,
    /// `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`: where S3 is, if not at AWS.
    pub endpoint: Option<String>,
}

/// Every fault of the settings.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("; "))]
pub struct ConfigError {
    /// One sentence each.
    pub faults: Vec<String>,
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// With all faults at once.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_vars(std::env::vars())
    }

    /// Reads variables, by name and value. Others are ignored.
    ///
    /// # Errors
    /// With all faults at once.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let vars: std::collections::HashMap<String, String> = vars.into_iter().collect();
        let var = |name: &str| vars.get(name).filter(|value| !value.is_empty()).cloned();
        let mut faults = Vec::new();
        let bucket = var("LAKE_BUCKET").unwrap_or_else(|| {
            faults.push("LAKE_BUCKET is not set".to_owned());
            String::new()
        });
        let interval = var("PUBLISH_INTERVAL_S").unwrap_or_else(|| "30".to_owned());
        let publish_interval_s =
            interval.parse().ok().filter(|seconds| (1..=3600).contains(seconds)).unwrap_or_else(|| {
                faults.push("PUBLISH_INTERVAL_S is not a number from 1 to 3600".to_owned());
                0
            });
        if !faults.is_empty() {
            return Err(ConfigError { faults });
        }
        Ok(Self {
            bucket,
            database: var("GLUE_DATABASE").unwrap_or_else(|| "adx".to_owned()),
            failed_events_stream: var("FAILED_EVENTS_STREAM").unwrap_or_else(|| "failed-events".to_owned()),
            publish_interval: Duration::from_secs(publish_interval_s),
            claim_check_bucket: var("CLAIM_CHECK_BUCKET"),
            endpoint: var("AWS_ENDPOINT_URL_S3").or_else(|| var("AWS_ENDPOINT_URL")),
        })
    }

    /// The lake's store, with credentials and region from the environment.
    ///
    /// # Errors
    /// When the environment's AWS settings contradict each other.
    pub fn store(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        lake(AmazonS3Builder::from_env(), &self.bucket, self.endpoint.as_deref())
    }

    /// The bucket of large events, if there is one, with credentials and region from the environment.
    ///
    /// # Errors
    /// As [`Config::store`].
    pub fn claim_checks(&self) -> object_store::Result<Option<ClaimChecks>> {
        let Some(bucket) = self.claim_check_bucket.as_deref() else { return Ok(None) };
        let builder = AmazonS3Builder::from_env();
        // Nothing is put there by these programs, so the size of a record does not matter.
        ClaimChecks::open(builder, bucket, self.endpoint.as_deref(), usize::MAX).map(Some)
    }
}

/// The store of a bucket: path style and plain HTTP where `endpoint` asks for it, and conditional puts, on which
/// publishing rests.
///
/// # Errors
/// When the builder's settings contradict each other.
pub fn lake(
    builder: AmazonS3Builder,
    bucket: &str,
    endpoint: Option<&str>,
) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = builder.with_bucket_name(bucket).with_conditional_put(S3ConditionalPut::ETagMatch);
    if let Some(endpoint) = endpoint {
        builder = builder
            .with_endpoint(endpoint)
            .with_allow_http(endpoint.starts_with("http://"))
            .with_virtual_hosted_style_request(false);
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_vars(vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn defaults() {
        let config = read(&[("LAKE_BUCKET", "lake"), ("PATH", "x"), ("GLUE_DATABASE", "")]).unwrap();
        assert_eq!((config.database.as_str(), config.failed_events_stream.as_str()), ("adx", "failed-events"));
        assert_eq!((config.publish_interval, config.endpoint), (Duration::from_secs(30), None));
    }

    #[test]
    fn all_faults_at_once() {
        for interval in ["0", "3601", "-1", "x"] {
            assert_eq!(read(&[("PUBLISH_INTERVAL_S", interval)]).unwrap_err().faults.len(), 2, "{interval}");
        }
    }

    #[test]
    fn the_endpoint_of_s3_is_more_particular() {
        let vars = [("LAKE_BUCKET", "lake"), ("AWS_ENDPOINT_URL", "http://a"), ("AWS_ENDPOINT_URL_S3", "http://b")];
        assert_eq!(read(&vars).unwrap().endpoint.as_deref(), Some("http://b"));
        assert_eq!(read(&vars[..2]).unwrap().endpoint.as_deref(), Some("http://a"));
    }
}
