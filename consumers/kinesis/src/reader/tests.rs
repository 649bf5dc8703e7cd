//! Whole batches: order, repeats, damaged records, and the answer to Lambda.

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use bytes::Bytes;
use kinesis_record::{AggregateBuilder, COMPRESSED_MAGIC, Compressor, Origin};

use super::{BatchItem, BatchReader, ItemOutcome};
use crate::{BatchFailures, dedupe::ShardWindows};

const EVENT: &str = include_str!("../../fixtures/event.json");

fn record(shard: &str, sequence_number: u64, data: impl Into<Vec<u8>>) -> KinesisEventRecord {
    let mut event: KinesisEvent = serde_json::from_str(EVENT).unwrap();
    let mut record = event.records.remove(0);
    record.kinesis.sequence_number = sequence_number.to_string();
    record.kinesis.data.0 = data.into();
    record.event_id = Some(format!("{shard}:{sequence_number}"));
    record
}

fn event(records: Vec<KinesisEventRecord>) -> KinesisEvent {
    let mut event: KinesisEvent = serde_json::from_str(EVENT).unwrap();
    event.records = records;
    event
}

fn aggregate(counter: u64, texts: &[&'static str], is_compressed: bool) -> Bytes {
    let mut builder = AggregateBuilder::new();
    for text in texts {
        builder.push("key", None, Bytes::from_static(text.as_bytes()));
    }
    builder.set_origin(Origin { producer: 1, epoch: 1, lane: 0, counter });
    if is_compressed { Compressor::new(1).compress(&builder).unwrap() } else { builder.encode() }
}

fn texts(reader: &mut BatchReader<'_>) -> Vec<String> {
    let text = |item| match item {
        BatchItem::Record(record) => {
            format!("{}.{} {}", record.sequence_number, record.sub_sequence, str::from_utf8(&record.data).unwrap())
        }
        BatchItem::Unreadable(unreadable) => format!("{}: {}", unreadable.sequence_number, unreadable.error),
    };
    reader.map(text).collect()
}

fn batch() -> KinesisEvent {
    event(vec![
        record("s", 1, aggregate(1, &["a", "b"], false)),
        record("s", 2, "plain"),
        record("s", 3, aggregate(2, &["c"], true)),
        record("s", 4, aggregate(1, &["a", "b"], false)),
        record("s", 5, COMPRESSED_MAGIC),
        record("s", 6, aggregate(2, &["c"], true)),
        record("other", 4, aggregate(1, &["d"], false)),
    ])
}

#[test]
fn all_forms_are_read_in_order() {
    let mut reader = BatchReader::new(batch());
    let read = texts(&mut reader);
    let expect =
        ["1.0 a", "1.1 b", "2.0 plain", "3.0 c", "4.0 a", "4.1 b", "5: compressed aggregate", "6.0 c", "4.0 d"];
    assert_eq!(read, expect);
    let counts = reader.counts();
    assert_eq!((counts.kinesis_records, counts.user_records, counts.unreadable, counts.repeats), (7, 8, 1, 0));
}

#[test]
fn repeats_are_left_out_and_batches_given_again_are_whole() {
    let mut windows = ShardWindows::default();
    for _ in 0..3 {
        let mut reader = BatchReader::without_repeats(batch(), &mut windows);
        let expect = ["1.0 a", "1.1 b", "2.0 plain", "3.0 c", "5: compressed aggregate", "4.0 d"];
        assert_eq!(texts(&mut reader), expect);
        assert_eq!((reader.counts().repeats, reader.counts().repeated_user_records), (2, 3));
    }
    // The next batch holds a copy of what the one before held.
    let mut reader =
        BatchReader::without_repeats(event(vec![record("s", 9, aggregate(2, &["c"], true))]), &mut windows);
    assert_eq!(texts(&mut reader), [""; 0]);
}

/// Drives a future that never waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn handling_ends_where_the_stream_has_to_begin_again() {
    let check = |fail_at: Option<&str>, expect_handled: usize, expect_answer: Option<&str>| {
        let mut reader = BatchReader::new(batch());
        let mut handled = 0;
        let response = block_on(reader.handle_each(async |item| {
            handled += 1;
            let text = match &item {
                BatchItem::Record(record) => str::from_utf8(&record.data).unwrap(),
                BatchItem::Unreadable(_) => "unreadable",
            };
            if Some(text) == fail_at { ItemOutcome::Again } else { ItemOutcome::Done }
        }));
        let answered: Vec<_> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_deref()).collect();
        assert_eq!((handled, answered), (expect_handled, expect_answer.map(Some).into_iter().collect()));
    };
    check(None, 9, None);
    // In the middle of an aggregate: all of it comes again.
    check(Some("b"), 2, Some("1"));
    check(Some("plain"), 3, Some("2"));
    check(Some("unreadable"), 7, Some("5"));
}

#[test]
fn a_handler_of_many_at_a_time_notes_what_failed() {
    let items: Vec<BatchItem> = BatchReader::new(batch()).collect();
    let mut failures = BatchFailures::new();
    for item in items.iter().rev().step_by(3) {
        failures.add(item.sequence_number());
    }
    assert_eq!(failures.lowest(), Some("2"));
}
