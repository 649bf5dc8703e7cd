//! Counts the records that have no result yet, so that a flush ends exactly when all that were accepted before it have one.
//!
//! Each flush closes an epoch; records are counted in the epoch in which they were accepted.

use std::collections::VecDeque;

use tokio::sync::oneshot;

#[derive(Debug)]
pub(crate) struct Outstanding {
    /// The number of the first epoch in `epochs`.
    first: u64,
    /// Never empty: the last one is open.
    epochs: VecDeque<Epoch>,
}

#[derive(Debug, Default)]
struct Epoch {
    records: usize,
    flushes: Vec<oneshot::Sender<()>>,
}

impl Outstanding {
    pub(crate) fn new() -> Self {
        Outstanding { first: 0, epochs: VecDeque::from([Epoch::default()]) }
    }

    /// The number of the open epoch. Records of lower ones are waited for by a flush.
    pub(crate) fn epoch(&self) -> u64 {
        self.first + u64::try_from(self.epochs.len() - 1).expect("epochs in memory")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.epochs.iter().all(|epoch| epoch.records == 0)
    }

    /// Counts a record in; returns its epoch.
    pub(crate) fn accept(&mut self) -> u64 {
        if let Some(open) = self.epochs.back_mut() {
            open.records += 1;
        }
        self.epoch()
    }

    /// Counts a record of `epoch` out, and ends the flushes that have nothing more to wait for.
    pub(crate) fn settle(&mut self, epoch: u64) {
        let index = epoch.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        let epoch = index.and_then(|index| self.epochs.get_mut(index)).expect("an epoch stays while it has records");
        epoch.records = epoch.records.checked_sub(1).expect("a record is settled once");
        self.end_flushes();
    }

    /// Answers `flush` when everything accepted so far is settled, at once if that is nothing.
    pub(crate) fn flush(&mut self, flush: oneshot::Sender<()>) {
        if let Some(open) = self.epochs.back_mut() {
            open.flushes.push(flush);
        }
        self.epochs.push_back(Epoch::default());
        self.end_flushes();
    }

    fn end_flushes(&mut self) {
        while self.epochs.len() > 1
            && let Some(done) = self.epochs.pop_front_if(|epoch| epoch.records == 0)
        {
            self.first += 1;
            for flush in done.flushes {
                // Fails if whoever waited has given up.
                let _sent: Result<(), ()> = flush.send(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::oneshot::{self, Receiver};

    use super::Outstanding;

    /// Its end, and the records that it waits for.
    type Flush = (Receiver<()>, Vec<usize>);

    #[derive(Debug, Clone)]
    enum Step {
        Accept,
        Flush,
        Settle(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Accept),
            1 => Just(Step::Flush),
            3 => any::<prop::sample::Index>().prop_map(Step::Settle),
        ]
    }

    proptest! {
        /// The model: a flush remembers the records that were open when it came.
        #[test]
        fn flushes_end_exactly_when_their_records_are_settled(steps in proptest::collection::vec(step(), 0..200)) {
            let mut outstanding = Outstanding::new();
            let mut open: Vec<(usize, u64)> = Vec::new();
            let mut flushes: Vec<Flush> = Vec::new();
            for (id, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Accept => open.push((id, outstanding.accept())),
                    Step::Flush => {
                        let (flush, ended) = oneshot::channel();
                        flushes.push((ended, open.iter().map(|(id, _)| *id).collect()));
                        outstanding.flush(flush);
                    }
                    Step::Settle(_) if open.is_empty() => {}
                    Step::Settle(index) => {
                        let (_, epoch) = open.remove(index.index(open.len()));
                        outstanding.settle(epoch);
                    }
                }
                flushes.retain_mut(|(ended, waits_for)| {
                    let expect = waits_for.iter().all(|id| open.iter().all(|(open, _)| open != id));
                    assert_eq!(ended.try_recv().is_ok(), expect);
                    !expect
                });
                prop_assert_eq!(outstanding.is_empty(), open.is_empty());
            }
        }
    }
}
