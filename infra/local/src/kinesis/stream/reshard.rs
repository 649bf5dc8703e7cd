//! Splitting and merging shards under load.
//!
//! The children's logs are made first. Then the parents take no more records, so that their end is known; then the
//! new map is made durable and shown. Puts that met a closed parent wait for the new map. A crash in between leaves
//! the parents open and unused directories behind, and loses nothing.

use std::io;
use std::sync::Arc;

use crate::kinesis::description::{ClosedShard, ShardDescription};
use crate::kinesis::hash_key::{HashKey, HashKeyRange};
use crate::kinesis::log::LogError;
use crate::kinesis::store::SHARDS_MAX;

use super::{Shard, Stream, StreamState};

/// Why a reshard was refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::kinesis) enum ReshardError {
    /// The stream lists no such shard.
    #[error("no shard {0}")]
    NoSuchShard(u64),
    /// The shard was split or merged before.
    #[error("shard {0} is closed")]
    Closed(u64),
    /// The hash key does not leave two parts.
    #[error("the new starting hash key is not within the shard")]
    HashKey,
    /// The two do not touch.
    #[error("the shards are not adjacent")]
    NotAdjacent,
    /// The stream would have too many shards.
    #[error("more than {SHARDS_MAX} shards")]
    TooMany,
    /// The disk refused.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The disk refused the new map; the old one stands.
    #[error("write the shard map")]
    Save(#[source] io::Error),
    /// The store is closing.
    #[error("the store is closing")]
    Closing,
}

impl Stream {
    /// Splits a shard at a hash key, which becomes the first of the second child.
    pub(in crate::kinesis) async fn split(&self, number: u64, at: HashKey) -> Result<(), ReshardError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        let parent = open_shard(&state, number)?;
        let (low, high) = parent.description.range.split(at).ok_or(ReshardError::HashKey)?;
        self.replace(&state, &[parent], &[low, high]).await
    }

    /// Merges two shards that touch into one.
    pub(in crate::kinesis) async fn merge(&self, number: u64, adjacent: u64) -> Result<(), ReshardError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        let (one, other) = (open_shard(&state, number)?, open_shard(&state, adjacent)?);
        let range = one.description.range.merge(other.description.range).ok_or(ReshardError::NotAdjacent)?;
        self.replace(&state, &[one, other], &[range]).await
    }

    async fn replace(
        &self,
        state: &StreamState,
        parents: &[&Shard],
        ranges: &[HashKeyRange],
    ) -> Result<(), ReshardError> {
        if state.open.len() + ranges.len() > SHARDS_MAX + parents.len() {
            return Err(ReshardError::TooMany);
        }
        let now_ms = self.inner.home.clock.now_ms();
        let descriptions: Vec<&ShardDescription> = parents.iter().map(|parent| &*parent.description).collect();
        let mut children = Vec::with_capacity(ranges.len());
        for (number, range) in (state.next_shard..).zip(ranges) {
            children.push(self.make(ShardDescription::child(number, *range, &descriptions, now_ms)).await?);
        }
        let result = self.close_and_save(state, parents, children).await;
        if result.is_err() {
            for writer in parents.iter().filter_map(|parent| parent.writer.as_ref()) {
                writer.reopen().await;
            }
            // Puts that met a closed parent look again.
            let mut same = state.clone();
            same.version += 1;
            self.inner.state.send_replace(Arc::new(same));
        }
        result
    }

    async fn make(&self, description: ShardDescription) -> Result<Shard, ReshardError> {
        let (dir, home) = (self.inner.dir.join(description.id()), self.inner.home.clone());
        let failed = |source| LogError::Io { dir: self.inner.dir.clone(), source };
        let opened = super::blocking(move || {
            // A reshard that died before its map was written can have left a directory of this name.
            if dir.exists() {
                std::fs::remove_dir_all(&dir)?;
            }
            std::fs::create_dir(&dir)?;
            Ok(Shard::open(&dir, description, &home))
        });
        let (shard, _nothing_torn) = opened.await.map_err(failed)??;
        Ok(shard)
    }

    async fn close_and_save(
        &self,
        state: &StreamState,
        parents: &[&Shard],
        children: Vec<Shard>,
    ) -> Result<(), ReshardError> {
        let mut shards = state.shards.clone();
        for parent in parents {
            let writer = parent.writer.as_ref().ok_or(ReshardError::Closed(parent.description.number))?;
            let next_counter = writer.close().await.ok_or(ReshardError::Closing)?;
            let closed = ClosedShard { next_counter, at_ms: self.inner.home.clock.now_ms() };
            for shard in shards.iter_mut().filter(|shard| shard.description.number == parent.description.number) {
                shard.description =
                    Arc::new(ShardDescription { closed: Some(closed), ..ShardDescription::clone(&shard.description) });
                shard.writer = None;
            }
        }
        let next_shard = state.next_shard + u64::try_from(children.len()).unwrap_or(0);
        shards.extend(children);
        let next = StreamState::new(state.version + 1, state.settings.clone(), next_shard, shards);
        self.save(&next).await.map_err(ReshardError::Save)?;
        self.inner.state.send_replace(Arc::new(next));
        // Only now: whoever sees a parent's end finds its children.
        parents.iter().for_each(|parent| parent.log.close());
        Ok(())
    }
}

fn open_shard(state: &StreamState, number: u64) -> Result<&Shard, ReshardError> {
    let shard = state.shard(number).ok_or(ReshardError::NoSuchShard(number))?;
    if shard.description.closed.is_some() { Err(ReshardError::Closed(number)) } else { Ok(shard) }
}
