//! Running one execution: from its statement to the result's object in S3.

use std::path::PathBuf;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DataFusionError;
use futures::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::columns::athena_type;
use super::engine::Engine;
use super::error::QueryError;
use super::executions::{Asked, ColumnInfo, Outcome};
use super::statement::{self, Statement, name_matches};
use super::table::{Definition, Location};
use super::{render, result_file};
use crate::s3::{Attributes, PutOptions, S3, StoreError};

/// What a run works with.
#[derive(Debug, Clone)]
pub(super) struct Runner {
    pub(super) engine: Engine,
    pub(super) s3: S3,
    /// For results while they are written.
    pub(super) temp: PathBuf,
}

/// A result on its way, removed if it does not arrive.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // One that stays behind is removed at the next start.
        drop(std::fs::remove_file(&self.0));
    }
}

impl Runner {
    pub(super) async fn run(&self, id: &str, asked: &Asked, now_ms: i64) -> Result<Outcome, QueryError> {
        match statement::parse(&asked.query)? {
            Statement::Query(query) => {
                let file = Temporary(self.temp.join(format!("{id}.csv")));
                let mut running = self.engine.start(query, &asked.database, now_ms).await?;
                let columns: Vec<ColumnInfo> = running.schema.fields().iter().map(|field| column_info(field)).collect();
                write_rows(&file.0, &columns, &mut running.rows).await?;
                let outcome = Outcome { columns, scanned: running.scanned(), is_text: false };
                self.put(asked, id, "csv", file).await?;
                Ok(outcome)
            }
            Statement::ShowDatabases { pattern } => {
                let names =
                    self.engine.glue().database_names().await.map_err(|error| QueryError::system(&error.message))?;
                self.lines(asked, id, "database_name", matching(names, pattern.as_deref())).await
            }
            Statement::ShowTables { database, pattern } => {
                let database = database.unwrap_or_else(|| asked.database.clone());
                let names = self.engine.glue().table_names(&database).await;
                let names =
                    names.map_err(|error| QueryError::system(&error.message))?.ok_or_else(|| no_schema(&database))?;
                self.lines(asked, id, "tab_name", matching(names, pattern.as_deref())).await
            }
            Statement::Describe { database, table } => {
                let database = database.unwrap_or_else(|| asked.database.clone());
                let lines = self.describe(&database, &table).await?;
                self.lines(asked, id, "col_name", lines).await
            }
        }
    }

    /// A column on each line: name, type and comment with tabs between, as Hive writes them.
    async fn describe(&self, database: &str, table: &str) -> Result<Vec<String>, QueryError> {
        let input =
            self.engine.glue().table(database, table).await.map_err(|error| QueryError::system(&error.message))?;
        let input = input.ok_or_else(|| {
            QueryError::user("TABLE_NOT_FOUND", &format!("Table 'awsdatacatalog.{database}.{table}' does not exist"))
        })?;
        Definition::read(database, table, &input)?;
        let mut lines = Vec::new();
        for part in ["/StorageDescriptor/Columns", "/PartitionKeys"] {
            for column in input.pointer(part).and_then(serde_json::Value::as_array).into_iter().flatten() {
                let text = |field: &str| column.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
                lines.push(format!("{:<20}\t{:<20}\t{:<20}", text("Name"), text("Type"), text("Comment")));
            }
        }
        Ok(lines)
    }

    async fn lines(&self, asked: &Asked, id: &str, name: &str, lines: Vec<String>) -> Result<Outcome, QueryError> {
        let file = Temporary(self.temp.join(format!("{id}.txt")));
        let text: String = lines
            .iter()
            .map(|line| {
                format!(
                    "{line}
"
                )
            })
            .collect();
        tokio::fs::write(&file.0, text).await.map_err(|error| QueryError::system(&error.to_string()))?;
        self.put(asked, id, "txt", file).await?;
        let columns = vec![column_info(&Field::new(name, DataType::Utf8, true))];
        Ok(Outcome { columns, scanned: 0, is_text: true })
    }

    async fn put(&self, asked: &Asked, id: &str, extension: &str, file: Temporary) -> Result<(), QueryError> {
        let output = Location::parse(&asked.output)
            .ok_or_else(|| QueryError::user("INVALID_OUTPUT_LOCATION", "the output location is not one of S3"))?;
        let key = format!("{}{id}.{extension}", output.prefix());
        let content_type = Some("application/octet-stream".to_owned());
        let attributes = Attributes { content_type, ..Attributes::default() };
        let options = PutOptions { attributes, ..PutOptions::default() };
        match self.s3.put_file(&output.bucket, &key, file.0.clone(), options).await {
            Ok(_) => Ok(()),
            Err(
                error @ (StoreError::NoSuchBucket { .. }
                | StoreError::InvalidBucket { .. }
                | StoreError::KeyTooLong { .. }),
            ) => Err(QueryError::user("INVALID_OUTPUT_LOCATION", &error.to_string())),
            Err(error) => Err(QueryError::system(&error.to_string())),
        }
    }
}

fn matching(names: Vec<String>, pattern: Option<&str>) -> Vec<String> {
    names.into_iter().filter(|name| name_matches(pattern, name)).collect()
}

async fn write_rows(
    path: &PathBuf,
    columns: &[ColumnInfo],
    rows: &mut datafusion::physical_plan::SendableRecordBatchStream,
) -> Result<(), QueryError> {
    let io_error = |error: std::io::Error| QueryError::system(&error.to_string());
    let mut file = tokio::fs::File::create(path).await.map_err(io_error)?;
    let mut text = String::new();
    result_file::write_row(&mut text, columns.iter().map(|column| Some(column.name.as_str())));
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|column| render::text(column, row))
                .collect::<Result<Vec<_>, DataFusionError>>()?;
            result_file::write_row(&mut text, values.iter().map(Option::as_deref));
        }
        file.write_all(text.as_bytes()).await.map_err(io_error)?;
        text.clear();
    }
    file.write_all(text.as_bytes()).await.map_err(io_error)?;
    file.flush().await.map_err(io_error)
}

fn column_info(field: &Field) -> ColumnInfo {
    let kind = athena_type(field.data_type());
    let (precision, scale) = match (field.data_type(), kind) {
        (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale), _) => {
            (u32::from(*precision), *scale)
        }
        (_, "tinyint") => (3, 0),
        (_, "smallint") => (5, 0),
        (_, "integer") => (10, 0),
        (_, "bigint") => (19, 0),
        (_, "float" | "double") => (17, 0),
        (_, "timestamp" | "timestamp with time zone") => (3, 0),
        (_, "varchar") => (2_147_483_647, 0),
        (_, "varbinary") => (1_073_741_824, 0),
        _ => (0, 0),
    };
    ColumnInfo { name: field.name().clone(), kind, precision, scale }
}

fn no_schema(database: &str) -> QueryError {
    QueryError::user("SCHEMA_NOT_FOUND", &format!("Schema '{database}' does not exist"))
}
