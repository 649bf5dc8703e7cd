//! An on-demand stream's growth, carried out: what its shards took, and the splits that follow from it.

use crate::kinesis::description::StreamMode;
use crate::kinesis::growth::{Load, Taken};

use super::reshard::ReshardError;
use super::{Shard, Stream, StreamState, lock};

impl Stream {
    /// Splits the shards that have been hot, `room` of them at most. Returns how many; a stream with provisioned capacity
    /// has none, and one that is being changed waits for the next look.
    pub(in crate::kinesis) async fn grow(&self, now_ms: i64, room: usize) -> Result<usize, ReshardError> {
        let state = self.state();
        if state.is_deleted || state.settings.mode != StreamMode::OnDemand || !lock(&self.inner.growth).is_due(now_ms) {
            return Ok(0);
        }
        let taken = taken(&state);
        let mut hot = lock(&self.inner.growth).look(now_ms, &taken);
        hot.truncate(room);
        if hot.is_empty() {
            return Ok(0);
        }
        let Ok(change) = self.transition().begin() else { return Ok(0) };
        let split = self.split_evenly(&hot).await?;
        change.made();
        Ok(split)
    }

    /// The most that came in over a minute of the last hour.
    pub(in crate::kinesis) fn hour_peak(&self, now_ms: i64) -> Load {
        lock(&self.inner.growth).hour_peak(now_ms, &taken(&self.state()))
    }
}

fn taken(state: &StreamState) -> Vec<Taken> {
    state.shards.iter().map(Shard::taken).collect()
}
