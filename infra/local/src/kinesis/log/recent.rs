//! The end of a stream's log in memory, so that readers who keep up need neither the disk nor another thread.

use std::collections::{HashMap, VecDeque};

use crate::kinesis::block::Block;

use super::ReadLimit;

/// What one stream keeps at most, block heads and bookkeeping among it: about a third of a second at full speed.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bookkeeping for one block, beside its bytes.
const BLOCK_OVERHEAD_BYTES: usize = 192;

/// The last blocks of all shards of a stream.
#[derive(Debug, Default)]
pub(super) struct Recent {
    shards: HashMap<u64, VecDeque<Block>>,
    /// The shard and the size of each block, oldest first.
    order: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl Recent {
    /// Keeps a block that was just written, and lets go of the oldest ones that have no room any more.
    pub(super) fn push(&mut self, block: Block) {
        let (shard, bytes) = (block.head.shard, block.head.block_bytes() + BLOCK_OVERHEAD_BYTES);
        self.shards.entry(shard).or_default().push_back(block);
        self.order.push_back((shard, bytes));
        self.bytes += bytes;
        while self.bytes > BYTES_MAX {
            let Some((shard, bytes)) = self.order.pop_front() else { break };
            self.bytes -= bytes;
            if let Some(blocks) = self.shards.get_mut(&shard) {
                blocks.pop_front();
                if blocks.is_empty() {
                    self.shards.remove(&shard);
                }
            }
        }
    }

    /// The blocks from the one that holds `counter` on, as many as a limit can need; `None` when it is not here.
    pub(super) fn from(&self, shard: u64, counter: u64, limit: ReadLimit) -> Option<Vec<Block>> {
        let blocks = self.shards.get(&shard)?;
        let first = blocks.partition_point(|block| block.head.counter <= counter).checked_sub(1)?;
        if counter >= blocks.get(first)?.head.end() {
            return None;
        }
        let mut taken = Vec::new();
        let (mut records, mut bytes) = (0_usize, 0_usize);
        for block in blocks.range(first..) {
            taken.push(block.clone());
            let is_first = taken.len() == 1;
            let skipped = if is_first { counter - block.head.counter } else { 0 };
            records = records.saturating_add(usize::try_from(u64::from(block.head.records) - skipped).unwrap_or(0));
            // Where in the first block the record lies is not known yet: none of its bytes are counted.
            bytes = bytes.saturating_add(if is_first { 0 } else { block.body.len() });
            if records >= limit.records || bytes >= limit.bytes {
                break;
            }
        }
        Some(taken)
    }
}
