//! The tables: one definition each, from which Arrow schema, Glue columns and documentation are made.
//!
//! Every table is partitioned by `event_date` and `event_hour` (UTC), which stand in no file.

mod ad_requests;
mod failed_events;
mod imps;

pub use ad_requests::AD_REQUESTS;
pub use failed_events::FAILED_EVENTS;
pub use imps::IMPS;

/// All tables.
pub const TABLES: [&Table; 3] = [&AD_REQUESTS, &IMPS, &FAILED_EVENTS];

/// The partition columns of every table, by name and Glue type.
pub const PARTITIONS: [(&str, &str); 2] = [("event_date", "date"), ("event_hour", "int")];

/// A table.
#[derive(Debug)]
pub struct Table {
    /// Name in the catalog.
    pub name: &'static str,
    /// What one row is.
    pub grain: &'static str,
    /// How rows are stored.
    pub storage: Storage,
    /// Columns in order.
    pub columns: &'static [Column],
    /// The columns that identify a row: rows that agree in them are repeats of one another.
    pub key: &'static [&'static str],
    /// The columns that published files are sorted by.
    pub sort: &'static [&'static str],
}

/// How rows are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Parquet files, published through a manifest.
    Parquet,
    /// One JSON object a line, gzip.
    JsonLines,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub kind: ColumnType,
    /// Whether a row may be without it.
    pub nullable: bool,
    /// Meaning and unit.
    pub doc: &'static str,
}

/// The types of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8.
    Text,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// 64-bit float.
    Float64,
    /// Boolean.
    Bool,
    /// Milliseconds since the epoch, UTC.
    Timestamp,
}

impl ColumnType {
    /// The type's name in Glue and Athena.
    pub fn glue_name(self) -> &'static str {
        match self {
            ColumnType::Text => "string",
            ColumnType::Int32 => "int",
            ColumnType::Int64 => "bigint",
            ColumnType::Float64 => "double",
            ColumnType::Bool => "boolean",
            ColumnType::Timestamp => "timestamp",
        }
    }
}

const fn required(name: &'static str, kind: ColumnType, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc }
}

const fn optional(name: &'static str, kind: ColumnType, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn definitions_hold_together() {
        for table in TABLES {
            let names: HashSet<_> = table.columns.iter().map(|column| column.name).collect();
            assert_eq!(names.len(), table.columns.len(), "{}: names are unique", table.name);
            for key in table.key {
                let column = table.columns.iter().find(|column| column.name == *key).expect("the key is a column");
                assert!(!column.nullable, "{}: a key is never missing", table.name);
            }
            assert!(table.sort.iter().all(|name| names.contains(name)), "{}", table.name);
            let reserved = ["dt", "date", "time", "hour", "event_date", "event_hour"];
            assert!(reserved.iter().all(|name| !names.contains(name)), "{}", table.name);
            for column in table.columns {
                assert!(column.doc.len() > 3 && column.name.bytes().all(|byte| !byte.is_ascii_uppercase()));
            }
        }
    }
}
