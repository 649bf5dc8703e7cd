//! A table as Glue describes it, read for a query: columns, format, partition keys, where its data lies.

use arrow::datatypes::{DataType, Field};
use serde_json::Value;

use crate::athena::QueryError;
use crate::athena::columns::arrow_type;

use super::projection::Projection;

/// How a table's files are found and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::athena) enum Format {
    /// Parquet files under a location.
    Parquet,
    /// Parquet files that the text files under a location name: each line one `s3://bucket/key`.
    ParquetSymlinks,
    /// NDJSON files under a location, `.gz` or plain.
    Json,
}

/// A place in S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::athena) struct Location {
    pub(in crate::athena) bucket: String,
    /// Without a slash at its beginning.
    pub(in crate::athena) key: String,
}

impl Location {
    pub(in crate::athena) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("s3://").or_else(|| text.strip_prefix("s3a://"))?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        (!bucket.is_empty()).then(|| Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }

    /// The key as the beginning of a directory's keys.
    pub(in crate::athena) fn prefix(&self) -> String {
        match self.key.as_str() {
            "" => String::new(),
            key if key.ends_with('/') => key.to_owned(),
            key => format!("{key}/"),
        }
    }
}

/// A table, ready to be planned with.
#[derive(Debug, Clone)]
pub(in crate::athena) struct Definition {
    pub(in crate::athena) database: String,
    pub(in crate::athena) name: String,
    pub(in crate::athena) format: Format,
    pub(in crate::athena) location: Option<Location>,
    /// Columns in the files.
    pub(in crate::athena) columns: Vec<Field>,
    /// Partition keys, in order.
    pub(in crate::athena) keys: Vec<Field>,
    /// Partitions that are computed and not looked up.
    pub(in crate::athena) projection: Option<Projection>,
}

impl Definition {
    pub(in crate::athena) fn read(database: &str, name: &str, input: &Value) -> Result<Self, QueryError> {
        let storage = input.get("StorageDescriptor").unwrap_or(&Value::Null);
        let keys = fields(input.get("PartitionKeys"), name)?;
        if let Some(key) = keys.iter().find(|key| !is_key_type(key.data_type())) {
            let message =
                format!("{name}: partition key {} has type {}, which is not supported", key.name(), key.data_type());
            return Err(QueryError::user("HIVE_UNSUPPORTED_FORMAT", &message));
        }
        let projection = Projection::read(input.get("Parameters").unwrap_or(&Value::Null), &keys)
            .map_err(|message| QueryError::user("INVALID_TABLE_PROPERTY", &format!("{name}: {message}")))?;
        Ok(Self {
            database: database.to_owned(),
            name: name.to_owned(),
            format: format(storage, name)?,
            location: text(storage, "Location").and_then(Location::parse),
            columns: fields(storage.get("Columns"), name)?,
            keys,
            projection,
        })
    }
}

fn is_key_type(kind: &DataType) -> bool {
    kind.is_integer() || matches!(kind, DataType::Utf8 | DataType::Date32)
}

fn fields(columns: Option<&Value>, table: &str) -> Result<Vec<Field>, QueryError> {
    let columns = columns.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    columns
        .iter()
        .map(|column| {
            let name = text(column, "Name").unwrap_or_default();
            let kind = text(column, "Type").unwrap_or("string");
            let kind = arrow_type(kind).map_err(|error| {
                QueryError::user("HIVE_INVALID_METADATA", &format!("{table}: column {name}: {error}"))
            })?;
            Ok(Field::new(name.to_lowercase(), kind, true))
        })
        .collect()
}

fn format(storage: &Value, table: &str) -> Result<Format, QueryError> {
    let serde = storage.get("SerdeInfo").and_then(|info| text(info, "SerializationLibrary")).unwrap_or_default();
    let input = text(storage, "InputFormat").unwrap_or_default();
    let is_parquet = serde.contains("ParquetHiveSerDe") || input.contains("MapredParquetInputFormat");
    let is_json = serde.ends_with("JsonSerDe") || serde.ends_with("JsonSerde");
    match (input.ends_with("SymlinkTextInputFormat"), is_parquet, is_json) {
        (true, true, _) => Ok(Format::ParquetSymlinks),
        (false, true, _) => Ok(Format::Parquet),
        (false, false, true) => Ok(Format::Json),
        _ => {
            let message =
                format!("{table}: input format {input:?} with SerDe {serde:?} is not supported by the local Athena");
            Err(QueryError::user("HIVE_UNSUPPORTED_FORMAT", &message))
        }
    }
}

pub(super) fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Definition, Format, Location};

    #[test]
    fn formats_by_their_classes() {
        let check = |input: &str, serde: &str, expected: Option<Format>| {
            let table = json!({ "StorageDescriptor": {
                "Columns": [{ "Name": "A", "Type": "bigint" }], "Location": "s3://lake/t",
                "InputFormat": input, "SerdeInfo": { "SerializationLibrary": serde },
            }});
            let found = Definition::read("d", "t", &table).ok();
            assert_eq!(found.as_ref().map(|found| found.format), expected, "{input} {serde}");
            if let Some(found) = found {
                assert_eq!(found.columns[0].name(), "a");
            }
        };
        let parquet = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
        check("org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat", parquet, Some(Format::Parquet));
        check("org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat", parquet, Some(Format::ParquetSymlinks));
        check("org.apache.hadoop.mapred.TextInputFormat", "org.openx.data.jsonserde.JsonSerDe", Some(Format::Json));
        check(
            "org.apache.hadoop.mapred.TextInputFormat",
            "org.apache.hive.hcatalog.data.JsonSerDe",
            Some(Format::Json),
        );
        check("org.apache.hadoop.mapred.TextInputFormat", "org.apache.hadoop.hive.serde2.OpenCSVSerde", None);
        check("org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat", "org.openx.data.jsonserde.JsonSerDe", None);
    }

    #[test]
    fn locations() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = Location::parse(text);
            assert_eq!(
                found.as_ref().map(|found| (found.bucket.as_str(), found.prefix())),
                expected.map(|(b, p)| (b, p.to_owned()))
            );
        };
        check("s3://lake/a/b", Some(("lake", "a/b/")));
        check("s3a://lake/a/", Some(("lake", "a/")));
        check("s3://lake", Some(("lake", "")));
        check("file:///etc", None);
        check("s3:///x", None);
    }
}
