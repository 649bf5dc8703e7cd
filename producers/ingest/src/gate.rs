//! Whether another call is let in: by how long the events before it have waited for the stream. Pure but for its lock.
//!
//! A queue that stands is a wait for everybody and helps nobody. Two things show one: in a tenth of a second even the
//! quickest event had waited longer than it may, or none was done with for that long. The first sets a limit to the events
//! that may wait, by Little's law: as many as the stream took in the time that they may wait. One quick event is enough
//! to show that there is no standing queue, so a busy moment closes nothing.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Waits are looked at in windows of this length, as in the queue management of routers.
const WINDOW: Duration = Duration::from_millis(100);

/// The gate of one process: every event passes it twice.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Never held across an await; an event holds it for some dozen instructions.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    wait_max: Duration,
    waiting: usize,
    /// When an event was last done with, or the first of those that wait came.
    moved_at: Instant,
    window_from: Instant,
    /// The shortest wait in the window.
    quickest: Option<Duration>,
    /// Events that may wait, while the queue stands or has stood.
    limit: Option<usize>,
    /// Until then the effect of the last change of the limit cannot be seen.
    settles_at: Instant,
}

impl Gate {
    /// A gate that lets everybody in while events wait no longer than `wait_max`.
    pub(crate) fn new(wait_max: Duration, now: Instant) -> Self {
        Self { state: Mutex::new(State::new(wait_max, now)) }
    }

    /// Whether another call may enter.
    pub(crate) fn admits(&self, now: Instant) -> bool {
        self.state().admits(now)
    }

    /// An event begins to wait for the stream.
    pub(crate) fn enter(&self, now: Instant) {
        self.state().enter(now);
    }

    /// It is done with, whatever became of it.
    pub(crate) fn leave(&self, now: Instant, waited: Duration) {
        self.state().leave(now, waited);
    }

    /// Events that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the gate")
    }
}

impl State {
    fn new(wait_max: Duration, now: Instant) -> Self {
        Self { wait_max, waiting: 0, moved_at: now, window_from: now, quickest: None, limit: None, settles_at: now }
    }

    fn admits(&self, now: Instant) -> bool {
        let is_within = self.limit.is_none_or(|limit| self.waiting < limit);
        let stands_still = self.waiting > 0 && now.saturating_duration_since(self.moved_at) > self.wait_max;
        is_within && !stands_still
    }

    fn enter(&mut self, now: Instant) {
        if self.waiting == 0 {
            self.moved_at = now;
        }
        self.waiting += 1;
    }

    fn leave(&mut self, now: Instant, waited: Duration) {
        self.waiting = self.waiting.saturating_sub(1);
        self.moved_at = now;
        self.quickest = Some(self.quickest.map_or(waited, |quickest| quickest.min(waited)));
        if now.saturating_duration_since(self.window_from) < WINDOW {
            return;
        }
        self.window_from = now;
        let quickest = self.quickest.take().unwrap_or(waited);
        if quickest <= self.wait_max / 2 {
            self.limit = None;
        } else if now >= self.settles_at {
            self.adjust(quickest);
            self.settles_at = now + quickest;
        }
    }

    /// Sets the limit by the shortest wait of a window.
    fn adjust(&mut self, quickest: Duration) {
        if quickest > self.wait_max {
            // The one that has just left waited among those that wait now.
            let waiting = self.limit.map_or(self.waiting + 1, |limit| limit.min(self.waiting + 1));
            let share = self.wait_max.as_micros().saturating_mul(u128::try_from(waiting).unwrap_or(u128::MAX));
            let fitting = share / quickest.as_micros().max(1);
            self.limit = Some(usize::try_from(fitting).unwrap_or(waiting).max(1));
        } else if let Some(limit) = self.limit {
            self.limit = Some(limit + limit / 8 + 1);
        }
    }
}

#[cfg(test)]
mod tests;
