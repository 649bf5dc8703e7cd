//! Which splits and merges lead from one shard map to another: a pure plan.
//!
//! A plan is carried out as a whole, so that the shards in between never take a record: they are listed, closed and
//! empty, as links between those before and those after.

use super::hash_key::{HashKey, HashKeyRange};

/// Where a planned shard comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The index of an open shard.
    Open(usize),
    /// The index of a shard planned before.
    Planned(usize),
}

/// A shard that a plan makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) range: HashKeyRange,
    /// One after a split, two after a merge.
    pub(super) parents: Vec<Origin>,
}

/// The way from `open`, sorted and without gaps, to `count` even shards. Empty when that is what they are.
pub(super) fn to_even(open: &[HashKeyRange], count: u32) -> Vec<Planned> {
    let targets = HashKeyRange::even(count);
    let cuts: Vec<HashKey> = targets.iter().skip(1).map(|target| target.starting_hash_key).collect();
    let mut plan = Vec::new();
    let mut pieces = Vec::new();
    for (index, range) in open.iter().enumerate() {
        let from = cuts.partition_point(|cut| *cut <= range.starting_hash_key);
        let to = cuts.partition_point(|cut| *cut <= range.ending_hash_key);
        let within = cuts.get(from..to).unwrap_or_default();
        cut(&mut plan, &mut pieces, (Origin::Open(index), *range), within);
    }
    let mut pieces = pieces.into_iter().peekable();
    for target in targets {
        let mut parts = Vec::new();
        while let Some(piece) = pieces.next_if(|(_, range)| range.ending_hash_key <= target.ending_hash_key) {
            parts.push(piece);
        }
        join(&mut plan, parts);
    }
    plan
}

/// Cuts a shard at all of `cuts`, in the middle first: the way to each piece is short.
fn cut(
    plan: &mut Vec<Planned>,
    pieces: &mut Vec<(Origin, HashKeyRange)>,
    (origin, range): (Origin, HashKeyRange),
    cuts: &[HashKey],
) {
    let (before, rest) = cuts.split_at(cuts.len() / 2);
    let halves = rest.split_first().and_then(|(at, after)| range.split(*at).map(|halves| (halves, after)));
    let Some(((low, high), after)) = halves else {
        pieces.push((origin, range));
        return;
    };
    let first = plan.len();
    plan.extend([low, high].map(|range| Planned { range, parents: vec![origin] }));
    cut(plan, pieces, (Origin::Planned(first), low), before);
    cut(plan, pieces, (Origin::Planned(first + 1), high), after);
}

/// Merges shards that touch into one, pair by pair.
fn join(plan: &mut Vec<Planned>, mut parts: Vec<(Origin, HashKeyRange)>) {
    while parts.len() > 1 {
        let mut joined = Vec::with_capacity(parts.len().div_ceil(2));
        let (pairs, odd) = parts.as_chunks::<2>();
        for [(one, low), (other, high)] in pairs {
            // Pieces of one target follow each other without gaps.
            let Some(range) = low.merge(*high) else { continue };
            plan.push(Planned { range, parents: vec![*one, *other] });
            joined.push((Origin::Planned(plan.len() - 1), range));
        }
        joined.extend_from_slice(odd);
        parts = joined;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Carries a plan out on ranges alone. Returns the open ones, sorted.
    fn apply(open: &[HashKeyRange], plan: &[Planned]) -> Vec<HashKeyRange> {
        let mut used = BTreeSet::new();
        let range_of = |origin: Origin| match origin {
            Origin::Open(index) => open[index],
            Origin::Planned(index) => plan[index].range,
        };
        for (index, planned) in plan.iter().enumerate() {
            let parents: Vec<HashKeyRange> = planned.parents.iter().map(|origin| range_of(*origin)).collect();
            match parents.as_slice() {
                [parent] => {
                    let is_low = planned.range.starting_hash_key == parent.starting_hash_key;
                    let sibling = if is_low { &plan[index + 1] } else { &plan[index - 1] };
                    assert_eq!(sibling.parents, planned.parents);
                    assert_eq!(sibling.range.merge(planned.range), Some(*parent));
                }
                [one, other] => assert_eq!(one.merge(*other), Some(planned.range)),
                _ => panic!("{} parents", parents.len()),
            }
            for origin in &planned.parents {
                if let Origin::Planned(parent) = origin {
                    assert!(*parent < index, "parents come first");
                }
                used.insert(match origin {
                    Origin::Open(parent) => (false, *parent),
                    Origin::Planned(parent) => (true, *parent),
                });
            }
        }
        let mut left: Vec<HashKeyRange> =
            (0..open.len()).filter(|at| !used.contains(&(false, *at))).map(|at| open[at]).collect();
        left.extend((0..plan.len()).filter(|at| !used.contains(&(true, *at))).map(|at| plan[at].range));
        left.sort_by_key(|range| range.starting_hash_key);
        left
    }

    #[test]
    fn doubling_splits_each_and_halving_merges_pairs() {
        let two = HashKeyRange::even(2);
        let plan = to_even(&two, 4);
        let parents: Vec<&[Origin]> = plan.iter().map(|planned| planned.parents.as_slice()).collect();
        assert_eq!(parents, [[Origin::Open(0)].as_slice(), &[Origin::Open(0)], &[Origin::Open(1)], &[Origin::Open(1)]]);
        let plan = to_even(&HashKeyRange::even(4), 2);
        assert_eq!(plan.len(), 2);
        assert_eq!(plan[1].parents, [Origin::Open(2), Origin::Open(3)]);
        assert!(to_even(&two, 2).is_empty());
    }

    #[test]
    fn three_quarters_go_through_shards_in_between() {
        let plan = to_even(&HashKeyRange::even(4), 3);
        let from_planned = |planned: &&Planned| planned.parents.iter().any(|o| matches!(o, Origin::Planned(_)));
        assert_eq!((plan.len(), plan.iter().filter(from_planned).count()), (7, 3));
    }

    proptest! {
        #[test]
        fn every_plan_ends_even(
            mut cuts in proptest::collection::vec(1..u128::MAX, 0..40),
            count in 1_u32..80,
        ) {
            cuts.sort_unstable();
            cuts.dedup();
            let mut open = vec![HashKeyRange::new(0, u128::MAX)];
            for cut in cuts {
                let (low, high) = open.pop().unwrap().split(HashKey(cut)).unwrap();
                open.extend([low, high]);
            }
            let plan = to_even(&open, count);
            prop_assert_eq!(apply(&open, &plan), HashKeyRange::even(count));
            prop_assert!(to_even(&HashKeyRange::even(count), count).is_empty());
        }
    }
}
