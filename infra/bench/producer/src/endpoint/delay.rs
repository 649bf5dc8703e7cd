//! Waiting to a fraction of a millisecond, for round trips that are pretended. Tokio's timers tick in milliseconds and fire late
//! by up to one: two of them in a round trip of 3 ms made it 5.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::oneshot;

/// Somebody who wants to be woken, and when.
type Wish = (Instant, oneshot::Sender<()>);

/// A thread that wakes tasks. It ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(super) struct Delay {
    wishes: Sender<Wish>,
}

impl Delay {
    pub(super) fn start() -> anyhow::Result<Self> {
        let (wishes, inbox) = channel();
        let thread = thread::Builder::new().name("delay".into()).spawn(move || wake(&inbox));
        drop(thread.context("start the thread that waits")?);
        Ok(Delay { wishes })
    }

    /// Ends after `length`, and at once if that is nothing.
    pub(super) async fn pause(&self, length: Duration) {
        if length.is_zero() {
            return;
        }
        let (waker, woken) = oneshot::channel();
        if self.wishes.send((Instant::now() + length, waker)).is_ok() {
            // Ends in any case: the thread wakes whom it knows, or is gone.
            drop(woken.await);
        }
    }
}

fn wake(inbox: &Receiver<Wish>) {
    let mut waiting: BTreeMap<Instant, Vec<oneshot::Sender<()>>> = BTreeMap::new();
    loop {
        let now = Instant::now();
        while let Some(due) = waiting.first_entry().filter(|entry| *entry.key() <= now) {
            for waker in due.remove() {
                // Whoever waited may have been cancelled.
                let _sent: Result<(), ()> = waker.send(());
            }
        }
        let wish = match waiting.first_key_value() {
            Some((at, _)) => inbox.recv_timeout(at.saturating_duration_since(now)),
            None => inbox.recv().map_err(|_closed| RecvTimeoutError::Disconnected),
        };
        match wish {
            Ok((at, waker)) => waiting.entry(at).or_default().push(waker),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Delay;

    #[tokio::test]
    async fn nobody_is_woken_early_and_everybody_in_the_end() {
        let delay = Delay::start().unwrap();
        delay.pause(Duration::ZERO).await;
        let lengths = [3_000, 500, 2_000, 500].map(Duration::from_micros);
        let waits = lengths.map(|length| {
            let delay = delay.clone();
            tokio::spawn(async move {
                let asked = Instant::now();
                delay.pause(length).await;
                asked.elapsed() >= length
            })
        });
        for wait in waits {
            assert!(wait.await.unwrap());
        }
    }
}
