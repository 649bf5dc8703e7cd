//! The answer to a query, as Athena gives it: text in every cell, with the types beside.

/// A column of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name.
    pub name: String,
    /// Its type in Athena's words, such as `bigint` or `varchar`.
    pub kind: String,
}

/// What a query cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes read from the tables' files.
    pub scanned_bytes: i64,
    /// Milliseconds in the engine.
    pub engine_ms: i64,
    /// Milliseconds from the call to the end, queueing included.
    pub total_ms: i64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryResult {
    /// Athena's id of the query.
    pub query_execution_id: String,
    /// Columns in order.
    pub columns: Vec<ResultColumn>,
    /// Rows, each with a cell a column; `None` is NULL.
    pub rows: Vec<Vec<Option<String>>>,
    /// What it cost.
    pub statistics: Statistics,
}

impl QueryResult {
    /// What is no query's answer, to be shown like one: columns by name and type, and the rows.
    pub fn of_cells(columns: &[(&str, &str)], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let column = |(name, kind): &(&str, &str)| ResultColumn { name: (*name).to_owned(), kind: (*kind).to_owned() };
        Self {
            query_execution_id: String::new(),
            columns: columns.iter().map(column).collect(),
            rows: rows.into_iter().map(|row| row.into_iter().map(Some).collect()).collect(),
            statistics: Statistics::default(),
        }
    }
}

impl ResultColumn {
    /// Whether cells of the column are numbers, as Athena writes them.
    pub fn is_number(&self) -> bool {
        let kind = self.kind.split('(').next().unwrap_or_default();
        matches!(kind, "tinyint" | "smallint" | "integer" | "int" | "bigint" | "real" | "float" | "double" | "decimal")
    }

    /// Whether cells of the column are `true` and `false`.
    pub fn is_boolean(&self) -> bool {
        self.kind == "boolean"
    }
}
