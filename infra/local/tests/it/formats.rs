//! The producer puts in JSON and in CBOR, signed, and the local cloud checks every signature: records arrive once each, single
//! refusals are sent again, and an error of the whole call is understood.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::types::ShardIteratorType;
use kinesis_producer::{Config, FailureClass, Producer, PutError, Record, WireFormat};
use kinesis_record::{Unpacked, unpack};
use millrace::cloud::{Cloud, CloudConfig, Doors};
use millrace::faults::{FaultKind, FaultRule};
use millrace::signature::KeyRing;

const STREAM: &str = "events";
const RECORDS: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_either_format() {
    for format in [WireFormat::Json, WireFormat::Cbor] {
        let dir = tempfile::tempdir().expect("a directory");
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let keys = Some(KeyRing::of([("AKIDEXAMPLE", "secret")]));
        let mut config = CloudConfig::new(dir.path().join("data"), listen);
        config.doors = Doors { https_port: None, keys };
        config.stream_transition = Duration::ZERO;
        let cloud = Cloud::start(config).await.expect("the cloud starts");
        check(&cloud, format).await;
        cloud.shutdown().await;
    }
}

async fn check(cloud: &Cloud, format: WireFormat) {
    let client = client(&cloud.endpoint(), "secret");
    client.create_stream().stream_name(STREAM).shard_count(2).send().await.expect("a stream");
    // Of the records of a call, some are throttled: the others' results have to be told apart from theirs.
    let some = FaultRule { probability: 0.3, seed: 7, ..FaultRule::new(FaultKind::Record) };
    cloud.faults().set(vec![some], millrace::clock::now_ms()).expect("a rule");
    let producer = start(&client, format).await;
    let mut deliveries = Vec::new();
    for number in 0..RECORDS {
        let record = Record::new(format!("key-{}", number % 50), number.to_string());
        deliveries.push(producer.try_send(record).expect("there is room"));
        if number % 20 == 0 {
            producer.flush().await;
        }
    }
    producer.flush().await;
    for delivery in deliveries {
        delivery.await.unwrap_or_else(|error| panic!("{format:?}: {error}"));
    }
    assert!(producer.stats().throttled > 0, "{format:?}: {:?}", producer.stats());
    cloud.faults().set(Vec::new(), millrace::clock::now_ms()).expect("no rule");
    assert_eq!(read(&client).await, (0..RECORDS).collect::<BTreeSet<_>>(), "{format:?}");

    let other = start(&self::client(&cloud.endpoint(), "secret"), format).await;
    client.delete_stream().stream_name(STREAM).send().await.expect("it is deleted");
    let refused = other.try_send(Record::new("k", "x")).expect("there is room").await;
    let Err(PutError::Refused(failure)) = refused else { panic!("{format:?}: {refused:?}") };
    assert_eq!(failure.class(), FailureClass::Refused);
    assert!(failure.to_string().contains("ResourceNotFoundException"), "{format:?}: {failure}");
}

async fn start(client: &aws_sdk_kinesis::Client, format: WireFormat) -> Producer {
    let mut config = Config::new(STREAM);
    config.wire_format = format;
    // Many Kinesis records, so that a call has several.
    config.lanes_per_shard = 8;
    Producer::start(config, client.clone()).await.expect("a producer")
}

fn client(endpoint: &str, secret: &str) -> aws_sdk_kinesis::Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", secret, None, None, "test"))
        .endpoint_url(endpoint);
    aws_sdk_kinesis::Client::from_conf(config.build())
}

/// The numbers on the stream.
async fn read(client: &aws_sdk_kinesis::Client) -> BTreeSet<usize> {
    let mut numbers = BTreeSet::new();
    let shards = client.list_shards().stream_name(STREAM).send().await.expect("shards").shards.unwrap_or_default();
    for shard in shards {
        let iterator = client.get_shard_iterator().stream_name(STREAM).shard_id(shard.shard_id());
        let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.expect("an iterator");
        let records = client.get_records().set_shard_iterator(iterator.shard_iterator).send().await.expect("records");
        for record in records.records {
            let data = bytes::Bytes::copy_from_slice(record.data.as_ref());
            let payloads = match unpack(&data).expect("a whole record") {
                Unpacked::Plain => vec![data],
                Unpacked::Aggregate(records) => records.into_iter().map(|record| record.data).collect(),
            };
            for payload in payloads {
                let number = std::str::from_utf8(&payload).expect("digits").parse().expect("a number");
                assert!(numbers.insert(number), "{number} is there twice");
            }
        }
    }
    numbers
}
