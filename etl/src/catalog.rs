//! The Glue database, its tables, and the partitions of published hours, all from the one definition of each table.
//!
//! Published tables are read through manifests: a partition points at a folder that holds nothing but the hour's
//! manifest. Failed events lie where Firehose puts them, in partitions that Athena projects and nobody declares.

use std::collections::HashMap;

use aws_sdk_glue::Client;
use aws_sdk_glue::error::{BuildError, SdkError};
use aws_sdk_glue::operation::batch_create_partition::BatchCreatePartitionError;
use aws_sdk_glue::operation::create_database::CreateDatabaseError;
use aws_sdk_glue::operation::create_table::CreateTableError;
use aws_sdk_glue::operation::get_table::GetTableError;
use aws_sdk_glue::operation::update_table::UpdateTableError;
use aws_sdk_glue::types::{Column, DatabaseInput, PartitionInput, SerDeInfo, StorageDescriptor, TableInput};
use events::table::{PARTITIONS, Storage, TABLES, Table};

use crate::hour::Hour;
use crate::layout;

/// Glue: partitions a `BatchCreatePartition`.
const PARTITIONS_A_CALL: usize = 100;
/// First day that failed events are looked for.
const FIRST_DAY: &str = "2026-01-01";

/// A database of the Glue catalog.
#[derive(Debug, Clone)]
pub struct Catalog {
    client: Client,
    database: String,
}

/// Why the catalog is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database could not be created.
    #[error("create the database")]
    CreateDatabase(#[source] Box<SdkError<CreateDatabaseError>>),
    /// A table could not be read.
    #[error("read table {table}")]
    GetTable {
        /// Which.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<SdkError<GetTableError>>,
    },
    /// A table could not be created.
    #[error("create table {table}")]
    CreateTable {
        /// Which.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<SdkError<CreateTableError>>,
    },
    /// A table could not be changed.
    #[error("add columns to table {table}")]
    UpdateTable {
        /// Which.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<SdkError<UpdateTableError>>,
    },
    /// The catalog's table cannot become ours by adding columns.
    #[error("column {column} of table {table} is not in the definition, or has another type there")]
    Column {
        /// Which table.
        table: &'static str,
        /// Which column of the catalog.
        column: String,
    },
    /// Partitions could not be created.
    #[error("create partitions of table {table}")]
    CreatePartitions {
        /// Which.
        table: &'static str,
        /// Why.
        #[source]
        source: Box<SdkError<BatchCreatePartitionError>>,
    },
    /// A partition was refused.
    #[error("partition {values} of table {table} was refused with {code}")]
    Partition {
        /// Of which table.
        table: &'static str,
        /// The values of the partition columns.
        values: String,
        /// Glue's code.
        code: String,
    },
    /// A request was incomplete.
    #[error("build a request")]
    Request(#[from] BuildError),
}

impl Catalog {
    /// The database of this name, whether it is there yet or not.
    pub fn new(client: Client, database: impl Into<String>) -> Self {
        Self { client, database: database.into() }
    }

    /// Creates the database and the tables of a bucket, or adds columns that are new. Changes nothing else, and nothing
    /// at all the second time.
    ///
    /// # Errors
    /// When Glue fails, or holds a table that adding columns does not make ours.
    pub async fn setup(&self, bucket: &str) -> Result<(), CatalogError> {
        let input = DatabaseInput::builder().name(&self.database).build()?;
        match self.client.create_database().database_input(input).send().await {
            Ok(_) => {}
            Err(error) if error.as_service_error().is_some_and(CreateDatabaseError::is_already_exists_exception) => {}
            Err(error) => return Err(CatalogError::CreateDatabase(Box::new(error))),
        }
        for table in TABLES {
            self.setup_table(table, bucket).await?;
        }
        Ok(())
    }

    async fn setup_table(&self, table: &'static Table, bucket: &str) -> Result<(), CatalogError> {
        let name = table.name;
        let input = table_input(table, bucket)?;
        let create = self.client.create_table().database_name(&self.database).table_input(input.clone());
        match create.send().await {
            Ok(_) => return Ok(()),
            Err(error) if error.as_service_error().is_some_and(CreateTableError::is_already_exists_exception) => {}
            Err(source) => return Err(CatalogError::CreateTable { table: name, source: Box::new(source) }),
        }
        let found = self.client.get_table().database_name(&self.database).name(name).send().await;
        let found = found.map_err(|source| CatalogError::GetTable { table: name, source: Box::new(source) })?;
        let descriptor = found.table().and_then(|table| table.storage_descriptor());
        if !lacks_columns(table, descriptor.map(StorageDescriptor::columns).unwrap_or_default())? {
            return Ok(());
        }
        // Without a version kept of each table: Glue counts them, and the definition's history is in the repository.
        let update = self.client.update_table().database_name(&self.database).table_input(input).skip_archive(true);
        let updated = update.send().await;
        updated.map(|_| ()).map_err(|source| CatalogError::UpdateTable { table: name, source: Box::new(source) })
    }

    /// Declares the partitions of hours. Those that are there already stay as they are: a partition never changes, since
    /// its manifest's place does not.
    ///
    /// # Errors
    /// When Glue fails or refuses one.
    pub async fn create_partitions(
        &self,
        table: &'static Table,
        bucket: &str,
        hours: &[Hour],
    ) -> Result<(), CatalogError> {
        for hours in hours.chunks(PARTITIONS_A_CALL) {
            let inputs = hours.iter().map(|hour| partition_input(table, bucket, *hour)).collect::<Result<_, _>>()?;
            let create = self.client.batch_create_partition().database_name(&self.database).table_name(table.name);
            let created = create.set_partition_input_list(Some(inputs)).send().await;
            let created = created
                .map_err(|source| CatalogError::CreatePartitions { table: table.name, source: Box::new(source) })?;
            for error in created.errors() {
                let code = error.error_detail().and_then(|detail| detail.error_code()).unwrap_or("no code");
                if code != "AlreadyExistsException" {
                    let values = error.partition_values().join("/");
                    return Err(CatalogError::Partition { table: table.name, values, code: code.to_owned() });
                }
            }
        }
        Ok(())
    }
}

/// Whether the catalog's columns are some of the table's.
fn lacks_columns(table: &'static Table, found: &[Column]) -> Result<bool, CatalogError> {
    for column in found {
        let ours = table.columns.iter().find(|ours| ours.name == column.name());
        if ours.is_none_or(|ours| column.r#type() != Some(ours.kind.glue_name())) {
            return Err(CatalogError::Column { table: table.name, column: column.name().to_owned() });
        }
    }
    Ok(found.len() < table.columns.len())
}

fn table_input(table: &Table, bucket: &str) -> Result<TableInput, BuildError> {
    let partition_keys = PARTITIONS.iter().map(|(name, kind)| Column::builder().name(*name).r#type(*kind).build());
    let input = TableInput::builder()
        .name(table.name)
        .description(table.grain)
        .table_type("EXTERNAL_TABLE")
        .set_parameters(Some(parameters(table, bucket)))
        .set_partition_keys(Some(partition_keys.collect::<Result<_, _>>()?))
        .storage_descriptor(storage(table, &location(table, bucket))?);
    input.build()
}

fn partition_input(table: &Table, bucket: &str, hour: Hour) -> Result<PartitionInput, BuildError> {
    let location = format!("s3://{bucket}/{}/", layout::manifest_folder(table, hour));
    let partition = PartitionInput::builder().values(hour.date()).values(hour.of_day().to_string());
    Ok(partition.storage_descriptor(storage(table, &location)?).build())
}

fn location(table: &Table, bucket: &str) -> String {
    match table.storage {
        Storage::Parquet => format!("s3://{bucket}/manifests/{}/", table.name),
        Storage::JsonLines => format!("s3://{bucket}/{}/", table.name),
    }
}

fn storage(table: &Table, location: &str) -> Result<StorageDescriptor, BuildError> {
    let columns = table
        .columns
        .iter()
        .map(|column| Column::builder().name(column.name).r#type(column.kind.glue_name()).comment(column.doc).build());
    let (input_format, serde) = match table.storage {
        Storage::Parquet => (
            "org.apache.hadoop.hive.ql.io.SymlinkTextInputFormat",
            "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
        ),
        Storage::JsonLines => ("org.apache.hadoop.mapred.TextInputFormat", "org.openx.data.jsonserde.JsonSerDe"),
    };
    let descriptor = StorageDescriptor::builder()
        .set_columns(Some(columns.collect::<Result<_, _>>()?))
        .location(location)
        .input_format(input_format)
        .output_format("org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat")
        .serde_info(SerDeInfo::builder().serialization_library(serde).build());
    Ok(descriptor.build())
}

fn parameters(table: &Table, bucket: &str) -> HashMap<String, String> {
    let mut parameters = vec![("EXTERNAL", "TRUE".to_owned())];
    match table.storage {
        Storage::Parquet => parameters.push(("classification", "parquet".to_owned())),
        Storage::JsonLines => parameters.extend([
            ("classification", "json".to_owned()),
            ("compressionType", "gzip".to_owned()),
            ("projection.enabled", "true".to_owned()),
            ("projection.event_date.type", "date".to_owned()),
            ("projection.event_date.format", "yyyy-MM-dd".to_owned()),
            ("projection.event_date.range", format!("{FIRST_DAY},NOW")),
            ("projection.event_hour.type", "integer".to_owned()),
            ("projection.event_hour.range", "0,23".to_owned()),
            ("projection.event_hour.digits", "2".to_owned()),
            (
                "storage.location.template",
                format!("{}event_date=${{event_date}}/event_hour=${{event_hour}}/", location(table, bucket)),
            ),
        ]),
    }
    parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use events::table::{AD_REQUESTS, FAILED_EVENTS, IMPS};

    use super::*;

    #[test]
    fn tables_are_what_athena_needs() {
        let input = table_input(&IMPS, "lake").unwrap();
        let descriptor = input.storage_descriptor().unwrap();
        assert_eq!(descriptor.location(), Some("s3://lake/manifests/imps/"));
        assert_eq!(descriptor.columns().len(), IMPS.columns.len());
        let keys: Vec<_> = input.partition_keys().iter().map(|key| (key.name(), key.r#type().unwrap())).collect();
        assert_eq!(keys, PARTITIONS);

        let input = table_input(&FAILED_EVENTS, "lake").unwrap();
        let template = input.parameters().unwrap().get("storage.location.template").unwrap();
        assert_eq!(template, "s3://lake/failed_events/event_date=${event_date}/event_hour=${event_hour}/");
    }

    #[test]
    fn partitions_point_at_the_manifest() {
        let input = partition_input(&AD_REQUESTS, "lake", Hour::of(1_795_000_000_123).unwrap()).unwrap();
        assert_eq!(input.values(), ["2026-11-18", "11"]);
        let location = input.storage_descriptor().unwrap().location().unwrap();
        assert_eq!(location, "s3://lake/manifests/ad_requests/event_date=2026-11-18/event_hour=11/");
    }

    #[test]
    fn only_new_columns_change_a_table() {
        let column = |name: &str, kind: &str| Column::builder().name(name).r#type(kind).build().unwrap();
        let columns =
            |table: &Table| table.columns.iter().map(|ours| column(ours.name, ours.kind.glue_name())).collect();
        let all: Vec<Column> = columns(&IMPS);
        assert!(!lacks_columns(&IMPS, &all).unwrap());
        assert!(lacks_columns(&IMPS, &all[..3]).unwrap());
        assert!(lacks_columns(&IMPS, &[column("event_id", "bigint")]).is_err());
        assert!(lacks_columns(&IMPS, &[column("unknown", "string")]).is_err());
    }
}
