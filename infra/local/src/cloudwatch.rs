//! CloudWatch metrics: what clients put, what functions write into their logs as embedded metrics, and what the services
//! of the local cloud count of themselves.
//!
//! Values are kept by the minute, for 15 days. `PutMetricData` is on disk before it is answered; embedded and own metrics
//! are written within a minute. Wire protocols: Smithy RPC v2 with CBOR, which botocore speaks, and AWS JSON 1.0.
//! What is absent: the query protocol, percentiles, expressions in `GetMetricData`, alarms, dashboards, streams.

mod emf;
mod log;
mod operations;
mod sampler;
mod series;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::faults::Faults;
use crate::wire::{Request, ServiceError};

use log::Log;
pub(crate) use sampler::{Counted, Measured, Sampler, keep_sampling};
use series::AllSeries;
pub(crate) use series::{Datum, MetricKey, StatisticSet};

/// The target prefix of the service.
pub(crate) const TARGET: &str = "GraniteServiceVersion20100801";
/// Values that wait for the disk. Past that, the oldest are kept in memory alone.
const UNWRITTEN_MAX: usize = 100_000;

/// The service: a cheap handle.
#[derive(Debug, Clone)]
pub struct CloudWatch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Held for look-ups and additions only.
    series: Mutex<AllSeries>,
    /// Not written yet. Held for a push.
    unwritten: Mutex<Vec<Datum>>,
    /// Held for a write, on the blocking pool only.
    log: Mutex<Log>,
    clock: Clock,
    faults: Faults,
}

impl CloudWatch {
    /// Opens the metrics in a directory, making it if it is not there.
    ///
    /// # Errors
    /// When the directory cannot be made, or what lies there cannot be read.
    pub(crate) async fn open(dir: PathBuf, clock: Clock, faults: Faults) -> io::Result<Self> {
        let now_ms = clock.now_ms();
        let opening = tokio::task::spawn_blocking(move || Log::open(dir, now_ms));
        let (log, data) = opening.await.map_err(io::Error::other)??;
        let mut series = AllSeries::default();
        for datum in &data {
            series.add(datum);
        }
        series.trim(now_ms);
        let (series, log) = (Mutex::new(series), Mutex::new(log));
        Ok(Self { inner: Arc::new(Inner { series, unwritten: Mutex::default(), log, clock, faults }) })
    }

    /// Answers one operation.
    ///
    /// # Errors
    /// The service's own error names.
    pub(crate) async fn call(&self, operation: &str, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
        operations::call(self, operation, request).await
    }

    /// Puts values: on disk first, then for all to see. Refused, nothing of them is there.
    async fn put(&self, data: Vec<Datum>) -> io::Result<()> {
        let data = self.append(data).await?;
        let mut series = self.series();
        for datum in &data {
            series.add(datum);
        }
        Ok(())
    }

    /// Appends to the log, and gives the values back when they are durable.
    async fn append(&self, data: Vec<Datum>) -> io::Result<Vec<Datum>> {
        let inner = Arc::clone(&self.inner);
        let writing = tokio::task::spawn_blocking(move || {
            let now_ms = inner.clock.now_ms();
            inner.faults.check_disk(now_ms)?;
            inner.log.lock().unwrap_or_else(PoisonError::into_inner).append(&data, now_ms)?;
            Ok(data)
        });
        writing.await.map_err(io::Error::other)?
    }

    /// Takes values in. They are on disk within a minute, or with the next [`CloudWatch::flush`].
    pub(crate) fn record(&self, data: Vec<Datum>) {
        let mut series = self.series();
        let (kept, refused): (Vec<Datum>, Vec<Datum>) = data.into_iter().partition(|datum| series.add(datum));
        drop(series);
        if let Some(first) = refused.first() {
            tracing::warn!(metric = first.key.name, refused = refused.len(), "there are too many metrics for more");
        }
        let mut unwritten = self.inner.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        let room = UNWRITTEN_MAX.saturating_sub(unwritten.len());
        unwritten.extend(kept.into_iter().take(room));
    }

    /// Takes in what a function's log line has of metrics.
    pub(crate) fn record_line(&self, line: &str) {
        let data = emf::metrics(line);
        if !data.is_empty() {
            self.record(data);
        }
    }

    /// Writes what is not on disk yet.
    ///
    /// # Errors
    /// What the operating system says; what was not written is tried again the next time.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        let data = std::mem::take(&mut *self.inner.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        if data.is_empty() {
            return Ok(());
        }
        let written = self.append(data.clone()).await;
        if written.is_err() {
            let mut unwritten = self.inner.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            let room = UNWRITTEN_MAX.saturating_sub(unwritten.len());
            unwritten.extend(data.into_iter().take(room));
        }
        written.map(drop)
    }

    /// Forgets what is too old.
    fn trim(&self) {
        self.series().trim(self.inner.clock.now_ms());
    }

    fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    fn series(&self) -> MutexGuard<'_, AllSeries> {
        self.inner.series.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
