//! Any bytes as the message of an aggregate: digest, checksum and frame are put around it, so that the parser behind them is
//! reached. Both forms must be read alike, and what is read must pack and read again.

#![no_main]

use bytes::Bytes;
use kinesis_record::{
    Aggregate, AggregateBuilder, COMPRESSED_MAGIC, CONTENT_BYTES_MAX, MAGIC, Origin, SpoolMark, SubRecord, UnpackError,
    unpack_aggregate,
};
use libfuzzer_sys::fuzz_target;
use md5::{Digest, Md5};

/// Records, marks, and the numbers of the records in a log.
type Content = (Vec<SubRecord>, Option<Origin>, Option<SpoolMark>, Vec<Option<u64>>);
type Read = Result<Option<Content>, UnpackError>;

fuzz_target!(|message: &[u8]| {
    let plain = read([&MAGIC, message, Md5::digest(message).as_slice()].concat());
    let compressed = read(compressed(message));
    match (&plain, &compressed) {
        (Ok(Some(left)), Ok(Some(right))) => assert_eq!(left, right),
        (Err(left), Err(right)) => assert_eq!(left, right),
        // No message: a plain record in one form, damage in the other.
        (Ok(None), _) => assert!(matches!(compressed, Ok(Some(_)) | Err(UnpackError::Compressed(_)))),
        _ => panic!("{plain:?} and {compressed:?}"),
    }
    if let Ok(Some((records, origin, mark, numbers))) = plain {
        let mut builder = AggregateBuilder::new();
        origin.into_iter().for_each(|origin| builder.set_origin(origin));
        mark.into_iter().for_each(|mark| builder.set_spool_mark(mark));
        for (record, number) in records.iter().zip(&numbers) {
            builder.number_next(*number);
            builder.push(&record.partition_key, record.explicit_hash_key, record.data.clone());
        }
        let packed = builder.encode();
        assert_eq!(packed.len(), builder.size());
        // A message without a byte is none.
        let is_none = records.is_empty() && origin.is_none() && mark.is_none();
        assert_eq!(read(packed.to_vec()), Ok((!is_none).then_some((records, origin, mark, numbers))));
    }
});

fn read(data: Vec<u8>) -> Read {
    Ok(unpack_aggregate(&Bytes::from(data), CONTENT_BYTES_MAX)?.map(content))
}

fn content(aggregate: Aggregate) -> Content {
    let (origin, mark, numbers) = (aggregate.origin(), aggregate.spool_mark(), aggregate.spool_numbers().collect());
    (aggregate.into_iter().collect(), origin, mark, numbers)
}

/// The message in a frame of one raw block, which every zstd reader takes.
fn compressed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("the fuzzer makes no such inputs");
    // Single segment, four bytes of content size; then raw blocks of at most 64 KiB.
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0xA0];
    frame.extend_from_slice(&length.to_le_bytes());
    let blocks: Vec<&[u8]> = if message.is_empty() { vec![message] } else { message.chunks(1 << 16).collect() };
    for (number, block) in blocks.iter().enumerate() {
        let is_last = u32::from(number + 1 == blocks.len());
        let header = u32::try_from(block.len()).expect("64 KiB") << 3 | is_last;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.extend_from_slice(block);
    }
    let mut data = [&COMPRESSED_MAGIC[..], &[1], &length.to_le_bytes()].concat();
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&data);
    checksum.update(&frame);
    data.extend_from_slice(&checksum.finalize().to_le_bytes());
    data.extend_from_slice(&frame);
    data
}
