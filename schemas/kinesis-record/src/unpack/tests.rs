//! Unpacking: documented cases, whatever bytes, and the round trip with the packer.

use bytes::Bytes;
use md5::{Digest, Md5};
use proptest::prelude::*;

use super::{Aggregate, SubRecord, UnpackError, Unpacked, check_digests, first_outside, unpack, unpack_aggregate};
use crate::{AggregateBuilder, Compressor, HashRange, MAGIC, Origin, RecordRef, SpoolMark, hash_key};

fn seal(message: &[u8]) -> Bytes {
    [&MAGIC, message, Md5::digest(message).as_slice()].concat().into()
}

fn sub_record(partition_key: &str, explicit_hash_key: Option<u128>, data: &[u8]) -> SubRecord {
    SubRecord { partition_key: partition_key.into(), explicit_hash_key, data: Bytes::copy_from_slice(data) }
}

#[test]
fn what_is_no_aggregate_is_plain() {
    let good = seal(&[0x0A, 1, b'a', 0x1A, 4, 0x08, 0x00, 0x1A, 0x00]);
    assert_eq!(unpack(&good), Ok(Unpacked::Aggregate(vec![sub_record("a", None, b"")])));
    let mut wrong_magic = good.to_vec();
    wrong_magic[0] ^= 1;
    let mut wrong_digest = good.to_vec();
    *wrong_digest.last_mut().unwrap() ^= 1;
    for plain in [
        Bytes::new(),
        Bytes::from_static(b"{}"),
        Bytes::from_static(&MAGIC),
        good.slice(..good.len() - 1),
        wrong_magic.into(),
        wrong_digest.into(),
        seal(&[]),
        // The required fields are missing: first the key's index, then the data.
        seal(&[0x0A, 1, b'a', 0x1A, 2, 0x1A, 0x00]),
        seal(&[0x0A, 1, b'a', 0x1A, 2, 0x08, 0x00]),
        // The field is there, but as a delimited one; a key that is no text; a cut message.
        seal(&[0x0A, 1, b'a', 0x1A, 4, 0x0A, 0x00, 0x1A, 0x00]),
        seal(&[0x0A, 1, 0xFF, 0x1A, 4, 0x08, 0x00, 0x1A, 0x00]),
        seal(&[0x0A, 9, b'a']),
    ] {
        assert_eq!(unpack(&plain), Ok(Unpacked::Plain), "{plain:02x?}");
    }
}

#[test]
fn unusual_but_valid_messages_are_read() {
    let one = Ok(Unpacked::Aggregate(vec![sub_record("a", None, b"x")]));
    for message in [
        // The record before its table.
        &[0x1A, 5, 0x08, 0, 0x1A, 1, b'x', 0x0A, 1, b'a'][..],
        // Tags, an unknown field, a table entry of the wrong type.
        &[0x0A, 1, b'a', 0x1A, 9, 0x08, 0, 0x1A, 1, b'x', 0x22, 2, 0x0A, 0],
        &[0x0A, 1, b'a', 0x1A, 5, 0x08, 0, 0x1A, 1, b'x', 0x7A, 1, 0, 0x7D, 0, 0, 0, 0],
        &[0x0A, 1, b'a', 0x08, 7, 0x1A, 5, 0x08, 0, 0x1A, 1, b'x'],
        // The last of a repeated singular field counts.
        &[0x0A, 1, b'a', 0x1A, 7, 0x08, 9, 0x08, 0, 0x1A, 1, b'x'],
        // An explicit hash key that is no number, and that nothing points at.
        &[0x0A, 1, b'a', 0x12, 1, b'?', 0x1A, 5, 0x08, 0, 0x1A, 1, b'x'],
    ] {
        assert_eq!(unpack(&seal(message)), one, "{message:02x?}");
    }
    assert_eq!(unpack(&seal(&[0x0A, 1, b'a'])), Ok(Unpacked::Aggregate(vec![])));
}

#[test]
fn a_genuine_aggregate_that_contradicts_itself_is_an_error() {
    let check = |message: &[u8], error: UnpackError| assert_eq!(unpack(&seal(message)), Err(error));
    check(
        &[0x0A, 1, b'a', 0x1A, 4, 0x08, 0, 0x1A, 0, 0x1A, 4, 0x08, 1, 0x1A, 0],
        UnpackError::PartitionKeyIndex { sub_sequence: 1, index: 1, table_len: 1 },
    );
    check(
        &[0x0A, 1, b'a', 0x1A, 6, 0x08, 0, 0x10, 5, 0x1A, 0],
        UnpackError::HashKeyIndex { sub_sequence: 0, index: 5, table_len: 0 },
    );
    for text in ["", "-1", "+1", "1x", "340282366920938463463374607431768211456"] {
        let length = u8::try_from(text.len()).unwrap();
        let table = [&[0x0A, 1, b'a', 0x12, length], text.as_bytes()].concat();
        let message = [&table[..], &[0x1A, 6, 0x08, 0, 0x10, 0, 0x1A, 0]].concat();
        check(&message, UnpackError::HashKeyNumber { sub_sequence: 0, index: 0 });
    }
}

#[test]
fn the_kcl_rule_finds_the_first_stranger() {
    let records = [sub_record("a", None, b""), sub_record("b", Some(5), b""), sub_record("c", Some(6), b"")];
    let a = hash_key("a");
    for (start, end, expect) in [
        (0, u128::MAX, None),
        (a, a, Some(1)),
        (0, a, None),
        (6, u128::MAX, Some(1)),
        (5, u128::MAX, None),
        (0, 5, Some(0)),
    ] {
        assert_eq!(first_outside(&records, HashRange { start, end }), expect, "{start}..={end}");
    }
}

prop_compose! {
    fn any_record()(
        key in prop_oneof![3 => "[a-c]{0,2}", 1 => ".{0,200}"],
        hash_key in prop_oneof![2 => Just(None), 1 => (0..3_u128).prop_map(Some), 1 => any::<u128>().prop_map(Some)],
        data in prop_oneof![9 => proptest::collection::vec(any::<u8>(), 0..40),
                            1 => proptest::collection::vec(any::<u8>(), 120..2_000)],
    ) -> SubRecord {
        sub_record(&key, hash_key, &data)
    }
}

fn pack(records: &[SubRecord]) -> AggregateBuilder {
    let mut builder = AggregateBuilder::new();
    for record in records {
        let predicted = builder.size_with(&record.partition_key, record.explicit_hash_key, record.data.len());
        builder.push(&record.partition_key, record.explicit_hash_key, record.data.clone());
        assert_eq!(builder.size(), predicted);
    }
    builder
}

proptest! {
    #[test]
    fn packed_records_come_back(
        records in proptest::collection::vec(any_record(), 1..50),
        origin in any::<Option<[u64; 4]>>(),
        range in any::<[u128; 2]>(),
    ) {
        let mut builder = pack(&records);
        let origin = origin.map(|[producer, epoch, lane, counter]| Origin { producer, epoch, lane, counter });
        if let Some(origin) = origin {
            builder.set_origin(origin);
        }
        let data = builder.encode();
        prop_assert_eq!(data.len(), builder.size());
        let aggregate = unpack_aggregate(&data, 0).unwrap().unwrap();
        prop_assert_eq!((aggregate.origin(), aggregate.len()), (origin, records.len()));
        let range = HashRange { start: range[0].min(range[1]), end: range[0].max(range[1]) };
        prop_assert_eq!(aggregate.first_outside(range), first_outside(&records, range));
        prop_assert_eq!(aggregate.records().len(), records.len());
        let borrowed = |record: &RecordRef<'_>| sub_record(record.partition_key, record.explicit_hash_key, record.data);
        prop_assert_eq!(&aggregate.records().map(|record| borrowed(&record)).collect::<Vec<_>>(), &records);
        prop_assert_eq!(unpack(&data), Ok(Unpacked::Aggregate(records)));
    }

    #[test]
    fn numbers_of_a_log_come_back(
        records in proptest::collection::vec((any_record(), any::<Option<u8>>()), 1..50),
        base in prop_oneof![Just(u64::MAX - 3), 0..1_000_u64],
        sent_as in any::<Option<[u64; 4]>>(),
        is_compressed in any::<bool>(),
    ) {
        let sent_as = sent_as.map(|[producer, epoch, lane, counter]| Origin { producer, epoch, lane, counter });
        let mark = SpoolMark { series: u64::MAX, base, done_below: base / 2, sent_as };
        let numbers: Vec<Option<u64>> =
            records.iter().map(|(_, above)| above.map(|above| base.wrapping_add(u64::from(above)))).collect();
        let (mut builder, mut bounded) = (AggregateBuilder::new(), AggregateBuilder::new());
        builder.set_spool_mark(mark);
        bounded.set_spool_mark(mark);
        for ((record, _), number) in records.iter().zip(&numbers) {
            let (key, hash_key) = (&record.partition_key, record.explicit_hash_key);
            builder.number_next(*number);
            let predicted = builder.size_with(key, hash_key, record.data.len());
            builder.push(key, hash_key, record.data.clone());
            prop_assert_eq!(builder.size(), predicted);
            bounded.number_next(*number);
            prop_assert!(!bounded.push_within(predicted - 1, key, hash_key, &record.data));
            bounded.number_next(*number);
            prop_assert!(bounded.push_within(predicted, key, hash_key, &record.data));
        }
        prop_assert_eq!(builder.encode(), bounded.encode());
        let data = if is_compressed { Compressor::new(1).compress(&builder).unwrap() } else { builder.encode() };
        let aggregate = unpack_aggregate(&data, 1 << 20).unwrap().unwrap();
        prop_assert_eq!((aggregate.spool_mark(), aggregate.origin()), (Some(mark), None));
        prop_assert_eq!(aggregate.spool_numbers().collect::<Vec<_>>(), numbers);
        let records: Vec<SubRecord> = records.into_iter().map(|(record, _)| record).collect();
        prop_assert_eq!(aggregate.into_iter().collect::<Vec<_>>(), records);
        // Cleared, it numbers nothing.
        builder.clear();
        builder.number_next(Some(1));
        builder.push("key", None, Bytes::new());
        let plain = unpack_aggregate(&builder.encode(), 0).unwrap().unwrap();
        prop_assert_eq!((plain.spool_mark(), plain.spool_numbers().next()), (None, Some(None)));
    }

    #[test]
    fn many_at_a_time_is_as_one_by_one(
        all in proptest::collection::vec((proptest::collection::vec(any_record(), 0..6), 0..5_u8), 0..12),
    ) {
        let data = |(records, kind): (Vec<SubRecord>, u8)| {
            let data = pack(&records).encode();
            match kind {
                0 => data.slice(4..),
                1 => data.slice(..data.len() - 1),
                2 => Compressor::new(1).compress(&pack(&records)).unwrap(),
                _ => data,
            }
        };
        let all: Vec<Bytes> = all.into_iter().map(data).collect();
        for (checked, data) in check_digests(all.iter().cloned()).iter().zip(&all) {
            prop_assert_eq!(checked.data(), data);
            let list = |read: Result<Option<Aggregate>, UnpackError>| {
                read.map(|aggregate| aggregate.map(|aggregate| aggregate.into_iter().collect::<Vec<_>>()))
            };
            prop_assert_eq!(list(checked.unpack(1 << 20)), list(unpack_aggregate(data, 1 << 20)));
        }
    }

    #[test]
    fn any_bytes_are_plain_or_sealed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(unpack(&bytes.clone().into()), Ok(Unpacked::Plain));
        let data: Bytes = [&MAGIC, &bytes[..]].concat().into();
        prop_assert_eq!(unpack(&data), Ok(Unpacked::Plain));
        // With a right digest the message itself is read: any result will do, but no panic.
        drop(unpack(&seal(&bytes)));
    }

    #[test]
    fn mutated_messages_never_panic(
        records in proptest::collection::vec(any_record(), 1..20),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let data = pack(&records).encode();
        let mut message = data[4..data.len() - 16].to_vec();
        for (at, byte) in changes {
            let at = at.index(message.len());
            message[at] = byte;
        }
        let total: usize = records.iter().map(|record| record.data.len()).sum();
        for message in [&message[..], &message[..cut.index(message.len())]] {
            if let Ok(Unpacked::Aggregate(read)) = unpack(&seal(message)) {
                // Payloads are slices of the message: they can never hold more than it does, each byte once.
                prop_assert!(read.iter().map(|record| record.data.len()).sum::<usize>() <= message.len());
            }
        }
        prop_assert!(total <= data.len());
    }
}
