//! Reaches a stream at any endpoint; shared by the examples.

use aws_credential_types::Credentials;
use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Region},
};

/// Where the stream is, and who asks.
#[derive(Debug, clap::Args)]
pub(crate) struct Endpoint {
    /// Name or ARN of the stream.
    #[arg(long)]
    pub(crate) stream: String,
    /// For example <http://127.0.0.1:4566>; the service's own by default.
    #[arg(long)]
    endpoint_url: Option<String>,
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// Local endpoints take any. A program on AWS uses the provider chain of `aws-config` instead.
    #[arg(long, env = "AWS_ACCESS_KEY_ID", default_value = "local")]
    access_key_id: String,
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", default_value = "local", hide_env_values = true)]
    secret_access_key: String,
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    session_token: Option<String>,
}

pub(crate) fn client(endpoint: &Endpoint) -> Client {
    let Endpoint { access_key_id, secret_access_key, session_token, region, endpoint_url, .. } = endpoint;
    let credentials =
        Credentials::new(access_key_id.clone(), secret_access_key.clone(), session_token.clone(), None, "arguments");
    let mut config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region.clone()))
        .credentials_provider(credentials);
    if let Some(endpoint_url) = endpoint_url {
        config = config.endpoint_url(endpoint_url);
    }
    Client::from_conf(config.build())
}
