//! The partitions of a stream that have a buffer which is open or not delivered yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lane::Lane;

/// Counts buffers by their lanes. Clones count together; the lock is held for a look or a change.
#[derive(Debug, Clone, Default)]
pub(super) struct Active(Arc<Mutex<BTreeMap<Lane, usize>>>);

impl Active {
    /// A buffer is begun.
    pub(super) fn add(&self, lane: &Lane) {
        if lane.is_partition() {
            *self.buffers().entry(lane.clone()).or_insert(0) += 1;
        }
    }

    /// A buffer is delivered.
    pub(super) fn remove(&self, lane: &Lane) {
        let mut buffers = self.buffers();
        let Some(left) = buffers.get_mut(lane) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            buffers.remove(lane);
        }
    }

    pub(super) fn lanes(&self) -> BTreeSet<Lane> {
        self.buffers().keys().cloned().collect()
    }

    fn buffers(&self) -> MutexGuard<'_, BTreeMap<Lane, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Active, Lane};

    #[test]
    fn a_partition_is_active_until_its_last_buffer_is_delivered() {
        let active = Active::default();
        let lane = Lane::Partition { prefix: "a/".to_owned() };
        active.add(&Lane::Plain);
        active.add(&lane);
        active.add(&lane);
        active.remove(&lane);
        assert_eq!(active.lanes().len(), 1);
        active.remove(&lane);
        active.remove(&lane);
        assert!(active.lanes().is_empty());
    }
}
