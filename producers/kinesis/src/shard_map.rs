//! Which open shard holds which hash keys. A map is complete or it is none.

use std::sync::Arc;

use kinesis_record::HashRange;

use crate::error::ShardMapError;

/// An open shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: Arc<str>,
    pub(crate) range: HashRange,
}

/// The open shards of a stream in the order of their hash ranges, covering every hash key exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardMap {
    shards: Vec<Shard>,
}

impl ShardMap {
    pub(crate) fn new(mut shards: Vec<Shard>) -> Result<Self, ShardMapError> {
        shards.sort_by_key(|shard| shard.range.start);
        // The start that the next shard must have; `None` once the highest hash key is covered.
        let mut next = Some(0_u128);
        for shard in &shards {
            let fits = next == Some(shard.range.start) && shard.range.start <= shard.range.end;
            if !fits {
                return Err(ShardMapError::Coverage { shards: shards.len() });
            }
            next = shard.range.end.checked_add(1);
        }
        match next {
            None => Ok(ShardMap { shards }),
            Some(_) => Err(ShardMapError::Coverage { shards: shards.len() }),
        }
    }

    /// Stands in as long as the shards of the stream are not known. Nothing is sent by it.
    pub(crate) fn unknown() -> Self {
        let range = HashRange { start: 0, end: u128::MAX };
        ShardMap { shards: vec![Shard { id: "unknown".into(), range }] }
    }

    pub(crate) fn shards(&self) -> &[Shard] {
        &self.shards
    }
}

/// A part of a shard's range, the `index`-th of `count` about equal ones. Wide ranges only: a range of fewer than `count`
/// hash keys has fewer parts.
pub(crate) fn part(range: HashRange, index: u8, count: u8) -> Option<HashRange> {
    if count <= 1 {
        return (index == 0).then_some(range);
    }
    let width = (range.end - range.start) / u128::from(count) + 1;
    let start = width.checked_mul(u128::from(index)).and_then(|offset| range.start.checked_add(offset))?;
    let end = start.saturating_add(width - 1).min(range.end);
    (start <= range.end).then_some(HashRange { start, end })
}

#[cfg(test)]
mod tests {
    use kinesis_record::HashRange;
    use proptest::prelude::*;

    use super::{Shard, ShardMap, part};

    fn shards(ranges: &[(u128, u128)]) -> Vec<Shard> {
        let shard = |(index, (start, end)): (usize, &(u128, u128))| Shard {
            id: format!("shardId-{index:012}").into(),
            range: HashRange { start: *start, end: *end },
        };
        ranges.iter().enumerate().map(shard).collect()
    }

    #[test]
    fn a_map_covers_every_hash_key_once() {
        let check = |ranges: &[(u128, u128)], complete: bool| {
            assert_eq!(ShardMap::new(shards(ranges)).is_ok(), complete, "{ranges:?}");
        };
        check(&[(0, u128::MAX)], true);
        check(&[(10, u128::MAX), (0, 9)], true);
        check(&[], false);
        check(&[(0, u128::MAX - 1)], false);
        check(&[(1, u128::MAX)], false);
        check(&[(0, 9), (11, u128::MAX)], false);
        check(&[(0, 9), (9, u128::MAX)], false);
        check(&[(0, u128::MAX), (0, u128::MAX)], false);
        check(&[(0, 9), (10, 5), (6, u128::MAX)], false);
    }

    proptest! {
        #[test]
        fn parts_cover_a_range_exactly(start in any::<u128>(), width in prop_oneof![0..100_u128, any::<u128>()], count in 1..=64_u8) {
            let range = HashRange { start, end: start.saturating_add(width) };
            let parts: Vec<HashRange> = (0..count).filter_map(|index| part(range, index, count)).collect();
            prop_assert_eq!(parts[0].start, range.start);
            prop_assert_eq!(parts[parts.len() - 1].end, range.end);
            for pair in parts.windows(2) {
                prop_assert_eq!(pair[0].end + 1, pair[1].start);
            }
        }
    }
}
