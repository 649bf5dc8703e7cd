//! What is sent arrives, in order, and everybody is told where.

use std::{collections::HashMap, error::Error, time::Duration};

use bytes::Bytes;
use kinesis_producer::{Config, Delivered, InvalidRecord, Producer, Record, SendError, StartError, TrySendError};
use kinesis_record::{AggregateBuilder, Unpacked, unpack};

use crate::fake_kinesis::FakeKinesis;

fn record(key: usize, number: usize) -> Record {
    Record::new(format!("key-{key}"), format!("{number}"))
}

async fn start(kinesis: &FakeKinesis, change: impl FnOnce(&mut Config)) -> Producer {
    let mut config = Config::new("events");
    change(&mut config);
    Producer::start(config, kinesis.client()).await.unwrap()
}

/// Puts `count` records on 37 keys and checks each acknowledgement against what is stored.
async fn check_all_delivered(shards: u8, count: usize, change: impl FnOnce(&mut Config)) -> FakeKinesis {
    let kinesis = FakeKinesis::start(shards, vec![]).await;
    let producer = start(&kinesis, change).await;
    let deliveries: Vec<_> = (0..count).map(|number| producer.try_send(record(number % 37, number)).unwrap()).collect();
    producer.flush().await;
    let stored: HashMap<String, Bytes> =
        kinesis.stored().into_iter().map(|stored| (stored.sequence_number, stored.data)).collect();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        let Delivered::Stored(delivered) = delivery.await.unwrap() else { panic!("there is no spool") };
        let sub_sequence = usize::try_from(delivered.sub_sequence).unwrap();
        let data = &stored[&*delivered.sequence_number];
        let found = match unpack(data).unwrap() {
            Unpacked::Plain => data.clone(),
            Unpacked::Aggregate(records) => records[sub_sequence].data.clone(),
        };
        assert_eq!((found, delivered.attempts), (Bytes::from(number.to_string()), 1));
    }
    let mut last: HashMap<String, usize> = HashMap::new();
    for (key, number) in kinesis.user_records() {
        let number: usize = number.parse().unwrap();
        assert!(last.insert(key, number).is_none_or(|before| before < number), "the order of a key is kept");
    }
    let stats = producer.stats();
    let totals = (stats.offered, stats.acknowledged, stats.failed, stats.buffered_bytes);
    assert_eq!(totals, (u64::try_from(count).unwrap(), u64::try_from(count).unwrap(), 0, 0));
    assert_eq!(kinesis.user_records().len(), count);
    assert_eq!(kinesis.dropped_by_kcl(), 0);
    producer.close().await;
    kinesis
}

#[tokio::test]
async fn records_arrive_aggregated_and_in_order() {
    let kinesis = check_all_delivered(3, 5_000, |_| {}).await;
    assert!(kinesis.stored().len() < 20, "{} Kinesis records for 5,000", kinesis.stored().len());
}

#[tokio::test]
async fn lanes_within_a_shard_work_alike() {
    check_all_delivered(2, 2_000, |config| config.lanes_per_shard = 5).await;
}

#[tokio::test]
async fn records_arrive_without_aggregation() {
    let kinesis = check_all_delivered(2, 300, |config| config.aggregation = false).await;
    assert_eq!(kinesis.stored().len(), 300);
    assert!(kinesis.puts() < 100, "{} requests for 300 records of 37 keys", kinesis.puts());
}

#[tokio::test]
async fn a_lone_record_goes_plain_and_large_ones_go_alone() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |_| {}).await;
    let large = Record { explicit_hash_key: Some(7), ..Record::new("large", vec![b'x'; 60_000]) };
    for record in [Record::new("a", "one"), large] {
        let delivered = producer.send(record).await.unwrap().await.unwrap();
        assert_eq!(delivered.stored().unwrap().sub_sequence, 0);
    }
    let stored = kinesis.stored();
    assert_eq!((stored[0].partition_key.as_str(), &stored[0].data[..]), ("a", &b"one"[..]));
    assert_eq!((stored[1].partition_key.as_str(), stored[1].data.len()), ("large", 60_000));
}

#[tokio::test]
async fn a_payload_that_looks_like_an_aggregate_arrives_as_it_was() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |_| {}).await;
    let mut builder = AggregateBuilder::new();
    builder.push("inner", None, Bytes::from_static(b"never to be seen"));
    let payload = builder.encode();
    producer.send(Record::new("outer", payload.clone())).await.unwrap().await.unwrap();
    let Ok(Unpacked::Aggregate(records)) = unpack(&kinesis.stored()[0].data) else { panic!("it is wrapped") };
    assert_eq!((&*records[0].partition_key, &records[0].data), ("outer", &payload));
}

#[tokio::test]
async fn each_lane_keeps_one_outer_key_when_single_records_are_wrapped() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |config| config.wrap_single_records = true).await;
    for number in 0..5 {
        producer.send(record(number, number)).await.unwrap().await.unwrap();
    }
    let keys: Vec<String> = kinesis.stored().into_iter().map(|stored| stored.partition_key).collect();
    assert_eq!(keys, vec!["shardId-000000000000/0"; 5]);
}

#[tokio::test]
async fn invalid_records_are_refused_at_the_door() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |_| {}).await;
    let too_large = Record::new("k", vec![0; 1 << 20]);
    let reason = InvalidRecord::TooLarge { bytes: (1 << 20) + 1, bytes_max: 1 << 20 };
    assert_eq!(producer.try_send(too_large.clone()).unwrap_err(), TrySendError::Invalid(reason));
    assert_eq!(producer.send(too_large).await.unwrap_err(), SendError::Invalid(reason));
    let no_key = producer.try_send(Record::new("", "x")).unwrap_err();
    assert_eq!(no_key, TrySendError::Invalid(InvalidRecord::PartitionKey { bytes: 0 }));
}

#[tokio::test]
async fn the_buffer_is_bounded_in_bytes() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |config| {
        config.record_bytes_max = 10_000;
        config.aggregate_bytes_max = 10_000;
        config.buffer_bytes_max = 20_000;
    })
    .await;
    let big = |number: u8| Record::new("k", vec![number; 9_000]);
    // Three do not fit: no answer can come in between, for this task does not yield.
    let first = producer.try_send(big(1)).unwrap();
    let second = producer.try_send(big(2)).unwrap();
    assert_eq!(producer.try_send(big(3)).unwrap_err(), TrySendError::Full(big(3)));
    let third = producer.send(big(3)).await.unwrap();
    for delivery in [first, second, third] {
        delivery.await.unwrap();
    }
    producer.flush().await;
    assert_eq!(producer.stats().buffered_bytes, 0);
}

#[tokio::test]
async fn closing_sends_what_was_accepted_and_refuses_the_rest() {
    let kinesis = FakeKinesis::start(2, vec![]).await;
    let producer = start(&kinesis, |config| config.linger = Duration::from_secs(3600)).await;
    let deliveries: Vec<_> = (0..100).map(|number| producer.try_send(record(number, number)).unwrap()).collect();
    producer.close().await;
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    assert_eq!(producer.try_send(record(1, 1)).unwrap_err(), TrySendError::Closed(record(1, 1)));
    assert_eq!(producer.send(record(1, 1)).await.unwrap_err(), SendError::Closed(record(1, 1)));
    producer.flush().await;
    producer.close().await;
}

#[tokio::test]
async fn dropped_handles_and_deliveries_lose_nothing() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |config| config.linger = Duration::from_secs(3600)).await;
    let first: Delivered = producer.send(record(1, 1)).await.unwrap().await.unwrap();
    assert_eq!(&*first.stored().unwrap().shard_id, "shardId-000000000000");
    drop(producer.try_send(record(1, 2)).unwrap());
    let last = producer.try_send(record(1, 3)).unwrap();
    drop(producer);
    last.await.unwrap();
    let numbers: Vec<String> = kinesis.user_records().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_producer_that_cannot_start_says_why() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let error = Producer::start(Config::new("missing"), kinesis.client()).await.unwrap_err();
    let StartError::Shards { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.source().unwrap().to_string(), "ResourceNotFoundException: scripted");
    let error = Producer::start(Config::new(""), kinesis.client()).await.unwrap_err();
    assert_eq!(error.source().unwrap().to_string(), "stream must be a name or an ARN");
}
