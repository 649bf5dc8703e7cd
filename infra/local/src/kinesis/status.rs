//! What a stream says it is: `CREATING`, `ACTIVE`, `UPDATING` or `DELETING`, and for how long after each change.
//!
//! A change is done at once, or refused at once; what takes time at the service, and makes others wait, is the state
//! after it. How long that lasts is a setting of the store.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;

/// A stream's state, by the service's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Creating,
    Active,
    Updating,
    Deleting,
}

impl Status {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Updating => "UPDATING",
            Self::Deleting => "DELETING",
        }
    }
}

/// How long streams are in between, in milliseconds; all streams of a store share it.
#[derive(Debug, Clone, Default)]
pub(super) struct TransitionTime(Arc<AtomicI64>);

impl TransitionTime {
    pub(super) fn ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set_ms(&self, ms: i64) {
        self.0.store(ms.max(0), Ordering::Relaxed);
    }
}

/// Where one stream stands.
#[derive(Debug)]
pub(super) struct Transition {
    clock: Clock,
    time: TransitionTime,
    /// Held for a look or a note; read without it by those who only want to know that all is as usual.
    status: Mutex<Status>,
    /// When the state began that is not active; before that the stream is active, since the clock was set back.
    since_ms: AtomicI64,
    /// When the stream is active, if it is not yet.
    until_ms: AtomicI64,
}

impl Transition {
    /// A stream that is active.
    pub(super) fn none(clock: Clock, time: TransitionTime) -> Self {
        let (since_ms, until_ms) = (AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN));
        Self { clock, time, status: Mutex::new(Status::Active), since_ms, until_ms }
    }

    fn is_active(&self) -> bool {
        let now_ms = self.clock.now_ms();
        now_ms >= self.until_ms.load(Ordering::Acquire) || now_ms < self.since_ms.load(Ordering::Acquire)
    }

    /// From here on for the time of a transition.
    fn last(&self, since_ms: i64) {
        self.since_ms.store(since_ms, Ordering::Release);
        self.until_ms.store(self.clock.now_ms().saturating_add(self.time.ms()), Ordering::Release);
    }

    /// Where the stream stands now. Costs a look at the clock where it is active.
    pub(super) fn status(&self) -> Status {
        if self.is_active() { Status::Active } else { *self.lock() }
    }

    /// The stream was made, or is being deleted, just now.
    pub(super) fn enter(&self, status: Status) {
        let mut held = self.lock();
        *held = status;
        // What is deleted stays so, wherever the clock is set.
        self.last(if status == Status::Deleting { i64::MIN } else { self.clock.now_ms() });
    }

    /// Begins a change of an active stream, which is `UPDATING` from here until a while after the change.
    ///
    /// # Errors
    /// The status, when it is not active.
    pub(super) fn begin(&self) -> Result<Change<'_>, Status> {
        let mut held = self.lock();
        if !self.is_active() {
            return Err(*held);
        }
        *held = Status::Updating;
        self.since_ms.store(i64::MIN, Ordering::Release);
        self.until_ms.store(i64::MAX, Ordering::Release);
        Ok(Change { transition: self, is_made: false })
    }

    fn lock(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change under way. Dropped before it is made, as by a refusal or a caller who went away, it leaves the stream active.
#[derive(Debug)]
pub(super) struct Change<'a> {
    transition: &'a Transition,
    is_made: bool,
}

impl Change<'_> {
    /// The change was made.
    pub(super) fn made(mut self) {
        self.is_made = true;
    }
}

impl Drop for Change<'_> {
    fn drop(&mut self) {
        // Under the lock: a deletion that came in between stays one.
        let status = self.transition.lock();
        if *status == Status::Updating {
            let now_ms = self.transition.clock.now_ms();
            if self.is_made {
                self.transition.last(now_ms);
            } else {
                self.transition.until_ms.store(now_ms, Ordering::Release);
                self.transition.since_ms.store(i64::MAX, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_take_their_time_and_wait_for_each_other() {
        let (clock, time) = (Clock::standing_at(1_000), TransitionTime::default());
        let transition = Transition::none(clock.clone(), time.clone());
        assert_eq!(transition.status(), Status::Active);
        transition.begin().unwrap().made();
        assert_eq!(transition.status(), Status::Active, "no time is set");

        time.set_ms(500);
        transition.enter(Status::Creating);
        assert_eq!(transition.status(), Status::Creating);
        assert_eq!(transition.begin().unwrap_err(), Status::Creating);
        clock.jump(500);
        assert_eq!(transition.status(), Status::Active);

        let change = transition.begin().unwrap();
        clock.jump(10_000);
        assert_eq!(transition.status(), Status::Updating, "as long as the change takes");
        assert_eq!(transition.begin().unwrap_err(), Status::Updating);
        change.made();
        assert_eq!(transition.status(), Status::Updating);
        clock.jump(500);
        assert_eq!(transition.status(), Status::Active);

        drop(transition.begin().unwrap());
        assert_eq!(transition.status(), Status::Active, "a change that was not made takes no time");

        let change = transition.begin().unwrap();
        transition.enter(Status::Deleting);
        drop(change);
        assert_eq!(transition.status(), Status::Deleting);
    }
}
