//! Reading a shard as `GetRecords` does, for a service within the process that is counted against the shard's limits as
//! any reader is.

use super::api::read_kept;
use super::log::{LogError, ReadLimit};
use super::reader::Record;
use super::stream::Stream;

/// What one call gives at most: records, and bytes of data and partition keys.
const LIMIT: ReadLimit = ReadLimit { records: 10_000, bytes: 10 << 20 };

/// What one call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Polled {
    /// Records in order; none at the end of what is written.
    Records {
        /// The records.
        records: Vec<Record>,
        /// The counter that the next call goes on at.
        next_counter: u64,
        /// The shard is closed, and this was its last record.
        is_finished: bool,
    },
    /// The shard gives no more in this second.
    Throttled,
    /// There is no such shard.
    Gone,
}

impl Stream {
    /// Reads a shard once.
    ///
    /// # Errors
    /// When the disk refuses, or a record's checksum is wrong.
    pub(crate) async fn poll(&self, shard: u64, from: u64, now_ms: i64) -> Result<Polled, LogError> {
        let Some(shard) = self.state().shard(shard).cloned() else { return Ok(Polled::Gone) };
        if !shard.admit_read(now_ms) {
            return Ok(Polled::Throttled);
        }
        let run = read_kept(self, &shard, (from, LIMIT), now_ms).await?;
        shard.gave(run.records().map(|record| record.bytes()).sum(), now_ms);
        let records = run.records().map(|record| Record {
            sequence_number: shard.description.sequence_number(record.counter),
            arrival_ms: record.arrival_ms,
            partition_key: record.partition_key().into_owned(),
            data: record.shared_data(),
        });
        let (records, tail) = (records.collect(), shard.log.tail());
        let is_finished = tail.is_closed && run.next() >= tail.next_counter;
        Ok(Polled::Records { records, next_counter: run.next(), is_finished })
    }
}
