//! What a shard may have counted within the last second, whenever its seconds begin.
//!
//! A shard that counts in seconds of its own clock must never see more than a second's worth in any second, and one that was
//! paced evenly but held up on the way may arrive in the same second as its successors. So every record counts from when it is
//! sent until a second after the latest moment at which the shard can have counted it, as seen from the earliest at which it
//! can count the next one: the answer's arrival, less the shortest round trip that was ever seen. A steady round trip then
//! costs nothing, and only what it varies by is left unused.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A shard's second, and as much again as clocks are read late.
const SECOND: Duration = Duration::from_millis(1_002);

/// Answers within this time are forgotten together, at the later time: bounds the entries to some hundreds.
const GRAIN: Duration = Duration::from_millis(2);

/// What a shard takes in a second.
pub(super) const BYTES_MAX: usize = 1_000_000;
pub(super) const RECORDS_MAX: usize = 1_000;

/// Records that were sent at the same moment.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// When they were sent, or, once answered, when they are forgotten.
    at: Instant,
    bytes: usize,
    records: usize,
}

/// Bytes and records that a shard may still count against the second that runs.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Sent and not answered, by the time of sending; as many as there are requests on their way.
    open: VecDeque<Entry>,
    /// Answered, by the time of forgetting.
    closed: VecDeque<Entry>,
    bytes: usize,
    records: usize,
    round_trip_min: Option<Duration>,
}

/// Whether a record may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// One of at most so many bytes may.
    Bytes(usize),
    /// Ask again then.
    From(Instant),
    /// Ask again after an answer.
    AfterAnswer,
}

impl Ledger {
    /// The shortest round trip that was ever seen.
    pub(super) fn round_trip_min(&self) -> Option<Duration> {
        self.round_trip_min
    }

    /// Whether there is room for one more record of `bytes`. One of more than a second's bytes needs a second of its own.
    pub(super) fn room(&mut self, bytes: usize, now: Instant) -> Room {
        self.forget(now);
        let is_empty = self.records == 0;
        let fits = self.bytes.saturating_add(bytes) <= BYTES_MAX && self.records < RECORDS_MAX;
        if is_empty || fits {
            return Room::Bytes(BYTES_MAX.saturating_sub(self.bytes).max(if is_empty { bytes } else { 0 }));
        }
        self.closed.front().map_or(Room::AfterAnswer, |entry| Room::From(entry.at))
    }

    /// Notes that a record was sent.
    pub(super) fn send(&mut self, bytes: usize, now: Instant) {
        self.bytes += bytes;
        self.records += 1;
        match self.open.back_mut().filter(|entry| entry.at == now) {
            Some(entry) => {
                entry.bytes += bytes;
                entry.records += 1;
            }
            None => self.open.push_back(Entry { at: now, bytes, records: 1 }),
        }
    }

    /// Notes that a record is answered. If the shard refused it, it has not counted it either. Records that another ledger
    /// holds, because shards were split or merged since, change nothing.
    pub(super) fn answer(&mut self, sent_at: Instant, now: Instant, bytes: usize, was_counted: bool) {
        let Some(index) = self.open.iter().position(|entry| entry.at == sent_at) else { return };
        let Some(entry) = self.open.get_mut(index) else { return };
        entry.bytes = entry.bytes.saturating_sub(bytes);
        entry.records -= 1;
        if entry.records == 0 {
            self.open.remove(index);
        }
        if !was_counted {
            self.bytes = self.bytes.saturating_sub(bytes);
            self.records -= 1;
            return;
        }
        let round_trip = now.saturating_duration_since(sent_at);
        let shortest = self.round_trip_min.map_or(round_trip, |shortest| shortest.min(round_trip));
        self.round_trip_min = Some(shortest);
        self.close(now + SECOND - shortest.min(SECOND), bytes);
    }

    fn close(&mut self, forgotten_at: Instant, bytes: usize) {
        // In order, even when a shorter round trip than ever brings the time forward: then it joins the last one.
        match self.closed.back_mut().filter(|entry| forgotten_at <= entry.at) {
            Some(entry) => {
                entry.bytes += bytes;
                entry.records += 1;
            }
            // Whoever joins may be up to a grain younger.
            None => self.closed.push_back(Entry { at: forgotten_at + GRAIN, bytes, records: 1 }),
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some(entry) = self.closed.pop_front_if(|entry| entry.at <= now) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            self.records -= entry.records;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{BYTES_MAX, Ledger, RECORDS_MAX, Room};

    #[test]
    fn a_second_is_held_until_a_second_after_its_answer() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ledger = Ledger::default();
        assert_eq!(
            ledger.room(2 * BYTES_MAX, start),
            Room::Bytes(2 * BYTES_MAX),
            "a large one has a second of its own"
        );
        ledger.send(BYTES_MAX, start);
        assert_eq!(ledger.room(1, at(5_000)), Room::AfterAnswer);
        ledger.answer(start, at(5_000), BYTES_MAX, true);
        let Room::From(free) = ledger.room(1, at(5_000)) else { panic!("it is answered") };
        // The only round trip is the shortest, so the second counts from the sending.
        assert_eq!(free, at(5_002));
        assert_eq!(ledger.room(1, free), Room::Bytes(BYTES_MAX));
    }

    #[test]
    fn what_a_shard_refused_it_has_not_counted() {
        let start = Instant::now();
        let mut ledger = Ledger::default();
        for _ in 0..RECORDS_MAX {
            ledger.send(1, start);
        }
        assert_eq!(ledger.room(1, start), Room::AfterAnswer);
        ledger.answer(start, start, 1, false);
        assert_eq!(ledger.room(1, start), Room::Bytes(BYTES_MAX - RECORDS_MAX + 1));
    }

    proptest! {
        /// Records take some time to the shard and back; in no second that the shard may choose does it see too much.
        #[test]
        fn no_second_of_the_shard_sees_too_much(
            ways in proptest::collection::vec((1_u64..60, 1_u64..60, 1_000_usize..60_000), 50..400),
            steady in any::<bool>(),
        ) {
            let start = Instant::now();
            let at = |ms: u64| start + Duration::from_millis(ms);
            // The shortest ways, out and back, are known from the beginning.
            let mut ledger = Ledger::default();
            ledger.send(1, start);
            ledger.answer(start, at(2), 1, true);
            let mut now_ms = 2;
            let mut counted: Vec<(u64, usize)> = Vec::new();
            let mut answers: Vec<(u64, u64, usize)> = Vec::new();
            for (out_ms, back_ms, bytes) in ways {
                let (out_ms, back_ms) = if steady { (1, 1) } else { (out_ms, back_ms) };
                loop {
                    answers.retain(|(answered_ms, sent_ms, bytes)| {
                        let is_there = *answered_ms <= now_ms;
                        if is_there {
                            ledger.answer(at(*sent_ms), at(*answered_ms), *bytes, true);
                        }
                        !is_there
                    });
                    if matches!(ledger.room(bytes, at(now_ms)), Room::Bytes(room) if room >= bytes) {
                        break;
                    }
                    now_ms += 1;
                }
                ledger.send(bytes, at(now_ms));
                counted.push((now_ms + out_ms, bytes));
                answers.push((now_ms + out_ms + back_ms, now_ms, bytes));
                answers.sort_unstable();
                now_ms += 10;
            }
            counted.sort_unstable();
            for (from_ms, _) in &counted {
                let second = counted.iter().filter(|(ms, _)| (*from_ms..from_ms + 1_000).contains(ms));
                let bytes: usize = second.map(|(_, bytes)| bytes).sum();
                prop_assert!(bytes <= BYTES_MAX, "{bytes} B from {from_ms} ms");
            }
        }
    }
}
