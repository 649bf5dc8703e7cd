//! A table of the catalog as the engine scans it: partitions pruned, then files found, then only those read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{ScanArgs, Session, TableProvider};
use datafusion::common::{DFSchema, exec_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, FileSource, JsonSource, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::ObjectMeta;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use crate::glue::Glue;
use crate::s3::S3;

mod definition;
mod files;
mod gzip;
mod projection;
mod prune;

pub(super) use definition::{Definition, Location};

use definition::Format;
use gzip::GzipJsonSource;
use prune::Partition;

/// Where the engine finds S3's objects.
pub(super) const STORE: &str = "s3://objects";
/// Partitions whose files are looked for at the same time.
const LISTINGS: usize = 8;

/// A table for one query.
#[derive(Debug)]
pub(super) struct GlueTable {
    definition: Definition,
    schema: TableSchema,
    glue: Glue,
    s3: S3,
    now_ms: i64,
    /// Bytes of JSON that the query reads; Parquet tells by itself.
    json_bytes: Arc<AtomicU64>,
}

impl GlueTable {
    pub(super) fn new(definition: Definition, glue: Glue, s3: S3, now_ms: i64, json_bytes: Arc<AtomicU64>) -> Self {
        let file = Arc::new(Schema::new(definition.columns.clone()));
        let keys: Vec<_> = definition.keys.iter().cloned().map(Arc::new).collect();
        Self {
            schema: TableSchema::builder(file).with_table_partition_cols(keys).build(),
            definition,
            glue,
            s3,
            now_ms,
            json_bytes,
        }
    }

    fn is_key_filter(&self, filter: &Expr) -> bool {
        let keys: Vec<&str> = self.definition.keys.iter().map(|key| key.name().as_str()).collect();
        !filter.column_refs().is_empty() && expr_applicable_for_cols(&keys, filter)
    }

    /// All partitions, by the catalog or the projection. A table without keys is one partition.
    async fn partitions(&self) -> Result<Vec<Partition>> {
        let definition = &self.definition;
        let own = definition.location.as_ref().map(|own| format!("s3://{}/{}", own.bucket, own.prefix()));
        if definition.keys.is_empty() {
            return Ok(vec![Partition { values: Vec::new(), location: own.unwrap_or_default() }]);
        }
        let found: Vec<(Vec<String>, String)> = match &definition.projection {
            Some(projection) => {
                let now = chrono::DateTime::from_timestamp_millis(self.now_ms).unwrap_or_default();
                let projected = projection.partitions(now).map_err(|error| exec_datafusion_err!("{error}"))?;
                projected
                    .into_iter()
                    .map(|one| {
                        let place = one.location.unwrap_or_else(|| hive_path(own.as_deref(), definition, &one.values));
                        (one.values, place)
                    })
                    .collect()
            }
            None => {
                let entries = self.glue.partitions(&definition.database, &definition.name).await;
                let entries = entries.map_err(|error| exec_datafusion_err!("{error}"))?;
                let place = |partition: &Value| {
                    let place = partition.pointer("/StorageDescriptor/Location").and_then(Value::as_str);
                    place.unwrap_or_default().to_owned()
                };
                entries.into_iter().map(|entry| (entry.values, place(&entry.partition))).collect()
            }
        };
        found
            .into_iter()
            .map(|(values, location)| {
                let values =
                    values.iter().zip(&definition.keys).map(|(value, key)| prune::typed(value, key.data_type()));
                Ok(Partition { values: values.collect::<Result<_>>()?, location })
            })
            .collect()
    }

    /// The files of the partitions, each with its partition's values.
    async fn files(&self, partitions: Vec<Partition>) -> Result<Vec<PartitionedFile>> {
        let format = self.definition.format;
        let name = &self.definition.name;
        let listings = stream::iter(partitions).map(|partition| async move {
            let location = Location::parse(&partition.location).ok_or_else(|| {
                exec_datafusion_err!("HIVE_INVALID_METADATA: {name}: {:?} is not a location of S3", partition.location)
            })?;
            let found = files::files(&self.s3, format, &location).await?;
            let values = partition.values;
            Ok::<_, datafusion::common::DataFusionError>(
                found
                    .into_iter()
                    .map(|file| PartitionedFile::new_from_meta(file).with_partition_values(values.clone()))
                    .collect::<Vec<_>>(),
            )
        });
        let found: Vec<Vec<PartitionedFile>> = listings.buffered(LISTINGS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// One scan of files of the same kind.
    fn scan_of(
        &self,
        state: &dyn Session,
        files: Vec<PartitionedFile>,
        wanted: &ScanArgs<'_>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let packed = files.first().is_some_and(|file| is_gzip(&file.object_meta));
        let source: Arc<dyn FileSource> = match self.definition.format {
            Format::Json => {
                let bytes: u64 = files.iter().map(|file| file.object_meta.size).sum();
                self.json_bytes.fetch_add(bytes, Ordering::Relaxed);
                if packed {
                    Arc::new(GzipJsonSource::new(self.schema.clone()))
                } else {
                    Arc::new(JsonSource::new(self.schema.clone()))
                }
            }
            Format::Parquet | Format::ParquetSymlinks => {
                let options = state.default_table_options().parquet;
                let source = ParquetSource::new(self.schema.clone()).with_table_parquet_options(options);
                match conjunction(wanted.filters().unwrap_or_default().to_vec()) {
                    Some(filter) => {
                        let names = DFSchema::try_from(Arc::clone(self.schema.table_schema()))?;
                        let filter = state.create_physical_expr(prune::unqualified(filter)?, &names)?;
                        Arc::new(source.with_predicate(filter))
                    }
                    None => Arc::new(source),
                }
            }
        };
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::parse(STORE)?, source)
            .with_file_groups(grouped(files, state.config().target_partitions()))
            .with_projection_indices(wanted.projection().map(<[usize]>::to_vec))?
            .with_limit(wanted.limit())
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[async_trait]
impl TableProvider for GlueTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.definition.format {
            _ if self.is_key_filter(filter) => TableProviderFilterPushDown::Exact,
            Format::Parquet | Format::ParquetSymlinks => TableProviderFilterPushDown::Inexact,
            Format::Json => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (key_filters, other): (Vec<Expr>, Vec<Expr>) =
            filters.iter().cloned().partition(|filter| self.is_key_filter(filter));
        let wanted = prune::prune(state, &self.definition.keys, self.partitions().await?, &key_filters)?;
        let files = self.files(wanted).await?;
        let (gzip, plain): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| self.definition.format == Format::Json && is_gzip(&file.object_meta));
        let args = ScanArgs::default()
            .with_projection(projection.map(Vec::as_slice))
            .with_filters(Some(&other))
            .with_limit(limit);
        let mut scans = Vec::new();
        for files in [gzip, plain].into_iter().filter(|files| !files.is_empty()) {
            scans.push(self.scan_of(state, files, &args)?);
        }
        match (scans.len(), scans.pop()) {
            (_, None) => {
                let schema = self.schema.table_schema();
                let schema = match projection {
                    Some(columns) => Arc::new(schema.project(columns)?),
                    None => Arc::clone(schema),
                };
                Ok(Arc::new(EmptyExec::new(schema)))
            }
            (1, Some(only)) => Ok(only),
            (_, Some(last)) => {
                scans.push(last);
                UnionExec::try_new(scans)
            }
        }
    }
}

/// The location that a partition has when nothing else is said: `key=value` below the table's.
fn hive_path(own: Option<&str>, definition: &Definition, values: &[String]) -> String {
    let names = definition.keys.iter().zip(values).map(|(key, value)| format!("{}={value}/", key.name()));
    names.fold(own.unwrap_or_default().to_owned(), |path, part| path + &part)
}

fn is_gzip(file: &ObjectMeta) -> bool {
    file.location.extension() == Some("gz")
}

/// Spreads files over the engine's partitions so that each reads about as many bytes.
fn grouped(mut files: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    files.sort_by_key(|file| std::cmp::Reverse(file.object_meta.size));
    let mut spread: Vec<(u64, Vec<PartitionedFile>)> = (0..groups.max(1)).map(|_| (0, Vec::new())).collect();
    for file in files {
        if let Some((bytes, group)) = spread.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            *bytes += file.object_meta.size;
            group.push(file);
        }
    }
    spread.into_iter().filter(|(_, group)| !group.is_empty()).map(|(_, group)| FileGroup::new(group)).collect()
}
