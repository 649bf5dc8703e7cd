//! Kinesis Data Streams: a durable stream store that keeps to the service's limits, and the service's operations
//! over it.
//!
//! Records lie in one append-only log per stream ([`Store`]); an acknowledgement follows the sync that made its records
//! durable, which all requests that wait share. Readers within the process use [`ShardReader`]; everything else speaks the wire protocol to [`Kinesis`]:
//! JSON 1.1, or CBOR as the AWS SDKs for Java do.
//!
//! | operations | kept to |
//! |---|---|
//! | `PutRecord`, `PutRecords` | 500 records, 10 MiB a request, the stream's largest record (1 to 10 MiB), per-shard rates, `DryRun` |
//! | `GetShardIterator`, `GetRecords` | 5 calls/s a shard each, 2 MiB/s and 10 MiB an answer with the pause that follows, iterators live 5 min, retention to the millisecond |
//! | `SubscribeToShard` | one subscription for a consumer and shard, 5 s hold, 5 min life, 2 MiB/s, event stream over HTTP/1.1 and HTTP/2 |
//! | `ListShards`, `ListStreams`, `ListStreamConsumers`, `DescribeStream`, `ListTagsForStream` | page sizes, tokens live 5 min, all shard filters |
//! | `CreateStream`, `DeleteStream`, `DescribeStreamSummary`, `DescribeLimits` | 20,000 shards and 50 on-demand streams an account; here also 1,000 open shards a stream |
//! | `SplitShard`, `MergeShards`, `UpdateShardCount` | adjacency, hash keys, double and half, 10 a day |
//! | `UpdateStreamMode`, `UpdateStreamWarmThroughput`, `UpdateStreamRecordDistributionStrategy`, `UpdateMaxRecordSize` | 2 mode changes a day, commitment for warm throughput |
//! | `IncreaseStreamRetentionPeriod`, `DecreaseStreamRetentionPeriod` | 24 to 8,760 h; what had expired stays so |
//! | `RegisterStreamConsumer`, `DeregisterStreamConsumer`, `DescribeStreamConsumer` | 20 consumers, 50 with a commitment on demand |
//! | `StartStreamEncryption`, `StopStreamEncryption`, `EnableEnhancedMonitoring`, `DisableEnhancedMonitoring` | 25 a day; said, not done |
//! | tags and policies by stream and by ARN | 50 tags, 20 KB; policies are kept, not applied |
//! | `DescribeAccountSettings`, `UpdateAccountSettings` | a commitment lasts a day |
//!
//! A change is finished when it is answered; the stream is `CREATING`, `UPDATING` or `DELETING` for a while all the same
//! ([`Store::set_transition_time`]), and refuses what the service refuses in that state. The account's calls a second
//! are counted for the operations that manage ([`Kinesis::with_call_rates`]).
//!
//! An on-demand stream starts with 4 shards and grows by splitting those that are hot ([`Store::grow`]).
//!
//! What is absent: channels and queues (named in the error).

mod account;
mod api;
mod block;
mod description;
mod growth;
mod hash_key;
mod limiter;
mod log;
mod poll;
mod rate;
mod reader;
mod scaling;
mod sequence;
mod settings;
mod status;
mod store;
mod stream;

pub(crate) use api::EVENT_STREAM;
pub use api::{Answer, Kinesis, Subscription};
pub use description::{ClosedShard, ShardDescription, StreamMode, parse_shard_id, shard_id};
pub use hash_key::{HashKey, HashKeyRange, NotAHashKey};
pub use limiter::{ReadLimiter, WriteLimiter, WriteModel};
pub use log::{LogError, Position, ReadLimit, Tail};
pub(crate) use poll::Polled;
pub use reader::{Batch, Record, ShardReader};
pub use sequence::{NotASequenceNumber, SequenceNumber};
pub use store::{Store, StoreError};
pub use stream::{Stream, StreamChanges, TornTail};

/// The account that everything in the local cloud belongs to.
pub(crate) const ACCOUNT: &str = "000000000000";
/// The region that the local cloud is.
pub(crate) const REGION: &str = "us-east-1";

/// The ARN of a stream.
pub(crate) fn stream_arn(name: &str) -> String {
    format!("arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}")
}

#[cfg(test)]
mod tests;
