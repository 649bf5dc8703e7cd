//! Runs the kept inputs of the fuzz targets, and mutations of them, on the compiler that everybody has. What each kept input
//! must come to stands here; a mutation may come to anything but a panic, a wrong count, or more memory than allowed.

#[cfg(test)]
mod corpus {
    use std::{collections::BTreeMap, fs, path::Path, sync::OnceLock};

    use bytes::Bytes;
    use expect_test::expect;
    use kinesis_record::{COMPRESSED_MAGIC, HashRange, MAGIC, UnpackError, unpack_aggregate};
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    const CONTENT_BYTES_MAX: usize = 2 << 20;

    static INPUTS: OnceLock<Inputs> = OnceLock::new();

    struct Inputs {
        records: Vec<Vec<u8>>,
        messages: Vec<Vec<u8>>,
    }

    fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let inputs: BTreeMap<_, _> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
            // A run of the fuzzer leaves inputs whose names are hashes.
            .filter(|(name, _)| name.len() != 40)
            .collect();
        assert!(inputs.len() > 15, "the corpus of {target} is there");
        inputs
    }

    fn sealed(message: &[u8]) -> Vec<u8> {
        [&MAGIC, message, Md5::digest(message).as_slice()].concat()
    }

    /// Reads and checks what must hold of any bytes; says what they came to.
    fn run(data: Vec<u8>) -> String {
        let data = Bytes::from(data);
        match unpack_aggregate(&data, CONTENT_BYTES_MAX) {
            Ok(None) => {
                assert!(!data.starts_with(&COMPRESSED_MAGIC), "never taken for data");
                "plain".to_owned()
            }
            Ok(Some(aggregate)) => {
                assert!(aggregate.message_bytes() <= data.len().max(CONTENT_BYTES_MAX));
                let (records, origin) = (aggregate.len(), aggregate.origin());
                let mark = aggregate.spool_mark();
                assert_eq!(aggregate.spool_numbers().count(), records);
                let numbered = aggregate.spool_numbers().flatten().count();
                assert!(mark.is_some() || numbered == 0, "there are numbers in a log only");
                aggregate.first_outside(HashRange { start: 1, end: u128::MAX / 2 });
                assert_eq!(aggregate.into_iter().count(), records);
                let marks = [(origin.is_some(), ", origin"), (mark.is_some(), ", log")];
                let marks: String = marks.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect();
                let numbers = if numbered > 0 { format!(", {numbered} numbers") } else { String::new() };
                format!("{records} records{marks}{numbers}")
            }
            Err(UnpackError::Compressed(error)) => format!("damaged: {error}"),
            Err(error) => format!("contradiction: {error}"),
        }
    }

    fn outcomes(inputs: BTreeMap<String, Vec<u8>>) -> String {
        inputs.into_iter().map(|(name, data)| format!("{name}: {}\n", run(data))).collect()
    }

    #[test]
    fn kept_records_come_to_what_they_should() {
        expect![[r#"
            aggregate: 3 records
            aggregate_contradiction: contradiction: sub-record 1 names partition key 1 of 1
            aggregate_cut: plain
            aggregate_malformed: plain
            aggregate_origin: 1 records, origin
            aggregate_wrong_digest: plain
            compressed: 3 records
            compressed_bomb_honest: damaged: the message is malformed
            compressed_bomb_modest: damaged: zstd: Destination buffer is too small
            compressed_claims_4_gib: damaged: a message of 4294967295 bytes, more than 2097152
            compressed_claims_less: damaged: zstd: Destination buffer is too small
            compressed_claims_more: damaged: a message of 34 bytes in place of 35
            compressed_contradiction: contradiction: sub-record 1 names partition key 1 of 1
            compressed_empty: 0 records
            compressed_frame_cut: damaged: zstd: Src size is incorrect
            compressed_header_cut: damaged: cut off after 12 bytes, in the header
            compressed_later_version: damaged: version 2 of the format, this reader knows 1
            compressed_magic_alone: damaged: cut off after 8 bytes, in the header
            compressed_malformed: damaged: the message is malformed
            compressed_not_zstd: damaged: zstd: Src size is incorrect
            compressed_trailing_garbage: damaged: zstd: Src size is incorrect
            compressed_two_frames: 3 records
            compressed_with_dictionary: damaged: zstd: Dictionary mismatch
            compressed_wrong_checksum: damaged: checksum 4b2de26a in place of d6ff95c5
            empty: plain
            json: plain
            magic_alone: plain
            magic_and_digest: plain
        "#]]
        .assert_eq(&outcomes(corpus("unpack")));
    }

    #[test]
    fn kept_messages_come_to_what_they_should() {
        let messages = corpus("message").into_iter().map(|(name, message)| (name, sealed(&message))).collect();
        expect![[r#"
            group: plain
            hash_index_out_of_table: contradiction: sub-record 0 names explicit hash key 5 of 0
            hash_key_no_number: contradiction: sub-record 0 names explicit hash key 0, which is not a number below 2^128
            hash_key_too_high: contradiction: sub-record 0 names explicit hash key 0, which is not a number below 2^128
            hash_key_unused: 1 records
            highest_hash_key: 1 records
            index_out_of_table: contradiction: sub-record 1 names partition key 1 of 1
            key_not_utf8: plain
            keys_shared: 3 records
            length_beyond_end: plain
            no_records: 0 records
            nothing: plain
            number_without_log: 1 records
            one_empty_record: 1 records
            origin: 1 records, origin
            origin_cut: 1 records
            record_before_table: 1 records
            required_data_missing: plain
            required_key_missing: plain
            spool_mark: 2 records, origin, log, 1 numbers
            spool_mark_cut: 1 records
            spool_mark_half_sent_as: 1 records
            spool_mark_sent_as: 1 records, log, 1 numbers
            tags_in_record: 1 records
            two_byte_indices: 130 records
            unknown_fields: 1 records
            varint_without_end: plain
        "#]]
        .assert_eq(&outcomes(messages));
    }

    /// What runs of the fuzzer found: one input for each way through the code.
    #[test]
    fn what_the_fuzzer_found_is_read_without_a_panic() {
        for target in ["unpack", "message"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/found").join(target);
            let inputs: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
            assert!(inputs.len() > 30, "{target}");
            for input in inputs {
                run(if target == "message" { sealed(&input) } else { input });
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Mutation {
        Set(prop::sample::Index, u8),
        Flip(prop::sample::Index, u8),
        Cut(prop::sample::Index),
        Repeat(prop::sample::Index, prop::sample::Index),
        Insert(prop::sample::Index, Vec<u8>),
    }

    fn mutation() -> impl Strategy<Value = Mutation> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
            (index(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
            index().prop_map(Mutation::Cut),
            (index(), index()).prop_map(|(from, to)| Mutation::Repeat(from, to)),
            (index(), proptest::collection::vec(any::<u8>(), 1..12))
                .prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        ]
    }

    fn mutate(data: &mut Vec<u8>, mutation: Mutation) {
        match mutation {
            _ if data.is_empty() => {}
            Mutation::Set(at, byte) => *at.get_mut(data) = byte,
            Mutation::Flip(at, bit) => *at.get_mut(data) ^= 1 << bit,
            Mutation::Cut(at) => data.truncate(at.index(data.len())),
            Mutation::Repeat(from, to) => {
                let (from, to) = (from.index(data.len()), to.index(data.len()));
                let part = data[from.min(to)..from.max(to)].to_vec();
                data.splice(to..to, part);
            }
            Mutation::Insert(at, bytes) => {
                let at = at.index(data.len());
                data.splice(at..at, bytes);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        #[test]
        fn mutations_of_kept_inputs_never_panic(
            is_message in any::<bool>(),
            input in any::<prop::sample::Index>(),
            mutations in proptest::collection::vec(mutation(), 1..6),
        ) {
            let inputs = INPUTS.get_or_init(|| {
                let values = |target| corpus(target).into_values().collect();
                Inputs { records: values("unpack"), messages: values("message") }
            });
            let mut data = input.get(if is_message { &inputs.messages } else { &inputs.records }).clone();
            for mutation in mutations {
                mutate(&mut data, mutation);
            }
            run(if is_message { sealed(&data) } else { data });
        }
    }
}
