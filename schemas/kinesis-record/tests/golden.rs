//! Byte-exact interoperability: records that other libraries packed are unpacked, and packing the same records again gives
//! the very same bytes. `fixtures/README.md` says how the files were made.

#[cfg(test)]
mod golden {
    use bytes::Bytes;
    use kinesis_record::{AggregateBuilder, CONTENT_BYTES_MAX, Origin, SubRecord, Unpacked, unpack, unpack_aggregate};

    const HIGHEST: Option<u128> = Some(u128::MAX);
    const MIDDLE: Option<u128> = Some(1 << 127);

    fn record(partition_key: &str, explicit_hash_key: Option<u128>, data: &[u8]) -> SubRecord {
        SubRecord { partition_key: partition_key.into(), explicit_hash_key, data: Bytes::copy_from_slice(data) }
    }

    fn from_hex(text: &str) -> Bytes {
        let digits: Vec<char> = text.chars().filter(|char| !char.is_whitespace()).collect();
        let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn check(fixtures: &[&str], records: &[SubRecord]) {
        let mut builder = AggregateBuilder::new();
        for record in records {
            builder.push(&record.partition_key, record.explicit_hash_key, record.data.clone());
        }
        for fixture in fixtures {
            let data = from_hex(fixture);
            assert_eq!(unpack(&data), Ok(Unpacked::Aggregate(records.to_vec())));
            assert_eq!(builder.encode(), data);
        }
    }

    #[test]
    fn a_single_empty_record() {
        check(
            &[include_str!("../fixtures/python-single_empty.hex"), include_str!("../fixtures/node-single_empty.hex")],
            &[record("a", None, b"")],
        );
    }

    #[test]
    fn repeated_keys_and_text_beyond_ascii() {
        check(
            &[include_str!("../fixtures/python-repeated_keys.hex"), include_str!("../fixtures/node-repeated_keys.hex")],
            &[
                record("screen-17", None, b"one"),
                record("screen-18", None, b"two"),
                record("screen-17", None, b"three"),
                record("Zürich HB ☃", None, b"\x00\xff"),
            ],
        );
    }

    #[test]
    fn explicit_hash_keys_from_lowest_to_highest() {
        check(
            &[
                include_str!("../fixtures/python-hash_keys.hex"),
                include_str!("../fixtures/node-hash_keys.hex"),
                include_str!("../fixtures/java-hash_keys.hex"),
            ],
            &[
                record("a", Some(0), b"x"),
                record("b", HIGHEST, b"y"),
                record("a", MIDDLE, b"z"),
                record("c", Some(0), b""),
            ],
        );
    }

    #[test]
    fn indices_and_lengths_of_two_bytes() {
        let records: Vec<SubRecord> = (0..150_u8)
            .map(|index| {
                let length = if index == 149 { 300 } else { usize::from(index % 40) };
                record(&format!("key-{index}"), None, &vec![index; length])
            })
            .collect();
        check(
            &[
                include_str!("../fixtures/python-two_byte_varints.hex"),
                include_str!("../fixtures/node-two_byte_varints.hex"),
            ],
            &records,
        );
    }

    #[test]
    fn many_hash_keys_with_indices_and_lengths_of_two_bytes() {
        let records: Vec<SubRecord> = (0..130_u8)
            .map(|index| {
                let key = format!("key-{}", index % 100);
                record(&key, Some(u128::from(index) << 120), &vec![index; 3 * usize::from(index)])
            })
            .collect();
        check(
            &[
                include_str!("../fixtures/python-many_hash_keys.hex"),
                include_str!("../fixtures/node-many_hash_keys.hex"),
                include_str!("../fixtures/java-many_hash_keys.hex"),
            ],
            &records,
        );
    }

    /// Other libraries were seen to read it as three records and to skip the origin: `fixtures/README.md`.
    #[test]
    fn a_marked_aggregate() {
        let origin = Origin { producer: 0xFEDC_BA98_7654_3210, epoch: 1_545_084_650_987, lane: 7, counter: 300 };
        let records = [
            record("screen-17", Some(0), b"one"),
            record("screen-18", Some(0), b"two"),
            record("screen-17", Some(0), b""),
        ];
        let mut builder = AggregateBuilder::new();
        for record in &records {
            builder.push(&record.partition_key, record.explicit_hash_key, record.data.clone());
        }
        builder.set_origin(origin);
        let data = from_hex(include_str!("../fixtures/millrace-marked.hex"));
        assert_eq!(builder.encode(), data);
        let aggregate = unpack_aggregate(&data, CONTENT_BYTES_MAX).unwrap().unwrap();
        assert_eq!(aggregate.origin(), Some(origin));
        assert_eq!(aggregate.into_iter().collect::<Vec<_>>(), records);
    }
}
