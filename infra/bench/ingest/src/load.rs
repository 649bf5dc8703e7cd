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
    wire::Connection,
};

/// Longest latency that is told apart: ten minutes, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// What callers send, and over how many connections.
#[derive(Debug, Clone)]
pub(crate) struct Callers {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Events in a call; one by itself goes as a single.
    pub(crate) events: usize,
    pub(crate) numbers: Numbers,
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
    let mut connections = Vec::with_capacity(callers.connections);
    for _ in 0..callers.connections {
        connections.push(Connection::open(callers.address).await?);
    }
    // From here on calls are due: what opening hundreds of connections takes is not the server's latency.
    let started = Instant::now();
    let outcome = Rc::new(RefCell::new(Outcome { accepted: 0, refused: 0, latency_us, elapsed: Duration::ZERO }));
    let next_call = Rc::new(Cell::new(0.0));
    let tasks = LocalSet::new();
    let mut callers_open = Vec::with_capacity(callers.connections);
    for connection in connections {
        let caller = Caller {
            connection,
            call: match callers.events {
                1 => Call::single(&callers.numbers),
                events => Call::batch(events, &callers.numbers),
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

#[derive(Debug)]
struct Caller {
    connection: Connection,
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
            let answer = self.connection.call(self.call.next()).await?;
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
