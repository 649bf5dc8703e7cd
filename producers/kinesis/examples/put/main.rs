//! Puts lines of standard input on a stream, the first word as the partition key, and tells where each was stored.
//!
//! `seq 1 1000 | cargo run -p kinesis-producer --example put -- --stream events --endpoint-url http://127.0.0.1:4566`
#![allow(clippy::print_stdout, reason = "it is for people to run")]

mod connect;

use std::{error::Error, io::BufRead, path::PathBuf};

use clap::Parser;
use kinesis_producer::{Config, Delivered, Producer, Record, SpoolConfig};

use crate::connect::{Endpoint, client};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    endpoint: Endpoint,
    /// Folder of a spool: lines are durable there while the stream does not take them, and are sent later.
    #[arg(long)]
    spool: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { endpoint, spool } = Arguments::parse();
    let mut config = Config::new(&endpoint.stream);
    config.spool = spool.map(SpoolConfig::new);
    let producer = Producer::start(config, client(&endpoint)).await?;
    let mut deliveries = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let key = line.split_whitespace().next().unwrap_or("-").to_owned();
        // Waits when the buffer is full, so memory is bounded but for the list of deliveries.
        deliveries.push(producer.send(Record::new(key, line)).await?);
    }
    producer.flush().await;
    for delivery in deliveries {
        match delivery.await? {
            Delivered::Stored(at) => println!("{} {} {}", at.shard_id, at.sequence_number, at.sub_sequence),
            Delivered::Spooled => println!("on disk"),
        }
    }
    println!("{:#?}", producer.stats());
    producer.close().await;
    Ok(())
}
