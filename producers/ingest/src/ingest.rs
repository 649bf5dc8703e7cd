//! The way of one event: validate → stamp → stream → respond. The handle that every call shares.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use claim_check::ClaimChecks;
use events::envelope::EventType;
use events::event_id::EventId;
use events::validate::Policy;
use events::violation::Violation;
use kinesis_producer::{Producer, Record, Stats};
use tokio::sync::{Semaphore, watch};

use crate::accept::{self, Door, Refused};
use crate::counters::{Class, Counters, Counts};
use crate::gate::Gate;
use crate::http::body;
use crate::latency::Latencies;
use crate::outcome::Unsent;
use crate::tenants::{Access, Quota, Tenant, Tenants};
use crate::way::{self, Way, WayError};

/// What two deployments of the collection API may differ in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose events these are where no tenants are named.
    pub tenant_id: String,
    /// What is asked of an ad request beyond the text of OpenRTB.
    pub policy: Policy,
    /// Largest body of one event, in bytes after decompression; also the largest line of a batch.
    pub body_bytes_max: usize,
    /// Largest body of a batch, in bytes after decompression.
    pub batch_bytes_max: usize,
    /// Bodies that are being received or processed may take this many bytes together; calls above get 503.
    pub memory_bytes_max: usize,
    /// Longest time for a body to arrive once its head has.
    pub body_timeout: Duration,
    /// How long events may wait for the stream: calls get 503 while even the quickest ones wait longer.
    pub wait_max: Duration,
    /// Where events larger than a record of the stream lie; without it `body_bytes_max` must keep them below.
    pub claim_checks: Option<ClaimChecks>,
    /// Whether `/metrics` is served: by a process that lives long enough to be asked.
    pub serves_metrics: bool,
    /// The time in milliseconds since the epoch, UTC: [`crate::http::system_clock_ms`], or a fixed one in tests.
    pub clock_ms: fn() -> i64,
}

/// The collection API over one stream: a cheap handle, shared by all calls.
#[derive(Debug, Clone)]
pub struct Ingest {
    shared: Arc<Shared>,
}

struct Shared {
    producer: Producer,
    settings: Settings,
    memory: Semaphore,
    access: Access,
    counters: Counters,
    gate: Gate,
    latencies: Latencies,
    /// When the stream last refused or lost an event, by the settings' clock.
    failed_ms: AtomicI64,
    /// Whether the last event offered to the stream was refused or lost: a log line marks each change, not each event.
    is_failing: AtomicBool,
}

/// An event that is on its way to the stream.
#[derive(Debug)]
pub(crate) struct Offered<'i> {
    event_id: EventId,
    event_type: EventType,
    warnings: Vec<Violation>,
    body_bytes: usize,
    way: Way,
    waiting: Waiting<'i>,
}

/// Why an event is not on its way.
#[derive(Debug)]
pub(crate) enum NotOffered {
    Refused(Refused),
    Unsent(Unsent),
    Unwritable,
}

/// An event in the gate: it leaves it when this is dropped, and counts as abandoned if the wait for it was cut short, as
/// it is when the server is told to stop at once.
#[derive(Debug)]
struct Waiting<'i> {
    counters: &'i Counters,
    gate: &'i Gate,
    since: Instant,
    is_over: bool,
}

impl Default for Settings {
    /// The built-in tenant `demo`, 256 KiB an event, 4 MiB a batch, 256 MiB in all, 15 s for a body, 2 s for the stream, the system's clock.
    fn default() -> Self {
        Self {
            tenant_id: "demo".to_owned(),
            policy: Policy::default(),
            body_bytes_max: 256 * 1024,
            batch_bytes_max: 4 * 1024 * 1024,
            memory_bytes_max: 256 * 1024 * 1024,
            body_timeout: Duration::from_secs(15),
            wait_max: Duration::from_secs(2),
            claim_checks: None,
            serves_metrics: true,
            clock_ms: crate::http::system_clock_ms,
        }
    }
}

impl Ingest {
    /// A collection API that puts its events on the producer's stream. The producer stays the caller's to close.
    ///
    /// Whoever reaches it is the tenant of the settings, so it belongs on a loopback address, or behind something that
    /// decides who may call.
    pub fn new(producer: Producer, settings: Settings) -> Self {
        let built_in = Tenant::built_in(settings.tenant_id.clone(), settings.policy, Quota::default());
        Self::with_access(producer, settings, Access::BuiltIn(Arc::new(built_in)))
    }

    /// A collection API for the tenants of a file, which may change meanwhile.
    pub fn with_tenants(producer: Producer, settings: Settings, tenants: watch::Receiver<Arc<Tenants>>) -> Self {
        Self::with_access(producer, settings, Access::Named(tenants))
    }

    fn with_access(producer: Producer, settings: Settings, access: Access) -> Self {
        let memory = body::memory(settings.memory_bytes_max);
        let shared = Shared {
            gate: Gate::new(settings.wait_max, Instant::now()),
            producer,
            settings,
            memory,
            access,
            counters: Counters::default(),
            latencies: Latencies::default(),
            failed_ms: AtomicI64::new(0),
            is_failing: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn accepted_by_type(&self) -> impl Iterator<Item = (EventType, u64)> {
        self.shared.counters.accepted_by_type()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counts {
        self.shared.counters.counts()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn memory(&self) -> &Semaphore {
        &self.shared.memory
    }

    pub(crate) fn count(&self, class: Class) {
        self.shared.counters.count(class);
    }

    /// Whether another call is let in, for all that waits already.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        self.shared.gate.admits(now)
    }

    /// Events that wait for the stream.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.gate.waiting()
    }

    pub(crate) fn latencies(&self) -> &Latencies {
        &self.shared.latencies
    }

    pub(crate) fn access(&self) -> &Access {
        &self.shared.access
    }

    /// What the way to the stream counts.
    pub(crate) fn stream_stats(&self) -> Stats {
        self.shared.producer.stats()
    }

    /// Whether the stream takes data, as far as is known. A failure counts for ten seconds: who sends nothing because
    /// of it would never find out that it is over.
    pub(crate) fn takes_data(&self) -> bool {
        const FAILURE_COUNTS_MS: i64 = 10_000;
        let age_ms = (self.shared.settings.clock_ms)().saturating_sub(self.shared.failed_ms.load(Ordering::Relaxed));
        !(self.shared.is_failing.load(Ordering::Relaxed) && (0..FAILURE_COUNTS_MS).contains(&age_ms))
    }

    /// The moment at which a body is whole.
    pub(crate) fn now(&self) -> Received {
        Received { ts_ms: (self.shared.settings.clock_ms)(), at: Instant::now() }
    }

    /// Validates and stamps one body that was whole at `received`, and hands it to the producer. Does not wait.
    pub(crate) fn offer(&self, body: &[u8], door: &Door<'_>, received_at: Instant) -> Result<Offered<'_>, NotOffered> {
        let valid = accept::validate(body, door).map_err(|refused| {
            self.count(Class::Invalid);
            NotOffered::Refused(refused)
        })?;
        let handler_us = u64::try_from(received_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        let stamped = match valid.stamp(door, handler_us) {
            Ok(stamped) => stamped,
            Err(error) => {
                tracing::error!(%error, "event could not be written");
                self.count(Class::Unavailable);
                return Err(NotOffered::Unwritable);
            }
        };
        match self.take(stamped.record) {
            Ok(way) => Ok(Offered {
                event_id: stamped.event_id,
                event_type: door.event_type,
                warnings: stamped.warnings,
                body_bytes: body.len(),
                way,
                waiting: self.wait(received_at),
            }),
            Err(error) => Err(NotOffered::Unsent(self.unsent(Unsent::from(&error), &error))),
        }
    }

    fn wait(&self, since: Instant) -> Waiting<'_> {
        let Shared { counters, gate, .. } = &*self.shared;
        gate.enter(since);
        Waiting { counters, gate, since, is_over: false }
    }

    /// Waits until an event is durable on the stream.
    pub(crate) async fn settle(&self, offered: Offered<'_>) -> Result<(EventId, Vec<Violation>), Unsent> {
        let Offered { event_id, event_type, warnings, body_bytes, way, mut waiting } = offered;
        let arrived = self.arrive(way).await;
        waiting.is_over = true;
        match arrived {
            Ok(()) => {
                self.shared.counters.accepted(event_type, body_bytes);
                self.recovered();
                Ok((event_id, warnings))
            }
            Err(error) => Err(self.unsent(Unsent::from(&error), &error)),
        }
    }

    /// Puts a refused body on its way to the failed events, if the tenant's quota of them allows. `body` may be the
    /// first bytes of `body_bytes`.
    pub(crate) fn keep(
        &self,
        tenant: &Tenant,
        refused: &Refused,
        (body, body_bytes): (&[u8], usize),
        door: &Door<'_>,
    ) -> Option<Way> {
        let record = tenant.limiters.keeps_refused(body.len()).then(|| refused.record(body, body_bytes, door));
        let way = record.flatten().and_then(|record| self.take(record).ok());
        if way.is_none() {
            self.shared.counters.refused_lost();
        }
        way
    }

    /// Waits until a refused body is durable; whether it is only counts, since its sender hears of the refusal anyway.
    pub(crate) async fn settle_refused(&self, way: Option<Way>) {
        let Some(way) = way else { return };
        match self.arrive(way).await {
            Ok(()) => self.shared.counters.refused_kept(),
            Err(error) => {
                self.shared.counters.refused_lost();
                self.unsent_quietly(Unsent::from(&error), &error);
            }
        }
    }

    fn take(&self, record: Record) -> Result<Way, WayError> {
        way::take(&self.shared.producer, self.shared.settings.claim_checks.as_ref(), record)
    }

    async fn arrive(&self, way: Way) -> Result<(), WayError> {
        way::arrive(&self.shared.producer, self.shared.settings.claim_checks.as_ref(), way).await
    }

    fn unsent(&self, unsent: Unsent, error: &(dyn std::error::Error + 'static)) -> Unsent {
        self.count(unsent.class());
        self.unsent_quietly(unsent, error);
        unsent
    }

    /// Remembers and logs that the stream fails, without counting an event.
    fn unsent_quietly(&self, unsent: Unsent, error: &(dyn std::error::Error + 'static)) {
        if !unsent.is_ours() {
            return;
        }
        self.shared.failed_ms.store((self.shared.settings.clock_ms)(), Ordering::Relaxed);
        if !self.shared.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(error, "the stream does not take events; senders get 503");
        }
    }

    fn recovered(&self) {
        if self.shared.is_failing.load(Ordering::Relaxed) && self.shared.is_failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the stream takes events again");
        }
    }
}

/// The moment at which a body was whole, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    /// Milliseconds since the epoch.
    pub(crate) ts_ms: i64,
    pub(crate) at: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.gate.leave(now, now.saturating_duration_since(self.since));
        if !self.is_over {
            self.counters.count(Class::Abandoned);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, counters, .. } = self;
        formatter.debug_struct("Shared").field("settings", settings).field("counters", counters).finish_non_exhaustive()
    }
}
