//! How a Lambda function uses the producer: one for the life of the environment, a flush before each answer. Here the
//! invocations are lines of standard input, each a batch of words.
//!
//! `printf 'a b c\nd e\n' | cargo run -p kinesis-producer --example lambda -- --stream events --endpoint-url http://127.0.0.1:4566`
#![allow(clippy::print_stdout, reason = "it is for people to run")]

#[path = "../put/connect.rs"]
mod connect;

use std::{error::Error, io::BufRead, time::Duration};

use clap::Parser;
use kinesis_producer::{Config, Producer, Record};

use crate::connect::{Endpoint, client};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    endpoint: Endpoint,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { endpoint } = Arguments::parse();
    let mut config = Config::new(&endpoint.stream);
    config.freezable = true;
    // Well below the function's own timeout, so that the answer can still say what failed.
    config.record_deadline = Duration::from_secs(5);
    let producer = Producer::start(config, client(&endpoint)).await?;
    for line in std::io::stdin().lock().lines() {
        println!("{} records stored", invoke(&producer, &line?).await?);
        // The environment may be frozen here, for any time.
    }
    producer.close().await;
    Ok(())
}

/// One invocation: its answer is given when all its records are stored, and nothing runs any more.
async fn invoke(producer: &Producer, batch: &str) -> Result<usize, Box<dyn Error>> {
    let mut deliveries = Vec::new();
    for word in batch.split_whitespace() {
        deliveries.push(producer.send(Record::new(word, word.to_owned())).await?);
    }
    producer.flush().await;
    let count = deliveries.len();
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(count)
}
