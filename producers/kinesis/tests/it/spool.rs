//! The log on disk as callers see it: durable when the stream is not there, in order, bounded, and left alone when not needed.

use std::{collections::HashMap, path::Path, time::Duration};

use kinesis_producer::{
    Config, Delivered, Producer, PutError, Record, RejectedRecords, SpoolConfig, SpoolError, SpoolPolicy, StartError,
};
use tokio::time::error::Elapsed;

use crate::fake_kinesis::{FakeKinesis, Fault};

fn config(folder: &Path, policy: SpoolPolicy) -> Config {
    let mut config = Config::new("events");
    config.linger = Duration::from_millis(1);
    config.spool = Some(SpoolConfig { folder: folder.to_owned(), bytes_max: 4 << 20, policy });
    config
}

fn when_slow(after_ms: u64) -> SpoolPolicy {
    SpoolPolicy::WhenSlow { after: Duration::from_millis(after_ms) }
}

fn record(number: usize) -> Record {
    Record::new(format!("key-{}", number % 7), number.to_string())
}

/// Waits until everything is drained, with a bound.
async fn drained(producer: &Producer, count: u64) {
    let is_drained = || producer.stats().spool_drained >= count;
    wait_until(is_drained).await.unwrap_or_else(|_| panic!("not drained: {:?}", producer.stats()));
}

async fn all_drained(producer: &Producer) {
    let is_drained = || producer.stats().spool_backlog == 0;
    wait_until(is_drained).await.unwrap_or_else(|_| panic!("not drained: {:?}", producer.stats()));
}

async fn wait_until(mut holds: impl FnMut() -> bool) -> Result<(), Elapsed> {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await
}

/// The numbers on the stream, each key in its order.
fn check_stored_in_order(kinesis: &FakeKinesis, count: usize) {
    let mut last: HashMap<String, usize> = HashMap::new();
    let mut numbers = Vec::new();
    for (key, number) in kinesis.user_records() {
        let number: usize = number.parse().unwrap();
        assert!(last.insert(key, number).is_none_or(|before| before < number), "the order of a key is kept");
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn always_first_means_durable_first() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(2, vec![]).await;
    let producer = Producer::start(config(folder.path(), SpoolPolicy::Always), kinesis.client()).await.unwrap();
    let deliveries: Vec<_> = (0..500).map(|number| producer.try_send(record(number)).unwrap()).collect();
    producer.flush().await;
    for delivery in deliveries {
        assert_eq!(delivery.await.unwrap(), Delivered::Spooled);
    }
    drained(&producer, 500).await;
    check_stored_in_order(&kinesis, 500);
    let stats = producer.stats();
    assert_eq!((stats.offered, stats.spooled, stats.acknowledged, stats.failed), (500, 500, 0, 0));
    producer.close().await;
    assert_eq!(kinesis.user_records().len(), 500);
    // Nothing is left for the next one.
    let next = Producer::start(config(folder.path(), SpoolPolicy::Always), kinesis.client()).await.unwrap();
    next.close().await;
    assert_eq!(kinesis.user_records().len(), 500);
}

#[tokio::test]
async fn a_healthy_stream_never_meets_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = Producer::start(config(folder.path(), when_slow(60_000)), kinesis.client()).await.unwrap();
    for number in 0..100 {
        let delivered = producer.send(record(number)).await.unwrap().await.unwrap();
        assert_eq!(delivered.stored().unwrap().attempts, 1);
    }
    assert_eq!(producer.stats().spooled, 0);
}

#[tokio::test]
async fn a_stream_that_is_down_fills_the_spool_and_drains_it_later_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(2, vec![]).await;
    let producer = Producer::start(config(folder.path(), when_slow(30)), kinesis.client()).await.unwrap();
    // Which way this one takes depends on how fast the machine is.
    producer.send(record(0)).await.unwrap().await.unwrap();
    all_drained(&producer).await;
    kinesis.set_down(true);
    // These wait in memory, some on their way, when the spool opens.
    let waiting: Vec<_> = (1..200).map(|number| producer.try_send(record(number)).unwrap()).collect();
    for delivery in waiting {
        assert_eq!(delivery.await.unwrap(), Delivered::Spooled);
    }
    for number in 200..300 {
        assert_eq!(producer.send(record(number)).await.unwrap().await.unwrap(), Delivered::Spooled);
    }
    producer.flush().await;
    kinesis.set_down(false);
    all_drained(&producer).await;
    check_stored_in_order(&kinesis, 300);
    // And then the way over the disk ends.
    let mut number = 300;
    while producer.send(record(number)).await.unwrap().await.unwrap() == Delivered::Spooled {
        number += 1;
        assert!(number < 10_000, "the spool never closes");
    }
    producer.flush().await;
    all_drained(&producer).await;
    check_stored_in_order(&kinesis, number + 1);
}

#[tokio::test]
async fn what_is_left_is_sent_after_a_restart_even_if_the_stream_is_down_at_first() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(2, vec![]).await;
    kinesis.set_down(true);
    for round in 0..3 {
        // No shard can be listed: the producer starts all the same.
        let producer = Producer::start(config(folder.path(), when_slow(20)), kinesis.client()).await.unwrap();
        for number in round * 100..(round + 1) * 100 {
            let delivery = producer.send(record(number)).await.unwrap();
            assert_eq!(delivery.await.unwrap(), Delivered::Spooled);
        }
        producer.close().await;
    }
    kinesis.set_down(false);
    let producer = Producer::start(config(folder.path(), when_slow(20)), kinesis.client()).await.unwrap();
    drained(&producer, 300).await;
    check_stored_in_order(&kinesis, 300);
    producer.close().await;
}

#[tokio::test]
async fn a_full_spool_refuses_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(1, vec![]).await;
    kinesis.set_down(true);
    let mut config = config(folder.path(), SpoolPolicy::Always);
    config.spool.as_mut().unwrap().bytes_max = 1 << 20;
    let producer = Producer::start(config, kinesis.client()).await.unwrap();
    let big = || Record::new("k", vec![b'x'; 100_000]);
    let mut kept = 0;
    let error = loop {
        match producer.send(big()).await.unwrap().await {
            Ok(Delivered::Spooled) => kept += 1,
            Ok(Delivered::Stored(_)) => panic!("the stream is down"),
            Err(error) => break error,
        }
        assert!(kept < 20);
    };
    assert!(matches!(error, PutError::Spool(SpoolError::Full { bytes_max: 1_048_576 })), "{error:?}");
    let stats = producer.stats();
    assert_eq!((kept, stats.spool_refused, stats.failed), (10, 1, 1));
    assert!(stats.spool_disk_bytes <= 1 << 20);
    kinesis.set_down(false);
    drained(&producer, 10).await;
    wait_until(|| producer.stats().spool_disk_bytes < 300_000).await.unwrap();
    producer.send(big()).await.unwrap().await.expect("there is room again");
}

#[tokio::test]
async fn a_poisoned_record_is_kept_aside_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(1, vec![Fault::RefuseIfContains("poison")]).await;
    let producer = Producer::start(config(folder.path(), SpoolPolicy::Always), kinesis.client()).await.unwrap();
    for (puts, data) in (1..).zip(["good", "poison", "better"]) {
        producer.send(Record::new("k", data)).await.unwrap().await.unwrap();
        // One at a time: what shares an aggregate is refused together.
        wait_until(|| kinesis.puts() >= puts).await.unwrap();
    }
    drained(&producer, 2).await;
    producer.close().await;
    let rejected: Vec<Record> = RejectedRecords::open(folder.path()).unwrap().map(Result::unwrap).collect();
    assert_eq!(rejected, [Record::new("k", "poison")]);
}

#[tokio::test]
async fn no_permission_is_waited_out_not_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let denied = Fault::Call(400, "AccessDeniedException");
    let kinesis = FakeKinesis::start(1, vec![denied.clone(), denied]).await;
    let producer = Producer::start(config(folder.path(), SpoolPolicy::Always), kinesis.client()).await.unwrap();
    for number in 0..10 {
        producer.send(record(number)).await.unwrap().await.unwrap();
    }
    drained(&producer, 10).await;
    check_stored_in_order(&kinesis, 10);
}

#[tokio::test]
async fn a_folder_in_use_or_a_missing_stream_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let _first = Producer::start(config(folder.path(), SpoolPolicy::Always), kinesis.client()).await.unwrap();
    let error = Producer::start(config(folder.path(), SpoolPolicy::Always), kinesis.client()).await.unwrap_err();
    assert!(matches!(error, StartError::Spool(SpoolError::InUse { .. })), "{error:?}");
    let other = tempfile::tempdir().unwrap();
    let mut missing = config(other.path(), SpoolPolicy::Always);
    missing.stream = "missing".into();
    let error = Producer::start(missing, kinesis.client()).await.unwrap_err();
    assert!(matches!(error, StartError::Shards { .. }), "{error:?}");
}
