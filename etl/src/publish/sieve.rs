//! Which of the staged rows are new. Pure: rows and what is known of others go in, a decision on each comes out.
//!
//! Two rows of one key are the same event. Received at the same time, the second is a *redelivery*: the record came
//! again on its way here. Received at another time, it was *sent again* by the client. Neither becomes a row; what was
//! sent again is recorded, so that accepted requests = rows + sent again, however often anything is redelivered.

use std::collections::{HashMap, HashSet};

use crate::key::{Arrival, RowKey};

/// Sifts staged rows. Feed it the staged rows, then what is published, then what is recorded as sent again.
///
/// Memory: about 60 bytes for each staged row, nothing for published ones.
#[derive(Debug, Default)]
pub(crate) struct Sieve {
    fresh: HashMap<RowKey, Fresh>,
    resent: HashSet<Arrival>,
    redelivered: u64,
}

#[derive(Debug)]
struct Fresh {
    received_ts: i64,
    place: RowPlace,
}

/// Where a staged row stands: which batch, and which row of it.
pub(crate) type RowPlace = (usize, usize);

/// The decision.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sifted {
    /// Rows to publish, in the order of the staged rows.
    pub(crate) rows: Vec<RowPlace>,
    /// Arrivals of rows that are published already, or are in `rows`: to be recorded.
    pub(crate) resent: Vec<Arrival>,
    /// How many rows were nothing but deliveries of the same again.
    pub(crate) redelivered: u64,
}

impl Sieve {
    /// A staged row.
    pub(crate) fn staged(&mut self, arrival: Arrival, place: RowPlace) {
        let Some(fresh) = self.fresh.get(&arrival.key) else {
            self.fresh.insert(arrival.key, Fresh { received_ts: arrival.received_ts, place });
            return;
        };
        let is_redelivery = fresh.received_ts == arrival.received_ts || !self.resent.insert(arrival);
        self.redelivered += u64::from(is_redelivery);
    }

    /// Whether no staged row is left to decide on, so that nothing more needs to be fed.
    pub(crate) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.resent.is_empty()
    }

    /// A row that is published, in this hour or a neighbouring one.
    pub(crate) fn published(&mut self, published: Arrival) {
        if let Some(fresh) = self.fresh.remove(&published.key) {
            self.resent.insert(Arrival { key: published.key, received_ts: fresh.received_ts });
        }
        // The published arrival itself, come again, whether it stood first among the staged ones or not.
        self.redelivered += u64::from(self.resent.remove(&published));
    }

    /// An arrival that is recorded as sent again. To be fed after all that is published.
    pub(crate) fn recorded(&mut self, recorded: Arrival) {
        self.redelivered += u64::from(self.resent.remove(&recorded));
    }

    /// The decision.
    pub(crate) fn finish(self) -> Sifted {
        let mut rows: Vec<RowPlace> = self.fresh.into_values().map(|fresh| fresh.place).collect();
        rows.sort_unstable();
        let mut resent: Vec<Arrival> = self.resent.into_iter().collect();
        resent.sort_unstable();
        Sifted { rows, resent, redelivered: self.redelivered }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::event_id::EventId;
    use proptest::prelude::*;

    use super::*;

    fn arrival(event: u8, received_ts: i64) -> Arrival {
        let event_id = EventId::of_content("t", "ad_request", "a", &[event]);
        Arrival { key: RowKey::new(event_id, 0), received_ts }
    }

    type Events<'e> = &'e [(u8, i64)];

    fn check(staged: Events<'_>, published: Events<'_>, recorded: Events<'_>, expect: (&[usize], Events<'_>, u64)) {
        let mut sieve = Sieve::default();
        for (row, (event, time)) in staged.iter().enumerate() {
            sieve.staged(arrival(*event, *time), (0, row));
        }
        published.iter().for_each(|(event, time)| sieve.published(arrival(*event, *time)));
        recorded.iter().for_each(|(event, time)| sieve.recorded(arrival(*event, *time)));
        let sifted = sieve.finish();
        let (rows, resent, redelivered) = expect;
        assert_eq!(sifted.rows.iter().map(|(_, row)| *row).collect::<Vec<_>>(), rows);
        let resent: BTreeSet<_> = resent.iter().map(|(event, time)| arrival(*event, *time)).collect();
        assert_eq!(sifted.resent.into_iter().collect::<BTreeSet<_>>(), resent);
        assert_eq!(sifted.redelivered, redelivered);
    }

    #[test]
    fn repeats_are_told_apart() {
        check(&[], &[(1, 1)], &[], (&[], &[], 0));
        check(&[(1, 1), (2, 1)], &[], &[], (&[0, 1], &[], 0));
        check(&[(1, 1), (1, 1)], &[], &[], (&[0], &[], 1));
        check(&[(1, 1), (1, 2)], &[], &[], (&[0], &[(1, 2)], 0));
        check(&[(1, 1), (1, 2), (1, 2), (1, 1)], &[], &[], (&[0], &[(1, 2)], 2));
        check(&[(1, 1)], &[(1, 1)], &[], (&[], &[], 1));
        check(&[(1, 2)], &[(1, 1)], &[], (&[], &[(1, 2)], 0));
        check(&[(1, 2), (1, 1)], &[(1, 1)], &[], (&[], &[(1, 2)], 1));
        check(&[(1, 2)], &[(1, 1)], &[(1, 2)], (&[], &[], 1));
        check(&[(1, 3), (1, 2)], &[(1, 1)], &[(1, 2)], (&[], &[(1, 3)], 1));
    }

    proptest! {
        /// However arrivals are repeated and cut into passes: one row a key, and every other arrival recorded once.
        #[test]
        fn arrivals_are_conserved(passes in prop::collection::vec(prop::collection::vec((0_u8..4, 0_i64..3), 0..12), 1..6)) {
            let (mut published, mut recorded) = (Vec::<Arrival>::new(), Vec::<Arrival>::new());
            let mut redelivered = 0;
            for pass in &passes {
                let mut sieve = Sieve::default();
                for (row, (event, time)) in pass.iter().enumerate() {
                    sieve.staged(arrival(*event, *time), (0, row));
                }
                published.iter().for_each(|published| sieve.published(*published));
                recorded.iter().for_each(|recorded| sieve.recorded(*recorded));
                let sifted = sieve.finish();
                redelivered += sifted.redelivered;
                published.extend(sifted.rows.iter().map(|(_, row)| arrival(pass[*row].0, pass[*row].1)));
                recorded.extend(sifted.resent);
            }
            let all: Vec<(u8, i64)> = passes.into_iter().flatten().collect();
            let keys: BTreeSet<_> = all.iter().map(|(event, _)| arrival(*event, 0).key).collect();
            let arrivals: BTreeSet<_> = all.iter().map(|(event, time)| arrival(*event, *time)).collect();
            prop_assert_eq!(published.len(), keys.len());
            prop_assert_eq!(published.iter().map(|row| row.key).collect::<BTreeSet<_>>(), keys);
            prop_assert_eq!(published.len() + recorded.len(), arrivals.len());
            prop_assert_eq!(usize::try_from(redelivered).unwrap(), all.len() - arrivals.len());
            prop_assert_eq!(published.into_iter().chain(recorded).collect::<BTreeSet<_>>(), arrivals);
        }
    }
}
