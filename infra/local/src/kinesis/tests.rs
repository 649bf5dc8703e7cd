//! The service over a real socket, with the AWS SDK.

mod capacity;
mod cbor;
mod consumers;
mod crash;
mod faults;
mod labels;
mod operations;
mod reshard;
mod states;
mod validation;

use std::net::SocketAddr;
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Region;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};

use crate::clock::Clock;
use crate::cloud::{Cloud, CloudConfig};

/// A cloud with a clock that only jumps, and a client of it that retries nothing.
struct Fixture {
    dir: tempfile::TempDir,
    clock: Clock,
    cloud: Cloud,
    client: Client,
}

impl Fixture {
    async fn new() -> Self {
        let clock = Clock::standing_at(1_700_000_000_000);
        let dir = tempfile::tempdir().unwrap();
        let cloud = start(dir.path(), &clock).await;
        let client = client(&cloud);
        Self { dir, clock, cloud, client }
    }

    async fn create(&self, shards: i32) {
        self.client.create_stream().stream_name("s").shard_count(shards).send().await.unwrap();
    }
}

async fn start(dir: &std::path::Path, clock: &Clock) -> Cloud {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    // A clock that stands would keep streams in between for ever, and give calls for one second alone.
    let (stream_transition, call_rates, clock) = (Duration::ZERO, false, clock.clone());
    let config = CloudConfig { clock, stream_transition, call_rates, ..CloudConfig::new(dir.join("data"), listen) };
    Cloud::start(config).await.unwrap()
}

fn client(cloud: &Cloud) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(cloud.endpoint())
        .credentials_provider(Credentials::new("any", "any", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}

fn entry(key: &str, data: &[u8]) -> PutRecordsRequestEntry {
    PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build().unwrap()
}

/// All records of a shard from its horizon on, as (sequence number, partition key, data), and whether it has ended.
async fn read_shard(fixture: &Fixture, shard: &str) -> (Vec<(String, String, Vec<u8>)>, bool) {
    read_shard_of(&fixture.client, &fixture.clock, shard).await
}

async fn read_shard_of(client: &Client, clock: &Clock, shard: &str) -> (Vec<(String, String, Vec<u8>)>, bool) {
    let request = client.get_shard_iterator().stream_name("s").shard_id(shard);
    let answer = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
    let mut iterator = answer.shard_iterator;
    let mut all = Vec::new();
    while let Some(now) = iterator {
        // Five reads a second and 2 MiB/s: the clock moves on by what one full answer costs.
        clock.jump(5_000);
        let answer = client.get_records().shard_iterator(now).send().await.unwrap();
        let is_empty = answer.records.is_empty();
        for record in answer.records {
            all.push((record.sequence_number, record.partition_key.unwrap(), record.data.into_inner()));
        }
        iterator = answer.next_shard_iterator;
        if is_empty && iterator.is_some() {
            assert_eq!(answer.millis_behind_latest, Some(0));
            return (all, false);
        }
    }
    (all, true)
}
