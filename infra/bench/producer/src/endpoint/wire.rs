//! What goes over the wire: requests read without copying, answers written by hand.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use kinesis_record::{COMPRESSED_MAGIC, CONTENT_BYTES_MAX, unpack_aggregate};
use serde::Deserialize;

/// A `PutRecords` request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutRecords<'a> {
    #[serde(borrow)]
    pub(crate) records: Vec<Entry<'a>>,
}

/// An entry of it, or a `PutRecord` request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry<'a> {
    /// In base64.
    #[serde(borrow)]
    pub(crate) data: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) partition_key: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) explicit_hash_key: Option<Cow<'a, str>>,
}

/// The result of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryResult {
    Stored { shard: usize, sequence: u64 },
    Throttled,
}

const THROTTLED: &str = "ProvisionedThroughputExceededException";

pub(crate) fn shard_id(index: usize) -> String {
    format!("shardId-{index:012}")
}

pub(crate) fn error(code: &str) -> String {
    format!(r#"{{"__type":"{code}","message":"counted"}}"#)
}

pub(crate) fn put_records_answer(results: &[EntryResult]) -> String {
    let failed = results.iter().filter(|result| **result == EntryResult::Throttled).count();
    let mut text = String::with_capacity(64 + results.len() * 128);
    push(&mut text, format_args!(r#"{{"FailedRecordCount":{failed},"Records":["#));
    for (index, result) in results.iter().enumerate() {
        text.push_str(if index == 0 { "" } else { "," });
        match result {
            EntryResult::Stored { shard, sequence } => push(
                &mut text,
                format_args!(r#"{{"SequenceNumber":"4959{sequence:052}","ShardId":"shardId-{shard:012}"}}"#),
            ),
            EntryResult::Throttled => {
                push(&mut text, format_args!(r#"{{"ErrorCode":"{THROTTLED}","ErrorMessage":"Rate exceeded"}}"#));
            }
        }
    }
    text.push_str("]}");
    text
}

pub(crate) fn put_record_answer(result: EntryResult) -> (u16, String) {
    match result {
        EntryResult::Stored { shard, sequence } => {
            (200, format!(r#"{{"SequenceNumber":"4959{sequence:052}","ShardId":"shardId-{shard:012}"}}"#))
        }
        EntryResult::Throttled => (400, error(THROTTLED)),
    }
}

fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a string takes all text");
}

/// The number of sub-records in an aggregate, by its tags alone; `None` for what is none. The digest is not checked.
pub(crate) fn count_sub_records(data: &[u8]) -> Option<u64> {
    let mut rest = data.strip_prefix(&kinesis_record::MAGIC)?;
    rest = rest.get(..rest.len().checked_sub(kinesis_record::DIGEST_BYTES)?)?;
    let mut count = 0;
    while let Some((tag, after)) = rest.split_first() {
        let (length, after) = varint(after)?;
        rest = after.get(length..)?;
        match tag {
            // The tables of partition keys and hash keys, and a tag: all of them delimited.
            0x0A | 0x12 | 0x22 => {}
            0x1A => count += 1,
            _ => return None,
        }
    }
    Some(count)
}

/// The number of records in a compressed aggregate; `None` for what is none.
pub(crate) fn count_compressed(data: &[u8]) -> Option<u64> {
    if !data.starts_with(&COMPRESSED_MAGIC) {
        return None;
    }
    let aggregate = unpack_aggregate(&Bytes::copy_from_slice(data), CONTENT_BYTES_MAX).ok().flatten()?;
    u64::try_from(aggregate.len()).ok()
}

fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * index);
        if *byte < 0x80 {
            return bytes.get(index + 1..).map(|rest| (value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kinesis_record::AggregateBuilder;

    use super::{EntryResult, PutRecords, count_sub_records, put_records_answer};

    #[test]
    fn sub_records_are_counted_by_their_tags() {
        for records in [1_u64, 2, 300] {
            let mut builder = AggregateBuilder::new();
            for number in 0..records {
                builder.push(&format!("key-{number}"), Some(7), Bytes::from(vec![b'x'; 200]));
            }
            assert_eq!(count_sub_records(&builder.encode()), Some(records));
        }
        assert_eq!(count_sub_records(b"plain"), None);
        assert_eq!(count_sub_records(&[0xF3, 0x89, 0x9A, 0xC2]), None);
        let mut broken = kinesis_record::MAGIC.to_vec();
        broken.extend([0x1A, 200, 1]);
        broken.extend([0; 16]);
        assert_eq!(count_sub_records(&broken), None);
    }

    #[test]
    fn requests_are_read_and_answers_are_json() {
        let text = r#"{"Records":[{"Data":"eA==","PartitionKey":"a\"b","ExplicitHashKey":"7"},{"Data":"eQ==","PartitionKey":"c"}],"StreamName":"s"}"#;
        let put: PutRecords<'_> = serde_json::from_str(text).unwrap();
        assert_eq!((&*put.records[0].partition_key, put.records[0].explicit_hash_key.as_deref()), ("a\"b", Some("7")));
        assert_eq!((&*put.records[1].data, put.records[1].explicit_hash_key.as_deref()), ("eQ==", None));
        let answer = put_records_answer(&[EntryResult::Stored { shard: 3, sequence: 9 }, EntryResult::Throttled]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["FailedRecordCount"], 1);
        assert_eq!(answer["Records"][0]["ShardId"], "shardId-000000000003");
        assert_eq!(answer["Records"][0]["SequenceNumber"].as_str().unwrap().len(), 56);
        assert_eq!(answer["Records"][1]["ErrorCode"], "ProvisionedThroughputExceededException");
    }
}
