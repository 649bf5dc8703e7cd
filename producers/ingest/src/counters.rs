//! What the collection API did so far: counts that only grow, cheap enough for every request.

use std::sync::atomic::{AtomicU64, Ordering};

use events::envelope::EventType;

/// Counts at one moment. Events are counted once per time they were received: a client's retry counts again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that are durable on the stream and were answered with 200.
    pub accepted: u64,
    /// Bytes of the bodies of the accepted events, as received and decompressed.
    pub accepted_bytes: u64,
    /// Events that broke a rule (400).
    pub invalid: u64,
    /// Refused events that are durable on the stream as failed events.
    pub refused_kept: u64,
    /// Refused events of which nothing is kept: above the quota for them, or the stream did not take them.
    pub refused_lost: u64,
    /// Calls without a known key, or of a tenant that is switched off (401, 403).
    pub denied: u64,
    /// Calls above their tenant's quota (429).
    pub over_quota: u64,
    /// Events or whole bodies above a limit of size (413).
    pub too_large: u64,
    /// Bodies of a content type or encoding that is not taken (415), or that could not be decompressed (400).
    pub undecodable: u64,
    /// Bodies that did not arrive in time or not whole (408, 400).
    pub incomplete: u64,
    /// Calls of unknown routes or with a wrong method (404, 405).
    pub misrouted: u64,
    /// Events refused because the queue to the stream is full (503).
    pub queue_full: u64,
    /// Calls turned away because bodies take too much memory, or events wait too long for the stream (503).
    pub shed: u64,
    /// Events that the stream did not take in time (503). Some may still be on it: the outcome is not known.
    pub unavailable: u64,
    /// Events whose sender went away before the answer. They are on their way to the stream and may be on it.
    pub abandoned: u64,
}

/// The live counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    accepted_bytes: AtomicU64,
    accepted_by_type: [AtomicU64; EventType::COLLECTED.len()],
    invalid: AtomicU64,
    refused_kept: AtomicU64,
    refused_lost: AtomicU64,
    denied: AtomicU64,
    over_quota: AtomicU64,
    too_large: AtomicU64,
    undecodable: AtomicU64,
    incomplete: AtomicU64,
    misrouted: AtomicU64,
    queue_full: AtomicU64,
    shed: AtomicU64,
    unavailable: AtomicU64,
    abandoned: AtomicU64,
}

/// What became of one event or call that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Invalid,
    Denied,
    OverQuota,
    TooLarge,
    Undecodable,
    Incomplete,
    Misrouted,
    QueueFull,
    Shed,
    Unavailable,
    Abandoned,
}

impl Counters {
    pub(crate) fn accepted(&self, event_type: EventType, body_bytes: usize) {
        let types = EventType::COLLECTED.iter().zip(&self.accepted_by_type);
        if let Some((_, cell)) = types.into_iter().find(|(collected, _)| **collected == event_type) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.accepted_bytes.fetch_add(u64::try_from(body_bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn refused_kept(&self) {
        self.refused_kept.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused_lost(&self) {
        self.refused_lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Accepted events by their type.
    pub(crate) fn accepted_by_type(&self) -> impl Iterator<Item = (EventType, u64)> {
        EventType::COLLECTED.into_iter().zip(self.accepted_by_type.iter().map(|cell| cell.load(Ordering::Relaxed)))
    }

    pub(crate) fn count(&self, class: Class) {
        self.cell(class).fetch_add(1, Ordering::Relaxed);
    }

    fn cell(&self, class: Class) -> &AtomicU64 {
        match class {
            Class::Invalid => &self.invalid,
            Class::Denied => &self.denied,
            Class::OverQuota => &self.over_quota,
            Class::TooLarge => &self.too_large,
            Class::Undecodable => &self.undecodable,
            Class::Incomplete => &self.incomplete,
            Class::Misrouted => &self.misrouted,
            Class::QueueFull => &self.queue_full,
            Class::Shed => &self.shed,
            Class::Unavailable => &self.unavailable,
            Class::Abandoned => &self.abandoned,
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let read = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.accepted),
            accepted_bytes: read(&self.accepted_bytes),
            invalid: read(&self.invalid),
            refused_kept: read(&self.refused_kept),
            refused_lost: read(&self.refused_lost),
            denied: read(&self.denied),
            over_quota: read(&self.over_quota),
            too_large: read(&self.too_large),
            undecodable: read(&self.undecodable),
            incomplete: read(&self.incomplete),
            misrouted: read(&self.misrouted),
            queue_full: read(&self.queue_full),
            shed: read(&self.shed),
            unavailable: read(&self.unavailable),
            abandoned: read(&self.abandoned),
        }
    }
}
