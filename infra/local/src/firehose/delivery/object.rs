//! The objects that a buffer becomes: their names and their bytes.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use chrono::DateTime;

use crate::firehose::conversion::{Conversion, Converted};
use crate::firehose::destination::Destination;
use crate::firehose::failed;
use crate::firehose::lane::Lane;
use crate::firehose::prefix::{Instance, with_random};
use crate::firehose::segment::{Content, Entry};

use super::schema::Schema;

/// What names of objects are made of, beside the prefix.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) version: u64,
    /// The buffer's 32 hex digits.
    pub(super) id: String,
    pub(super) now_ms: i64,
}

/// An object as it is put.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) body: Bytes,
}

/// A buffer's objects, and what they were made of.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) objects: Vec<Object>,
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) converted: usize,
    pub(super) unconverted: usize,
    /// The time of the oldest record.
    pub(super) first_arrival_ms: i64,
}

/// Makes a buffer's objects. `schema` is there where it is to be converted.
///
/// # Errors
/// When an object cannot be made, for no fault of its records.
pub(super) fn prepare(
    content: &Content,
    stream: &Stream,
    destination: &Destination,
    schema: Option<Schema>,
) -> io::Result<Prepared> {
    let first_arrival_ms = content.entries.iter().map(|entry| entry.arrival_ms).min().unwrap_or(0);
    let keys = Keys { stream, destination, first_arrival_ms };
    let mut prepared = Prepared {
        objects: Vec::new(),
        records: content.entries.len(),
        bytes: content.entries.iter().map(|entry| entry.data.len()).sum(),
        converted: 0,
        unconverted: 0,
        first_arrival_ms,
    };
    match (&content.head.lane, &destination.conversion, schema) {
        (Lane::Failed { output_type }, _, _) => {
            let body = joined(&content.entries, b"").into();
            prepared.objects.push(Object { key: keys.failed(output_type), body });
        }
        (lane @ (Lane::Plain | Lane::Partition { .. }), Some(conversion), Some(schema)) => {
            let converted = convert(&content.entries, conversion, schema, stream.now_ms)?;
            prepared.unconverted = converted.failed_records;
            prepared.converted = content.entries.len() - converted.failed_records;
            if !converted.failed.is_empty() {
                let body = converted.failed.into();
                prepared.objects.push(Object { key: keys.failed(failed::CONVERSION), body });
            }
            if let Some(file) = converted.file {
                prepared.objects.push(Object { key: keys.data(lane), body: file.into() });
            }
        }
        (lane @ (Lane::Plain | Lane::Partition { .. }), _, _) => {
            let data = joined(&content.entries, &destination.delimiter);
            let body = destination.compression.apply(data, &hyphenated(&stream.id))?.into();
            prepared.objects.push(Object { key: keys.data(lane), body });
        }
    }
    Ok(prepared)
}

/// A Parquet file, and the descriptions of the records that are not in it.
struct Split {
    file: Option<Vec<u8>>,
    failed: Vec<u8>,
    failed_records: usize,
}

fn convert(entries: &[Entry], conversion: &Conversion, schema: Schema, now_ms: i64) -> io::Result<Split> {
    let Converted { file, failed } = match schema.columns {
        Ok(columns) => conversion.convert(entries, &columns)?,
        Err(reason) => {
            let failed = (0..entries.len()).map(|index| (index, reason.clone())).collect();
            Converted { file: None, failed }
        }
    };
    let mut described = Vec::new();
    for (index, reason) in &failed {
        if let Some(entry) = entries.get(*index) {
            described.extend(failed::unconverted(entry, reason, &schema.named, now_ms)?);
        }
    }
    Ok(Split { file, failed: described, failed_records: failed.len() })
}

fn joined(entries: &[Entry], delimiter: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(entries.iter().map(|entry| entry.data.len() + delimiter.len()).sum());
    for entry in entries {
        data.extend_from_slice(&entry.data);
        data.extend_from_slice(delimiter);
    }
    data
}

struct Keys<'a> {
    stream: &'a Stream,
    destination: &'a Destination,
    first_arrival_ms: i64,
}

impl Keys<'_> {
    fn data(&self, lane: &Lane) -> String {
        let prefix = match lane {
            Lane::Partition { prefix } => prefix.clone(),
            Lane::Plain | Lane::Failed { .. } => {
                let prefixes = &self.destination.prefixes;
                prefixes.data.eval(self.instance("", &BTreeMap::new()), prefixes.zone)
            }
        };
        format!("{}{}", self.name(&prefix), self.destination.extension())
    }

    fn failed(&self, output_type: &str) -> String {
        let prefixes = &self.destination.prefixes;
        self.name(&prefixes.failed.eval(self.instance(output_type, &BTreeMap::new()), prefixes.zone))
    }

    fn instance<'a>(&self, output_type: &'a str, keys: &'a BTreeMap<String, String>) -> Instance<'a> {
        Instance { arrival_ms: self.first_arrival_ms, output_type, keys }
    }

    fn name(&self, prefix: &str) -> String {
        let Stream { name, version, id, .. } = self.stream;
        let at = DateTime::from_timestamp_millis(self.first_arrival_ms).unwrap_or_default();
        let at = at.with_timezone(&self.destination.prefixes.zone).format("%Y-%m-%d-%H-%M-%S");
        format!("{}{name}-{version}-{at}-{}", with_random(prefix, id), hyphenated(id))
    }
}

fn hyphenated(id: &str) -> String {
    uuid::Uuid::try_parse(id).map_or_else(|_not_ours| id.to_owned(), |id| id.hyphenated().to_string())
}
