//! Any bytes as the data of a Kinesis record, as a consumer gets them.

#![no_main]

use bytes::Bytes;
use kinesis_record::{HashRange, unpack_aggregate};
use libfuzzer_sys::fuzz_target;

/// Enough for any frame that is found, little enough that a bomb shows.
const CONTENT_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Ok(Some(aggregate)) = unpack_aggregate(&Bytes::copy_from_slice(data), CONTENT_BYTES_MAX) else { return };
    assert!(aggregate.message_bytes() <= data.len().max(CONTENT_BYTES_MAX));
    let records = aggregate.len();
    aggregate.first_outside(HashRange { start: 1, end: u128::MAX / 2 });
    let numbered = aggregate.spool_numbers().filter(Option::is_some).count();
    assert!(numbered <= records && (numbered == 0 || aggregate.spool_mark().is_some()));
    assert_eq!(aggregate.into_iter().count(), records, "what is counted is handed out");
});
