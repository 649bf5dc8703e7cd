//! What an outage costs: memory stays within the budget, nothing spins, and nobody stampedes when it ends.

use std::time::Duration;

use super::{
    Simulation, config,
    stream::{Faults, Model},
};

const BUDGET_BYTES: usize = 16 << 20;
const SHARDS: u32 = 32;

/// Offers far more than fits for ten minutes, and puts what there is room for.
#[test]
fn ten_minutes_of_outage_cost_no_more_memory_than_the_budget_and_no_time() {
    let config = config(|config| {
        config.buffer_bytes_max = BUDGET_BYTES;
        config.record_deadline = Duration::from_secs(3_600);
    });
    let mut simulation = Simulation::new(11, SHARDS, Faults::NONE, Model::Smooth, config);
    simulation.stream.is_down = true;
    let (mut offered, mut refused, mut held_max) = (0, 0, 0);
    for _ in 0..600 {
        for key in 0..200 {
            offered += 1;
            if simulation.buffered_bytes + 1_300 > BUDGET_BYTES {
                refused += 1;
            } else {
                simulation.put(key, 1_000);
            }
        }
        simulation.run_until(simulation.now + Duration::from_secs(1));
        held_max = held_max.max(simulation.pipeline.held_bytes());
        assert!(simulation.buffered_bytes <= BUDGET_BYTES);
    }
    assert!(refused > offered / 2, "{refused} of {offered}");
    assert!(held_max <= BUDGET_BYTES + BUDGET_BYTES / 10, "{held_max} bytes are held");
    assert!(held_max >= BUDGET_BYTES / 2, "{held_max} bytes are held: the sum misses something");

    // Blocked: each lane comes back once or twice a second, with an answer to each request; lanes share requests.
    let polls_before = simulation.polls;
    simulation.run_until(simulation.now + Duration::from_secs(10));
    let polls = simulation.polls - polls_before;
    assert!(polls <= 10 * 2 * 2 * usize::try_from(SHARDS).unwrap(), "{polls} polls in 10 s");

    // The end: within the limits from the first moment on, so nothing is throttled, and all of it gone in a few seconds.
    simulation.stream.is_down = false;
    let requests_before = simulation.counters.stats(0).requests;
    simulation.run_until(simulation.now + Duration::from_secs(5));
    let stats = simulation.counters.stats(0);
    assert!(simulation.pipeline.is_empty(), "{stats:?}");
    assert_eq!(stats.throttled, 0);
    let requests = stats.requests - requests_before;
    assert!(requests < 5 * 1_000, "{requests} requests in 5 s");
    simulation.finish();
}

impl super::Pipeline {
    /// What the pipeline holds, in bytes, as far as it can be added up: records, tickets, encoded aggregates, and the slot
    /// through which each sender is told.
    fn held_bytes(&self) -> usize {
        // A oneshot's shared half: state, value, two wakers.
        const REPLY_BYTES: usize = 128;
        let waiting = self.lanes.iter().flat_map(|lane| lane.waiting()).map(|pending| {
            size_of_val(pending) + pending.partition_key.allocated_bytes() + pending.data.len() + REPLY_BYTES
        });
        let sent = self.batches.values().map(|batch| {
            let tickets = batch.tickets.capacity() * size_of::<super::super::batch::Ticket>();
            size_of_val(batch) + batch.entry.bytes() + tickets + batch.tickets.len() * REPLY_BYTES
        });
        waiting.sum::<usize>() + sent.sum::<usize>()
    }
}
