//! The callers: many connections on one thread, as fast as they are answered or at a fixed rate.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::Deserialize;
use tokio::task::LocalSet;

use crate::{
    calls::{Call, Numbers},
    streams::Stream,
    wire::{Answer, Connection},
};

/// Longest latency that is told apart: ten minutes, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// What callers send, and over how many connections.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    pub(crate) address: SocketAddr,
    /// How many there are; each has one call open at a time.
    pub(crate) callers: usize,
    pub(crate) protocol: Protocol,
    /// Events in a call; one by itself goes as a single.
    pub(crate) events: usize,
    pub(crate) numbers: Numbers,
}

/// How callers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A connection for each caller.
    Http1,
    /// So many connections, which the callers share.
    Http2(usize),
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// Events that were acknowledged.
    pub(crate) accepted: u64,
    /// Events that were not.
    pub(crate) refused: u64,
    /// From when a call was due to when its answer was there, in microseconds.
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) elapsed: Duration,
}

/// When calls are due.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Due {
    /// The next as soon as the one before is answered.
    AtOnce,
    /// So many calls a second, whether or not those before are answered. A latency counts from when the call was due.
    PerSecond(f64),
}

/// The part of a batch's answer that counts.
#[derive(Debug, Deserialize)]
struct BatchAnswer {
    accepted: u64,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        count(self.accepted) / self.elapsed.as_secs_f64()
    }
}

/// A count as a figure.
pub(crate) fn count(count: u64) -> f64 {
    // 2^53 events are more than any bench sends.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
    let count = count as f64;
    count
}

/// Calls for a time, then waits for the last answers.
pub(crate) async fn call(callers: &Callers, due: Due, length: Duration) -> anyhow::Result<Outcome> {
    let latency_us = Histogram::new_with_max(LATENCY_US_MAX, 3).context("make a histogram")?;
    let lines = open(callers).await?;
    let now_ms = ingest::http::system_clock_ms();
    // From here on calls are due: what opening hundreds of connections takes is not the server's latency.
    let started = Instant::now();
    let outcome = Rc::new(RefCell::new(Outcome { accepted: 0, refused: 0, latency_us, elapsed: Duration::ZERO }));
    let next_call = Rc::new(Cell::new(0.0));
    let tasks = LocalSet::new();
    let mut callers_open = Vec::with_capacity(lines.len());
    for line in lines {
        let caller = Caller {
            line,
            call: match callers.events {
                1 => Call::single(now_ms, &callers.numbers),
                events => Call::batch(events, now_ms, &callers.numbers),
            },
            due,
            started,
            until: started + length,
            next_call: Rc::clone(&next_call),
            outcome: Rc::clone(&outcome),
        };
        callers_open.push(tasks.spawn_local(caller.run()));
    }
    tasks
        .run_until(async {
            for caller in callers_open {
                caller.await.context("a caller ended early")??;
            }
            anyhow::Ok(())
        })
        .await?;
    let mut outcome = outcome.borrow().clone();
    outcome.elapsed = started.elapsed();
    Ok(outcome)
}

async fn open(callers: &Callers) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::with_capacity(callers.callers);
    match callers.protocol {
        Protocol::Http1 => {
            for _ in 0..callers.callers {
                lines.push(Line::Http1(Connection::open(callers.address).await?));
            }
        }
        Protocol::Http2(connections) => {
            let mut streams = Vec::with_capacity(connections);
            for _ in 0..connections {
                streams.push(Stream::open(callers.address).await?);
            }
            lines.extend(streams.iter().cycle().take(callers.callers).cloned().map(Line::Http2));
        }
    }
    Ok(lines)
}

/// What a caller speaks over.
#[derive(Debug)]
enum Line {
    Http1(Connection),
    Http2(Stream),
}

impl Line {
    async fn call(&mut self, call: &mut Call) -> anyhow::Result<Answer<'_>> {
        match self {
            Line::Http1(connection) => connection.call(call.next()).await,
            Line::Http2(stream) => stream.call(call).await,
        }
    }
}

#[derive(Debug)]
struct Caller {
    line: Line,
    call: Call,
    due: Due,
    started: Instant,
    until: Instant,
    /// Shared by all callers, as they run on one thread: whoever is free takes the next call that is due.
    next_call: Rc<Cell<f64>>,
    outcome: Rc<RefCell<Outcome>>,
}

impl Caller {
    async fn run(mut self) -> anyhow::Result<()> {
        while let Some(due) = self.next_due() {
            tokio::time::sleep_until(due.into()).await;
            let events = u64::try_from(self.call.events())?;
            let answer = self.line.call(&mut self.call).await?;
            let latency_us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX);
            let accepted = match (answer.status, events) {
                (200, 1) => 1,
                (200, _) => {
                    serde_json::from_slice::<BatchAnswer>(answer.body).context("read a batch's answer")?.accepted
                }
                _ => 0,
            };
            let mut outcome = self.outcome.borrow_mut();
            outcome.accepted += accepted;
            outcome.refused += events.saturating_sub(accepted);
            outcome.latency_us.saturating_record(latency_us);
        }
        Ok(())
    }

    /// When the next call is due; none after the end.
    fn next_due(&self) -> Option<Instant> {
        let due = match self.due {
            Due::AtOnce => Instant::now(),
            Due::PerSecond(rate) => {
                let number = self.next_call.get();
                self.next_call.set(number + 1.0);
                self.started + Duration::from_secs_f64(number / rate)
            }
        };
        (due < self.until).then_some(due)
    }
}
