//! From a table's definition to Arrow: the schema of its files, and builders that take rows in the order of its columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMillisecondBuilder, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use events::table::{ColumnType, Table};

/// The Arrow schema of a table's files: every column, no partition columns.
///
/// Times have no zone, as Hive and Athena have them: they are UTC by agreement.
pub fn schema_of(table: &Table) -> SchemaRef {
    let fields = table.columns.iter().map(|column| Field::new(column.name, data_type(column.kind), column.nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A batch as it was read, with the columns of `schema` by name, in that order. A file from before a column was added
/// gives it as absent.
///
/// # Errors
/// When a column that cannot be absent is missing, or one has another type.
pub fn conform(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    RecordBatch::try_new(Arc::clone(schema), schema.fields().iter().map(column).collect())
}

fn data_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Text => DataType::Utf8,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
    }
}

/// One value of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Text(&'v str),
    OptText(Option<&'v str>),
    Int32(i32),
    OptInt32(Option<i32>),
    Int64(i64),
    OptInt64(Option<i64>),
    OptFloat64(Option<f64>),
    Bool(bool),
    OptBool(Option<bool>),
    Timestamp(i64),
    OptTimestamp(Option<i64>),
}

/// Rows of one table under construction.
#[derive(Debug)]
pub(crate) struct TableRows {
    table: &'static Table,
    builders: Vec<Builder>,
    rows: usize,
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Bool(BooleanBuilder),
    Timestamp(TimestampMillisecondBuilder),
}

impl TableRows {
    pub(crate) fn new(table: &'static Table) -> Self {
        Self { table, builders: table.columns.iter().map(|column| Builder::new(column.kind)).collect(), rows: 0 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends one row: a value for each column, in the table's order. The names are there for the reader of the
    /// caller, and are checked in builds with debug assertions.
    pub(crate) fn push<const COLUMNS: usize>(&mut self, row: [(&'static str, Value<'_>); COLUMNS]) {
        debug_assert_eq!(COLUMNS, self.table.columns.len());
        for ((builder, column), (name, value)) in self.builders.iter_mut().zip(self.table.columns).zip(row) {
            debug_assert_eq!(name, column.name);
            builder.push(value);
        }
        self.rows += 1;
    }

    /// Appends one row: a value for each column, in the table's order.
    pub(crate) fn push_columns<'v>(&mut self, row: impl Iterator<Item = Value<'v>>) {
        for (builder, value) in self.builders.iter_mut().zip(row) {
            builder.push(value);
        }
        self.rows += 1;
    }

    /// The rows as one batch.
    pub(crate) fn finish(mut self) -> Result<RecordBatch, ArrowError> {
        let arrays = self.builders.iter_mut().map(Builder::finish).collect();
        RecordBatch::try_new(schema_of(self.table), arrays)
    }
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Text => Builder::Text(StringBuilder::new()),
            ColumnType::Int32 => Builder::Int32(Int32Builder::new()),
            ColumnType::Int64 => Builder::Int64(Int64Builder::new()),
            ColumnType::Float64 => Builder::Float64(Float64Builder::new()),
            ColumnType::Bool => Builder::Bool(BooleanBuilder::new()),
            ColumnType::Timestamp => Builder::Timestamp(TimestampMillisecondBuilder::new()),
        }
    }

    fn push(&mut self, value: Value<'_>) {
        match (self, value) {
            (Builder::Text(builder), Value::Text(text)) => builder.append_value(text),
            (Builder::Text(builder), Value::OptText(text)) => builder.append_option(text),
            (Builder::Int32(builder), Value::Int32(number)) => builder.append_value(number),
            (Builder::Int32(builder), Value::OptInt32(number)) => builder.append_option(number),
            (Builder::Int64(builder), Value::Int64(number)) => builder.append_value(number),
            (Builder::Int64(builder), Value::OptInt64(number)) => builder.append_option(number),
            (Builder::Float64(builder), Value::OptFloat64(number)) => builder.append_option(number),
            (Builder::Bool(builder), Value::Bool(flag)) => builder.append_value(flag),
            (Builder::Bool(builder), Value::OptBool(flag)) => builder.append_option(flag),
            (Builder::Timestamp(builder), Value::Timestamp(time)) => builder.append_value(time),
            (Builder::Timestamp(builder), Value::OptTimestamp(time)) => builder.append_option(time),
            // Which value goes to which column is fixed where `push` is called, whatever the event holds.
            (builder, value) => unreachable!("{value:?} for a column of {builder:?}"),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Builder::Text(builder) => Arc::new(builder.finish()),
            Builder::Int32(builder) => Arc::new(builder.finish()),
            Builder::Int64(builder) => Arc::new(builder.finish()),
            Builder::Float64(builder) => Arc::new(builder.finish()),
            Builder::Bool(builder) => Arc::new(builder.finish()),
            Builder::Timestamp(builder) => Arc::new(builder.finish()),
        }
    }
}

#[cfg(test)]
mod tests {
    use events::table::TABLES;

    use super::*;

    #[test]
    fn columns_that_were_added_later_are_absent_in_older_files() {
        let schema = schema_of(&events::table::IMPS);
        let column = |field: &Field, rows| new_null_array(field.data_type(), rows);
        let all = schema.fields().iter().map(|field| column(field, 0)).collect();
        let whole = RecordBatch::try_new(Arc::clone(&schema), all).unwrap();
        let older: Vec<usize> =
            (0..schema.fields().len()).filter(|index| !schema.field(*index).is_nullable()).collect();
        assert_eq!(conform(&schema, &whole.project(&older).unwrap()).unwrap(), whole);

        let optional = Schema::new(vec![schema.field_with_name("city").unwrap().clone()]);
        let columns = vec![column(optional.field(0), 1)];
        let without_required = RecordBatch::try_new(Arc::new(optional), columns).unwrap();
        assert!(conform(&schema, &without_required).is_err());
    }

    #[test]
    fn a_schema_has_every_column_of_its_table() {
        for table in TABLES {
            let schema = schema_of(table);
            assert_eq!(schema.fields().len(), table.columns.len());
            for (field, column) in schema.fields().iter().zip(table.columns) {
                assert_eq!((field.name().as_str(), field.is_nullable()), (column.name, column.nullable));
            }
        }
    }
}
