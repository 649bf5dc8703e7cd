//! The way of one event: validate → stamp → stream → respond. The handle that every call shares.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use events::event_id::EventId;
use events::validate::Policy;
use events::violation::Violation;
use kinesis_producer::{Delivery, Producer};
use tokio::sync::Semaphore;

use crate::accept::{self, Door, Refused};
use crate::counters::{Class, Counters, Counts};
use crate::http::body;
use crate::outcome::Unsent;

/// What two deployments of the collection API may differ in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose events these are.
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
    counters: Counters,
    /// Whether the last event offered to the stream was refused or lost: a log line marks each change, not each event.
    is_failing: AtomicBool,
}

/// An event that is on its way to the stream.
#[derive(Debug)]
pub(crate) struct Offered<'i> {
    event_id: EventId,
    warnings: Vec<Violation>,
    body_bytes: usize,
    delivery: Delivery,
    waiting: Waiting<'i>,
}

/// Why an event is not on its way.
#[derive(Debug)]
pub(crate) enum NotOffered {
    Refused(Refused),
    Unsent(Unsent),
    Unwritable,
}

/// Counts an event as abandoned if the wait for it is cut short, as it is when the sender hangs up.
#[derive(Debug)]
struct Waiting<'i> {
    counters: &'i Counters,
    is_over: bool,
}

impl Default for Settings {
    /// The built-in tenant `demo`, 256 KiB an event, 4 MiB a batch, 256 MiB in all, 15 s, the system's clock.
    fn default() -> Self {
        Self {
            tenant_id: "demo".to_owned(),
            policy: Policy::default(),
            body_bytes_max: 256 * 1024,
            batch_bytes_max: 4 * 1024 * 1024,
            memory_bytes_max: 256 * 1024 * 1024,
            body_timeout: Duration::from_secs(15),
            clock_ms: crate::http::system_clock_ms,
        }
    }
}

impl Ingest {
    /// A collection API that puts its events on the producer's stream. The producer stays the caller's to close.
    pub fn new(producer: Producer, settings: Settings) -> Self {
        let memory = body::memory(settings.memory_bytes_max);
        let (counters, is_failing) = (Counters::default(), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { producer, settings, memory, counters, is_failing }) }
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

    /// The door at one path.
    pub(crate) fn door(&self, endpoint: &'static str) -> Door<'_> {
        Door { tenant_id: &self.shared.settings.tenant_id, policy: self.shared.settings.policy, endpoint }
    }

    /// Validates and stamps one body that was whole at `received`, and hands it to the producer. Does not wait.
    pub(crate) fn offer(&self, body: &[u8], door: &Door<'_>, received: Received) -> Result<Offered<'_>, NotOffered> {
        let valid = accept::validate(body, door).map_err(|refused| {
            self.count(Class::Invalid);
            NotOffered::Refused(refused)
        })?;
        let handler_us = u64::try_from(received.at.elapsed().as_micros()).unwrap_or(u64::MAX);
        let stamped = match valid.stamp(door, received.ts_ms, handler_us) {
            Ok(stamped) => stamped,
            Err(error) => {
                tracing::error!(%error, "event could not be written");
                self.count(Class::Unavailable);
                return Err(NotOffered::Unwritable);
            }
        };
        match self.shared.producer.try_send(stamped.record) {
            Ok(delivery) => Ok(Offered {
                event_id: stamped.event_id,
                warnings: stamped.warnings,
                body_bytes: body.len(),
                delivery,
                waiting: Waiting { counters: &self.shared.counters, is_over: false },
            }),
            Err(error) => Err(NotOffered::Unsent(self.unsent(Unsent::from(&error), &error))),
        }
    }

    /// Waits until an event is durable on the stream.
    pub(crate) async fn settle(&self, offered: Offered<'_>) -> Result<(EventId, Vec<Violation>), Unsent> {
        let Offered { event_id, warnings, body_bytes, delivery, mut waiting } = offered;
        let delivered = delivery.await;
        waiting.is_over = true;
        match delivered {
            Ok(_delivered) => {
                self.shared.counters.accepted(body_bytes);
                self.recovered();
                Ok((event_id, warnings))
            }
            Err(error) => Err(self.unsent(Unsent::from(&error), &error)),
        }
    }

    fn unsent(&self, unsent: Unsent, error: &(dyn std::error::Error + 'static)) -> Unsent {
        self.count(unsent.class());
        if unsent.is_ours() && !self.shared.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(error, "the stream does not take events; senders get 503");
        }
        unsent
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
        if !self.is_over {
            self.counters.count(Class::Abandoned);
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer: _, settings, memory: _, counters, is_failing: _ } = self;
        formatter.debug_struct("Shared").field("settings", settings).field("counters", counters).finish_non_exhaustive()
    }
}
