//! What aggregates say of records that come from the log on disk, so that a reader can tell those that are sent again after a
//! crash; and which records may share an aggregate because the same can be said of them.

use std::collections::BTreeMap;

use kinesis_record::{Origin, SpoolMark};

use crate::{reply::Reply, spool::Series};

#[derive(Debug, Default)]
pub(crate) struct SpoolMarks {
    /// In the order of their numbers.
    series: Vec<Series>,
    /// Every record below is done.
    done_below: u64,
    /// Records that were on their way in an aggregate without numbers when the log was taken into use, and the mark of that.
    /// None of them is below `done_below`.
    sent_as: BTreeMap<u64, Origin>,
}

impl SpoolMarks {
    pub(crate) const fn new(series: Vec<Series>) -> Self {
        SpoolMarks { series, done_below: 0, sent_as: BTreeMap::new() }
    }

    /// From now on every record below this number is done.
    pub(crate) fn advance(&mut self, done_below: u64) {
        if done_below > self.done_below {
            self.done_below = done_below;
            if self.sent_as.first_key_value().is_some_and(|(first, _)| *first < done_below) {
                self.sent_as = self.sent_as.split_off(&done_below);
            }
        }
    }

    /// A record that is read back may have been stored in an aggregate with this mark.
    pub(crate) fn was_sent_as(&mut self, number: u64, origin: Origin) {
        self.sent_as.insert(number, origin);
    }

    /// What an aggregate that begins with this record says of it and those that join it.
    pub(crate) fn begin(&self, first: &Reply) -> Option<SpoolMark> {
        let number = first.spool_number()?;
        Some(SpoolMark {
            series: self.series_of(number)?,
            base: number,
            done_below: self.done_below,
            sent_as: self.sent_as.get(&number).copied(),
        })
    }

    /// Whether what an aggregate says holds for this record too.
    pub(crate) fn joins(&self, mark: Option<&SpoolMark>, next: &Reply) -> bool {
        match (mark, next.spool_number()) {
            (None, None) => true,
            (None, Some(number)) => self.series_of(number).is_none(),
            (Some(mark), None) => mark.sent_as.is_none(),
            (Some(mark), Some(number)) => {
                self.series_of(number) == Some(mark.series) && self.sent_as.get(&number).copied() == mark.sent_as
            }
        }
    }

    /// The series that gave a number; none if its file was damaged.
    fn series_of(&self, number: u64) -> Option<u64> {
        let index = self.series.partition_point(|series| series.from <= number).checked_sub(1)?;
        self.series.get(index).map(|series| series.name)
    }
}

#[cfg(test)]
mod tests {
    use kinesis_record::{Origin, SpoolMark};
    use tokio::sync::{mpsc::unbounded_channel, oneshot};

    use super::SpoolMarks;
    use crate::{reply::Reply, spool::Series};

    #[test]
    fn only_records_of_which_the_same_is_said_share_an_aggregate() {
        let spooled = |number| Reply::Spool { number, results: unbounded_channel().0 };
        let sent = || Reply::Sender(oneshot::channel().0);
        let mut marks = SpoolMarks::new(vec![Series { from: 10, name: 1 }, Series { from: 20, name: 2 }]);
        let origin = Origin { producer: 1, epoch: 2, lane: 3, counter: 4 };
        marks.was_sent_as(15, origin);
        marks.was_sent_as(16, origin);
        marks.advance(12);
        let mark = SpoolMark { series: 1, base: 12, done_below: 12, sent_as: None };
        assert_eq!(marks.begin(&spooled(12)), Some(mark));
        assert_eq!(marks.begin(&spooled(15)), Some(SpoolMark { base: 15, sent_as: Some(origin), ..mark }));
        assert_eq!(marks.begin(&sent()), None);
        // Of an unknown life nothing can be said.
        assert_eq!(marks.begin(&spooled(9)), None);
        for (first, next, expect) in [
            (spooled(12), spooled(19), true),
            (spooled(12), spooled(20), false),
            (spooled(12), spooled(15), false),
            (spooled(15), spooled(16), true),
            (spooled(15), spooled(17), false),
            (spooled(12), sent(), true),
            (spooled(15), sent(), false),
            (sent(), sent(), true),
            (sent(), spooled(12), false),
            (sent(), spooled(9), true),
            (spooled(9), sent(), true),
        ] {
            assert_eq!(marks.joins(marks.begin(&first).as_ref(), &next), expect, "{first:?} {next:?}");
        }
        marks.advance(16);
        assert_eq!(marks.begin(&spooled(15)).unwrap().sent_as, None, "done: nothing more is kept of it");
        assert_eq!(marks.begin(&spooled(16)).unwrap().sent_as, Some(origin));
    }
}
