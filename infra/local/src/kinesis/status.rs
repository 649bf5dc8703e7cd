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
    /// When the stream is active, if it is not yet.
    until_ms: AtomicI64,
}

impl Transition {
    /// A stream that is active.
    pub(super) fn none(clock: Clock, time: TransitionTime) -> Self {
        Self { clock, time, status: Mutex::new(Status::Active), until_ms: AtomicI64::new(i64::MIN) }
    }

    /// Where the stream stands now. Costs a look at the clock where it is active.
    pub(super) fn status(&self) -> Status {
        if self.clock.now_ms() >= self.until_ms.load(Ordering::Acquire) { Status::Active } else { *self.lock() }
    }

    /// The stream was made, or is being deleted, just now.
    pub(super) fn enter(&self, status: Status) {
        let mut held = self.lock();
        *held = status;
        self.until_ms.store(self.clock.now_ms().saturating_add(self.time.ms()), Ordering::Release);
    }

    /// Begins a change of an active stream, which is `UPDATING` from here until a while after the change.
    ///
    /// # Errors
    /// The status, when it is not active.
    pub(super) fn begin(&self) -> Result<Change<'_>, Status> {
        let mut held = self.lock();
        let is_active = self.clock.now_ms() >= self.until_ms.load(Ordering::Acquire);
        if !is_active {
            return Err(*held);
        }
        *held = Status::Updating;
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
        let Transition { clock, time, until_ms, .. } = self.transition;
        // Under the lock: a deletion that came in between stays one.
        let status = self.transition.lock();
        if *status == Status::Updating {
            let now_ms = clock.now_ms();
            let end_ms = if self.is_made { now_ms.saturating_add(time.ms()) } else { now_ms };
            until_ms.store(end_ms, Ordering::Release);
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
