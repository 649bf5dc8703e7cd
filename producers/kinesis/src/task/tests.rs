//! An idle producer does nothing: its task is not even polled.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Region},
};
use kinesis_record::HashRange;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{Command, Offer, Task, now};
use crate::{
    config::Config,
    kinesis::Stream,
    pipeline::Pipeline,
    record::Record,
    shard_map::{Shard, ShardMap},
    stats::Counters,
};

/// Counts how often a future is polled.
struct Counted<F> {
    future: Pin<Box<F>>,
    polls: Arc<AtomicUsize>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.future.as_mut().poll(context)
    }
}

/// A producer's task over a stream that nobody serves.
fn task(change: impl FnOnce(&mut Config)) -> (Task, mpsc::UnboundedSender<Command>) {
    let mut config = Config::new("events");
    change(&mut config);
    let client = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url("http://127.0.0.1:1");
    let stream = Stream::new(&Client::from_conf(client.build()), "events", config.request_timeout);
    let range = HashRange { start: 0, end: u128::MAX };
    let map = ShardMap::new(vec![Shard { id: "s0".into(), range }]).unwrap();
    let (sender, commands) = mpsc::unbounded_channel();
    let senders_bytes_max = config.buffer_bytes_max;
    let task = Task {
        stream,
        pipeline: Pipeline::new(config, &map, now(), Arc::new(Counters::default()), 1),
        spool: None,
        commands,
        budget: Arc::new(Semaphore::new(senders_bytes_max)),
        senders_bytes_max,
        ended: watch::channel(false).0,
    };
    (task, sender)
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_after_a_flush_not_even_a_timer() {
    for freezable in [false, true] {
        // Without anything to send; and with a record that expires, after retries.
        for records in [0, 1] {
            let (task, commands) = task(|config| {
                config.freezable = freezable;
                config.record_deadline = Duration::from_secs(5);
                config.shard_map_refresh = Duration::from_secs(1);
            });
            let polls = Arc::new(AtomicUsize::new(0));
            let running = tokio::spawn(Counted { future: Box::pin(task.run()), polls: Arc::clone(&polls) });
            for _ in 0..records {
                let record = Record::new("key", "data");
                let (cost, reply) = (record.cost(1_000).unwrap(), oneshot::channel().0);
                commands.send(Command::Put(Offer { record, cost, reply })).unwrap();
            }
            let (flush, flushed) = oneshot::channel();
            commands.send(Command::Flush(flush)).unwrap();
            flushed.await.unwrap();
            let (rest, resting) = oneshot::channel();
            commands.send(Command::Rest(rest)).unwrap();
            resting.await.unwrap();
            tokio::task::yield_now().await;

            let before = polls.load(Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert_eq!(polls.load(Ordering::Relaxed), before, "freezable {freezable}, {records} records");
            commands.send(Command::Close).unwrap();
            running.await.unwrap();
        }
    }
}
