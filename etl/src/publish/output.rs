//! A sorted stream of rows becomes published files.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Field, Schema, TimestampMillisecondType};
use events::table::Table;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutPayload};
use parquet::arrow::{ArrowWriter, AsyncArrowWriter};
use uuid::Uuid;

use super::PublishError;
use super::merge::Merge;
use super::state::{DataFile, FileKey};
use crate::columns::schema_of;
use crate::hour::Hour;
use crate::key::{Arrival, RECEIVED_TS};
use crate::{layout, parquet_file};

/// A file that has reached this size is followed by another: large enough for a scan, small enough to be scanned by
/// several readers at once.
const FILE_BYTES_MAX: usize = 512 << 20;

/// Writes all rows of a merge into files of the hour. Nothing refers to them yet.
///
/// Memory: one row group, at most [`parquet_file::ROW_GROUP_BYTES_MAX`] encoded, and one part of an upload.
///
/// # Errors
/// When a source cannot be read or a file not be put. Files that were put already are then left for the sweep.
pub(crate) async fn write_files(
    store: &Arc<dyn ObjectStore>,
    table: &Table,
    hour: Hour,
    generation: u64,
    mut rows: Merge,
) -> Result<Vec<DataFile>, PublishError> {
    let rows_max = rows.rows_max();
    let mut files = Vec::new();
    let mut pending = rows.next().await?;
    while let Some(first) = pending.take() {
        let path = layout::data_hour(table, hour).join(file_name(generation));
        let mut file = FileWriter::new(store, table, path, rows_max)?;
        file.write(&first).await?;
        while let Some(batch) = rows.next().await? {
            if file.writer.bytes_written() >= FILE_BYTES_MAX {
                pending = Some(batch);
                break;
            }
            file.write(&batch).await?;
        }
        files.push(file.finish().await?);
    }
    Ok(files)
}

struct FileWriter {
    path: Path,
    writer: AsyncArrowWriter<BufWriter>,
    event_ts: Option<(i64, i64)>,
}

impl FileWriter {
    fn new(store: &Arc<dyn ObjectStore>, table: &Table, path: Path, rows_max: u64) -> Result<Self, PublishError> {
        let sink = BufWriter::new(Arc::clone(store), path.clone());
        let options = parquet_file::published_options(table, rows_max).map_err(PublishError::Write)?;
        let writer = AsyncArrowWriter::try_new_with_options(sink, schema_of(table), options);
        Ok(Self { path, writer: writer.map_err(PublishError::Write)?, event_ts: None })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<(), PublishError> {
        let times = batch.column_by_name("event_ts").and_then(|column| column.as_primitive_opt());
        let times: Option<&TimestampMillisecondArray> = times;
        if let Some(times) = times {
            let earliest = arrow::compute::min::<TimestampMillisecondType>(times);
            let latest = arrow::compute::max::<TimestampMillisecondType>(times);
            if let (Some(earliest), Some(latest)) = (earliest, latest) {
                let (min, max) = self.event_ts.unwrap_or((earliest, latest));
                self.event_ts = Some((min.min(earliest), max.max(latest)));
            }
        }
        self.writer.write(batch).await.map_err(PublishError::Write)
    }

    async fn finish(mut self) -> Result<DataFile, PublishError> {
        let metadata = self.writer.finish().await.map_err(PublishError::Write)?;
        let bytes = self.writer.bytes_written();
        let (event_ts_min, event_ts_max) = self.event_ts.unwrap_or_default();
        Ok(DataFile {
            key: self.path.to_string(),
            rows: u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default(),
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            event_ts_min,
            event_ts_max,
        })
    }
}

/// Writes the arrivals that were sent again into a file of the hour; none for none.
///
/// # Errors
/// When the file cannot be put.
pub(crate) async fn write_resent(
    store: &dyn ObjectStore,
    table: &Table,
    hour: Hour,
    generation: u64,
    resent: &[Arrival],
) -> Result<Option<FileKey>, PublishError> {
    if resent.is_empty() {
        return Ok(None);
    }
    let batch = resent_batch(table, resent)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).map_err(PublishError::Write)?;
    writer.write(&batch).map_err(PublishError::Write)?;
    let file = writer.into_inner().map_err(PublishError::Write)?;
    let bytes = u64::try_from(file.len()).unwrap_or(u64::MAX);
    let path = layout::resent_hour(table, hour).join(file_name(generation));
    let put = store.put_opts(&path, PutPayload::from(file), PutMode::Create.into()).await;
    put.map_err(|source| PublishError::Store { path: path.clone(), source })?;
    Ok(Some(FileKey { key: path.to_string(), bytes }))
}

fn resent_batch(table: &Table, resent: &[Arrival]) -> Result<RecordBatch, PublishError> {
    let mut fields = Vec::new();
    let mut columns: Vec<Arc<dyn Array>> = Vec::new();
    for name in crate::key::arrival_columns(table) {
        let column: Arc<dyn Array> = match name {
            RECEIVED_TS => {
                Arc::new(resent.iter().map(|arrival| Some(arrival.received_ts)).collect::<TimestampMillisecondArray>())
            }
            "event_id" => Arc::new(resent.iter().map(|arrival| Some(arrival.key.event_id())).collect::<StringArray>()),
            _ => Arc::new(resent.iter().map(|arrival| Some(arrival.key.index())).collect::<Int32Array>()),
        };
        fields.push(Field::new(name, column.data_type().clone(), false));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A name that no other attempt at any generation gives.
fn file_name(generation: u64) -> String {
    format!("{generation:06}-{}.parquet", Uuid::now_v7())
}
