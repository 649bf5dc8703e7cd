//! The windows of several shards, for a reader that is given whichever shard comes.

use std::collections::HashMap;

use kinesis_record::{Aggregate, Origin};

use super::{DedupeWindow, Repeats, WindowLimits};

/// Shards that are remembered unless a caller says otherwise.
const SHARDS_MAX: usize = 256;

/// A [`DedupeWindow`] per shard, bounded in number: the shard that was silent longest is forgotten first.
///
/// In a Lambda function this lives as long as the execution environment. Another environment may be given the next batch of
/// a shard; then a repeat can slip through, but nothing is ever lost.
#[derive(Debug, Clone)]
pub struct ShardWindows {
    limits: WindowLimits,
    shards_max: usize,
    shards: HashMap<String, Shard>,
    calls: u64,
}

#[derive(Debug, Clone)]
struct Shard {
    window: DedupeWindow,
    seen_in_call: u64,
}

impl Default for ShardWindows {
    /// Up to 256 shards with the default limits.
    fn default() -> Self {
        ShardWindows::new(WindowLimits::default(), SHARDS_MAX)
    }
}

impl ShardWindows {
    /// No windows yet; up to `shards_max` of them, at least 1, with these limits each.
    pub fn new(limits: WindowLimits, shards_max: usize) -> Self {
        ShardWindows { limits, shards_max: shards_max.max(1), shards: HashMap::new(), calls: 0 }
    }

    /// As [`DedupeWindow::is_repeat`], in the window of `shard`: its id, or whatever names it among all that this reader is
    /// given.
    pub fn is_repeat(&mut self, shard: &str, origin: &Origin, sequence_number: &str) -> bool {
        self.shard(shard).window.is_repeat(origin, sequence_number)
    }

    /// As [`DedupeWindow::repeats`], in the window of `shard`.
    pub fn repeats(&mut self, shard: &str, aggregate: &Aggregate, sequence_number: &str) -> Repeats {
        self.shard(shard).window.repeats(aggregate, sequence_number)
    }

    /// Begins the window of a shard after a split or merge. Parents that are not known here add nothing; a window that has begun
    /// already is replaced, so this comes before the child is read.
    pub fn begin_after(&mut self, child: &str, parents: &[&str]) {
        let parents = parents.iter().filter_map(|parent| self.shards.get(*parent));
        let window = DedupeWindow::after(self.limits, parents.map(|shard| &shard.window));
        self.shard(child).window = window;
    }

    /// How many shards are remembered.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    fn shard(&mut self, name: &str) -> &mut Shard {
        self.calls += 1;
        if !self.shards.contains_key(name) && self.shards.len() >= self.shards_max {
            let silent_longest = self.shards.iter().min_by_key(|(_, shard)| shard.seen_in_call);
            let silent_longest = silent_longest.map(|(name, _)| name.clone());
            silent_longest.and_then(|name| self.shards.remove(&name));
        }
        let limits = self.limits;
        let shard = self
            .shards
            .entry(name.to_owned())
            .or_insert_with(|| Shard { window: DedupeWindow::new(limits), seen_in_call: 0 });
        shard.seen_in_call = self.calls;
        shard
    }
}
