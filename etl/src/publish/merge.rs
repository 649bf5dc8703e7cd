//! Sorted sources become one sorted stream of batches.
//!
//! Rows are compared as the byte strings that Arrow's row format makes of the sort columns. Memory: two batches a source
//! and one of output, whatever the sources hold; rows in memory are not copied until they are put out.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::interleave_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use events::table::Table;
use futures::TryStreamExt;

use super::PublishError;
use super::sieve::RowPlace;
use crate::columns::{conform, schema_of};
use crate::object_file::Batches;

/// Rows of one batch of output: with bodies of the usual size about 3 MB.
const OUTPUT_ROWS: usize = 2048;

/// Compares rows of a table by its sort columns.
#[derive(Debug)]
pub(crate) struct Sorter {
    converter: RowConverter,
    columns: Vec<usize>,
    schema: SchemaRef,
}

/// Rows in order.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file, sorted as every published one.
    File {
        /// Its rows as they are read.
        batches: Box<Batches>,
        /// How many it has.
        rows: u64,
    },
    /// Rows of batches in memory, in this order.
    Memory {
        /// The batches.
        batches: Vec<RecordBatch>,
        /// Which rows of them, sorted.
        places: VecDeque<RowPlace>,
    },
}

/// Merges sources.
#[derive(Debug)]
pub(crate) struct Merge {
    sorter: Sorter,
    cursors: Vec<Cursor>,
    rows_max: u64,
}

#[derive(Debug)]
struct Cursor {
    source: Source,
    batch: RecordBatch,
    rows: Rows,
    row: usize,
}

impl Sorter {
    /// For the table's sort columns, absent values first.
    ///
    /// # Errors
    /// Only for columns that cannot be sorted, which no table's are.
    pub(crate) fn new(table: &Table) -> Result<Self, ArrowError> {
        let schema = schema_of(table);
        let columns = table.sort.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        Ok(Self { converter: RowConverter::new(fields)?, columns, schema })
    }

    /// Rows of batches in memory as a source. Rows that compare equal keep their order.
    ///
    /// # Errors
    /// When a batch is not one of the table.
    pub(crate) fn sort(&self, batches: Vec<RecordBatch>, mut places: Vec<RowPlace>) -> Result<Source, ArrowError> {
        let rows = batches.iter().map(|batch| self.rows(batch)).collect::<Result<Vec<_>, _>>()?;
        let row = |(batch, row): &RowPlace| rows.get(*batch).map(|rows| rows.row(*row));
        places.sort_by(|left, right| row(left).cmp(&row(right)));
        Ok(Source::Memory { batches, places: places.into() })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Rows, ArrowError> {
        let columns: Vec<_> = self.columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
        self.converter.convert_columns(&columns)
    }
}

impl Source {
    fn rows(&self) -> u64 {
        match self {
            Source::File { rows, .. } => *rows,
            Source::Memory { places, .. } => u64::try_from(places.len()).unwrap_or(u64::MAX),
        }
    }

    async fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>, PublishError> {
        match self {
            Source::File { batches, .. } => match batches.try_next().await.map_err(PublishError::Read)? {
                None => Ok(None),
                Some(batch) => Ok(Some(conform(schema, &batch)?)),
            },
            Source::Memory { batches, places } => {
                let count = places.len().min(OUTPUT_ROWS);
                let next: Vec<RowPlace> = places.drain(..count).collect();
                let batches: Vec<&RecordBatch> = batches.iter().collect();
                Ok(if next.is_empty() { None } else { Some(interleave_record_batch(&batches, &next)?) })
            }
        }
    }
}

impl Merge {
    /// Opens the merge by reading the first batch of each source.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub(crate) async fn new(sorter: Sorter, sources: Vec<Source>) -> Result<Self, PublishError> {
        let rows_max = sources.iter().map(Source::rows).sum();
        let mut cursors = Vec::with_capacity(sources.len());
        for source in sources {
            let batch = RecordBatch::new_empty(Arc::clone(&sorter.schema));
            let mut cursor = Cursor { source, rows: sorter.rows(&batch)?, batch, row: 0 };
            if cursor.next_batch(&sorter).await? {
                cursors.push(cursor);
            }
        }
        Ok(Self { sorter, cursors, rows_max })
    }

    /// How many rows all sources have.
    pub(crate) fn rows_max(&self) -> u64 {
        self.rows_max
    }

    /// The next rows in order; `None` at the end.
    ///
    /// # Errors
    /// When a source cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, PublishError> {
        if let [only] = self.cursors.as_mut_slice() {
            // One source is left: its batches pass as they are.
            let rest = only.batch.slice(only.row, only.batch.num_rows() - only.row);
            if !only.next_batch(&self.sorter).await? {
                self.cursors.clear();
            }
            return Ok(Some(rest));
        }
        // Batches of this output: each cursor's current one at the cursor's position, and those that came after it.
        let mut batches: Vec<RecordBatch> = self.cursors.iter().map(|cursor| cursor.batch.clone()).collect();
        let mut positions: Vec<usize> = (0..self.cursors.len()).collect();
        let mut places: Vec<RowPlace> = Vec::with_capacity(OUTPUT_ROWS);
        while places.len() < OUTPUT_ROWS && self.cursors.len() > 1 {
            let Some(least) = self.least() else { break };
            let (Some(cursor), Some(position)) = (self.cursors.get_mut(least), positions.get_mut(least)) else { break };
            places.push((*position, cursor.row));
            cursor.row += 1;
            if cursor.row < cursor.batch.num_rows() {
                continue;
            }
            if cursor.next_batch(&self.sorter).await? {
                *position = batches.len();
                batches.push(cursor.batch.clone());
            } else {
                self.cursors.remove(least);
                positions.remove(least);
            }
        }
        if places.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = batches.iter().collect();
        Ok(Some(interleave_record_batch(&batches, &places)?))
    }

    /// The cursor whose row comes first. Sources are few (at most the files that trigger a rewrite), so it is looked for.
    fn least(&self) -> Option<usize> {
        let rows = self.cursors.iter().map(|cursor| cursor.rows.row(cursor.row)).enumerate();
        rows.min_by(|(_, left), (_, right)| left.cmp(right)).map(|(position, _)| position)
    }
}

impl Cursor {
    async fn next_batch(&mut self, sorter: &Sorter) -> Result<bool, PublishError> {
        self.row = 0;
        while let Some(batch) = self.source.next(&sorter.schema).await? {
            if batch.num_rows() > 0 {
                self.rows = sorter.rows(&batch)?;
                self.batch = batch;
                return Ok(true);
            }
        }
        Ok(false)
    }
}
