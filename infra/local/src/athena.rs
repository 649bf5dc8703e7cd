//! Athena: SQL over the tables of the Glue catalog, with `DataFusion` as its engine and Trino's functions and errors.
//!
//! Queries read only: SELECT, WITH, VALUES, SHOW DATABASES, SHOW TABLES, DESCRIBE. What the local Athena does not do
//! as Athena would, fails with a message that names it. Results lie in S3; executions are remembered until the end
//! of the process.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the enums of types, expressions and errors are the engine's and have dozens of variants: those that are
              handled are named, and the rest is refused"
)]

mod catalog;
mod columns;
mod engine;
mod error;
mod executions;
mod functions;
mod operations;
mod render;
mod result_file;
mod rewrite;
mod run;
mod semantics;
mod statement;
mod table;
mod zoned;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::glue::Glue;
use crate::limits::LimitUse;
use crate::meter::{Reading, count};
use crate::s3::S3;
use crate::wire::ServiceError;

pub(crate) use columns::arrow_type;
use engine::Engine;
use error::QueryError;
use executions::{Asked, Execution, Executions, Refused};
use run::Runner;

const QUOTAS: &str = "athena/latest/ug/service-limits.html";
/// Where results go when a query does not say.
const DEFAULT_OUTPUT: &str = "s3://athena-results/";
const DEFAULT_BUCKET: &str = "athena-results";
/// Queries that run at the same time; others wait, in order.
const MAX_RUNNING: usize = 4;
/// Threads that queries run on. They are apart from the threads that answer requests, which a scan must not hold up.
const THREADS: usize = 2;
/// How long one query may take, in minutes (Athena's limit for DML).
const TIMEOUT_MIN: u64 = 30;

#[derive(Debug)]
struct Inner {
    clock: Clock,
    runner: Runner,
    // Held for a look or a change only, never while a query works.
    executions: Mutex<Executions>,
    slots: Arc<Semaphore>,
    // Taken at the end, since a runtime must not be dropped on one of another's threads.
    threads: Mutex<Option<Runtime>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(threads) = threads.take() {
            threads.shutdown_background();
        }
    }
}

/// The service: a cheap handle.
#[derive(Debug, Clone)]
pub struct Athena {
    inner: Arc<Inner>,
}

impl Athena {
    /// Opens the service. `dir` holds results while they are written; it is emptied here. Makes the bucket
    /// `athena-results` if it is not there.
    ///
    /// # Errors
    /// When the directory, the bucket or the threads cannot be made.
    pub async fn open(dir: PathBuf, s3: S3, glue: Glue) -> anyhow::Result<Self> {
        Self::open_with(dir, s3, glue, Clock::default()).await
    }

    /// [`Athena::open`] by this clock.
    ///
    /// # Errors
    /// As [`Athena::open`].
    pub(crate) async fn open_with(dir: PathBuf, s3: S3, glue: Glue, clock: Clock) -> anyhow::Result<Self> {
        let temp = dir.join("temp");
        match tokio::fs::remove_dir_all(&temp).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        tokio::fs::create_dir_all(&temp).await?;
        s3.create_bucket(DEFAULT_BUCKET).await?;
        let engine = Engine::new(glue, s3.clone())?;
        let threads = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("athena")
            .enable_all()
            .build()?;
        let inner = Inner {
            clock,
            runner: Runner { engine, s3, temp },
            executions: Mutex::new(Executions::default()),
            slots: Arc::new(Semaphore::new(MAX_RUNNING)),
            threads: Mutex::new(Some(threads)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Answers one operation of AWS JSON 1.1.
    ///
    /// # Errors
    /// The service's own error names.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        operations::call(self, operation, body).await
    }

    /// The limits that are held, and how much of each is used.
    pub(crate) fn limits(&self) -> Vec<LimitUse> {
        let (active, query) = self.executions().usage(self.now_ms());
        let row = |limit: &str, allowed: (usize, &str), (used, refused): (Reading, u64)| {
            let allowed = (count(allowed.0), allowed.1);
            LimitUse::new(("athena", limit), "account", allowed, used, QUOTAS).refused(refused)
        };
        // Both are held where a query comes in.
        vec![
            row("queries queued or running", (executions::MAX_ACTIVE, "queries"), active),
            row("bytes of a query", (operations::MAX_QUERY_BYTES, "bytes"), query),
        ]
    }

    /// Cancels what runs or waits, and ends the threads. Results in S3 stay.
    pub async fn shutdown(&self) {
        self.executions().cancel_all(self.now_ms());
        let threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = tokio::task::spawn_blocking(move || {
            if let Some(threads) = threads {
                threads.shutdown_timeout(Duration::from_secs(5));
            }
        });
        drop(ended.await);
    }

    fn submit(&self, asked: Asked, token: Option<String>) -> Result<String, Refused> {
        let taken = self.executions().submit(asked, token, self.now_ms())?;
        if taken.is_new {
            let (athena, id) = (self.clone(), taken.id.clone());
            let threads = self.inner.threads.lock().unwrap_or_else(PoisonError::into_inner);
            match threads.as_ref() {
                Some(threads) => drop(threads.spawn(async move { athena.run(&id).await })),
                None => drop(self.executions().cancel(&taken.id, self.now_ms())),
            }
        }
        Ok(taken.id)
    }

    async fn run(&self, id: &str) {
        let Some(execution) = self.executions().get(id).cloned() else { return };
        let work = async {
            let Ok(_slot) = self.inner.slots.acquire().await else { return };
            let now_ms = self.now_ms();
            self.executions().started(id, now_ms);
            let run = self.inner.runner.run(id, &execution.asked, now_ms);
            let result = match tokio::time::timeout(Duration::from_secs(TIMEOUT_MIN * 60), run).await {
                Ok(result) => result,
                Err(_elapsed) => Err(QueryError::user("QUERY_TIMEOUT", "Query timeout: the query ran for 30 minutes")),
            };
            self.executions().finished(id, result, self.now_ms());
        };
        // A cancelled execution has its state already; dropping the work stops it.
        execution.cancel.run_until_cancelled(work).await.unwrap_or_default();
    }

    fn execution(&self, id: &str) -> Result<Execution, ServiceError> {
        let found = self.executions().get(id).cloned();
        found.ok_or_else(|| unknown(id))
    }

    fn ids(&self) -> Vec<String> {
        self.executions().ids().cloned().collect()
    }

    fn stop(&self, id: &str) -> Result<(), ServiceError> {
        if self.executions().cancel(id, self.now_ms()) { Ok(()) } else { Err(unknown(id)) }
    }

    fn now_ms(&self) -> i64 {
        self.inner.clock.now_ms()
    }

    fn s3(&self) -> &S3 {
        &self.inner.runner.s3
    }

    fn executions(&self) -> MutexGuard<'_, Executions> {
        // Each change is one call that leaves the executions whole.
        self.inner.executions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: &str) -> ServiceError {
    ServiceError::client("InvalidRequestException", format!("QueryExecution {id} was not found"))
}
