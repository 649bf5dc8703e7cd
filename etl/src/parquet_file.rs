//! How Parquet files are written: staged ones to be quick, published ones to be read often.
//!
//! Published columns are encoded by what they hold. Ids and bodies hardly repeat: no dictionary, lengths apart from
//! bytes. Times and sizes: differences. All else: a dictionary, which sorting by ad unit makes nearly free.

use arrow::array::RecordBatch;
use bytes::Bytes;
use events::table::{ColumnType, Table};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::columns::schema_of;

/// Most rows in a row group: few enough that a reader may skip, many enough that it seldom seeks.
pub const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
/// Most encoded bytes in a row group: what Athena reads at once, and what a writer holds in memory.
pub const ROW_GROUP_BYTES_MAX: usize = 128 << 20;
/// Chance that a row group is read for an event id that it does not hold.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Text that is nearly different in every row. Other text repeats.
const DISTINCT_TEXT: [&str; 4] = ["event_id", "auction_id", "source_tid", "body"];
/// Whole numbers of many values, close to one another.
const CLOSE_NUMBERS: [&str; 3] = ["handler_us", "body_bytes", "tmax_ms"];

/// Writes one staged file. It is read once, whole, and soon: light compression, no statistics, no index.
///
/// # Errors
/// Only if the batch does not fit the format, which rows of our tables do.
pub fn write_staged(table: &Table, batch: &RecordBatch) -> Result<Bytes, ParquetError> {
    let properties = encoded(table, 1)?.set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true);
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema_of(table), options)?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

/// Options of published files: statistics and an index of pages, a Bloom filter on the event id, and the sort order.
/// `rows_max` bounds the rows of the file, and with them the memory of the filter: 1.2 bytes a row.
///
/// # Errors
/// Never with the constants of this file.
pub fn published_options(table: &Table, rows_max: u64) -> Result<ArrowWriterOptions, ParquetError> {
    let event_ids_max = rows_max.clamp(1, ROW_GROUP_ROWS_MAX as u64);
    let mut properties = encoded(table, 3)?
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .set_sorting_columns(Some(sorting_columns(table)));
    for column in table.columns {
        if column.name == "event_id" {
            properties = properties
                .set_column_bloom_filter_fpp(ColumnPath::from(column.name), BLOOM_FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(ColumnPath::from(column.name), event_ids_max);
        }
        if column.name == "body" {
            // Nobody looks for a range of bodies, and two of them a page would be most of the index.
            properties =
                properties.set_column_statistics_enabled(ColumnPath::from(column.name), EnabledStatistics::None);
        }
    }
    Ok(ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true))
}

fn encoded(table: &Table, zstd_level: i32) -> Result<WriterPropertiesBuilder, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(format!("millrace etl {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level)?));
    for column in table.columns {
        if let Some(encoding) = encoding(column.name, column.kind) {
            let path = ColumnPath::from(column.name);
            properties =
                properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding);
        }
    }
    Ok(properties)
}

/// The encoding of a column; `None` for a dictionary.
fn encoding(name: &str, kind: ColumnType) -> Option<Encoding> {
    match kind {
        ColumnType::Timestamp => Some(Encoding::DELTA_BINARY_PACKED),
        ColumnType::Int64 if CLOSE_NUMBERS.contains(&name) => Some(Encoding::DELTA_BINARY_PACKED),
        ColumnType::Text if DISTINCT_TEXT.contains(&name) => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
        ColumnType::Text | ColumnType::Int32 | ColumnType::Int64 | ColumnType::Float64 | ColumnType::Bool => None,
    }
}

fn sorting_columns(table: &Table) -> Vec<SortingColumn> {
    let position = |name: &&str| table.columns.iter().position(|column| column.name == *name);
    let positions = table.sort.iter().filter_map(position).filter_map(|position| i32::try_from(position).ok());
    positions.map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true }).collect()
}
