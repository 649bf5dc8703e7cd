//! User records out of real-shaped Lambda events.

use aws_lambda_events::event::kinesis::KinesisEvent;
use bytes::Bytes;
use kinesis_record::{AggregateBuilder, Compressor, HashRange, Origin, hash_key};
use proptest::prelude::*;

use super::{InRange, UserRecord, into_user_records, user_records, user_records_in_range, user_records_of};
use crate::position::Position;

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

#[test]
fn compressed_aggregates_read_like_any_other() {
    let mut builder = AggregateBuilder::new();
    for text in ["one", "two", "three"] {
        builder.push("key", Some(7), Bytes::from_static(text.as_bytes()));
    }
    let origin = Origin { producer: 1, epoch: 2, lane: 3, counter: 4 };
    builder.set_origin(origin);
    let (plain, compressed) = (builder.encode(), Compressor::new(1).compress(&builder).unwrap());
    let read = |data: &Bytes| user_records_of("lane", "12", data).unwrap();
    assert_eq!((read(&plain).origin(), read(&compressed).origin()), (Some(origin), Some(origin)));
    assert!(read(&plain).eq(read(&compressed)));
    assert_eq!(read(&compressed).len(), 3);
}

#[test]
fn reading_goes_on_in_the_middle_of_an_aggregate() {
    let mut builder = AggregateBuilder::new();
    for text in ["zero", "one", "two"] {
        builder.push("key", None, Bytes::from_static(text.as_bytes()));
    }
    let data = builder.encode();
    for (sequence_number, sub_sequence, expect) in [("9", 7, 0), ("10", 0, 1), ("10", 2, 3), ("11", 0, 3)] {
        let checkpoint = Position { sequence_number: sequence_number.into(), sub_sequence };
        let left: Vec<u32> =
            user_records_of("lane", "10", &data).unwrap().after(&checkpoint).map(|user| user.sub_sequence).collect();
        assert_eq!(left, (expect..3).collect::<Vec<_>>(), "{checkpoint:?}");
    }
}

#[test]
fn the_rule_of_the_kcl_takes_all_or_nothing() {
    let mut builder = AggregateBuilder::new();
    builder.push("a", None, Bytes::from_static(b"by key"));
    builder.push("b", Some(5), Bytes::from_static(b"by hash key"));
    let (a, b) = (hash_key("a"), 5);
    let check = |data: &Bytes, start: u128, end: u128, expect: Option<usize>| match user_records_in_range(
        HashRange { start, end },
        "outer",
        "1",
        data,
    )
    .unwrap()
    {
        InRange::All(records) => {
            assert_eq!(expect, None);
            assert!(records.eq(user_records_of("outer", "1", data).unwrap()));
        }
        InRange::Dropped { records, first_outside } => assert_eq!((records, Some(first_outside)), (2, expect)),
    };
    for data in [builder.encode(), Compressor::new(1).compress(&builder).unwrap()] {
        check(&data, 0, u128::MAX, None);
        check(&data, b, a, None);
        check(&data, b + 1, a, Some(1));
        check(&data, 0, a - 1, Some(0));
    }
    // A plain record is handed out, wherever it landed.
    check(&Bytes::from_static(b"plain"), 0, 0, None);
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
