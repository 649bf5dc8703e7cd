//! The settings of the Lambda function, from its environment, read once.

use std::collections::HashMap;

/// What the function is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Stream that enriched events go to: `ENRICHED_STREAM`, default `ad-events-enriched`.
    pub enriched_stream: String,
    /// Delivery stream that failed events go to: `FAILED_EVENTS_STREAM`, default `failed-events`.
    pub failed_delivery_stream: String,
    /// Where the screens table lies, `s3://bucket/key` or `file:///path`: `SCREENS_URL`, required.
    pub screens_url: url::Url,
    /// Bucket of events larger than a record: `CLAIM_CHECK_BUCKET`, none by default.
    pub claim_check_bucket: Option<String>,
    /// Largest record that the enriched stream is set to take, with its partition key, in bytes: `RECORD_BYTES_MAX`,
    /// 1,048,576 by default, at most 10,485,760.
    pub record_bytes_max: usize,
    /// Where failed events lie that are too large for Firehose, `s3://bucket/folder`: `FAILED_EVENTS_URL`; without it
    /// they are cut.
    pub failed_events_url: Option<url::Url>,
    /// Where S3 is, if not at AWS: `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`.
    pub s3_endpoint: Option<String>,
}

/// What a record of a stream holds, unless the stream was set to more (service quotas).
const RECORD_BYTES: std::ops::RangeInclusive<usize> = 1 << 20..=10 << 20;

/// Everything that is wrong with the environment, at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not usable: {}", faults.join("; "))]
pub struct ConfigError {
    /// One sentence a fault.
    pub faults: Vec<String>,
}

impl Config {
    /// Reads the settings from variables.
    ///
    /// # Errors
    /// All faults at once.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let vars: HashMap<String, String> = vars.into_iter().collect();
        let text = |name: &str, default: &str| vars.get(name).map_or_else(|| default.to_owned(), Clone::clone);
        let optional = |name: &str| vars.get(name).filter(|text| !text.is_empty()).cloned();
        let mut faults = Vec::new();
        let screens_url = location(optional("SCREENS_URL"));
        if !matches!(screens_url, Ok(Some(_))) {
            faults.push("SCREENS_URL must be where the screens table lies, s3://bucket/key or file:///path".to_owned());
        }
        let failed_events_url = location(optional("FAILED_EVENTS_URL"));
        if failed_events_url.is_err() {
            faults.push("FAILED_EVENTS_URL must be a folder, s3://bucket/folder or file:///path".to_owned());
        }
        let record_bytes_max =
            optional("RECORD_BYTES_MAX").map_or(Some(*RECORD_BYTES.start()), |text| text.parse().ok());
        let record_bytes_max = record_bytes_max.filter(|bytes| RECORD_BYTES.contains(bytes));
        if record_bytes_max.is_none() {
            faults.push("RECORD_BYTES_MAX must be 1048576 to 10485760".to_owned());
        }
        match (screens_url, failed_events_url, record_bytes_max) {
            (Ok(Some(screens_url)), Ok(failed_events_url), Some(record_bytes_max)) => Ok(Self {
                enriched_stream: text("ENRICHED_STREAM", "ad-events-enriched"),
                failed_delivery_stream: text("FAILED_EVENTS_STREAM", "failed-events"),
                screens_url,
                claim_check_bucket: optional("CLAIM_CHECK_BUCKET"),
                record_bytes_max,
                failed_events_url,
                s3_endpoint: optional("AWS_ENDPOINT_URL_S3").or_else(|| optional("AWS_ENDPOINT_URL")),
            }),
            _ => Err(ConfigError { faults }),
        }
    }
}

/// A URL that objects can lie at, if there is one.
fn location(text: Option<String>) -> Result<Option<url::Url>, NoLocation> {
    let Some(text) = text else { return Ok(None) };
    let Ok(url) = text.parse::<url::Url>() else { return Err(NoLocation) };
    if matches!(url.scheme(), "s3" | "file") { Ok(Some(url)) } else { Err(NoLocation) }
}

/// A text that is no such URL.
struct NoLocation;

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn defaults_and_values() {
        let config = Config::from_vars(vars(&[("SCREENS_URL", "s3://b/k")])).unwrap();
        assert_eq!(config.enriched_stream, "ad-events-enriched");
        let config = Config::from_vars(vars(&[("SCREENS_URL", "file:///x"), ("ENRICHED_STREAM", "e")])).unwrap();
        assert_eq!(config.enriched_stream, "e");
    }

    #[test]
    fn faults_name_the_variable() {
        for (pairs, faults) in [
            (&[][..], &["SCREENS_URL"][..]),
            (&[("SCREENS_URL", "not a url")], &["SCREENS_URL"]),
            (&[("SCREENS_URL", "http://x/y")], &["SCREENS_URL"]),
            (
                &[("FAILED_EVENTS_URL", "x"), ("RECORD_BYTES_MAX", "1")],
                &["SCREENS_URL", "FAILED_EVENTS_URL", "RECORD_BYTES_MAX"],
            ),
            (&[("SCREENS_URL", "s3://b/k"), ("RECORD_BYTES_MAX", "10485761")], &["RECORD_BYTES_MAX"]),
        ] {
            let error = Config::from_vars(vars(pairs)).unwrap_err();
            assert_eq!(error.faults.len(), faults.len(), "{error}");
            assert!(faults.iter().all(|name| error.to_string().contains(name)), "{error}");
        }
    }
}
