//! A lake in memory whose operations can fail, and events in it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::AsArray;
use async_trait::async_trait;
use events::enriched::{Enrichment, ImpEnrichment, MultiplierSource};
use events::envelope::{Envelope, EventType, SCHEMA_VERSION};
use events::event_id::EventId;
use events::table::Table;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::hour::Hour;
use crate::parquet_file::write_staged;
use crate::publish::{Publisher, State};
use crate::rows::Rows;
use crate::{layout, publish};

/// A time far from the real one, so that the ages of objects, which the store stamps with the real time, are extreme.
pub(super) const FUTURE_MS: i64 = 4_102_444_800_000;

/// When and how an operation fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    /// Operations that succeed before.
    pub(super) after: u64,
    /// Whether the failing one has its effect all the same.
    pub(super) takes_effect: bool,
    /// Whether all later ones fail too: the program is dead.
    pub(super) dead: bool,
}

/// Passes operations on to a store in memory, but fails as it is told, and lets others run before each operation.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<InMemory>,
    fault: Mutex<Option<Fault>>,
    operations: AtomicU64,
    yields: u64,
}

impl Faulty {
    pub(super) fn new(inner: Arc<InMemory>, fault: Option<Fault>) -> Arc<Self> {
        Arc::new(Self { inner, fault: Mutex::new(fault), operations: AtomicU64::new(0), yields: 0 })
    }

    pub(super) fn yielding(inner: Arc<InMemory>, seed: u64) -> Arc<Self> {
        Arc::new(Self { inner, fault: Mutex::new(None), operations: AtomicU64::new(0), yields: seed | 1 })
    }

    pub(super) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// Counts an operation. `Err` fails it before, `Ok(true)` after its effect.
    async fn step(&self) -> Result<bool> {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        if self.yields > 0 {
            let mixed = (operation + 1).wrapping_mul(self.yields).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 62;
            for _ in 0..mixed {
                tokio::task::yield_now().await;
            }
        }
        let Some(fault) = *self.fault.lock().unwrap() else { return Ok(false) };
        match operation.cmp(&fault.after) {
            std::cmp::Ordering::Less => Ok(false),
            std::cmp::Ordering::Equal if fault.takes_effect => Ok(true),
            std::cmp::Ordering::Greater if !fault.dead => Ok(false),
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Err(failure()),
        }
    }
}

fn failure() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "told to fail".into() }
}

fn answer<T>(lost: bool, answer: Result<T>) -> Result<T> {
    if lost { Err(failure()) } else { answer }
}

impl fmt::Display for Faulty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let lost = self.step().await?;
        answer(lost, self.inner.put_opts(location, payload, options).await)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let lost = self.step().await?;
        answer(lost, self.inner.put_multipart_opts(location, options).await)
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let lost = self.step().await?;
        answer(lost, self.inner.get_opts(location, options).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        // One operation a call: which of its objects are gone when it fails is tried by failing before and after.
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        let fault = *self.fault.lock().unwrap();
        let fails = fault.is_some_and(|fault| operation == fault.after || (fault.dead && operation > fault.after));
        let takes_effect = !fails || fault.is_some_and(|fault| fault.takes_effect && operation == fault.after);
        if !takes_effect {
            return futures::stream::once(async { Err(failure()) }).boxed();
        }
        let deleted = self.inner.delete_stream(locations);
        if fails { deleted.map(|_| Err(failure())).boxed() } else { deleted }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let operation = self.operations.fetch_add(1, Ordering::Relaxed);
        let fault = *self.fault.lock().unwrap();
        if fault.is_some_and(|fault| operation == fault.after || (fault.dead && operation > fault.after)) {
            return futures::stream::once(async { Err(failure()) }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

pub(super) fn publisher(store: Arc<dyn ObjectStore>) -> Publisher {
    Publisher { store, bucket: "lake".into(), catalog: None }
}

/// An enriched event with one imp: the same number is the same event, whenever it is received.
pub(super) fn enriched(number: u32, received_ts: i64) -> Vec<u8> {
    let body = format!(r#"{{"id":"{number}","imp":[{{"id":"1"}}]}}"#);
    let imp = ImpEnrichment {
        adunit_id: (!number.is_multiple_of(5)).then(|| format!("unit-{}", number % 5).into()),
        screen: None,
        multiplier_e4: 10_000,
        multiplier_source: MultiplierSource::Default,
        floor_cost_micros: None,
    };
    let envelope = Envelope {
        event_id: EventId::of_content("demo", "ad_request", &number.to_string(), body.as_bytes()),
        event_type: EventType::AdRequest,
        schema_version: SCHEMA_VERSION,
        tenant_id: "demo".into(),
        auction_id: number.to_string().into(),
        received_ts,
        endpoint: "/v1/ad_requests".into(),
        handler_us: 1,
        warnings: vec![],
        enrichment: Some(Enrichment {
            event_ts: received_ts,
            enriched_ts: received_ts + 5,
            imps: vec![imp],
            screen: None,
        }),
    };
    envelope.write(&body).unwrap()
}

/// Stages events, by number and time of receipt, as a batch of the stream would.
pub(super) async fn put_staged(store: &InMemory, name: &str, events: impl IntoIterator<Item = (u32, i64)>) {
    let mut rows = Rows::default();
    for (number, received_ts) in events {
        rows.append(&enriched(number, received_ts)).unwrap();
    }
    for (table, hour, batch) in rows.finish().unwrap() {
        let path = layout::staging_hour(table, hour).join(format!("{name}.parquet"));
        store.put(&path, write_staged(table, &batch).unwrap().into()).await.unwrap();
    }
}

pub(super) async fn keys(store: &InMemory, folder: &Path) -> Vec<String> {
    let mut keys: Vec<String> =
        store.list(Some(folder)).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    keys.sort();
    keys
}

pub(super) async fn state(store: &InMemory, table: &Table, hour: Hour) -> State {
    State::load(store, table, hour).await.unwrap().unwrap().state
}

/// The files that a reader would read, by the manifest.
pub(super) async fn manifest(store: &InMemory, table: &Table, hour: Hour) -> Vec<String> {
    let Ok(found) = store.get(&layout::manifest(table, hour)).await else { return Vec::new() };
    let text = String::from_utf8(found.bytes().await.unwrap().to_vec()).unwrap();
    text.lines().map(|line| line.strip_prefix("s3://lake/").unwrap().to_owned()).collect()
}

/// The auction ids and times that a reader would read, in the order of the files.
pub(super) async fn read(store: &InMemory, table: &Table, hour: Hour) -> Vec<(u32, i64)> {
    let mut rows = Vec::new();
    for key in manifest(store, table, hour).await {
        let bytes = store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let ids = batch.column_by_name("auction_id").unwrap().as_string::<i32>().clone();
            let arrivals = crate::key::arrivals(table, &batch).unwrap();
            rows.extend(ids.iter().zip(arrivals).map(|(id, at)| (id.unwrap().parse().unwrap(), at.received_ts)));
        }
    }
    rows
}

pub(super) async fn publish_all(store: Arc<dyn ObjectStore>, now_ms: i64) -> publish::Report {
    let report = publish::publish_all(&publisher(store), now_ms).await.unwrap();
    assert!(report.failures().next().is_none(), "{report:?}");
    report
}
