//! Where a mapping goes on after a restart: one small file per shard, replaced after each success.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data_dir::replace_file;
use crate::kinesis::{SequenceNumber, ShardDescription};

/// How far a mapping has come in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The counter of the next record to handle.
    pub(super) next_counter: u64,
    /// The shard is closed, and all of it is handled.
    pub(super) is_finished: bool,
}

/// The checkpoints of one mapping on one stream.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    dir: PathBuf,
    stream_created_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct CheckpointFile {
    /// A checkpoint of a stream that was deleted and made again is not believed.
    stream_created_ms: i64,
    next_sequence_number: String,
    is_finished: bool,
}

impl Checkpoints {
    pub(super) fn open(dir: PathBuf, stream_created_ms: i64) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        Ok(Self { dir, stream_created_ms })
    }

    /// The checkpoint in a shard; `None` when the mapping has not handled any of it.
    pub(super) fn read(&self, shard: &ShardDescription) -> io::Result<Option<Checkpoint>> {
        let file: CheckpointFile = match fs::read(self.path(shard)) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let next = SequenceNumber::parse(&file.next_sequence_number).map_err(io::Error::other)?;
        let is_of_this_shard = file.stream_created_ms == self.stream_created_ms && shard.owns(next);
        Ok(is_of_this_shard.then_some(Checkpoint { next_counter: next.counter(), is_finished: file.is_finished }))
    }

    /// Keeps a checkpoint; durable when this returns. Blocks.
    pub(super) fn write(&self, shard: &ShardDescription, checkpoint: Checkpoint) -> io::Result<()> {
        let file = CheckpointFile {
            stream_created_ms: self.stream_created_ms,
            next_sequence_number: shard.sequence_number(checkpoint.next_counter).to_string(),
            is_finished: checkpoint.is_finished,
        };
        replace_file(&self.path(shard), &serde_json::to_vec(&file)?)
    }

    fn path(&self, shard: &ShardDescription) -> PathBuf {
        self.dir.join(format!("{}.json", shard.id()))
    }
}

#[cfg(test)]
mod tests {
    use crate::kinesis::HashKeyRange;

    use super::*;

    #[test]
    fn a_checkpoint_comes_back_for_its_own_shard_only() {
        let dir = tempfile::tempdir().unwrap();
        let shard = |epoch_s| ShardDescription {
            number: 1,
            range: HashKeyRange::new(0, u128::MAX),
            parents: Vec::new(),
            epoch_s,
            created_ms: 0,
            closed: None,
        };
        let checkpoints = Checkpoints::open(dir.path().join("a"), 77).unwrap();
        assert_eq!(checkpoints.read(&shard(5)).unwrap(), None);
        let checkpoint = Checkpoint { next_counter: 42, is_finished: true };
        checkpoints.write(&shard(5), checkpoint).unwrap();
        assert_eq!(checkpoints.read(&shard(5)).unwrap(), Some(checkpoint));
        assert_eq!(checkpoints.read(&shard(6)).unwrap(), None);
        let of_another_stream = Checkpoints::open(dir.path().join("a"), 78).unwrap();
        assert_eq!(of_another_stream.read(&shard(5)).unwrap(), None);
        fs::write(dir.path().join("a/shardId-000000000001.json"), "{").unwrap();
        assert!(checkpoints.read(&shard(5)).is_err(), "a damaged checkpoint is said, not skipped");
    }
}
