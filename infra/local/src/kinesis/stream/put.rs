//! Putting records: route, limit, write, and answer when they are durable.

use std::sync::atomic::Ordering;

use crate::kinesis::api::{RECORDS_MAX, REQUEST_BYTES_MAX};
use crate::kinesis::block::{Blocks, Payload};
use crate::kinesis::hash_key::HashKey;
use crate::kinesis::sequence::SequenceNumber;

use super::{Stream, StreamState};

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

/// Where an entry goes: the index of its shard among the open ones, and its own.
type Routed = (usize, usize);

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
        loop {
            let state = self.state();
            if state.is_deleted {
                break;
            }
            let routed = self.admitted(&state, entries, self.route(&state, entries, &pending), &mut outcomes);
            if routed.is_empty() {
                break;
            }
            let blocks = blocks(&state, entries, &routed)?;
            let Ok(runs) = self.inner.writer.append(blocks).await else { break };
            let mut routed = routed.into_iter();
            pending.clear();
            for run in runs {
                for (step, (at, index)) in (0..u64::from(run.records)).zip(routed.by_ref()) {
                    let shard = state.open.get(at).map(|shard| &shard.description);
                    match (run.counter, shard) {
                        (Some(first), Some(shard)) => {
                            let sequence_number = shard.sequence_number(first + step);
                            set(&mut outcomes, index, PutOutcome::Put { shard: run.shard, sequence_number });
                        }
                        (None, _) | (_, None) => pending.push(index),
                    }
                }
            }
            if pending.is_empty() {
                break;
            }
            // Across the shards that follow, records keep the order that they have in the request.
            pending.sort_unstable();
            self.changed_since(state.version).await;
        }
        Ok(outcomes)
    }

    /// The shards of entries, those of one shard together and in their order.
    fn route(&self, state: &StreamState, entries: &[PutEntry<'_>], pending: &[usize]) -> Vec<Routed> {
        let shard_of = |entry: &PutEntry<'_>| {
            if state.is_auto() { self.next_turn(state) } else { state.route(entry.hash_key) }
        };
        let mut routed: Vec<Routed> =
            pending.iter().filter_map(|index| Some((shard_of(entries.get(*index)?)?, *index))).collect();
        if !routed.is_sorted() {
            routed.sort_unstable();
        }
        routed
    }

    /// Asks each shard for room. The refused are noted.
    fn admitted(
        &self,
        state: &StreamState,
        entries: &[PutEntry<'_>],
        mut routed: Vec<Routed>,
        outcomes: &mut [PutOutcome],
    ) -> Vec<Routed> {
        let now_ms = self.inner.home.clock.now_ms();
        routed.retain(|(at, index)| {
            let (Some(shard), Some(entry)) = (state.open.get(*at), entries.get(*index)) else { return false };
            let is_admitted = shard.admit_write(entry.bytes, now_ms);
            if !is_admitted {
                set(outcomes, *index, PutOutcome::Throttled { shard: shard.description.number });
            }
            is_admitted
        });
        routed
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

/// The blocks of what goes to each shard, ready to be written.
fn blocks(state: &StreamState, entries: &[PutEntry<'_>], routed: &[Routed]) -> Result<Blocks, base64_simd::Error> {
    let bytes = routed.iter().filter_map(|(_, index)| entries.get(*index)).map(|entry| entry.bytes).sum();
    let shards = 1 + routed.windows(2).filter(|pair| matches!(pair, [(one, _), (other, _)] if one != other)).count();
    let mut blocks = Blocks::with_room(bytes, routed.len(), shards);
    for (at, index) in routed {
        if let (Some(shard), Some(entry)) = (state.open.get(*at), entries.get(*index)) {
            blocks.push(shard.description.number, entry.partition_key, entry.data)?;
        }
    }
    blocks.seal();
    Ok(blocks)
}

fn set(outcomes: &mut [PutOutcome], index: usize, outcome: PutOutcome) {
    if let Some(slot) = outcomes.get_mut(index) {
        *slot = outcome;
    }
}
