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
}

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
        let screens_url = match vars.get("SCREENS_URL").map(|text| text.parse::<url::Url>()) {
            Some(Ok(url)) if matches!(url.scheme(), "s3" | "file") => Ok(url),
            Some(Ok(_) | Err(_)) => Err("SCREENS_URL is neither s3://bucket/key nor file:///path"),
            None => Err("SCREENS_URL is missing: where the screens table lies, s3://bucket/key or file:///path"),
        };
        match screens_url {
            Ok(screens_url) => Ok(Self {
                enriched_stream: text("ENRICHED_STREAM", "ad-events-enriched"),
                failed_delivery_stream: text("FAILED_EVENTS_STREAM", "failed-events"),
                screens_url,
            }),
            Err(fault) => Err(ConfigError { faults: vec![fault.to_owned()] }),
        }
    }
}

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
        for pairs in [&[][..], &[("SCREENS_URL", "not a url")], &[("SCREENS_URL", "http://x/y")]] {
            let error = Config::from_vars(vars(pairs)).unwrap_err();
            assert!(error.to_string().contains("SCREENS_URL"), "{error}");
        }
    }
}
