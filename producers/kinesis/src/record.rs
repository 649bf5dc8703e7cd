//! A record on its way in, and what comes back for it.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::{InvalidRecord, PutError};

/// What a record is charged against the buffer beside its data and key: queue entries, reply slot, hash. Measured as the
/// sum of the structures that hold it, rounded up.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 256;

/// Kinesis counts partition keys in characters, not in bytes.
const PARTITION_KEY_CHARS_MAX: usize = 256;

/// One user record.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Decides the shard, and the order: records of one key are stored in the order in which they were sent. 1 to 256
    /// characters.
    pub partition_key: String,
    /// Decides the shard in place of the partition key's MD5. It routes only: inside aggregates readers see the lane's.
    pub explicit_hash_key: Option<u128>,
    /// The payload, which may be empty.
    pub data: Bytes,
}

impl Record {
    /// A record that its partition key routes.
    pub fn new(partition_key: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Record { partition_key: partition_key.into(), explicit_hash_key: None, data: data.into() }
    }

    /// What the record is charged against the buffer, if it is one that Kinesis can take.
    pub(crate) fn cost(&self, record_bytes_max: usize) -> Result<u32, InvalidRecord> {
        let chars = self.partition_key.chars().take(PARTITION_KEY_CHARS_MAX + 1).count();
        if chars == 0 || chars > PARTITION_KEY_CHARS_MAX {
            return Err(InvalidRecord::PartitionKey { bytes: self.partition_key.len() });
        }
        let bytes = self.data.len().saturating_add(self.partition_key.len());
        let cost = u32::try_from(bytes.saturating_add(RECORD_OVERHEAD_BYTES));
        match cost {
            Ok(cost) if bytes <= record_bytes_max => Ok(cost),
            Ok(_) | Err(_) => Err(InvalidRecord::TooLarge { bytes, bytes_max: record_bytes_max }),
        }
    }
}

impl fmt::Debug for Record {
    /// Sizes only: payloads and keys may be about people, and records end up in logs inside errors.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Record")
            .field("partition_key_bytes", &self.partition_key.len())
            .field("explicit_hash_key", &self.explicit_hash_key)
            .field("data_bytes", &self.data.len())
            .finish()
    }
}

/// What was made of an acknowledged record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// The stream has stored it.
    Stored(Stored),
    /// It is durable in the log on disk, and will be sent from there, after a restart too. Only with
    /// [`Config::spool`](crate::Config::spool).
    Spooled,
}

impl Delivered {
    /// Where the stream has stored it, if it has.
    pub fn stored(&self) -> Option<&Stored> {
        match self {
            Delivered::Stored(stored) => Some(stored),
            Delivered::Spooled => None,
        }
    }
}

/// Where a stored record is. Shard, sequence number and sub-sequence together name it for every reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The shard that stored it.
    pub shard_id: Arc<str>,
    /// The sequence number of the Kinesis record.
    pub sequence_number: Arc<str>,
    /// The position in the aggregate, 0 for a record that went alone.
    pub sub_sequence: u32,
    /// Requests that carried it, 1 if the first one succeeded.
    pub attempts: u32,
}

/// The result of one record, to be awaited. Dropping it does not cancel the record.
#[derive(Debug)]
#[must_use = "the record is only known to be stored once this has been awaited"]
pub struct Delivery {
    pub(crate) reply: oneshot::Receiver<Result<Delivered, PutError>>,
}

impl Future for Delivery {
    type Output = Result<Delivered, PutError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The other end is dropped unanswered only when the runtime goes away under the producer.
        Pin::new(&mut self.reply).poll(context).map(|reply| reply.unwrap_or(Err(PutError::Closed)))
    }
}

#[cfg(test)]
mod tests {
    use super::Record;
    use crate::error::InvalidRecord;

    #[test]
    fn only_records_that_kinesis_takes_are_charged() {
        let check = |key: &str, data_bytes: usize, expect: Result<u32, InvalidRecord>| {
            assert_eq!(Record::new(key, vec![0; data_bytes]).cost(1000), expect, "{key} {data_bytes}");
        };
        check("k", 999, Ok(1256));
        check("k", 0, Ok(257));
        check("k", 1000, Err(InvalidRecord::TooLarge { bytes: 1001, bytes_max: 1000 }));
        check("", 1, Err(InvalidRecord::PartitionKey { bytes: 0 }));
        check(&"é".repeat(256), 1, Ok(769));
        check(&"é".repeat(257), 1, Err(InvalidRecord::PartitionKey { bytes: 514 }));
    }

    #[test]
    fn debug_shows_no_content() {
        let text = format!("{:?}", Record::new("person-1", "secret"));
        assert_eq!(text, "Record { partition_key_bytes: 8, explicit_hash_key: None, data_bytes: 6 }");
    }
}
