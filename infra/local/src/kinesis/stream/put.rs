//! Putting records: route, limit, write, and answer when they are durable.

use std::sync::atomic::Ordering;

use crate::kinesis::api::{RECORDS_MAX, REQUEST_BYTES_MAX};
use crate::kinesis::frame::{Frames, Payload};
use crate::kinesis::hash_key::HashKey;
use crate::kinesis::log::writer::AppendError;
use crate::kinesis::sequence::SequenceNumber;

use super::{Shard, Stream, StreamState};

/// One record to put. Sizes and shapes are checked before.
#[derive(Debug, Clone, Copy)]
pub(in crate::kinesis) struct PutEntry<'a> {
    pub(in crate::kinesis) partition_key: &'a str,
    pub(in crate::kinesis) hash_key: HashKey,
    pub(in crate::kinesis) data: Payload<'a>,
    /// Data and partition key.
    pub(in crate::kinesis) bytes: usize,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kinesis) enum PutOutcome {
    /// On disk.
    Put { shard: u64, sequence_number: SequenceNumber },
    /// The shard was over a limit; nothing was kept.
    Throttled { shard: u64 },
    /// The disk refused, or the store is closing; nothing was kept.
    Failed,
}

/// The records of one request that go to one shard.
#[derive(Debug, Default)]
struct Lane {
    entries: Vec<usize>,
    frames: Frames,
}

impl Stream {
    /// Puts records; the answers are in the order of the entries. Each is independent of the others.
    ///
    /// # Errors
    /// When an entry's data is not base64; nothing was put then.
    pub(in crate::kinesis) async fn put(
        &self,
        entries: &[PutEntry<'_>],
    ) -> Result<Vec<PutOutcome>, base64_simd::Error> {
        let mut outcomes = vec![PutOutcome::Failed; entries.len()];
        let mut pending: Vec<usize> = (0..entries.len()).collect();
        while !pending.is_empty() {
            let state = self.state();
            if state.is_deleted {
                break;
            }
            let now_ms = self.inner.home.clock.now_ms();
            let is_limited = self.inner.home.is_limited;
            let mut lanes: Vec<Lane> = Vec::new();
            lanes.resize_with(state.open.len(), Lane::default);
            for index in pending.drain(..) {
                let Some(entry) = entries.get(index) else { continue };
                let at = if state.is_auto() { self.next_turn(&state) } else { state.route(entry.hash_key) };
                let Some((shard, lane)) = lane_of(&state, &mut lanes, at) else { continue };
                if !shard.admit_write(entry.bytes, is_limited, now_ms) {
                    set(&mut outcomes, index, PutOutcome::Throttled { shard: shard.description.number });
                    continue;
                }
                lane.frames.push(entry.partition_key, entry.data)?;
                lane.entries.push(index);
            }
            pending = write(&state, lanes, &mut outcomes).await;
            if !pending.is_empty() {
                self.changed_since(state.version).await;
            }
        }
        Ok(outcomes)
    }

    /// Notes the sizes of a request and of its records, also where it is refused for them.
    pub(in crate::kinesis) fn note_put(&self, entries: &[PutEntry<'_>], bytes: usize, now_ms: i64) {
        let record_bytes_max = self.state().settings.record_bytes_max();
        let largest = entries.iter().map(|entry| entry.bytes).max().unwrap_or(0);
        let mut sizes = super::lock(&self.inner.sizes);
        sizes.records.note(entries.len(), RECORDS_MAX, now_ms);
        sizes.bytes.note(bytes, REQUEST_BYTES_MAX, now_ms);
        sizes.record.note(largest, record_bytes_max, now_ms);
    }

    /// The index of the open shard whose turn it is.
    fn next_turn(&self, state: &StreamState) -> Option<usize> {
        self.inner.turn.fetch_add(1, Ordering::Relaxed).checked_rem(state.open.len())
    }

    /// Waits until a split or merge that closed a shard has named the shards that follow it.
    async fn changed_since(&self, version: u64) {
        // The sender lives in this stream, so that waiting for it cannot fail.
        let mut states = self.inner.state.subscribe();
        let _changed = states.wait_for(|state| state.version > version).await;
    }
}

/// Writes all lanes at once, waits for all. Returns the entries whose shard had been closed.
async fn write(state: &StreamState, lanes: Vec<Lane>, outcomes: &mut [PutOutcome]) -> Vec<usize> {
    let mut closed = Vec::new();
    let mut waiting = Vec::new();
    for (shard, lane) in state.open.iter().zip(lanes) {
        if lane.entries.is_empty() {
            continue;
        }
        match &shard.writer {
            Some(writer) => waiting.push((shard, lane.entries, writer.append(lane.frames).await)),
            None => closed.extend(lane.entries),
        }
    }
    for (shard, entries, answer) in waiting {
        match answer.await.unwrap_or(Err(AppendError::Failed)) {
            Ok(first) => {
                for (counter, index) in (first..).zip(entries) {
                    let sequence_number = shard.description.sequence_number(counter);
                    set(outcomes, index, PutOutcome::Put { shard: shard.description.number, sequence_number });
                }
            }
            Err(AppendError::Closed) => closed.extend(entries),
            Err(AppendError::Failed) => {
                entries.into_iter().for_each(|index| set(outcomes, index, PutOutcome::Failed));
            }
        }
    }
    // Across the shards that follow, records keep the order that they have in the request.
    closed.sort_unstable();
    closed
}

fn lane_of<'a>(state: &'a StreamState, lanes: &'a mut [Lane], at: Option<usize>) -> Option<(&'a Shard, &'a mut Lane)> {
    Some((state.open.get(at?)?, lanes.get_mut(at?)?))
}

fn set(outcomes: &mut [PutOutcome], index: usize, outcome: PutOutcome) {
    if let Some(slot) = outcomes.get_mut(index) {
        *slot = outcome;
    }
}
