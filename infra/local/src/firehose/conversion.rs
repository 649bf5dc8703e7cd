//! Conversion of JSON to Parquet by a table of the Glue catalog: what is asked for, and the conversion itself.
//!
//! A record is one JSON object or several one behind the other. It becomes rows as a whole or, where one of its objects
//! does not fit the table, a failed record. Members that the table has no column for are left out.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the types are arrow's and have dozens of variants: those that a Glue table can have are named"
)]

mod cell;
mod config;
mod instant;
mod row;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(super) use config::{Conversion, read};

use cell::{Cell, array};
use row::Object;

use super::failed::Reason;
use super::segment::Entry;
use crate::athena;

/// Rows that are turned into columns at once.
const BATCH_ROWS: usize = 8_192;

/// What a conversion came to.
#[derive(Debug)]
pub(super) struct Converted {
    /// The Parquet file, if there is a row in it.
    pub(super) file: Option<Vec<u8>>,
    /// The records that failed, by their index.
    pub(super) failed: Vec<(usize, Reason)>,
}

/// Why records could not be converted, for no fault of theirs.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConversionError {
    #[error("make columns of rows")]
    Columns(#[from] arrow::error::ArrowError),
    #[error("write a Parquet file")]
    Parquet(#[from] ParquetError),
}

impl From<ConversionError> for io::Error {
    fn from(error: ConversionError) -> Self {
        Self::other(error)
    }
}

/// The columns of a table, without its partition keys: those are in the names of objects.
///
/// # Errors
/// The name and type of the first column that cannot be converted to.
pub(super) fn columns(table_input: &Value) -> Result<Fields, String> {
    let columns = table_input.pointer("/StorageDescriptor/Columns").and_then(Value::as_array);
    let columns = columns.map(Vec::as_slice).unwrap_or_default();
    if columns.is_empty() {
        return Err("The table has no columns.".to_owned());
    }
    let field = |column: &Value| {
        let text = |field: &str| column.get(field).and_then(Value::as_str);
        let name = text("Name").unwrap_or_default().to_lowercase();
        let kind = athena::arrow_type(text("Type").unwrap_or("string"));
        kind.map(|kind| Field::new(&name, kind, true)).map_err(|error| format!("Column {name}: {error}."))
    };
    columns.iter().map(field).collect()
}

/// The table that a conversion is held to, if it names a version: that of `before` if it is the same, else what the catalog
/// has now. Later changes of the catalog do not change it. Checks the table that is there for one that names none.
///
/// # Errors
/// When there is no such table, it cannot be converted to, or its version is not kept.
pub(super) fn pinned(
    conversion: &Conversion,
    before: Option<&Value>,
    found: Option<(Value, u64)>,
) -> Result<Option<Value>, String> {
    let (database, table) = (&conversion.database, &conversion.table);
    let place = json!({ "database": database, "table": table, "version": conversion.version });
    if let Some(before) = before.filter(|before| before.get("pinned") == Some(&place)) {
        return Ok(Some(before.clone()));
    }
    let not_found = || {
        format!(
            "Table {table} of database {database} not found. (Service: AWSGlue; Error Code: EntityNotFoundException)"
        )
    };
    let (mut input, latest) = found.ok_or_else(not_found)?;
    columns(&input).map_err(|error| format!("The schema is invalid. {error}"))?;
    match &conversion.version {
        None => Ok(None),
        Some(version) if *version == latest.to_string() => {
            if let Some(fields) = input.as_object_mut() {
                fields.insert("pinned".to_owned(), place);
            }
            Ok(Some(input))
        }
        Some(version) => Err(format!(
            "Version {version} of table {table} of database {database} not found: the local catalog keeps the latest one, \
             {latest}. (Service: AWSGlue; Error Code: EntityNotFoundException)"
        )),
    }
}

impl Conversion {
    /// Converts the records of a buffer.
    pub(super) fn convert(&self, entries: &[Entry], columns: &Fields) -> Result<Converted, ConversionError> {
        let schema = Arc::new(Schema::new(columns.clone()));
        let mut writer = None;
        let (mut failed, mut pending) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match self.rows(&entry.data, columns) {
                Ok(found) => pending.extend(found),
                Err(reason) => failed.push((index, reason)),
            }
            let is_last = index + 1 == entries.len();
            if !pending.is_empty() && (is_last || pending.len() >= BATCH_ROWS) {
                let open = match writer.take() {
                    Some(open) => open,
                    None => ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(self.properties()))?,
                };
                writer = Some(write(open, &schema, &pending)?);
                pending.clear();
            }
        }
        let file = writer.map(ArrowWriter::into_inner).transpose()?;
        Ok(Converted { file, failed })
    }

    /// The rows of one record.
    fn rows(&self, data: &[u8], columns: &Fields) -> Result<Vec<Vec<Cell>>, Reason> {
        let objects = objects(data)?;
        let row = |object: Object<'_>| {
            let row = self.reading.row(object, columns);
            row.map_err(|error| malformed(format!("Data does not match the schema. {error}")))
        };
        objects.into_iter().map(row).collect()
    }
}

fn write(
    mut writer: ArrowWriter<Vec<u8>>,
    schema: &Arc<Schema>,
    rows: &[Vec<Cell>],
) -> Result<ArrowWriter<Vec<u8>>, ConversionError> {
    let mut arrays = Vec::with_capacity(schema.fields().len());
    for (index, field) in schema.fields().iter().enumerate() {
        let column: Vec<&Cell> = rows.iter().filter_map(|row| row.get(index)).collect();
        arrays.push(array(field.data_type(), &column)?);
    }
    writer.write(&RecordBatch::try_new(Arc::clone(schema), arrays)?)?;
    Ok(writer)
}

/// The objects of a record, one behind the other with or without white space between.
fn objects(data: &[u8]) -> Result<Vec<Object<'_>>, Reason> {
    if data.iter().all(u8::is_ascii_whitespace) {
        return Err(malformed("The record was empty or contained only whitespace.".to_owned()));
    }
    let mut found = Vec::new();
    for value in serde_json::Deserializer::from_slice(data).into_iter::<&RawValue>() {
        let value = value.map_err(|error| parse_error(&error))?;
        match value.get().as_bytes().first() {
            Some(b'{') => found.push(serde_json::from_str(value.get()).map_err(|error| parse_error(&error))?),
            Some(b'[') => {
                return Err(malformed(
                    "The input JSON contained an array at the top level. Only objects are read.".to_owned(),
                ));
            }
            _ => {
                let message = "The input JSON contained a primitive at the top level. The top level must be an object.";
                return Err(malformed(message.to_owned()));
            }
        }
    }
    Ok(found)
}

fn malformed(message: String) -> Reason {
    Reason { code: "DataFormatConversion.MalformedData", message }
}

fn parse_error(error: &serde_json::Error) -> Reason {
    Reason { code: "DataFormatConversion.ParseError", message: format!("Encountered malformed JSON. {error}") }
}
