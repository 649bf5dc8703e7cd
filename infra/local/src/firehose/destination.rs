//! What a delivery stream is asked to be: checked when it is created, kept as one small file.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::FirehoseError;
use super::buffer::Hints;
use super::prefix::Prefix;
use crate::data_dir;

/// The file that makes a directory a delivery stream.
pub(super) const CONFIG_FILE: &str = "stream.json";

/// A delivery stream as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StreamConfig {
    pub(super) name: String,
    pub(super) created_ms: i64,
    /// `ExtendedS3DestinationConfiguration` as it was given.
    pub(super) destination: Value,
}

/// What delivery needs, read from the configuration.
#[derive(Debug, Clone)]
pub(super) struct Destination {
    pub(super) bucket: String,
    pub(super) prefix: Prefix,
    pub(super) hints: Hints,
    pub(super) gzip: bool,
    pub(super) extension: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Extended {
    #[serde(rename = "BucketARN")]
    bucket_arn: String,
    prefix: Option<String>,
    error_output_prefix: Option<String>,
    buffering_hints: Option<GivenHints>,
    compression_format: Option<String>,
    custom_time_zone: Option<String>,
    file_extension: Option<String>,
    s3_backup_mode: Option<String>,
    processing_configuration: Option<Switch>,
    data_format_conversion_configuration: Option<Switch>,
    dynamic_partitioning_configuration: Option<Switch>,
}

#[derive(Deserialize)]
struct GivenHints {
    #[serde(rename = "SizeInMBs")]
    size_mb: Option<u64>,
    #[serde(rename = "IntervalInSeconds")]
    interval_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Switch {
    enabled: Option<bool>,
}

impl StreamConfig {
    pub(super) fn arn(&self) -> String {
        format!("arn:aws:firehose:us-east-1:000000000000:deliverystream/{}", self.name)
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// `InvalidArgumentException` for what cannot be, and for what is not implemented here.
    pub(super) fn destination(&self) -> Result<Destination, FirehoseError> {
        let given: Extended =
            serde_json::from_value(self.destination.clone()).map_err(|error| invalid(error.to_string()))?;
        let bucket = given.bucket_arn.strip_prefix("arn:aws:s3:::").ok_or_else(|| invalid("BucketARN is not one"))?;
        let switched = |switch: &Option<Switch>| switch.as_ref().and_then(|one| one.enabled).unwrap_or(false);
        let unsupported = [
            (switched(&given.processing_configuration), "ProcessingConfiguration"),
            (switched(&given.data_format_conversion_configuration), "DataFormatConversionConfiguration"),
            (switched(&given.dynamic_partitioning_configuration), "DynamicPartitioningConfiguration"),
            (given.s3_backup_mode.as_deref() == Some("Enabled"), "S3BackupMode"),
            (given.custom_time_zone.as_deref().is_some_and(|zone| zone != "UTC"), "CustomTimeZone"),
        ];
        if let Some((_, what)) = unsupported.iter().find(|(asked, _)| *asked) {
            return Err(invalid(format!("{what} is not implemented by the Millrace local cloud")));
        }
        if given.error_output_prefix.is_some_and(|prefix| prefix.chars().count() > 1024) {
            return Err(invalid("ErrorOutputPrefix has at most 1,024 characters"));
        }
        let gzip = match given.compression_format.as_deref() {
            None | Some("UNCOMPRESSED") => false,
            Some("GZIP") => true,
            Some(other) => return Err(invalid(format!("CompressionFormat {other} is not implemented here"))),
        };
        let prefix = given.prefix.unwrap_or_default();
        Ok(Destination {
            bucket: bucket.to_owned(),
            prefix: Prefix::parse(&prefix).map_err(|error| invalid(error.to_string()))?,
            hints: hints(given.buffering_hints)?,
            gzip,
            extension: given.file_extension.filter(|extension| !extension.is_empty()),
        })
    }

    /// What `DescribeDeliveryStream` says.
    pub(super) fn describe(&self) -> Value {
        let mut destination = self.destination.clone();
        if let Some(fields) = destination.as_object_mut() {
            fields.entry("BufferingHints").or_insert_with(|| json!({ "SizeInMBs": 5, "IntervalInSeconds": 300 }));
            fields.entry("CompressionFormat").or_insert_with(|| json!("UNCOMPRESSED"));
            fields.entry("EncryptionConfiguration").or_insert_with(|| json!({ "NoEncryptionConfig": "NoEncryption" }));
        }
        json!({
            "DeliveryStreamName": self.name,
            "DeliveryStreamARN": self.arn(),
            "DeliveryStreamStatus": "ACTIVE",
            "DeliveryStreamType": "DirectPut",
            "VersionId": "1",
            "CreateTimestamp": self.created_ms / 1000,
            "HasMoreDestinations": false,
            "Destinations": [{
                "DestinationId": "destinationId-000000000001",
                "ExtendedS3DestinationDescription": destination,
            }],
        })
    }
}

/// Both or neither, within the service's bounds.
fn hints(given: Option<GivenHints>) -> Result<Hints, FirehoseError> {
    let Some(given) = given else { return Ok(Hints { size_mb: 5, interval_s: 300 }) };
    match (given.size_mb, given.interval_s) {
        (None, None) => Ok(Hints { size_mb: 5, interval_s: 300 }),
        (Some(size_mb @ 1..=128), Some(interval_s @ 0..=900)) => Ok(Hints { size_mb, interval_s }),
        (Some(_), Some(_)) => Err(invalid("SizeInMBs is 1 to 128, IntervalInSeconds 0 to 900")),
        (Some(_), None) | (None, Some(_)) => Err(invalid("both buffering hints or neither must be given")),
    }
}

fn invalid(what: impl Into<String>) -> FirehoseError {
    FirehoseError::Invalid { what: what.into() }
}

/// Makes the directory of a new stream.
pub(super) fn store(dir: &Path, config: &StreamConfig) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    data_dir::replace_file(&dir.join(CONFIG_FILE), &serde_json::to_vec(config)?)?;
    dir.parent().map_or(Ok(()), data_dir::sync_dir)
}

/// The streams that lie in a directory. One without its file was being created or deleted, and is gone.
pub(super) fn load(root: &Path) -> io::Result<Vec<StreamConfig>> {
    fs::create_dir_all(root)?;
    let mut configs = Vec::new();
    for entry in fs::read_dir(root)? {
        let dir = entry?.path();
        match fs::read(dir.join(CONFIG_FILE)) {
            Ok(content) => configs.push(serde_json::from_slice(&content)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(&dir)?,
            Err(error) => return Err(error),
        }
    }
    Ok(configs)
}
