//! Where a user record stands in its shard.

use std::{cmp::Ordering, sync::Arc};

/// The place of a user record in its shard, and so its identity there: what a reader keeps to know how far it has come. Ordered
/// as the shard is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The sequence number of the Kinesis record.
    pub sequence_number: Arc<str>,
    /// The position in the aggregate, 0 for a plain record.
    pub sub_sequence: u32,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        cmp_sequence_numbers(&self.sequence_number, &other.sequence_number)
            .then_with(|| self.sub_sequence.cmp(&other.sub_sequence))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of sequence numbers of one shard. They are decimal numbers of up to 129 digits without leading zeros, too long
/// for any integer type: the longer one is higher, and between equals the digits decide.
pub fn cmp_sequence_numbers(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::{Position, cmp_sequence_numbers};

    #[test]
    fn sequence_numbers_longer_than_any_integer_are_ordered() {
        let long = "9".repeat(128);
        let longer = format!("1{}", "0".repeat(128));
        assert_eq!(cmp_sequence_numbers(&long, &longer), Ordering::Less);
        assert_eq!(cmp_sequence_numbers(&longer, &longer), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_numbers(left in any::<(u128, u32)>(), right in any::<(u64, u32)>()) {
            let right = (u128::from(right.0), right.1);
            let position = |(number, sub_sequence): (u128, u32)| Position {
                sequence_number: number.to_string().into(),
                sub_sequence,
            };
            prop_assert_eq!(cmp_sequence_numbers(&left.0.to_string(), &right.0.to_string()), left.0.cmp(&right.0));
            prop_assert_eq!(position(left).cmp(&position(right)), left.cmp(&right));
        }
    }
}
