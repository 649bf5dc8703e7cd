//! Compressed aggregates: their bytes, the round trip, and whatever a hostile writer may send.

use bytes::Bytes;
use proptest::prelude::*;
use zstd::bulk::compress as zstd_compress;

use super::{COMPRESSED_MAGIC, CONTENT_BYTES_MAX, CompressError, Compressor, DecompressError, checksum};
use crate::{AggregateBuilder, MAGIC, Origin, SubRecord, UnpackError, Unpacked, unpack, unpack_aggregate};

const MESSAGE: &[u8] = &[0x0A, 1, b'a', 0x1A, 5, 0x08, 0, 0x1A, 1, b'x'];

/// A record with a right checksum around any claim and any frame.
fn seal(version: u8, claimed: u32, frame: &[u8]) -> Bytes {
    let header = [&COMPRESSED_MAGIC[..], &[version], &claimed.to_le_bytes()].concat();
    let stored = checksum(&header, frame).to_le_bytes();
    [&header, &stored[..], frame].concat().into()
}

fn seal_message(message: &[u8]) -> Bytes {
    seal(1, u32::try_from(message.len()).unwrap(), &zstd_compress(message, 1).unwrap())
}

fn check_error(data: &Bytes, expect: DecompressError) {
    assert_eq!(unpack(data), Err(UnpackError::Compressed(expect)), "{data:02x?}");
}

#[test]
fn the_format_has_these_bytes() {
    let mut builder = AggregateBuilder::new();
    builder.push("a", None, Bytes::from_static(b"x"));
    builder.set_origin(Origin { producer: 1, epoch: 2, lane: 3, counter: 4 });
    let golden: &[u8] = &[
        0x8B, b'A', b'G', b'G', b'Z', b'S', b'T', b'D', 1, 21, 0, 0, 0, // magic, version, length
        0x1F, 0x25, 0x12, 0xF9, // CRC-32, as zlib computes it
        0x28, 0xB5, 0x2F, 0xFD, 0x24, 21, // zstd: magic, single segment with checksum, length
        0xA9, 0, 0, // the last block, raw, 21 bytes
        0x0A, 1, b'a', 0x1A, 5, 0x08, 0, 0x1A, 1, b'x', 0xC2, 0x3E, 8, 0x08, 1, 0x10, 2, 0x18, 3, 0x20, 4, //
        0x24, 0x4F, 0x8D, 0x90, // zstd's checksum of the message
    ];
    let data = Compressor::new(1).compress(&builder).unwrap();
    assert_eq!(data, golden);
    let aggregate = unpack_aggregate(&Bytes::from_static(golden), 21).unwrap().unwrap();
    assert_eq!(aggregate.origin(), Some(Origin { producer: 1, epoch: 2, lane: 3, counter: 4 }));
    let record = SubRecord { partition_key: "a".into(), explicit_hash_key: None, data: Bytes::from_static(b"x") };
    assert_eq!(aggregate.into_iter().collect::<Vec<_>>(), [record]);
}

#[test]
fn no_other_reader_takes_it_for_something_else() {
    let data = seal_message(MESSAGE);
    assert!(!data.starts_with(&MAGIC));
    assert!(std::str::from_utf8(&data).is_err(), "it is no text");
    assert!(data.windows(7).any(|part| part == b"AGGZSTD"), "a person can tell what it is");
}

#[test]
fn whatever_is_cut_is_an_error() {
    let whole = seal_message(MESSAGE);
    for bytes in 0..whole.len() {
        let cut = whole.slice(..bytes);
        match bytes {
            0..8 => assert_eq!(unpack(&cut), Ok(Unpacked::Plain), "{bytes}"),
            8..17 => check_error(&cut, DecompressError::Header { bytes }),
            _ => assert!(matches!(unpack(&cut), Err(UnpackError::Compressed(DecompressError::Checksum { .. })))),
        }
    }
}

#[test]
fn lies_are_found() {
    let frame = zstd_compress(MESSAGE, 1).unwrap();
    check_error(&seal(2, 10, &frame), DecompressError::Version { version: 2 });
    check_error(&seal(0, 10, &frame), DecompressError::Version { version: 0 });
    // Longer than said: zstd does not write beyond what was said. Shorter than said, or nothing at all.
    check_error(&seal(1, 9, &frame), DecompressError::Zstd { reason: "Destination buffer is too small" });
    check_error(&seal(1, 11, &frame), DecompressError::Length { claimed: 11, actual: 10 });
    check_error(&seal(1, 10, &[]), DecompressError::Length { claimed: 10, actual: 0 });
    let too_large = DecompressError::TooLarge { bytes: CONTENT_BYTES_MAX + 1, bytes_max: CONTENT_BYTES_MAX };
    check_error(&seal(1, u32::try_from(CONTENT_BYTES_MAX + 1).unwrap(), &frame), too_large);
    let limited = unpack_aggregate(&seal_message(MESSAGE), 9).map(drop);
    assert_eq!(limited, Err(DecompressError::TooLarge { bytes: 10, bytes_max: 9 }.into()));
    // Not zstd; a frame cut in the middle; garbage behind it; zstd's own checksum wrong.
    for bad in [&b"not zstd at all"[..], &frame[..frame.len() - 1], &[&frame[..], b"x"].concat()] {
        let error = unpack(&seal(1, 10, bad)).unwrap_err();
        assert!(matches!(error, UnpackError::Compressed(DecompressError::Zstd { .. })), "{error:?}");
    }
    // A message that is none, and one that contradicts itself.
    check_error(&seal_message(&[0x0A, 9, b'a']), DecompressError::Message);
    let error = UnpackError::PartitionKeyIndex { sub_sequence: 0, index: 1, table_len: 1 };
    assert_eq!(unpack(&seal_message(&[0x0A, 1, b'a', 0x1A, 4, 0x08, 1, 0x1A, 0])), Err(error));
    assert_eq!(unpack(&seal_message(&[])), Ok(Unpacked::Aggregate(vec![])));
}

#[test]
fn a_bomb_costs_no_more_than_it_may() {
    // 64 MiB of zeros are 2 KB. Whatever it claims, at most what is allowed comes out.
    let frame = zstd_compress(&vec![0; 1 << 26], 1).unwrap();
    assert!(frame.len() < 10_000);
    check_error(&seal(1, 1 << 26, &frame), DecompressError::TooLarge { bytes: 1 << 26, bytes_max: CONTENT_BYTES_MAX });
    for claimed in [0, 1, 1 << 20, 16 << 20] {
        check_error(&seal(1, claimed, &frame), DecompressError::Zstd { reason: "Destination buffer is too small" });
    }
}

#[test]
fn what_readers_would_refuse_is_not_packed() {
    let mut builder = AggregateBuilder::new();
    // Beside the payload: 3 bytes of table, 2 of index, 2 tags and 2 lengths of 4 bytes.
    builder.push("a", None, vec![0; CONTENT_BYTES_MAX - 15].into());
    let mut compressor = Compressor::new(1);
    let largest = compressor.compress(&builder).unwrap();
    let Ok(Unpacked::Aggregate(records)) = unpack(&largest) else { panic!("the largest can be read") };
    assert_eq!(records[0].data.len(), CONTENT_BYTES_MAX - 15);
    builder.push("a", None, Bytes::new());
    assert_eq!(compressor.compress(&builder), Err(CompressError::TooLarge { bytes: CONTENT_BYTES_MAX + 6 }));
}

/// Partition key, explicit hash key, payload.
type Put = (String, Option<u128>, Vec<u8>);

fn any_records() -> impl Strategy<Value = Vec<Put>> {
    let data = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..3_000_usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    proptest::collection::vec(("[a-d]{1,4}", proptest::option::of(any::<u128>()), data), 0..60)
}

proptest! {
    #[test]
    fn packed_records_come_back(records in any_records(), level in -7..10_i32, origin in any::<Option<[u64; 4]>>()) {
        let origin = origin.map(|[producer, epoch, lane, counter]| Origin { producer, epoch, lane, counter });
        let mut builder = AggregateBuilder::new();
        for (key, hash_key, data) in &records {
            builder.push(key, *hash_key, data.clone().into());
        }
        if let Some(origin) = origin {
            builder.set_origin(origin);
        }
        let mut compressor = Compressor::new(level);
        let data = compressor.compress(&builder).unwrap();
        prop_assert_eq!(&compressor.compress(&builder).unwrap(), &data, "the same bytes, always");
        let aggregate = unpack_aggregate(&data, CONTENT_BYTES_MAX).unwrap().unwrap();
        prop_assert_eq!((aggregate.len(), aggregate.origin()), (records.len(), origin));
        let read: Vec<_> = aggregate
            .into_iter()
            .map(|record| (record.partition_key.to_string(), record.explicit_hash_key, record.data.to_vec()))
            .collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn any_change_of_a_byte_is_seen(records in any_records(), at in any::<prop::sample::Index>(), change in 1..=u8::MAX) {
        let mut builder = AggregateBuilder::new();
        for (key, hash_key, data) in &records {
            builder.push(key, *hash_key, data.clone().into());
        }
        let mut data = Compressor::new(1).compress(&builder).unwrap().to_vec();
        let at = at.index(data.len());
        data[at] ^= change;
        match unpack(&data.into()) {
            // A change in the magic makes it a plain record.
            Ok(Unpacked::Plain) => prop_assert!(at < 8),
            Ok(Unpacked::Aggregate(_)) => prop_assert!(false, "a change at {at} was not seen"),
            Err(error) => prop_assert!(matches!(error, UnpackError::Compressed(_)), "{:?}", error),
        }
    }

    #[test]
    fn sealed_garbage_never_panics(claimed in 0..100_000_u32, frame in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(unpack(&seal(1, claimed, &frame)).is_err() || claimed == 0);
    }

    #[test]
    fn changed_frames_never_panic(
        records in any_records(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut builder = AggregateBuilder::new();
        for (key, hash_key, data) in &records {
            builder.push(key, *hash_key, data.clone().into());
        }
        let mut compressor = Compressor::new(1);
        compressor.compress(&builder).unwrap();
        let mut frame = compressor.frame.clone();
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let claimed = u32::try_from(builder.message_size()).unwrap();
        drop(unpack(&seal(1, claimed, &frame)));
    }
}
