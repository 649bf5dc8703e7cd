//! The task that runs asynchronous events when they are due, and takes what became of them to its destination.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::queue::{Change, Condition, Ending, Event, Next, Outcome, Policy};
use super::{Events, record};
use crate::faults::FunctionFate;
use crate::kinesis::Store;
use crate::lambda::account::Account;
use crate::lambda::destination::{Destination, Letter, SinkError, Sinks};
use crate::lambda::function::{Call, Function, InvokeError};
use crate::lambda::settings::Settings;

/// How long the runner sleeps without looking at the clock, which may jump.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What runs events. Cheap to clone.
#[derive(Clone)]
pub(in crate::lambda) struct Runner {
    pub(in crate::lambda) events: Events,
    /// Held for look-ups.
    pub(in crate::lambda) functions: Arc<Mutex<Vec<Function>>>,
    pub(in crate::lambda) settings: Settings,
    pub(in crate::lambda) sinks: Sinks,
    pub(in crate::lambda) account: Account,
    pub(in crate::lambda) store: Store,
}

impl Runner {
    /// Runs events until `stop`, then waits for those under way.
    pub(in crate::lambda) async fn run(self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        while !stop.is_cancelled() {
            let (clock, shared) = (self.store.clock(), &self.events.shared);
            let now_ms = clock.now_ms();
            let (due, next_ms) = {
                let mut held = shared.held();
                // One of a function that never comes back is given up when it is too old.
                let is_old =
                    |event: &Event| now_ms.saturating_sub(event.accepted_ms) >= i64::from(super::AGE_S_MAX) * 1_000;
                let is_there = |event: &Event| is_old(event) || self.function(&event.function).is_some();
                let due = held.queue.take_due(is_there, now_ms);
                (due, held.queue.next_due_ms(is_there))
            };
            for (number, event) in due {
                let runner = self.clone();
                running.spawn(async move { runner.run_one(number, event).await });
            }
            let left_ms = next_ms.map_or(i64::MAX, |next_ms| next_ms.saturating_sub(now_ms)).max(1);
            let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).min(LOOK_EVERY);
            tokio::select! {
                () = stop.cancelled() => break,
                () = shared.wake.notified() => {}
                Some(_ended) = running.join_next() => {}
                () = tokio::time::sleep(left) => {}
            }
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    async fn run_one(&self, number: u64, event: Event) {
        let (clock, policy) = (self.store.clock(), self.policy(&event.function));
        let next = match event.state.ending.clone().or_else(|| event.refused(policy, clock.now_ms())) {
            Some(ending) => Next::End(ending),
            None => {
                let Some(outcome) = self.attempt(&event).await else { return };
                event.after(outcome, policy, clock.now_ms())
            }
        };
        let change = match next {
            Next::Wait(state) => Change::Waits { number, state },
            Next::End(ending) => self.end(number, &event, &ending).await,
        };
        self.events.change(change).await;
        self.events.shared.wake.notify_one();
    }

    /// Calls the function; none when it is stopping, and the event waits for the next start.
    async fn attempt(&self, event: &Event) -> Option<Outcome> {
        let Some(function) = self.function(&event.function) else { return Some(Outcome::NotRun) };
        let fate = self.store.faults().strike_function(&event.function, self.store.clock().now_ms());
        let payload = Bytes::copy_from_slice(event.payload.as_bytes());
        let request_id = Some(event.request_id.clone());
        let call = Call { payload, request_id, fate, ..Call::default() };
        let mut invoked = function.invoke(call.clone()).await;
        if fate == Some(FunctionFate::Duplicate) && invoked.as_ref().is_ok_and(|invoked| !invoked.is_error) {
            invoked = function.invoke(call).await;
        }
        match invoked {
            Ok(invoked) => {
                let text: Arc<str> = String::from_utf8_lossy(&invoked.payload).into();
                Some(if invoked.is_error { Outcome::Failed(text) } else { Outcome::Answered(text) })
            }
            Err(InvokeError::Stopped) => None,
            Err(error @ (InvokeError::Throttled(_) | InvokeError::TooLarge { .. } | InvokeError::Start { .. })) => {
                let (error, function) = (&error as &dyn std::error::Error, event.function.as_str());
                tracing::debug!(error, function, "an asynchronous event waits");
                Some(Outcome::NotRun)
            }
        }
    }

    /// Takes what became of an event to whoever wants to know it.
    async fn end(&self, number: u64, event: &Event, ending: &Ending) -> Change {
        match self.deliver(event, ending).await {
            Ok(()) => Change::Done { number },
            Err(error) => {
                let (function, request_id) = (event.function.as_str(), event.request_id.as_str());
                let error = &error as &dyn std::error::Error;
                match event.undelivered(ending, self.store.clock().now_ms()) {
                    Some(state) => {
                        tracing::warn!(
                            error,
                            function,
                            request_id,
                            "a destination does not take an event; it is tried again"
                        );
                        Change::Waits { number, state }
                    }
                    None => {
                        tracing::error!(error, function, request_id, "gave up a destination, and the event with it");
                        self.events.note_dropped(function);
                        Change::Done { number }
                    }
                }
            }
        }
    }

    async fn deliver(&self, event: &Event, ending: &Ending) -> Result<(), SinkError> {
        let settings = self.settings.of(&event.function).event_invoke.unwrap_or_default();
        let is_success = ending.condition == Condition::Success;
        let destination = if is_success { settings.on_success } else { settings.on_failure };
        let dead_letters = self.function(&event.function).and_then(|function| function.config().dead_letter.clone());
        let dead_letters = dead_letters.filter(|_| !is_success);
        let is_dropped = !is_success && destination.is_none() && dead_letters.is_none();
        if is_dropped {
            let (function, condition) = (event.function.as_str(), ending.condition.text());
            tracing::error!(function, request_id = event.request_id, condition, "gave up an asynchronous event");
            self.events.note_dropped(function);
        }
        if let Some(destination) = destination {
            let letter = record::letter(event, ending, &destination).map_err(std::io::Error::from);
            let letter = letter.map_err(crate::s3::StoreError::from)?;
            self.put(&destination, letter).await?;
        }
        if let Some(destination) = dead_letters {
            self.put(&destination, record::dead_letter(event, ending)).await?;
        }
        Ok(())
    }

    async fn put(&self, destination: &Destination, letter: Letter) -> Result<(), SinkError> {
        let Destination::Function { function } = destination else { return self.sinks.put(destination, letter).await };
        let refused = || SinkError::Function { function: function.clone() };
        if self.function(function).is_none() {
            return Err(refused());
        }
        let accepted = self.events.accept(function, letter.body.into()).await;
        accepted.map(drop).map_err(|error| {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                function,
                "an event for a function is not accepted"
            );
            refused()
        })
    }

    fn policy(&self, function: &str) -> Policy {
        let settings = self.settings.of(function).event_invoke.unwrap_or_default();
        Policy {
            retries_max: settings.maximum_retry_attempts.unwrap_or(super::RETRIES_MAX),
            age_s_max: settings.maximum_event_age_in_seconds.unwrap_or(super::AGE_S_MAX),
            is_switched_off: self.account.reserved(function) == Some(0),
        }
    }

    fn function(&self, name: &str) -> Option<Function> {
        let functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        functions.iter().find(|function| function.name() == name).cloned()
    }
}
