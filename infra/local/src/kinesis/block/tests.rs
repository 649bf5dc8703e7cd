//! Blocks: their bytes, what is found in them, and what is not.

use proptest::prelude::*;

use super::*;

/// Shard, partition key and data.
type Record = (u64, String, Vec<u8>);

/// The blocks of these records, stamped from counter 1 of each shard on.
fn stamped(records: &[Record]) -> Vec<u8> {
    let mut blocks = Blocks::default();
    for (shard, key, data) in records {
        blocks.push(*shard, key, Payload::Raw(data)).unwrap();
    }
    blocks.seal();
    let mut counters = std::collections::HashMap::new();
    for at in 0..blocks.runs().len() {
        let run = blocks.runs()[at];
        let counter = counters.entry(run.shard).or_insert(1);
        blocks.stamp(at, (*counter, 99, 3)).unwrap();
        *counter += u64::from(run.records);
    }
    blocks.bytes().to_vec()
}

#[test]
fn the_bytes_are_golden() {
    let mut blocks = Blocks::default();
    blocks.push(5, "k", Payload::Base64("aGVsbG8=")).unwrap();
    blocks.push(5, "", Payload::Base64("")).unwrap();
    blocks.seal();
    let head = blocks.stamp(0, (7, 1_000, 2)).unwrap();
    assert_eq!((head.end(), head.block_bytes()), (9, HEAD_BYTES + 18));
    let bytes = blocks.bytes();
    assert_eq!(bytes[..16], *b"\x12\0\0\0\x02\0\0\0\x05\0\0\0\0\0\0\0");
    assert_eq!(bytes[16..40], *b"\x07\0\0\0\0\0\0\0\xe8\x03\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
    assert_eq!(bytes[40..44], crc32fast::hash(&bytes[48..]).to_le_bytes());
    assert_eq!(bytes[44..48], crc32fast::hash(&bytes[..44]).to_le_bytes());
    assert_eq!(bytes[48..], *b"\x01\0\x05\0\0\0khello\0\0\0\0\0\0");
}

#[test]
fn bad_base64_appends_nothing() {
    let mut blocks = Blocks::default();
    assert!(blocks.push(1, "k", Payload::Base64("a")).is_err());
    blocks.push(1, "k", Payload::Base64("aGVsbG8=")).unwrap();
    for text in ["a", "aGVsbG8", "aGVs*G8=", "aGVsbG8==", "é"] {
        assert!(blocks.push(1, "k", Payload::Base64(text)).is_err(), "{text}");
        assert!(blocks.push(2, "k", Payload::Base64(text)).is_err(), "{text}");
    }
    assert_eq!((blocks.runs().len(), blocks.bytes().len()), (1, HEAD_BYTES + RECORD_HEAD_BYTES + 6));
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    let whole = stamped(&[(1, "key".to_owned(), b"hello".to_vec())]);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(find(&bytes, 0), Found::Corrupt(_)), "bit {bit}");
    }
}

#[test]
fn a_full_block_is_followed_by_another_of_its_shard() {
    let mut blocks = Blocks::with_room(1 << 20, 10, 1);
    let room = blocks.bytes.capacity();
    for _ in 0..10 {
        blocks.push(1, "k", Payload::Raw(&[7; 40_000])).unwrap();
    }
    let records: Vec<u32> = blocks.runs().iter().map(|run| run.records).collect();
    assert_eq!(records, [2, 2, 2, 2, 2]);
    assert_eq!(blocks.bytes.capacity(), room, "the room that was asked for was enough");
}

proptest! {
    #[test]
    fn what_is_pushed_is_found(
        records in proptest::collection::vec(
            (0_u64..3, "\\PC{0,20}", proptest::collection::vec(any::<u8>(), 0..200)),
            1..20,
        ),
        cut in 0_usize..200,
    ) {
        let bytes = stamped(&records);
        let cut_at = bytes.len().saturating_sub(cut);
        let mut wanted = records.iter();
        let mut offset = 0;
        while offset < bytes.len() {
            let Found::Block(head, body) = find(&bytes, offset) else { panic!("no block at {offset}") };
            let parts: Vec<_> = super::records(&bytes[body.clone()]).collect();
            prop_assert_eq!(parts.len(), usize::try_from(head.records).unwrap());
            for (key, data) in parts {
                let (shard, wanted_key, wanted_data) = wanted.next().unwrap();
                prop_assert_eq!(head.shard, *shard);
                prop_assert_eq!(&bytes[body.clone()][key], wanted_key.as_bytes());
                prop_assert_eq!(&bytes[body.clone()][data], wanted_data.as_slice());
            }
            if body.end > cut_at && offset <= cut_at {
                prop_assert_eq!(find(&bytes[..cut_at], offset), Found::Incomplete);
            }
            offset = body.end;
        }
        prop_assert!(wanted.next().is_none());
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), offset in 0_usize..120) {
        find(&bytes, offset);
        records(&bytes).count();
    }
}
