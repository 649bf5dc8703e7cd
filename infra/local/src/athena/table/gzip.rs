//! NDJSON in gzip: the engine's JSON reader over a store that unpacks what it gives.
//!
//! The engine's own way needs its `compression` feature, and with it three C libraries for formats that nobody reads here.

use std::fmt;
use std::io::{self, Read as _};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::physical_plan::{FileOpener, FileScanConfig, FileSource, JsonSource};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, PhysicalExpr};
use flate2::read::MultiGzDecoder;
use futures::stream::{self, BoxStream, StreamExt as _};

/// Unpacked bytes are given in pieces of this size.
const PIECE: usize = 256 << 10;

/// A JSON source whose files are packed, and so cannot be read from their middle.
#[derive(Clone)]
pub(super) struct GzipJsonSource(Arc<dyn FileSource>);

impl GzipJsonSource {
    pub(super) fn new(schema: TableSchema) -> Self {
        Self(Arc::new(JsonSource::new(schema)))
    }
}

impl FileSource for GzipJsonSource {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        config: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.0.create_file_opener(Arc::new(Unpacking(store)), config, partition)
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        Arc::new(Self(self.0.with_batch_size(batch_size)))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.0.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.0.metrics()
    }

    fn file_type(&self) -> &'static str {
        "json"
    }

    fn fmt_extra(&self, kind: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_extra(kind, out)
    }

    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn try_pushdown_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn FileSource>>> {
        let pushed = self.0.try_pushdown_projection(projection)?;
        Ok(pushed.map(|inner| Arc::new(Self(inner)) as Arc<dyn FileSource>))
    }

    fn try_pushdown_filters(
        &self,
        filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<datafusion::physical_plan::filter_pushdown::FilterPushdownPropagation<Arc<dyn FileSource>>> {
        use datafusion::physical_plan::filter_pushdown::{FilterPushdownPropagation, PushedDown};
        Ok(FilterPushdownPropagation::with_parent_pushdown_result(vec![PushedDown::No; filters.len()]))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }
}

/// A store that gives files whole and unpacked, and does nothing else.
#[derive(Debug)]
struct Unpacking(Arc<dyn ObjectStore>);

impl fmt::Display for Unpacking {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "unpacked {}", self.0)
    }
}

fn unsupported() -> Error {
    Error::NotSupported { source: "packed files are only read, and only whole".into() }
}

#[async_trait]
impl ObjectStore for Unpacking {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if options.range.is_some() {
            return Err(unsupported());
        }
        let packed = self.0.get_opts(location, options).await?;
        let (meta, range, attributes) = (packed.meta.clone(), packed.range.clone(), packed.attributes.clone());
        let pieces = unpacked(packed.bytes().await?);
        Ok(GetResult { payload: GetResultPayload::Stream(pieces), meta, range, attributes })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> StoreResult<PutResult> {
        Err(unsupported())
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> StoreResult<Box<dyn MultipartUpload>> {
        Err(unsupported())
    }

    fn delete_stream(&self, _: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        stream::iter([Err(unsupported())]).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        stream::iter([Err(unsupported())]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> StoreResult<ListResult> {
        Err(unsupported())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> StoreResult<()> {
        Err(unsupported())
    }
}

fn unpacked(packed: Bytes) -> BoxStream<'static, StoreResult<Bytes>> {
    let decoder = MultiGzDecoder::new(packed.reader());
    stream::try_unfold(decoder, |mut decoder| async move {
        let mut piece = Vec::with_capacity(PIECE);
        let read = decoder.by_ref().take(PIECE as u64).read_to_end(&mut piece);
        match read {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some((Bytes::from(piece), decoder))),
            Err(error) => Err(broken(error)),
        }
    })
    .boxed()
}

fn broken(error: io::Error) -> Error {
    Error::Generic { store: "gzip", source: Box::new(error) }
}
