//! `ProcessingConfiguration`: the processors that are here, read and checked.

use serde::Deserialize;
use serde_json::Value;

use super::partition::Cut;
use super::query::Query;
use super::{FirehoseError, invalid};

/// What a stream's processors do.
#[derive(Debug, Default)]
pub(super) struct Processing {
    pub(super) cut: Option<Cut>,
    pub(super) query: Option<Query>,
    /// What is put behind each record.
    pub(super) delimiter: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    enabled: Option<bool>,
    processors: Option<Vec<Processor>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Processor {
    #[serde(rename = "Type")]
    kind: String,
    parameters: Option<Vec<Parameter>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    parameter_name: String,
    parameter_value: String,
}

impl Processor {
    fn parameter(&self, name: &str) -> Option<&str> {
        let parameters = self.parameters.as_deref().unwrap_or_default();
        let found = parameters.iter().find(|parameter| parameter.parameter_name == name);
        found.map(|parameter| parameter.parameter_value.as_str())
    }

    fn required(&self, name: &str) -> Result<&str, FirehoseError> {
        let missing = || invalid(format!("{} processor requires the parameter {name}", self.kind));
        self.parameter(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    }
}

impl Processing {
    /// Reads the configuration. Switched off, or left out, it does nothing.
    pub(super) fn read(given: Option<&Value>, is_partitioned: bool) -> Result<Self, FirehoseError> {
        let mut processing = Self::default();
        let Some(given) = given else { return Ok(processing) };
        let given: Given = serde_json::from_value(given.clone()).map_err(|error| invalid(error.to_string()))?;
        if given.enabled != Some(true) {
            return Ok(processing);
        }
        let mut seen = Vec::new();
        for processor in given.processors.unwrap_or_default() {
            if seen.contains(&processor.kind) {
                return Err(invalid(format!("more than one processor of type {}", processor.kind)));
            }
            processing.add(&processor, is_partitioned)?;
            seen.push(processor.kind);
        }
        Ok(processing)
    }

    fn add(&mut self, processor: &Processor, is_partitioned: bool) -> Result<(), FirehoseError> {
        match processor.kind.as_str() {
            kind @ ("MetadataExtraction" | "RecordDeAggregation") if !is_partitioned => {
                Err(invalid(format!("{kind}Processor can only be present when Dynamic Partitioning is enabled.")))
            }
            "MetadataExtraction" => {
                let engine = processor.required("JsonParsingEngine")?;
                if engine != "JQ-1.6" {
                    return Err(invalid(format!("JsonParsingEngine is JQ-1.6, not {engine}")));
                }
                let query = Query::read(processor.required("MetadataExtractionQuery")?);
                self.query = Some(query.map_err(|error| invalid(error.to_string()))?);
                Ok(())
            }
            "RecordDeAggregation" => {
                self.cut = Some(match processor.required("SubRecordType")? {
                    "JSON" => Cut::Json,
                    "DELIMITED" => Cut::Delimited(decoded(processor.required("Delimiter")?)?),
                    other => return Err(invalid(format!("SubRecordType is JSON or DELIMITED, not {other}"))),
                });
                Ok(())
            }
            "AppendDelimiterToRecord" => {
                // A line break is written with two characters, and is what is appended when nothing is said.
                let delimiter = processor.parameter("Delimiter").unwrap_or("\\n");
                self.delimiter = delimiter.replace("\\n", "\n").into_bytes();
                Ok(())
            }
            other => Err(invalid(format!("processor {other} is not implemented by the Millrace local cloud"))),
        }
    }
}

fn decoded(base64: &str) -> Result<Vec<u8>, FirehoseError> {
    let bytes = base64_simd::STANDARD.decode_to_vec(base64.as_bytes());
    let bytes = bytes.map_err(|error| invalid(format!("Delimiter is not base64: {error}")))?;
    if bytes.is_empty() { Err(invalid("Delimiter is empty")) } else { Ok(bytes) }
}
