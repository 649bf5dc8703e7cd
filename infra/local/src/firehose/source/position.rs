//! How far the shards of a source are read: one small file, replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data_dir::replace_file;
use crate::kinesis::ShardDescription;

const FILE: &str = "source.json";

/// Where reading a shard goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) next_counter: u64,
    /// It is closed, and read to its end.
    pub(super) is_finished: bool,
}

/// The positions in all shards that are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Positions {
    /// When the stream was made: one that is made again under its name is another one.
    stream_created_ms: i64,
    shards: BTreeMap<u64, Position>,
}

impl Positions {
    pub(super) fn new(stream_created_ms: i64, shards: BTreeMap<u64, Position>) -> Self {
        Self { stream_created_ms, shards }
    }

    /// The positions in a delivery stream's directory. Blocks.
    pub(super) fn load(dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(dir.join(FILE))?)?)
    }

    /// Makes them durable. Blocks.
    pub(super) fn save(&self, dir: &Path) -> io::Result<()> {
        replace_file(&dir.join(FILE), &serde_json::to_vec(self)?)
    }

    pub(super) fn note(&mut self, shard: u64, position: Position) {
        self.shards.insert(shard, position);
    }

    /// The shards that may be read now, and from where: their parents are read to the end, or kept no more. Shards that
    /// came later are read whole, those of a stream that was made anew too. Forgets shards that are not listed any more.
    pub(super) fn due(&mut self, stream_created_ms: i64, shards: &[ShardDescription]) -> Vec<(u64, u64)> {
        if self.stream_created_ms != stream_created_ms {
            *self = Self::new(stream_created_ms, BTreeMap::new());
        }
        self.shards.retain(|number, _| shards.iter().any(|shard| shard.number == *number));
        let is_listed = |number: &u64| shards.iter().any(|shard| shard.number == *number);
        let is_finished = |number: &u64| self.shards.get(number).is_some_and(|position| position.is_finished);
        let is_due = |shard: &&ShardDescription| {
            !is_finished(&shard.number) && shard.parents.iter().all(|parent| is_finished(parent) || !is_listed(parent))
        };
        let from = |number: &u64| self.shards.get(number).map_or(0, |position| position.next_counter);
        shards.iter().filter(is_due).map(|shard| (shard.number, from(&shard.number))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Position, Positions, ShardDescription};
    use crate::kinesis::HashKeyRange;

    fn shard(number: u64, parents: &[u64]) -> ShardDescription {
        let parents = parents.to_vec();
        ShardDescription { number, range: HashKeyRange::new(0, 1), parents, epoch_s: 0, created_ms: 0, closed: None }
    }

    #[test]
    fn parents_come_first_and_later_shards_whole() {
        let at = |next_counter, is_finished| Position { next_counter, is_finished };
        let shards = [shard(0, &[]), shard(1, &[]), shard(2, &[0, 1]), shard(3, &[9])];
        let check = |known: &[(u64, Position)], expected: &[(u64, u64)]| {
            let mut positions = Positions::new(7, known.iter().copied().collect());
            assert_eq!(positions.due(7, &shards), expected, "{known:?}");
        };
        check(&[(0, at(5, false)), (1, at(6, false))], &[(0, 5), (1, 6), (3, 0)]);
        check(&[(0, at(5, true)), (1, at(6, false))], &[(1, 6), (3, 0)]);
        check(&[(0, at(5, true)), (1, at(6, true))], &[(2, 0), (3, 0)]);
        check(&[(0, at(5, true)), (1, at(6, true)), (2, at(8, false))], &[(2, 8), (3, 0)]);
    }

    #[test]
    fn a_stream_made_anew_is_read_whole_and_shards_that_are_gone_forgotten() {
        let position = Position { next_counter: 5, is_finished: false };
        let mut positions = Positions::new(7, BTreeMap::from([(0, position), (4, position)]));
        assert_eq!(positions.due(7, &[shard(0, &[])]), [(0, 5)]);
        assert_eq!(positions.shards.len(), 1);
        assert_eq!(positions.due(8, &[shard(0, &[])]), [(0, 0)]);
    }

    #[test]
    fn positions_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let positions = Positions::new(7, BTreeMap::from([(3, Position { next_counter: 5, is_finished: true })]));
        positions.save(dir.path()).unwrap();
        assert_eq!(Positions::load(dir.path()).unwrap(), positions);
    }
}
