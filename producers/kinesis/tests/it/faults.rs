//! What fails is sent again, refused, or expires; and never twice, out of order, or in silence.

use std::time::Duration;

use kinesis_consumer::{DedupeWindow, WindowLimits, user_records_of};
use kinesis_producer::{Config, Delivery, FailureClass, Producer, ProducerId, PutError, Record};
use kinesis_record::COMPRESSED_MAGIC;

use crate::fake_kinesis::{FakeKinesis, Fault};

const THROTTLE: &str = "ProvisionedThroughputExceededException";

async fn start(kinesis: &FakeKinesis, change: impl FnOnce(&mut Config)) -> Producer {
    let mut config = Config::new("events");
    config.linger = Duration::from_millis(1);
    change(&mut config);
    Producer::start(config, kinesis.client()).await.unwrap()
}

/// Sends numbered records of one key, half of them before the first answer, half after.
async fn send_halves(producer: &Producer, count: usize) -> Vec<Delivery> {
    let record = |number: usize| Record::new("key", format!("{number}"));
    let mut deliveries: Vec<_> = (0..count / 2).map(|number| producer.try_send(record(number)).unwrap()).collect();
    tokio::task::yield_now().await;
    for number in count / 2..count {
        deliveries.push(producer.send(record(number)).await.unwrap());
    }
    deliveries
}

fn numbers(kinesis: &FakeKinesis) -> Vec<usize> {
    kinesis.user_records().into_iter().map(|(_, number)| number.parse().unwrap()).collect()
}

/// Every fault of the script is survived: all records are delivered once and in order.
async fn check_survives(faults: Vec<Fault>, aggregation: bool) -> (FakeKinesis, Producer) {
    let kinesis = FakeKinesis::start(1, faults).await;
    let producer = start(&kinesis, |config| config.aggregation = aggregation).await;
    let mut attempts = 0;
    for delivery in send_halves(&producer, 20).await {
        attempts = attempts.max(delivery.await.unwrap().attempts);
    }
    assert!(attempts > 1);
    assert_eq!(numbers(&kinesis), (0..20).collect::<Vec<_>>());
    (kinesis, producer)
}

#[tokio::test]
async fn a_throttled_record_is_sent_again_in_order() {
    let faults = vec![Fault::Entries(vec![0], THROTTLE), Fault::Entries(vec![0], THROTTLE)];
    let (_kinesis, producer) = check_survives(faults, true).await;
    let stats = producer.stats();
    assert_eq!((stats.throttled, stats.retried, stats.failed), (2, 2, 0));
}

#[tokio::test]
async fn temporary_failures_are_sent_again_in_order() {
    for fault in [
        Fault::Entries(vec![0], "InternalFailure"),
        Fault::Call(500, "InternalFailureException"),
        Fault::Call(503, "Unheard"),
        Fault::Call(400, THROTTLE),
        Fault::Call(400, "ExpiredTokenException"),
    ] {
        check_survives(vec![fault.clone(), fault], true).await;
    }
}

#[tokio::test]
async fn order_is_kept_without_aggregation_too() {
    let faults = vec![Fault::Entries(vec![0], THROTTLE), Fault::None, Fault::Entries(vec![0], "InternalFailure")];
    check_survives(faults, false).await;
}

#[tokio::test]
async fn what_is_refused_for_good_fails_at_once_with_its_reason() {
    for code in
        ["ResourceNotFoundException", "AccessDeniedException", "InvalidArgumentException", "KMSDisabledException"]
    {
        let kinesis = FakeKinesis::start(1, vec![Fault::Call(400, code)]).await;
        let producer = start(&kinesis, |_| {}).await;
        let error = producer.send(Record::new("k", "x")).await.unwrap().await.unwrap_err();
        let PutError::Refused(failure) = error else { panic!("{error}") };
        assert_eq!((failure.code(), failure.class()), (Some(code), FailureClass::Refused));
        assert_eq!(kinesis.puts(), 1);
        assert_eq!(producer.stats().failed, 1);
    }
}

#[tokio::test]
async fn one_refused_record_does_not_take_others_with_it() {
    let kinesis = FakeKinesis::start(8, vec![Fault::RefuseIfContains("poison")]).await;
    let producer = start(&kinesis, |_| {}).await;
    let record = |key: usize| Record {
        explicit_hash_key: Some(u128::MAX / 8 * u128::try_from(key).unwrap() + 1),
        ..Record::new("k", if key == 3 { "poison" } else { "good" })
    };
    let deliveries: Vec<_> = (0..8).map(|key| producer.try_send(record(key)).unwrap()).collect();
    for (key, delivery) in deliveries.into_iter().enumerate() {
        let result = delivery.await;
        assert_eq!(result.is_err(), key == 3, "{result:?}");
    }
}

#[tokio::test]
async fn an_unanswered_request_is_sent_again_and_blocks_no_other_lane() {
    let kinesis = FakeKinesis::start(2, vec![Fault::HangAfterCommit]).await;
    let producer = start(&kinesis, |config| config.request_timeout = Duration::from_millis(300)).await;
    let record = |hash_key, data: &'static str| Record { explicit_hash_key: Some(hash_key), ..Record::new("k", data) };
    let stuck = producer.send(record(0, "stuck")).await.unwrap();
    while kinesis.puts() == 0 {
        tokio::task::yield_now().await;
    }
    // The other shard's record is answered although the first request never is.
    let free = producer.send(record(u128::MAX, "free")).await.unwrap().await.unwrap();
    assert_eq!((&*free.shard_id, free.attempts), ("shardId-000000000001", 1));
    assert_eq!(stuck.await.unwrap().attempts, 2);
    let texts: Vec<String> = kinesis.user_records().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["stuck", "free", "stuck"], "at least once: the first attempt had been stored");
}

#[tokio::test]
async fn a_marked_and_compressed_repeat_is_read_once() {
    let kinesis = FakeKinesis::start(1, vec![Fault::HangAfterCommit]).await;
    let producer = start(&kinesis, |config| {
        config.request_timeout = Duration::from_millis(300);
        config.compression_level = Some(1);
        config.dedupe_tag = Some(ProducerId::random());
    })
    .await;
    let mut deliveries = Vec::new();
    for number in 0..200 {
        deliveries.push(producer.send(Record::new("key", format!("{number:0>200}"))).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    let stored = kinesis.stored();
    assert_eq!(stored[0].data, stored[1].data, "the same bytes, because the first attempt was stored");
    assert!(stored.iter().any(|stored| stored.data.starts_with(&COMPRESSED_MAGIC)));
    let mut window = DedupeWindow::new(WindowLimits::default());
    let mut read = Vec::new();
    for stored in &stored {
        let records = user_records_of(&stored.partition_key, &stored.sequence_number, &stored.data).unwrap();
        let origin = records.origin().expect("every record travels in a marked aggregate");
        if !window.is_repeat(&origin, &stored.sequence_number) {
            read.extend(records.map(|user| String::from_utf8(user.data.to_vec()).unwrap().parse::<usize>().unwrap()));
        }
    }
    assert_eq!(read, (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn records_expire_with_the_last_cause() {
    let kinesis = FakeKinesis::start(1, vec![]).await;
    let producer = start(&kinesis, |config| config.record_deadline = Duration::from_millis(200)).await;
    kinesis.set_down(true);
    for delivery in send_halves(&producer, 20).await {
        let error = delivery.await.unwrap_err();
        let PutError::Expired { last, .. } = error else { panic!("{error}") };
        assert_eq!(last.unwrap().code(), Some("InternalFailureException"));
    }
    producer.flush().await;
    let stats = producer.stats();
    assert_eq!((stats.offered, stats.failed, stats.acknowledged, stats.buffered_bytes), (20, 20, 0, 0));
    kinesis.set_down(false);
    producer.send(Record::new("k", "after")).await.unwrap().await.unwrap();
}

#[tokio::test]
async fn a_split_loses_nothing_and_the_map_follows() {
    let kinesis = FakeKinesis::start(2, vec![Fault::None, Fault::Split]).await;
    let producer = start(&kinesis, |_| {}).await;
    let mut sent = 0;
    // Until the producer knows of the split, and for a while after.
    while producer.stats().shard_map_changes == 0 || sent % 1_000 != 0 {
        let record = Record::new(format!("key-{}", sent % 37), format!("{sent}"));
        drop(producer.send(record).await.unwrap());
        sent += 1;
        if sent % 50 == 0 {
            producer.flush().await;
        }
    }
    producer.flush().await;
    let stats = producer.stats();
    assert_eq!((stats.acknowledged, stats.failed), (sent, 0));
    assert_eq!(u64::try_from(kinesis.user_records().len()).unwrap(), sent, "nothing twice, nothing lost");
    assert_eq!(kinesis.dropped_by_kcl(), 0);
    let of_children = kinesis.stored().iter().filter(|stored| stored.shard >= 2).count();
    assert!(of_children > 1 && kinesis.lists() >= 2);
}
