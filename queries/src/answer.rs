//! The answer of a query.

/// Rows and what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueryResult {
    /// The columns, in order.
    pub columns: Vec<Column>,
    /// The rows, as Athena writes values; `None` is NULL. As many cells as there are columns.
    pub rows: Vec<Vec<Option<String>>>,
    /// Bytes that the query read, which is what Athena bills.
    pub scanned_bytes: u64,
    /// Time of the engine in milliseconds.
    pub engine_ms: u64,
}

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Athena's name of the type, such as `bigint`.
    pub kind: String,
}

impl Column {
    /// Whether values are numbers, as JSON has them.
    pub fn is_number(&self) -> bool {
        let kind = self.kind.split('(').next().unwrap_or_default();
        matches!(kind, "tinyint" | "smallint" | "integer" | "int" | "bigint" | "float" | "real" | "double" | "decimal")
    }
}
