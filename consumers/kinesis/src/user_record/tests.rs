//! User records out of real-shaped Lambda events.

use aws_lambda_events::event::kinesis::KinesisEvent;
use bytes::Bytes;
use kinesis_record::AggregateBuilder;
use proptest::prelude::*;

use super::{UserRecord, into_user_records, user_records, user_records_of};

/// An event as Lambda sends it: one plain record ("Hello, this is a test." in the documentation's example) and one
/// aggregate of two, which another library packed.
const EVENT: &str = include_str!("../../fixtures/event.json");

fn record(key: &str, data: &'static str, position: (&str, u32), arrival_ms: i64) -> UserRecord {
    UserRecord {
        partition_key: key.into(),
        explicit_hash_key: None,
        data: Bytes::from_static(data.as_bytes()),
        sequence_number: position.0.into(),
        sub_sequence: position.1,
        arrival_ms: Some(arrival_ms),
    }
}

#[test]
fn a_lambda_event_gives_its_user_records() {
    let event: KinesisEvent = serde_json::from_str(EVENT).unwrap();
    let plain = "49590338271490256608559692538361571095921575989136588898";
    let aggregate = "49590338271490256608559692540925702759324208523137515618";
    let expect = vec![
        record("1", "Hello, this is a test.", (plain, 0), 1_545_084_650_987),
        record("screen-17", "one", (aggregate, 0), 1_545_084_711_166),
        record("screen-18", "two", (aggregate, 1), 1_545_084_711_166),
    ];
    let borrowed: Vec<UserRecord> = event.records.iter().flat_map(|record| user_records(record).unwrap()).collect();
    assert_eq!(borrowed, expect);
    let owned: Vec<UserRecord> =
        event.records.into_iter().flat_map(|record| into_user_records(record).unwrap()).collect();
    assert_eq!(owned, expect);
}

#[test]
fn payloads_are_slices_of_the_aggregate() {
    let mut builder = AggregateBuilder::new();
    builder.push("a", Some(7), Bytes::from_static(b"payload"));
    let data = builder.encode();
    let user = user_records_of("lane", "12", &data).unwrap().next().unwrap();
    assert_eq!((user.explicit_hash_key, user.arrival_ms), (Some(7), None));
    assert!(data.as_ptr_range().contains(&user.data.as_ptr()));
}

#[test]
fn a_contradictory_aggregate_is_named_and_not_split() {
    let mut event: KinesisEvent = serde_json::from_str(EVENT).unwrap();
    let broken = include_bytes!("../../fixtures/index_out_of_table.bin");
    event.records[1].kinesis.data.0 = broken.to_vec();
    let error = user_records(&event.records[1]).map(drop).unwrap_err();
    assert_eq!(&*error.sequence_number, event.records[1].kinesis.sequence_number);
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "sub-record 1 names partition key 1 of 1");
}

proptest! {
    #[test]
    fn whatever_is_no_aggregate_comes_through_unchanged(key in ".{0,20}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let data = Bytes::from(bytes);
        let users: Vec<UserRecord> = user_records_of(&key, "1", &data).unwrap().collect();
        prop_assert_eq!(users.len(), 1);
        prop_assert_eq!((&*users[0].partition_key, &users[0].data, users[0].sub_sequence), (&*key, &data, 0));
    }
}
