//! How often the account may call the operations that manage streams.
//!
//! Each operation has its own bucket, as large as a second's calls. The rates are those of the API reference; where it
//! says none, the five a second that nearly all of them have. What belongs to a stream or a shard at the service
//! (`ListShards`, reads, puts) is not counted here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the reference says nothing else.
const USUAL_PER_S: i64 = 5;
/// Thousandths of a call are kept, so that what trickles in within a millisecond is not lost.
const CALL: i64 = 1_000;

/// Calls a second that an operation may be called; none where it is limited elsewhere.
fn calls_per_s(operation: &str) -> Option<i64> {
    match operation {
        "PutRecord" | "PutRecords" | "GetRecords" | "GetShardIterator" | "SubscribeToShard" | "ListShards" => None,
        "DescribeLimits" => Some(1),
        "DescribeStream" | "UpdateShardCount" => Some(10),
        "DescribeStreamSummary" | "DescribeStreamConsumer" => Some(20),
        _ => Some(USUAL_PER_S),
    }
}

/// The buckets of the operations that were called.
#[derive(Debug, Default)]
struct Rates {
    buckets: BTreeMap<&'static str, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    thousandths: i64,
    filled_ms: i64,
}

impl Rates {
    fn admit(&mut self, operation: &str, now_ms: i64) -> bool {
        let Some(per_s) = calls_per_s(operation) else { return true };
        // Names of nothing would be kept for ever; and what is not here is refused anyway.
        let Some(operation) = super::api::OPERATIONS.iter().find(|known| **known == operation) else { return true };
        let full = per_s * CALL;
        let bucket = self.buckets.entry(operation).or_insert(Bucket { thousandths: full, filled_ms: now_ms });
        // A second fills it; a clock that went back fills nothing.
        let elapsed_ms = now_ms.saturating_sub(bucket.filled_ms).clamp(0, 1_000);
        bucket.thousandths = (bucket.thousandths + elapsed_ms * per_s).min(full);
        bucket.filled_ms = now_ms;
        let is_admitted = bucket.thousandths >= CALL;
        if is_admitted {
            bucket.thousandths -= CALL;
        }
        is_admitted
    }
}

/// The account's rates. Cheap to clone; all clones are one account.
#[derive(Debug, Clone, Default)]
pub(super) struct CallRates {
    /// Held for a few additions.
    rates: Arc<Mutex<Rates>>,
}

impl CallRates {
    /// Takes one call of an operation.
    pub(super) fn admit(&self, operation: &str, now_ms: i64) -> bool {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).admit(operation, now_ms)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_operation_has_its_own() {
        let rates = CallRates::default();
        let admitted = |operation: &str| (0..50).filter(|_| rates.admit(operation, 0)).count();
        for (operation, calls) in [
            ("CreateStream", 5),
            ("DescribeLimits", 1),
            ("DescribeStream", 10),
            ("DescribeStreamSummary", 20),
            ("UpdateShardCount", 10),
            ("ListShards", 50),
            ("PutRecords", 50),
            ("NoSuchOperation", 50),
        ] {
            assert_eq!(admitted(operation), calls, "{operation}");
        }
        assert!(rates.admit("CreateStream", 200) && !rates.admit("CreateStream", 399));
        assert!(rates.admit("CreateStream", 400));
        assert!(!rates.admit("CreateStream", 100), "the clock went back");
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_two_seconds_calls(gaps_ms in proptest::collection::vec(0_i64..300, 1..200)) {
            let rates = CallRates::default();
            let (mut now_ms, mut taken) = (0, Vec::new());
            for gap_ms in gaps_ms {
                now_ms += gap_ms;
                if rates.admit("ListStreams", now_ms) {
                    taken.push(now_ms);
                }
                let within = taken.iter().filter(|at_ms| now_ms - **at_ms < 1_000).count();
                prop_assert!(within <= 10, "{} calls", within);
                prop_assert!(i64::try_from(taken.len()).unwrap() <= 5 + now_ms * 5 / 1_000);
            }
        }
    }
}
