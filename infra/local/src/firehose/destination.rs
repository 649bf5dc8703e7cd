//! Where a delivery stream's records go: `ExtendedS3DestinationConfiguration`, read and checked.

use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::Value;

use super::buffer::Hints;
use super::compression::Compression;
use super::conversion::{self, Conversion};
use super::partition::Partitioning;
use super::prefix::Prefixes;
use super::processing::Processing;
use super::{FirehoseError, invalid};

/// The usual hints, and the size for streams whose objects are to be large.
const SIZE_MB: u64 = 5;
const LARGE_SIZE_MB: u64 = 128;
const INTERVAL_S: u64 = 300;
/// The least size of a partition's buffer, in MiB.
const MIN_PARTITION_MB: u64 = 64;
/// The longest extension of objects' names, with its point.
const MAX_EXTENSION: usize = 128;

/// What delivery needs, read from the configuration.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) bucket: String,
    pub(super) prefixes: Prefixes,
    pub(super) hints: Hints,
    pub(super) compression: Compression,
    pub(super) extension: Option<String>,
    /// What is put behind each record.
    pub(super) delimiter: Vec<u8>,
    pub(super) partitioning: Option<Partitioning>,
    pub(super) conversion: Option<Conversion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Extended {
    #[serde(rename = "BucketARN")]
    bucket_arn: Option<String>,
    #[serde(rename = "RoleARN")]
    role_arn: Option<String>,
    prefix: Option<String>,
    error_output_prefix: Option<String>,
    buffering_hints: Option<GivenHints>,
    compression_format: Option<String>,
    custom_time_zone: Option<String>,
    file_extension: Option<String>,
    s3_backup_mode: Option<String>,
    processing_configuration: Option<Value>,
    data_format_conversion_configuration: Option<Value>,
    dynamic_partitioning_configuration: Option<Switch>,
}

#[derive(Deserialize, Default, Clone, Copy)]
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

impl Destination {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `InvalidArgumentException` for what cannot be, and for what is not implemented here; `ValidationException` for
    /// what is not of the operation's shape.
    pub(super) fn read(given: &Value) -> Result<Self, FirehoseError> {
        let given: Extended = serde_json::from_value(given.clone()).map_err(|error| invalid(error.to_string()))?;
        let bucket = required(given.bucket_arn, "bucketARN")?;
        let bucket = bucket.strip_prefix("arn:aws:s3:::").ok_or_else(|| invalid("BucketARN is not one"))?;
        required(given.role_arn, "roleARN")?;
        if given.s3_backup_mode.as_deref() == Some("Enabled") {
            return Err(invalid("S3BackupMode is not implemented by the Millrace local cloud"));
        }
        let compression = given.compression_format.as_deref().unwrap_or("UNCOMPRESSED");
        let compression = Compression::read(compression).ok_or_else(|| FirehoseError::Constraint {
            what: format!(
                "Value '{compression}' at 'compressionFormat' failed to satisfy constraint: Member must satisfy enum value \
                 set: [UNCOMPRESSED, GZIP, ZIP, Snappy, HADOOP_SNAPPY]"
            ),
        })?;
        let is_partitioned = given.dynamic_partitioning_configuration.is_some_and(|one| one.enabled == Some(true));
        let prefixes = Prefixes::parse(
            given.prefix.as_deref().unwrap_or_default(),
            given.error_output_prefix.as_deref().unwrap_or_default(),
            zone(given.custom_time_zone.as_deref())?,
        );
        let prefixes = prefixes.map_err(|error| invalid(error.to_string()))?;
        let hints_given = given.buffering_hints.unwrap_or_default();
        let is_compressed = compression != Compression::None;
        let conversion = match &given.data_format_conversion_configuration {
            Some(conversion) => conversion::read(conversion, is_compressed, hints_given.size_mb)?,
            None => None,
        };
        let processing = Processing::read(given.processing_configuration.as_ref(), is_partitioned)?;
        let hints = hints(hints_given, conversion.is_some() || is_partitioned)?;
        let delimiter = processing.delimiter.clone();
        Ok(Self {
            bucket: bucket.to_owned(),
            partitioning: partitioning(processing, &prefixes, is_partitioned.then_some(hints))?,
            prefixes,
            hints,
            compression,
            extension: extension(given.file_extension)?,
            delimiter,
            conversion,
        })
    }

    /// What objects' names end with.
    pub(super) fn extension(&self) -> &str {
        match (&self.extension, &self.conversion) {
            (Some(extension), _) => extension,
            (None, Some(_)) => ".parquet",
            (None, None) => self.compression.extension(),
        }
    }
}

/// What the service says when a hint is left out: with it, the description is whole.
pub(super) fn usual_hints(is_large: bool) -> (u64, u64) {
    (if is_large { LARGE_SIZE_MB } else { SIZE_MB }, INTERVAL_S)
}

fn required(given: Option<String>, member: &str) -> Result<String, FirehoseError> {
    let what = || format!("Value null at '{member}' failed to satisfy constraint: Member must not be null");
    given.ok_or_else(|| FirehoseError::Constraint { what: what() })
}

fn zone(name: Option<&str>) -> Result<Tz, FirehoseError> {
    match name {
        None | Some("") => Ok(Tz::UTC),
        Some(name) => name.parse().map_err(|_error| invalid(format!("CustomTimeZone {name} is not a time zone"))),
    }
}

fn extension(given: Option<String>) -> Result<Option<String>, FirehoseError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(None) };
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!-_.*'()".contains(&byte);
    let rest = given.strip_prefix('.').filter(|rest| !rest.is_empty() && rest.bytes().all(is_allowed));
    if rest.is_some() && given.len() <= MAX_EXTENSION {
        return Ok(Some(given));
    }
    let what = format!(
        "Value '{given}' at 'fileExtension' failed to satisfy constraint: Member must satisfy regular expression pattern: \
         ^$|\\.[0-9a-z!\\-_.*'()]+"
    );
    Err(FirehoseError::Constraint { what })
}

/// Both or neither, within the service's bounds.
fn hints(given: GivenHints, is_large: bool) -> Result<Hints, FirehoseError> {
    let (usual_mb, usual_s) = usual_hints(is_large);
    match (given.size_mb, given.interval_s) {
        (None, None) => Ok(Hints { size_mb: usual_mb, interval_s: usual_s }),
        (Some(size_mb @ 1..=128), Some(interval_s @ 0..=900)) => Ok(Hints { size_mb, interval_s }),
        (Some(_), Some(_)) => Err(invalid("SizeInMBs is 1 to 128, IntervalInSeconds 0 to 900")),
        (Some(_), None) | (None, Some(_)) => Err(invalid("both buffering hints or neither must be given")),
    }
}

/// `hints` are those of a stream with dynamic partitioning.
fn partitioning(
    processing: Processing,
    prefixes: &Prefixes,
    hints: Option<Hints>,
) -> Result<Option<Partitioning>, FirehoseError> {
    let has_keys = !prefixes.data.keys().is_empty();
    let Some(hints) = hints else {
        if has_keys {
            let what = "Dynamic Partitioning Namespaces can only be part of a prefix expression when Dynamic Partitioning \
                        is enabled.";
            return Err(invalid(what));
        }
        return Ok(None);
    };
    let Some(query) = processing.query else {
        return Err(invalid("Processing Configuration is not enabled when DataPartitioning is enabled"));
    };
    if !has_keys {
        let what = "S3 Prefix should contain Dynamic Partitioning namespaces when Dynamic Partitioning is enabled";
        return Err(invalid(what));
    }
    if hints.size_mb < MIN_PARTITION_MB {
        return Err(invalid("BufferingHints.SizeInMBs must be at least 64 when Dynamic Partitioning is enabled."));
    }
    if hints.interval_s == 0 {
        return Err(invalid("Zero buffering is not available when Dynamic Partitioning is enabled."));
    }
    Ok(Some(Partitioning { cut: processing.cut, query }))
}
