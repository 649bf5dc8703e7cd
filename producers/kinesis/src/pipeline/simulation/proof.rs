//! The long run of the simulation, for a person to start: millions of records under every fault, while shards split and merge.

use std::time::Duration;

use rand::Rng;

use super::{
    Simulation, config,
    stream::{Faults, Model},
};
use crate::{config::ProducerId, stats::Stats};

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[doc(hidden)]
pub struct Proof {
    /// User records put, and what became of them.
    pub stats: Stats,
    /// User records stored before an earlier one of their key.
    pub inversions: usize,
    /// User records stored more than once.
    pub duplicates: usize,
    /// User records in requests that were carried out and whose answer was lost: what duplicates can come from.
    pub stored_without_answer: usize,
    /// User records that a reader still has twice which removes repeats by their marks.
    pub read_twice: usize,
    /// Aggregates that the KCL would drop.
    pub dropped_by_kcl: usize,
    /// Splits and merges.
    pub reshards: usize,
    /// Shards at the end.
    pub shards: usize,
    /// Seconds of simulated time.
    pub seconds: u64,
}

const KEYS: usize = 1_000;

/// What the senders keep in the buffer.
const BUFFERED_BYTES: usize = 16 << 20;

/// A split or merge comes every so many seconds.
const RESHARD_SECONDS: u64 = 10;

/// Puts marked `records` on 8 shards and more, with 5 % of single records failing (a tenth of these as throttled), 1 % of calls
/// answered by an error, 1 % lost, and 1 % carried out without an answer.
#[doc(hidden)]
pub fn prove(records: usize, seed: u64) -> Proof {
    let faults = Faults { entry_percent: 5, call_percent: 1, lost_percent: 1, unanswered_percent: 1 };
    let config = config(|config| config.dedupe_tag = Some(ProducerId { producer: 17, epoch: seed }));
    let mut simulation = Simulation::new(seed, 8, faults, Model::Burst, config);
    simulation.stream.keep_no_log();
    let mut left = records;
    let mut reshards = 0;
    let mut next_reshard = simulation.now;
    while left > 0 {
        while left > 0 && simulation.buffered_bytes < BUFFERED_BYTES {
            let key = simulation.random.random_range(0..KEYS);
            let is_large = simulation.random.random_ratio(1, 5_000);
            let bytes = simulation.random.random_range(if is_large { 40_000..90_000 } else { 0..300 });
            simulation.put(key, bytes);
            left -= 1;
        }
        if next_reshard <= simulation.now {
            next_reshard += Duration::from_secs(RESHARD_SECONDS);
            reshards += 1;
            simulation.stream.reshard();
        }
        let pause = Duration::from_millis(simulation.random.random_range(1..50));
        simulation.run_until(simulation.now + pause);
        simulation.settle_puts();
    }
    let stats = simulation.finish();
    let ledger = &simulation.stream.ledger;
    Proof {
        stats,
        inversions: ledger.inversions,
        duplicates: ledger.copies,
        stored_without_answer: simulation.stream.stored_without_answer,
        read_twice: simulation.stream.read_ledger.copies,
        dropped_by_kcl: simulation.stream.dropped_by_kcl,
        reshards,
        shards: simulation.stream.map().shards().len(),
        seconds: simulation.now.duration_since(simulation.start).as_secs(),
    }
}

#[cfg(test)]
mod tests {
    use super::prove;

    #[test]
    fn a_short_proof_holds() {
        let proof = prove(30_000, 3);
        assert_eq!((proof.inversions, proof.dropped_by_kcl, proof.stats.failed), (0, 0, 0), "{proof:?}");
        assert!(proof.duplicates > 0 && proof.read_twice == 0, "{proof:?}");
        assert!(proof.duplicates <= proof.stored_without_answer && proof.stats.retried > 0, "{proof:?}");
        assert_eq!(proof, prove(30_000, 3), "the same seed gives the same run");
    }
}
