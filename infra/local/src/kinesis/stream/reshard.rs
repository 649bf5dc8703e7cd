//! Splitting, merging and scaling under load.
//!
//! The log's writer learns of the children first. Then the parents take no more records, so that their end is known; then
//! the new map is made durable and shown. Puts that met a closed parent wait for the new map. A crash in between leaves
//! the parents open, and loses nothing. Scaling is one change too: the shards in between
//! are closed before anyone sees them.

use std::io;
use std::sync::Arc;

use crate::kinesis::description::{ClosedShard, ShardDescription};
use crate::kinesis::hash_key::HashKey;
use crate::kinesis::scaling::{self, Origin, Planned};
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
        let parent = open_index(&state, number)?;
        let range = open_at(&state, parent)?.description.range;
        let (low, high) = range.split(at).ok_or(ReshardError::HashKey)?;
        self.carry_out(&state, &[low, high].map(|range| Planned { range, parents: vec![Origin::Open(parent)] })).await
    }

    /// Splits each of these shards in its middle, as one change. What is closed or too narrow is left as it is, as is what
    /// would be too much for the stream. Returns how many were split.
    pub(in crate::kinesis) async fn split_evenly(&self, numbers: &[u64]) -> Result<usize, ReshardError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        let halves = |number: &u64| {
            let at = open_index(&state, *number).ok()?;
            let range = state.open.get(at)?.description.range;
            let (low, high) = range.split(range.middle())?;
            Some([low, high].map(|range| Planned { range, parents: vec![Origin::Open(at)] }))
        };
        let room = SHARDS_MAX.saturating_sub(state.open.len());
        let plan: Vec<Planned> = numbers.iter().filter_map(halves).take(room).flatten().collect();
        if !plan.is_empty() {
            self.carry_out(&state, &plan).await?;
        }
        Ok(plan.len() / 2)
    }

    /// Merges two shards that touch into one.
    pub(in crate::kinesis) async fn merge(&self, number: u64, adjacent: u64) -> Result<(), ReshardError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        let (one, other) = (open_index(&state, number)?, open_index(&state, adjacent)?);
        let (first, second) = (open_at(&state, one)?.description.range, open_at(&state, other)?.description.range);
        let range = first.merge(second).ok_or(ReshardError::NotAdjacent)?;
        self.carry_out(&state, &[Planned { range, parents: vec![Origin::Open(one), Origin::Open(other)] }]).await
    }

    /// Splits and merges until there are `count` even shards.
    pub(in crate::kinesis) async fn scale(&self, count: u32) -> Result<(), ReshardError> {
        let _one_at_a_time = self.inner.change.lock().await;
        let state = self.state();
        let open: Vec<_> = state.open.iter().map(|shard| shard.description.range).collect();
        let plan = scaling::to_even(&open, count);
        if plan.is_empty() { Ok(()) } else { self.carry_out(&state, &plan).await }
    }

    async fn carry_out(&self, state: &StreamState, plan: &[Planned]) -> Result<(), ReshardError> {
        let now_ms = self.inner.home.clock.now_ms();
        let descriptions = describe(state, plan, now_ms);
        let mut parents: Vec<usize> = plan.iter().flat_map(|planned| &planned.parents).filter_map(open_of).collect();
        parents.sort_unstable();
        parents.dedup();
        let parents: Vec<&Shard> = parents.into_iter().filter_map(|at| state.open.get(at)).collect();
        let opened = descriptions.iter().filter(|description| description.closed.is_none()).count();
        if state.open.len() + opened > SHARDS_MAX + parents.len() {
            return Err(ReshardError::TooMany);
        }
        let make = |description: ShardDescription| {
            let log = self.inner.log.shard(description.number, 1);
            Shard::new(description, log, now_ms, self.inner.home.is_limited)
        };
        let children: Vec<Shard> = descriptions.into_iter().map(make).collect();
        self.inner.writer.add(children.iter().map(|child| child.log.clone()).collect()).await;
        let (parent_numbers, child_numbers) = (numbers(&parents), numbers(&children.iter().collect::<Vec<_>>()));
        let result = self.close_and_save(state, &parents, children).await;
        if result.is_err() {
            self.inner.writer.reopen(parent_numbers).await;
            self.inner.writer.forget(child_numbers).await;
            // Puts that met a closed parent look again.
            let mut same = state.clone();
            same.version += 1;
            self.inner.state.send_replace(Arc::new(same));
        }
        result
    }

    async fn close_and_save(
        &self,
        state: &StreamState,
        parents: &[&Shard],
        children: Vec<Shard>,
    ) -> Result<(), ReshardError> {
        let mut shards = state.shards.clone();
        let ends = self.inner.writer.close(numbers(parents)).await.ok_or(ReshardError::Closing)?;
        for (parent, next_counter) in parents.iter().zip(ends) {
            let closed = ClosedShard { next_counter, at_ms: self.inner.home.clock.now_ms() };
            for shard in shards.iter_mut().filter(|shard| shard.description.number == parent.description.number) {
                shard.description =
                    Arc::new(ShardDescription { closed: Some(closed), ..ShardDescription::clone(&shard.description) });
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

fn numbers(shards: &[&Shard]) -> Vec<u64> {
    shards.iter().map(|shard| shard.description.number).collect()
}

/// What the planned shards will be. Those in between, parents themselves, are closed from the start.
fn describe(state: &StreamState, plan: &[Planned], now_ms: i64) -> Vec<ShardDescription> {
    let mut descriptions: Vec<ShardDescription> = Vec::with_capacity(plan.len());
    for (number, planned) in (state.next_shard..).zip(plan) {
        let parent = |origin: &Origin| match origin {
            Origin::Open(at) => state.open.get(*at).map(|shard| &*shard.description),
            Origin::Planned(at) => descriptions.get(*at),
        };
        let parents: Vec<&ShardDescription> = planned.parents.iter().filter_map(parent).collect();
        descriptions.push(ShardDescription::child(number, planned.range, &parents, now_ms));
    }
    for origin in plan.iter().flat_map(|planned| &planned.parents) {
        if let Origin::Planned(at) = origin
            && let Some(description) = descriptions.get_mut(*at)
        {
            description.closed = Some(ClosedShard { next_counter: 1, at_ms: now_ms });
        }
    }
    descriptions
}

fn open_of(origin: &Origin) -> Option<usize> {
    match origin {
        Origin::Open(at) => Some(*at),
        Origin::Planned(_) => None,
    }
}

fn open_index(state: &StreamState, number: u64) -> Result<usize, ReshardError> {
    let is_it = |shard: &Shard| shard.description.number == number;
    match state.open.iter().position(is_it) {
        Some(at) => Ok(at),
        None if state.shards.iter().any(is_it) => Err(ReshardError::Closed(number)),
        None => Err(ReshardError::NoSuchShard(number)),
    }
}

fn open_at(state: &StreamState, at: usize) -> Result<&Shard, ReshardError> {
    state.open.get(at).ok_or(ReshardError::Closing)
}
