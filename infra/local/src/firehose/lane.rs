//! What a buffer is of: records that come to lie in one object.

use serde::{Deserialize, Serialize};

/// Where a buffer's records go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(super) enum Lane {
    /// To the prefix, evaluated when the buffer is delivered: all records of a stream without dynamic partitioning.
    #[default]
    Plain,
    /// To this prefix, which the values of a record's keys gave.
    Partition {
        /// Evaluated but for its random strings.
        prefix: String,
    },
    /// To the prefix of failed records: each record is the description of a failure already.
    Failed {
        /// The kind of failure.
        output_type: String,
    },
}

impl Lane {
    /// Whether it counts among the active partitions.
    pub(super) fn is_partition(&self) -> bool {
        matches!(self, Self::Partition { .. })
    }
}
