//! Takes in a new shard map: shards that are the same keep lanes and limits; records that wait move to the lanes of the new
//! shards; and those lanes wait until what is on its way for the old ones is settled, so that no key is overtaken.

use std::{collections::HashMap, sync::Arc, time::Instant};

use crate::{
    pipeline::{
        Pipeline, ShardState,
        batch::Pending,
        lane::{Lane, LaneId},
        limiter::Limiter,
    },
    shard_map::{ShardMap, part},
    stats::count,
};

impl Pipeline {
    /// Replaces the shard map by one that was asked for at `asked_at`.
    pub(crate) fn map_read(&mut self, asked_at: Instant, map: &ShardMap) {
        let has_changed = !map.shards().iter().eq(self.shards.iter().map(|state| &state.shard));
        self.refresh.succeeded(asked_at, has_changed);
        self.is_map_missing = false;
        self.is_stirred = true;
        if has_changed {
            count(&self.counters.shard_map_changes, 1);
            self.replace_map(map);
        }
    }

    /// The shard map could not be read; the old one stays in use.
    pub(crate) fn map_failed(&mut self, now: Instant) {
        self.refresh.failed(now, &mut self.random);
    }

    pub(crate) fn replace_map(&mut self, map: &ShardMap) {
        let mut old_limiters: HashMap<Arc<str>, Limiter> =
            self.shards.drain(..).map(|state| (state.shard.id, state.limiter)).collect();
        let mut old_lanes: HashMap<_, Lane> =
            self.lanes.drain(..).map(|lane| ((Arc::clone(&lane.shard_id), lane.range), lane)).collect();
        let parts = self.config.lanes_per_shard;
        for shard in map.shards() {
            let limiter = old_limiters
                .remove(&shard.id)
                .unwrap_or_else(|| Limiter::new(self.clock.clone(), self.config.rate_limit_percent));
            self.shards.push(ShardState { shard: shard.clone(), limiter });
            for index in 0..parts {
                let Some(range) = part(shard.range, index, parts) else { continue };
                let lane = old_lanes.remove(&(Arc::clone(&shard.id), range));
                let lane = lane.unwrap_or_else(|| {
                    self.next_id += 1;
                    Lane::new(LaneId(self.next_id), Arc::clone(&shard.id), range, index)
                });
                self.lanes.push(lane);
            }
        }
        self.move_pending(old_lanes.into_values());
        self.block_lanes();
    }

    fn move_pending(&mut self, retired: impl Iterator<Item = Lane>) {
        let mut moved: Vec<Pending> = retired.flat_map(|mut lane| lane.take_pending()).collect();
        moved.sort_by_key(|pending| pending.ticket.number);
        for pending in moved {
            self.lane_at(pending.ticket.hash_key).push(pending);
        }
    }

    /// Counts anew which lanes have to wait for batches of lanes that are gone.
    fn block_lanes(&mut self) {
        for lane in &mut self.lanes {
            lane.blocked_by = 0;
        }
        let waited_for: Vec<_> = self.batches.values().map(|batch| (batch.lane, batch.keys)).collect();
        for (lane, keys) in waited_for {
            if self.lane_at(keys.start).id == lane {
                continue;
            }
            for lane in self.lanes_within(keys) {
                lane.blocked_by += 1;
            }
        }
    }
}
