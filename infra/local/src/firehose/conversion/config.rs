//! `DataFormatConversionConfiguration`: read and checked, in the service's order and with its messages.

use std::collections::BTreeMap;

use parquet::basic::{Compression, GzipLevel};
use parquet::file::properties::{WriterProperties, WriterVersion};
use serde::Deserialize;
use serde_json::Value;

use super::instant::Format;
use super::row::Reading;
use crate::firehose::{FirehoseError, invalid};

/// The least and the usual size of a buffer that is converted, in MiB.
const MIN_BUFFER_MB: u64 = 64;
/// Row groups and pages, in bytes: the least, and what is taken if nothing is said.
const MIN_BLOCK_BYTES: usize = 64 << 20;
const BLOCK_BYTES: usize = 256 << 20;
const MIN_PAGE_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 1 << 20;

/// How records of a stream are converted.
#[derive(Debug, Clone)]
pub(in crate::firehose) struct Conversion {
    pub(in crate::firehose) database: String,
    pub(in crate::firehose) table: String,
    /// A table's version; `None` for whichever is the latest when a buffer is delivered.
    pub(in crate::firehose) version: Option<String>,
    /// The region and catalog that the configuration names.
    pub(in crate::firehose) region: String,
    pub(in crate::firehose) catalog_id: String,
    pub(super) reading: Reading,
    compression: Compression,
    block_bytes: usize,
    page_bytes: usize,
    has_dictionary: bool,
    writer_version: WriterVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    enabled: Option<bool>,
    input_format_configuration: Option<Input>,
    output_format_configuration: Option<Output>,
    schema_configuration: Option<SchemaGiven>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    deserializer: Option<Deserializer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Deserializer {
    open_x_json_ser_de: Option<OpenX>,
    hive_json_ser_de: Option<Hive>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OpenX {
    case_insensitive: Option<bool>,
    convert_dots_in_json_keys_to_underscores: Option<bool>,
    column_to_json_key_mappings: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Hive {
    timestamp_formats: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    serializer: Option<Serializer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Serializer {
    parquet_ser_de: Option<ParquetGiven>,
    orc_ser_de: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParquetGiven {
    block_size_bytes: Option<usize>,
    page_size_bytes: Option<usize>,
    compression: Option<String>,
    enable_dictionary_compression: Option<bool>,
    writer_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SchemaGiven {
    #[serde(rename = "RoleARN")]
    role_arn: Option<String>,
    catalog_id: Option<String>,
    database_name: Option<String>,
    table_name: Option<String>,
    region: Option<String>,
    version_id: Option<String>,
}

/// Reads the configuration; `None` when it is switched off. `buffer_mb` is what was asked for.
///
/// # Errors
/// `InvalidArgumentException` and `ValidationException`, as the service.
pub(in crate::firehose) fn read(
    given: &Value,
    is_compressed: bool,
    buffer_mb: Option<u64>,
) -> Result<Option<Conversion>, FirehoseError> {
    let given: Given = serde_json::from_value(given.clone()).map_err(|error| invalid(error.to_string()))?;
    // Left out it means on, unlike that of other blocks.
    if given.enabled == Some(false) {
        return Ok(None);
    }
    if is_compressed {
        return Err(invalid(
            "The S3 destination's compression format must be set to UNCOMPRESSED when data format conversion is \
                    enabled. To enable compression within the converted output format, set the appropriate \
                    serialization option in the output format configuration.",
        ));
    }
    if buffer_mb.is_some_and(|size_mb| size_mb < MIN_BUFFER_MB) {
        return Err(invalid("BufferingHints.SizeInMBs must be at least 64 when data format conversion is enabled."));
    }
    let input = required(given.input_format_configuration, "InputFormatConfiguration")?;
    let output = required(given.output_format_configuration, "OutputFormatConfiguration")?;
    let schema = required(given.schema_configuration, "SchemaConfiguration")?;
    let reading = reading(required(input.deserializer, "Deserializer")?)?;
    let parquet = parquet(required(output.serializer, "Serializer")?)?;
    named(schema.role_arn, "RoleArn")?;
    let (compression, writer_version) = codec(&parquet)?;
    Ok(Some(Conversion {
        database: named(schema.database_name, "DatabaseName")?,
        table: named(schema.table_name, "TableName")?,
        version: schema.version_id.filter(|version| version != "LATEST"),
        region: schema.region.unwrap_or_else(|| crate::kinesis::REGION.to_owned()),
        catalog_id: schema.catalog_id.unwrap_or_else(|| crate::kinesis::ACCOUNT.to_owned()),
        reading,
        compression,
        block_bytes: at_least(parquet.block_size_bytes, MIN_BLOCK_BYTES, BLOCK_BYTES, "blockSizeBytes")?,
        page_bytes: at_least(parquet.page_size_bytes, MIN_PAGE_BYTES, PAGE_BYTES, "pageSizeBytes")?,
        has_dictionary: parquet.enable_dictionary_compression.unwrap_or(false),
        writer_version,
    }))
}

impl Conversion {
    pub(super) fn properties(&self) -> WriterProperties {
        WriterProperties::builder()
            .set_compression(self.compression)
            .set_max_row_group_bytes(Some(self.block_bytes))
            .set_data_page_size_limit(self.page_bytes)
            .set_dictionary_enabled(self.has_dictionary)
            .set_writer_version(self.writer_version)
            .build()
    }
}

fn required<T>(given: Option<T>, name: &str) -> Result<T, FirehoseError> {
    given.ok_or_else(|| invalid(format!("{name} must not be null")))
}

fn named(given: Option<String>, name: &str) -> Result<String, FirehoseError> {
    let given = given.filter(|given| !given.is_empty());
    given.ok_or_else(|| invalid(format!("SchemaConfiguration.{name} must not be null or empty")))
}

fn reading(given: Deserializer) -> Result<Reading, FirehoseError> {
    match (given.open_x_json_ser_de, given.hive_json_ser_de) {
        (Some(_), Some(_)) => Err(invalid("More than one deserializer specified. Only one may be chosen.")),
        (None, None) => Err(invalid("Deserializer must not be null")),
        (Some(open_x), None) => {
            let keys = open_x.column_to_json_key_mappings.unwrap_or_default();
            Ok(Reading {
                is_case_insensitive: open_x.case_insensitive.unwrap_or(true),
                dots_to_underscores: open_x.convert_dots_in_json_keys_to_underscores.unwrap_or(false),
                keys: keys.into_iter().map(|(column, key)| (column.to_lowercase(), key)).collect(),
                formats: Vec::new(),
            })
        }
        (None, Some(hive)) => {
            let format = |text: &String| {
                let unread = || invalid(format!("TimestampFormats: {text} is not a format that is read here"));
                Format::read(text).ok_or_else(unread)
            };
            let formats = hive.timestamp_formats.unwrap_or_default();
            Ok(Reading {
                is_case_insensitive: true,
                dots_to_underscores: false,
                keys: BTreeMap::new(),
                formats: formats.iter().map(format).collect::<Result<_, _>>()?,
            })
        }
    }
}

fn parquet(given: Serializer) -> Result<ParquetGiven, FirehoseError> {
    match (given.parquet_ser_de, given.orc_ser_de) {
        (Some(_), Some(_)) => Err(invalid("More than one serializer specified. Only one may be chosen.")),
        (None, None) => Err(invalid("Serializer must not be null")),
        (None, Some(_)) => Err(invalid("OrcSerDe is not implemented by the Millrace local cloud")),
        (Some(parquet), None) => Ok(parquet),
    }
}

fn codec(given: &ParquetGiven) -> Result<(Compression, WriterVersion), FirehoseError> {
    let compression = match given.compression.as_deref() {
        None | Some("SNAPPY") => Compression::SNAPPY,
        Some("GZIP") => Compression::GZIP(GzipLevel::default()),
        Some("UNCOMPRESSED") => Compression::UNCOMPRESSED,
        Some(other) => return Err(one_of("compression", other, "[GZIP, SNAPPY, UNCOMPRESSED]")),
    };
    let version = match given.writer_version.as_deref() {
        None | Some("V1") => WriterVersion::PARQUET_1_0,
        Some("V2") => WriterVersion::PARQUET_2_0,
        Some(other) => return Err(one_of("writerVersion", other, "[V1, V2]")),
    };
    Ok((compression, version))
}

fn one_of(member: &str, found: &str, allowed: &str) -> FirehoseError {
    let what = format!(
        "Value '{found}' at '{member}' failed to satisfy constraint: Member must satisfy enum value set: {allowed}"
    );
    FirehoseError::Constraint { what }
}

fn at_least(given: Option<usize>, least: usize, usual: usize, member: &str) -> Result<usize, FirehoseError> {
    let Some(given) = given else { return Ok(usual) };
    let rule = "failed to satisfy constraint: Member must have value greater than or equal to";
    let what = format!("Value '{given}' at '{member}' {rule} {least}");
    if given >= least { Ok(given) } else { Err(FirehoseError::Constraint { what }) }
}
