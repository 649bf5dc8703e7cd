//! Getting everything back out: one reader goes through all shards, from their beginning.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::http::{Connection, request};
use crate::load::{STREAM, find};
use crate::server::Server;

/// What was got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Got {
    /// Kinesis records.
    pub(crate) records: u64,
    pub(crate) elapsed: Duration,
    pub(crate) cpu: Duration,
}

/// Reads the first `shards` shards of the stream to their ends.
pub(crate) fn all(server: &Server, shards: u32) -> anyhow::Result<Got> {
    let mut connection = Connection::open(server.address)?;
    let mut records = 0;
    let (before, started) = (server.usage()?, Instant::now());
    for shard in 0..shards {
        let ask = format!(
            r#"{{"StreamName":"{STREAM}","ShardId":"shardId-{shard:012}","ShardIteratorType":"TRIM_HORIZON"}}"#
        );
        let answer = connection.ask("GetShardIterator", &ask)?;
        let mut iterator =
            answer.get("ShardIterator").and_then(|text| text.as_str()).context("no iterator")?.to_owned();
        loop {
            let (status, answer) =
                connection.call(&request("GetRecords", &format!(r#"{{"ShardIterator":"{iterator}"}}"#)))?;
            anyhow::ensure!(status == 200, "GetRecords answered {status}");
            let count = count(answer, b"\"PartitionKey\"");
            if count == 0 {
                break;
            }
            records += count;
            let after = find(answer, b"\"NextShardIterator\":\"").and_then(|at| answer.get(at..));
            let end = after.and_then(|rest| rest.iter().position(|byte| *byte == b'"'));
            let text = after.zip(end).and_then(|(rest, end)| rest.get(..end)).context("no next iterator")?;
            iterator = String::from_utf8(text.to_vec()).context("an iterator that is no text")?;
        }
    }
    let cpu = server.usage()?.cpu.saturating_sub(before.cpu);
    Ok(Got { records, elapsed: started.elapsed(), cpu })
}

fn count(text: &[u8], word: &[u8]) -> u64 {
    let first = word.first().copied().unwrap_or_default();
    let mut count = 0;
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        let from = rest.get(at..).unwrap_or_default();
        let step = if from.starts_with(word) {
            count += 1;
            word.len()
        } else {
            1
        };
        rest = from.get(step..).unwrap_or_default();
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        assert_eq!(count(br#"{"PartitionKey":"a"},{"PartitionKey":"b"}"#, b"\"PartitionKey\""), 2);
        assert_eq!(count(b"", b"\"PartitionKey\""), 0);
    }
}
