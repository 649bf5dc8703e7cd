//! The environment variables of an execution environment, as the service sets them for an OS-only runtime.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::FunctionConfig;
use crate::kinesis::REGION;

/// What a function's configuration may not set at the service.
pub(super) const RESERVED: [&str; 19] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    "AWS_LAMBDA_MAX_CONCURRENCY",
];

/// What is the same for all environments of a local cloud.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Where the local cloud listens, such as `http://127.0.0.1:4566`: the SDKs of a function are pointed there.
    pub(super) endpoint: String,
}

/// All variables of one environment. What the function's configuration sets wins, but for the reserved names.
pub(super) fn variables(
    config: &FunctionConfig,
    place: &Place,
    runtime_api: SocketAddr,
    log_stream: &str,
) -> BTreeMap<String, String> {
    let memory_mb = config.memory_mb.to_string();
    let log_group = config.log_group();
    let task_root = config.bootstrap.parent().map(|dir| dir.display().to_string()).unwrap_or_default();
    let mut variables = BTreeMap::from(
        [
            ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
            ("LANG", "en_US.UTF-8"),
            ("TZ", ":UTC"),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
            // Any credentials are taken here; what counts is that an SDK finds some.
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_SESSION_TOKEN", "local"),
            ("AWS_ENDPOINT_URL", place.endpoint.as_str()),
            // Not the service's: object_store refuses plain HTTP without it.
            ("AWS_ALLOW_HTTP", "true"),
        ]
        .map(owned),
    );
    variables.extend(config.environment.clone());
    let reserved = [
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", config.name.clone()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb),
        ("AWS_LAMBDA_FUNCTION_VERSION", super::VERSION.to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", log_group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", log_stream.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("LAMBDA_TASK_ROOT", task_root),
        ("_HANDLER", config.handler.clone()),
    ];
    variables.extend(reserved.map(|(name, value)| (name.to_owned(), value)));
    variables
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_s_names_with_ours_on_top() {
        let mut config = FunctionConfig::new("enrich", "/opt/enrich/bootstrap");
        config.memory_mb = 256;
        config.environment = BTreeMap::from(
            [
                ("SCREENS_URL", "s3://lake/screens"),
                ("TZ", "UTC"),
                ("_HANDLER", "mine"),
                ("AWS_ENDPOINT_URL", "http://x"),
            ]
            .map(owned),
        );
        let place = Place { endpoint: "http://127.0.0.1:4566".to_owned() };
        let found = variables(&config, &place, "127.0.0.1:9001".parse().unwrap(), "2026/11/22/[$LATEST]0");
        for (name, expected) in [
            ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001"),
            ("AWS_LAMBDA_FUNCTION_NAME", "enrich"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/enrich"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]0"),
            ("AWS_REGION", "us-east-1"),
            ("LAMBDA_TASK_ROOT", "/opt/enrich"),
            ("_HANDLER", "bootstrap"),
            ("TZ", "UTC"),
            ("SCREENS_URL", "s3://lake/screens"),
            ("AWS_ENDPOINT_URL", "http://x"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(expected), "{name}");
        }
    }
}
