//! The window against a model that remembers everything, and against a lane that sends as the producer does.

use std::collections::HashSet;

use kinesis_record::Origin;
use proptest::prelude::*;

use super::{DedupeWindow, ShardWindows, WindowLimits};

fn origin(lane: u64, counter: u64) -> Origin {
    Origin { producer: 1, epoch: 1, lane, counter }
}

fn limits(lanes_max: usize, history_max: usize) -> WindowLimits {
    WindowLimits { lanes_max, history_max, numbers_max: 1_000 }
}

/// Lane, counter, sequence number, verdict.
type Step = (u64, u64, u64, bool);

fn check(limits: WindowLimits, steps: &[Step]) {
    let mut window = DedupeWindow::new(limits);
    for (number, (lane, counter, at, expect)) in steps.iter().enumerate() {
        assert_eq!(window.is_repeat(&origin(*lane, *counter), &at.to_string()), *expect, "step {number} of {steps:?}");
    }
    assert!(window.lanes() <= limits.lanes_max);
}

#[test]
fn copies_are_told_from_records_given_again() {
    let roomy = WindowLimits::default();
    check(roomy, &[(0, 1, 10, false), (0, 2, 11, false), (0, 2, 12, true), (0, 1, 13, true), (0, 3, 14, false)]);
    // The batch is given again, the copies too; and once more.
    let again = [(0, 5, 10, false), (0, 5, 11, true), (0, 9, 12, false)];
    check(roomy, &[again, again, again].concat());
    // Sequence numbers are numbers: 99 comes before 100.
    check(roomy, &[(0, 1, 99, false), (0, 1, 100, true), (0, 1, 99, false)]);
    // Other lanes are other sequences.
    check(roomy, &[(0, 5, 10, false), (1, 5, 11, false), (2, 4, 12, false), (1, 5, 13, true)]);
}

#[test]
fn what_was_forgotten_is_handed_out() {
    // Two lanes fit: the third makes the first forgotten.
    check(
        limits(2, 8),
        &[(0, 1, 10, false), (1, 1, 11, false), (2, 1, 12, false), (0, 1, 13, false), (2, 1, 14, true)],
    );
    // Going back beyond the history: all is handed out, and known from then on.
    let forward: Vec<Step> = (0..10).map(|step| (0, step, 100 + step, false)).collect();
    let back: Vec<Step> = (0..10).map(|step| (0, step, 100 + step, false)).collect();
    check(limits(1, 4), &[forward, back, vec![(0, 3, 200, true)]].concat());
    // A reader that began in the middle, and then goes back.
    check(limits(1, 4), &[(0, 7, 50, false), (0, 7, 20, false), (0, 7, 50, true), (0, 7, 20, false)]);
}

#[test]
fn epochs_and_producers_are_apart() {
    let mut window = DedupeWindow::new(WindowLimits::default());
    for (at, (producer, epoch)) in [(1, 1), (1, 2), (2, 1), (1, 0)].into_iter().enumerate() {
        let origin = Origin { producer, epoch, lane: 3, counter: 4 };
        assert!(!window.is_repeat(&origin, &(10 + at).to_string()));
        assert!(window.is_repeat(&origin, &(20 + at).to_string()));
    }
}

#[test]
fn a_child_knows_what_its_parents_have_seen() {
    let mut windows = ShardWindows::default();
    assert!(!windows.is_repeat("left", &origin(0, 5), "10"));
    assert!(!windows.is_repeat("left", &origin(1, 9), "11"));
    assert!(!windows.is_repeat("right", &origin(2, 7), "10"));
    windows.begin_after("merged", &["left", "right", "unknown"]);
    assert!(windows.is_repeat("merged", &origin(0, 5), "100"), "sent again, and landed in the child");
    assert!(windows.is_repeat("merged", &origin(2, 6), "101"));
    assert!(!windows.is_repeat("merged", &origin(1, 10), "102"));
    windows.begin_after("grandchild", &["merged"]);
    assert!(windows.is_repeat("grandchild", &origin(1, 10), "200"), "what it saw itself");
    assert!(windows.is_repeat("grandchild", &origin(0, 4), "201"), "what it had from its parents");
    assert!(!windows.is_repeat("left", &origin(0, 5), "10"), "the parent's own verdicts stay");
}

#[test]
fn shards_are_bounded() {
    let mut windows = ShardWindows::new(limits(4, 4), 2);
    for shard in ["a", "b", "a", "c", "d", "a"] {
        windows.is_repeat(shard, &origin(0, 1), "1");
        assert!(windows.shards() <= 2);
    }
    assert!(windows.is_repeat("a", &origin(0, 1), "2"));
}

/// Remembers everything that was ever seen of a lane.
#[derive(Default)]
struct Model {
    seen: HashSet<(u64, u64)>,
}

impl Model {
    fn is_repeat(&mut self, counter: u64, at: u64) -> bool {
        let is_repeat = self.seen.iter().any(|(seen, seen_at)| *seen_at < at && *seen >= counter);
        self.seen.insert((counter, at));
        is_repeat
    }
}

/// What a shard holds of one lane: counters grow, and copies of what was sent last, or long ago, are in between.
fn stored(copies: &[u8]) -> Vec<u64> {
    let mut stored = Vec::new();
    let mut counter = 0;
    for copy in copies {
        match copy {
            // A copy by a request that the network held back.
            0 => stored.push(counter / 2),
            1..=3 => stored.push(counter),
            step => {
                counter += u64::from(*step);
                stored.push(counter);
            }
        }
    }
    stored
}

proptest! {
    /// In any order of reading, any distance back, with room for all: exactly the model.
    #[test]
    fn with_room_for_all_it_is_the_model(
        copies in proptest::collection::vec(0..8_u8, 1..60),
        reads in proptest::collection::vec(any::<prop::sample::Index>(), 1..200),
    ) {
        let stored = stored(&copies);
        let (mut window, mut model) = (DedupeWindow::new(limits(1, 1_000)), Model::default());
        for read in reads {
            let at = read.index(stored.len());
            let (counter, at) = (stored[at], at as u64);
            prop_assert_eq!(window.is_repeat(&origin(0, counter), &at.to_string()), model.is_repeat(counter, at));
        }
    }

    /// Reading as readers do, batch after batch with failed ones given again, in as little room as there can be: nothing is
    /// lost, and reading on hands nothing out twice.
    #[test]
    fn nothing_is_lost_in_any_room(
        copies in proptest::collection::vec(0..8_u8, 1..120),
        batches in proptest::collection::vec((1..20_usize, 0..30_usize), 1..30),
        history_max in 1..10_usize,
    ) {
        let stored = stored(&copies);
        let mut window = DedupeWindow::new(limits(1, history_max));
        let (mut delivered, mut furthest, mut at) = (HashSet::new(), 0, 0);
        for (length, back) in batches {
            for (position, counter) in stored.iter().enumerate().skip(at).take(length) {
                let is_first_copy = stored[..position].iter().all(|before| before < counter);
                let is_repeat = window.is_repeat(&origin(0, *counter), &position.to_string());
                prop_assert!(!(is_first_copy && is_repeat), "the first copy is always handed out");
                prop_assert!(position < furthest || is_repeat != is_first_copy, "reading on, the verdict is exact");
                if !is_repeat {
                    delivered.insert(*counter);
                }
                furthest = furthest.max(position + 1);
            }
            at = (at + length).min(stored.len()).saturating_sub(back);
        }
        for counter in &stored[..furthest] {
            prop_assert!(stored[..furthest].iter().any(|other| other >= counter && delivered.contains(other)));
        }
    }
}
