//! A Parquet file in an object store, read by ranges: a column of it costs its own bytes and the footer, no more.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Rows that a reader gives at once: with bodies of the usual size about 3 MB.
const BATCH_ROWS: usize = 2048;
/// Bytes read from the end for the footer, which then seldom takes a second read.
const FOOTER_BYTES_TYPICAL: usize = 64 << 10;

/// The rows of a file.
pub(crate) type Batches = ParquetRecordBatchStream<ObjectFile>;

/// A file that is there and will not change.
#[derive(Debug)]
pub(crate) struct ObjectFile {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
}

impl ObjectFile {
    /// A file of a known size in bytes.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, bytes: u64) -> Self {
        Self { store, path, bytes }
    }

    /// Opens the file: reads the footer, and then, as the stream is read, the named columns; all if none is named.
    ///
    /// # Errors
    /// When the file is not there or is no Parquet file.
    pub(crate) async fn open(self, columns: &[&str]) -> Result<Batches> {
        let builder = ParquetRecordBatchStreamBuilder::new(self).await?.with_batch_size(BATCH_ROWS);
        if columns.is_empty() {
            return builder.build();
        }
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder.with_projection(mask).build()
    }
}

impl AsyncFileReader for ObjectFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes>> {
        async move { self.store.get_range(&self.path, range).await.map_err(external) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>>> {
        async move {
            let bytes = self.bytes;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES_TYPICAL));
            reader.load_and_finish(self, bytes).await.map(Arc::new)
        }
        .boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
