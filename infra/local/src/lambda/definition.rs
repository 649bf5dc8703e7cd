//! Event source mappings as clients define them over the REST API, kept over restarts in `lambda-mappings.json`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::destination::{Destination, DestinationError, Use};
use super::event_source::{EventSourceMapping, MappingError, StartingPosition};
use crate::data_dir::replace_file;

/// What means "no limit" in the service's numbers.
const UNLIMITED: i64 = -1;
/// The only response type there is.
const REPORTS_ITEMS: &str = "ReportBatchItemFailures";

/// A mapping with all that its owner said of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Definition {
    /// The mapping's id, which names its checkpoints too.
    pub(super) uuid: String,
    pub(super) function: String,
    /// The stream's name.
    pub(super) stream: String,
    pub(super) is_enabled: bool,
    pub(super) modified_ms: i64,
    pub(super) starting_position: String,
    pub(super) starting_ms: Option<i64>,
    pub(super) settings: Settings,
}

/// What can be said when it is made and later on, by the service's names; what is not said has the service's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) batch_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maximum_batching_window_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parallelization_factor: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maximum_retry_attempts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maximum_record_age_in_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bisect_batch_on_function_error: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tumbling_window_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_response_types: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destination_config: Option<DestinationConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) filter_criteria: Option<FilterCriteria>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DestinationConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    on_failure: Option<Named>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct FilterCriteria {
    #[serde(default)]
    filters: Vec<Filter>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    #[serde(default)]
    pattern: String,
}

impl Settings {
    /// These, with what `later` says anew.
    pub(super) fn with(self, later: Self) -> Self {
        Self {
            batch_size: later.batch_size.or(self.batch_size),
            maximum_batching_window_in_seconds: later
                .maximum_batching_window_in_seconds
                .or(self.maximum_batching_window_in_seconds),
            parallelization_factor: later.parallelization_factor.or(self.parallelization_factor),
            maximum_retry_attempts: later.maximum_retry_attempts.or(self.maximum_retry_attempts),
            maximum_record_age_in_seconds: later.maximum_record_age_in_seconds.or(self.maximum_record_age_in_seconds),
            bisect_batch_on_function_error: later
                .bisect_batch_on_function_error
                .or(self.bisect_batch_on_function_error),
            tumbling_window_in_seconds: later.tumbling_window_in_seconds.or(self.tumbling_window_in_seconds),
            function_response_types: later.function_response_types.or(self.function_response_types),
            destination_config: later.destination_config.or(self.destination_config),
            filter_criteria: later.filter_criteria.or(self.filter_criteria),
        }
    }
}

/// Why a definition is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum DefinitionError {
    #[error("{name} must be {range}")]
    Value { name: &'static str, range: &'static str },
    #[error(transparent)]
    Destination(#[from] DestinationError),
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

impl Definition {
    /// The mapping that it defines.
    pub(super) fn mapping(&self) -> Result<EventSourceMapping, DefinitionError> {
        let settings = &self.settings;
        let mut mapping = EventSourceMapping::new(&self.uuid, &self.stream);
        mapping.starting_position = match (self.starting_position.as_str(), self.starting_ms) {
            ("TRIM_HORIZON", _) => StartingPosition::TrimHorizon,
            ("LATEST", _) => StartingPosition::Latest,
            ("AT_TIMESTAMP", Some(at_ms)) => StartingPosition::AtTimestamp { at_ms },
            ("AT_TIMESTAMP", None) => {
                return Err(DefinitionError::Value { name: "StartingPositionTimestamp", range: "given" });
            }
            _ => {
                let range = "TRIM_HORIZON, LATEST or AT_TIMESTAMP";
                return Err(DefinitionError::Value { name: "StartingPosition", range });
            }
        };
        mapping.batch_size = settings.batch_size.unwrap_or(mapping.batch_size);
        mapping.batching_window = Duration::from_secs(settings.maximum_batching_window_in_seconds.unwrap_or(0));
        mapping.parallelization_factor = settings.parallelization_factor.unwrap_or(1);
        mapping.maximum_retry_attempts = limit("MaximumRetryAttempts", settings.maximum_retry_attempts)?;
        let age_s = limit("MaximumRecordAgeInSeconds", settings.maximum_record_age_in_seconds)?;
        mapping.maximum_record_age = age_s.map(|seconds| Duration::from_secs(seconds.into()));
        mapping.bisect_batch_on_function_error = settings.bisect_batch_on_function_error.unwrap_or(false);
        let seconds = settings.tumbling_window_in_seconds.filter(|seconds| *seconds > 0);
        mapping.tumbling_window = seconds.map(Duration::from_secs);
        let types = settings.function_response_types.as_deref().unwrap_or_default();
        if types.iter().any(|kind| kind != REPORTS_ITEMS) {
            return Err(DefinitionError::Value { name: "FunctionResponseTypes", range: REPORTS_ITEMS });
        }
        mapping.report_batch_item_failures = !types.is_empty();
        let destination = settings.destination_config.as_ref().and_then(|config| config.on_failure.as_ref());
        let arn = destination.and_then(|destination| destination.destination.as_deref()).filter(|arn| !arn.is_empty());
        mapping.on_failure = arn.map(|arn| Destination::for_use(arn, Use::Batches)).transpose()?;
        let filters = settings.filter_criteria.as_ref().map(|criteria| criteria.filters.as_slice()).unwrap_or_default();
        mapping.filters = filters.iter().map(|filter| filter.pattern.clone()).collect();
        mapping.check()?;
        Ok(mapping)
    }
}

/// A number from 0 on, or none for the service's -1.
fn limit(name: &'static str, value: Option<i64>) -> Result<Option<u32>, DefinitionError> {
    match value {
        None | Some(UNLIMITED) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_out_of_range) => Err(DefinitionError::Value { name, range: "-1 or a limit" }),
        },
    }
}

/// Reads what was kept; nothing where nothing was.
pub(super) fn read(path: &Path) -> io::Result<BTreeMap<String, Definition>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// Keeps all definitions, durable when this returns.
pub(super) fn write(path: &Path, definitions: &BTreeMap<String, Definition>) -> io::Result<()> {
    replace_file(path, &serde_json::to_vec_pretty(definitions)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(settings: &str) -> Definition {
        Definition {
            uuid: "u".to_owned(),
            function: "f".to_owned(),
            stream: "s".to_owned(),
            is_enabled: true,
            modified_ms: 0,
            starting_position: "TRIM_HORIZON".to_owned(),
            starting_ms: None,
            settings: serde_json::from_str(settings).unwrap(),
        }
    }

    #[test]
    fn the_service_s_words_become_settings() {
        let defaults = definition("{}").mapping().unwrap();
        let ours = EventSourceMapping { report_batch_item_failures: false, ..EventSourceMapping::new("u", "s") };
        assert_eq!(defaults, ours);
        let all = definition(
            r#"{"BatchSize":7,"MaximumBatchingWindowInSeconds":3,"ParallelizationFactor":2,"MaximumRetryAttempts":0,
                "MaximumRecordAgeInSeconds":60,"BisectBatchOnFunctionError":true,
                "FunctionResponseTypes":["ReportBatchItemFailures"],
                "DestinationConfig":{"OnFailure":{"Destination":"arn:aws:s3:::dead"}},
                "FilterCriteria":{"Filters":[{"Pattern":"{\"data\":{\"a\":[1]}}"}]}}"#,
        );
        let mapping = all.mapping().unwrap();
        assert_eq!((mapping.batch_size, mapping.parallelization_factor), (7, 2));
        assert_eq!(
            (mapping.maximum_retry_attempts, mapping.maximum_record_age),
            (Some(0), Some(Duration::from_secs(60)))
        );
        assert_eq!(mapping.on_failure, Some(Destination::Bucket { bucket: "dead".to_owned() }));
        assert!(mapping.bisect_batch_on_function_error && mapping.report_batch_item_failures);
        assert_eq!(mapping.filters, [r#"{"data":{"a":[1]}}"#]);
        let later = Settings { batch_size: Some(9), ..Settings::default() };
        let changed = Definition { settings: all.settings.clone().with(later), ..all };
        assert_eq!(changed.mapping().unwrap(), EventSourceMapping { batch_size: 9, ..mapping });
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (settings, expected) in [
            (r#"{"BatchSize":10001}"#, "batch_size must be 1 to 10,000"),
            (r#"{"MaximumRetryAttempts":-2}"#, "MaximumRetryAttempts must be -1 or a limit"),
            (r#"{"FunctionResponseTypes":["Other"]}"#, "FunctionResponseTypes must be"),
            (r#"{"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:sqs:r:a:q"}}}"#, "is not the ARN of a queue"),
        ] {
            let error = definition(settings).mapping().unwrap_err().to_string();
            assert!(error.contains(expected), "{settings}: {error}");
        }
        let timeless = Definition { starting_position: "AT_TIMESTAMP".to_owned(), ..definition("{}") };
        assert!(timeless.mapping().unwrap_err().to_string().contains("StartingPositionTimestamp"));
    }

    #[test]
    fn definitions_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mappings.json");
        assert!(read(&path).unwrap().is_empty());
        let definitions = BTreeMap::from([("u".to_owned(), definition(r#"{"BatchSize":7}"#))]);
        write(&path, &definitions).unwrap();
        assert_eq!(read(&path).unwrap(), definitions);
    }
}
