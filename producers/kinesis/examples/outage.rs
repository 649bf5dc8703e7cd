//! Measures what an outage costs: 64 senders offer more than fits while the stream answers every call with an error, and the
//! process's memory and processor time are read once a second. The stream and the senders are in the same process.
//!
//! `cargo run --release -p kinesis-producer --example outage -- --seconds 60`
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    dead_code,
    reason = "it is a measurement for people to run, and shares its endpoint with the tests"
)]

#[path = "../tests/it/fake_kinesis.rs"]
mod fake_kinesis;

use std::{
    fs,
    time::{Duration, Instant},
};

use clap::Parser;
use kinesis_producer::{Config, Producer, Record};

use crate::fake_kinesis::FakeKinesis;

const SENDERS: usize = 64;

#[derive(Debug, Parser)]
struct Arguments {
    /// Length of the outage.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Shards of the stream.
    #[arg(long, default_value_t = 16)]
    shards: u8,
    /// `buffer_bytes_max`, in MiB.
    #[arg(long, default_value_t = 64)]
    buffer_mib: usize,
    /// Bytes of each record.
    #[arg(long, default_value_t = 1_000)]
    record_bytes: usize,
}

/// Resident bytes of this process.
fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Processor time of this process so far: clock ticks of 10 ms.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = [11, 12].map(|at| fields[at].parse::<u64>().unwrap()).iter().sum();
    Duration::from_millis(ticks * 10)
}

#[tokio::main]
async fn main() {
    let Arguments { seconds, shards, buffer_mib, record_bytes } = Arguments::parse();
    let kinesis = FakeKinesis::start(shards, vec![]).await;
    let mut config = Config::new("events");
    config.buffer_bytes_max = buffer_mib << 20;
    config.record_deadline = Duration::from_secs(24 * 3600);
    let producer = Producer::start(config, kinesis.client()).await.unwrap();
    kinesis.set_down(true);
    let before = resident_bytes();
    for sender in 0..SENDERS {
        let producer = producer.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let record = Record::new(format!("key-{sender}-{}", number % 100), vec![b'x'; record_bytes]);
                if producer.send(record).await.is_err() {
                    return;
                }
            }
        });
    }
    // Full within a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (started_at, time_before) = (Instant::now(), processor_time());
    let mut resident_max = 0;
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        resident_max = resident_max.max(resident_bytes());
    }
    let used = (processor_time() - time_before).as_secs_f64() / started_at.elapsed().as_secs_f64();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!(
        "budget {buffer_mib} MiB, charged {:.1} MiB",
        mib(usize::try_from(producer.stats().buffered_bytes).unwrap())
    );
    println!("resident {:.1} MiB before, {:.1} MiB at most while blocked", mib(before), mib(resident_max));
    println!("processor {:.2} % of a core while blocked, the failing endpoint included", used * 100.0);
    kinesis.set_down(false);
    let (back_at, acknowledged) = (Instant::now(), producer.stats().acknowledged);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let stats = producer.stats();
    let rate = (stats.acknowledged - acknowledged) as f64 / back_at.elapsed().as_secs_f64();
    println!("afterwards {rate:.0} records/s over 5 s, {} throttled", stats.throttled);
}
