//! Everything at once: records that take the way over the disk go out in compressed, marked aggregates, some of them twice, and a
//! reader that looks at the marks has each record once and in order.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use kinesis_consumer::ShardWindows;
use kinesis_producer::{Config, Delivered, Producer, ProducerId, Record, SpoolConfig, SpoolPolicy};
use kinesis_record::{COMPRESSED_MAGIC, CONTENT_BYTES_MAX, unpack_aggregate};

use crate::fake_kinesis::{FakeKinesis, Fault, Stored};

const RECORDS: usize = 3_000;

/// JSON that compresses, with its number in front.
fn record(number: usize) -> Record {
    let data =
        format!(r#"{number:06} {{"id":"{number}","imp":[{{"id":"1","w":1920,"h":1080}}],"device":{{"os":"tv"}}}}"#);
    Record::new(format!("key-{}", number % 7), data)
}

/// The numbers, by key, as a reader finds them that removes marked repeats; and how many aggregates were repeats.
fn read(stored: &[Stored]) -> (HashMap<String, Vec<usize>>, usize) {
    let mut windows = ShardWindows::default();
    let (mut numbers, mut repeats) = (HashMap::<String, Vec<usize>>::new(), 0);
    for Stored { shard, sequence_number, data, .. } in stored {
        assert!(data.starts_with(&COMPRESSED_MAGIC), "it is worth compressing");
        let aggregate = unpack_aggregate(data, CONTENT_BYTES_MAX).unwrap().expect("every record is in an aggregate");
        let origin = aggregate.origin().expect("every aggregate is marked");
        if windows.is_repeat(&shard.to_string(), &origin, sequence_number) {
            repeats += 1;
            continue;
        }
        for record in aggregate {
            let digits: Bytes = record.data.slice(..6);
            let number = std::str::from_utf8(&digits).unwrap().parse().unwrap();
            numbers.entry(record.partition_key.to_string()).or_default().push(number);
        }
    }
    (numbers, repeats)
}

#[tokio::test]
async fn spooled_compressed_and_marked_records_are_read_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let throttled = Fault::Entries(vec![0], "ProvisionedThroughputExceededException");
    let faults = vec![
        Fault::HangAfterCommit,
        throttled,
        Fault::None,
        Fault::Call(500, "InternalFailure"),
        Fault::HangAfterCommit,
    ];
    let kinesis = FakeKinesis::start(2, faults).await;
    let mut config = Config::new("events");
    config.linger = Duration::from_millis(1);
    config.request_timeout = Duration::from_millis(300);
    config.aggregate_bytes_max = 4 << 10;
    config.compression_level = Some(1);
    config.dedupe_tag = Some(ProducerId { producer: 7, epoch: 1 });
    config.spool = Some(SpoolConfig { policy: SpoolPolicy::Always, ..SpoolConfig::new(folder.path()) });
    let producer = Producer::start(config, kinesis.client()).await.unwrap();
    let deliveries: Vec<_> = (0..RECORDS).map(|number| producer.try_send(record(number)).unwrap()).collect();
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), Delivered::Spooled);
    }
    let drained = async {
        while producer.stats().spool_backlog > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), drained).await.expect("it drains");
    producer.close().await;

    let stored = kinesis.stored();
    let (numbers, repeats) = read(&stored);
    assert!(repeats > 0, "there was something to remove in {} records", stored.len());
    assert_eq!(numbers.values().map(Vec::len).sum::<usize>(), RECORDS, "each once");
    assert!(numbers.values().all(|numbers| numbers.is_sorted()), "in the order of their keys");
}
