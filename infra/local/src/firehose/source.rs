//! A Kinesis stream as the source of a delivery stream.
//!
//! Each shard is read once a second, from the end of the stream as it was when the delivery stream was made, parents to
//! their end before their children. A call counts against the shard's limits as any reader's. Aggregates of the KPL are
//! taken apart; compressed ones, which the service does not know, are passed as they are. What was read is in a buffer, on
//! disk, before the position moves: after a crash a record may come again, none is lost.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use kinesis_record::COMPRESSED_MAGIC;

use super::config::Source;
use super::segment::Place;
use super::stream::{Incoming, Sink};
use super::{FirehoseError, Surroundings};
use crate::kinesis::{LogError, Polled, Record, Stream};

use position::{Position, Positions};

mod position;

/// The pause between two reads of a shard.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// Shards that are read at the same time. Each read takes 10 MiB at most.
const READS: usize = 8;

/// What was read since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Read {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Calls that the shard's limits refused.
    pub(super) throttled: u64,
}

/// Why a shard's records are not in a buffer.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("read shard {shard}")]
    Shard { shard: u64, source: LogError },
    #[error("buffer records of shard {shard}")]
    Buffer { shard: u64, source: FirehoseError },
}

/// Notes where reading begins: at the end of the stream as it is. Blocks.
pub(super) fn begin(dir: &Path, stream: &Stream) -> std::io::Result<()> {
    let shards = stream.shards();
    let ends = shards.iter().map(|shard| {
        let tail = shard.tail();
        (shard.description().number, Position { next_counter: tail.next_counter, is_finished: tail.is_closed })
    });
    Positions::new(stream.created_ms(), ends.collect()).save(dir)
}

/// Reads until it is dropped.
pub(super) async fn run(dir: PathBuf, source: Source, around: Surroundings, sink: Sink, read: Arc<Mutex<Read>>) {
    let reader = Reader { dir, source, around, sink, read };
    let mut ticks = tokio::time::interval(READ_PAUSE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut positions = loop {
        ticks.tick().await;
        match reader.load().await {
            Ok(positions) => break positions,
            Err(error) => reader.complain(&error),
        }
    };
    loop {
        ticks.tick().await;
        if let Some(stream) = reader.around.kinesis.stream(&reader.source.stream) {
            reader.read_all(&stream, &mut positions).await;
        }
    }
}

struct Reader {
    dir: PathBuf,
    source: Source,
    around: Surroundings,
    sink: Sink,
    read: Arc<Mutex<Read>>,
}

impl Reader {
    async fn load(&self) -> std::io::Result<Positions> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || Positions::load(&dir)).await.map_err(std::io::Error::other)?
    }

    /// Reads each shard that is due once, and notes how far that went.
    async fn read_all(&self, stream: &Stream, positions: &mut Positions) {
        let before = positions.clone();
        let shards: Vec<_> = stream.shards().iter().map(|shard| shard.description().clone()).collect();
        let due = positions.due(stream.created_ms(), &shards);
        let mut reads = futures::stream::iter(due)
            .map(|(shard, from)| self.read_shard(stream, shard, from))
            .buffer_unordered(READS);
        while let Some(outcome) = reads.next().await {
            match outcome {
                Ok(Some((shard, position))) => positions.note(shard, position),
                Ok(None) => {}
                Err(error) => self.complain(&error),
            }
        }
        if *positions == before {
            return;
        }
        let (dir, saved) = (self.dir.clone(), positions.clone());
        match tokio::task::spawn_blocking(move || saved.save(&dir)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.complain(&error),
            Err(error) => self.complain(&error),
        }
    }

    /// One read; `None` where nothing moved.
    async fn read_shard(&self, stream: &Stream, shard: u64, from: u64) -> Result<Option<(u64, Position)>, ReadError> {
        let now_ms = self.around.clock.now_ms();
        let polled = stream.poll(shard, from, now_ms).await.map_err(|source| ReadError::Shard { shard, source })?;
        let (records, next_counter, is_finished) = match polled {
            Polled::Records { records, next_counter, is_finished } => (records, next_counter, is_finished),
            Polled::Throttled => {
                self.read.lock().unwrap_or_else(PoisonError::into_inner).throttled += 1;
                return Ok(None);
            }
            Polled::Gone => return Ok(None),
        };
        let bytes: u64 = records.iter().map(|record| record.data.len() as u64).sum();
        let count = records.len() as u64;
        let incoming: Vec<Incoming> = records.into_iter().flat_map(incoming).collect();
        if !incoming.is_empty() {
            self.sink.put(incoming).await.map_err(|source| ReadError::Buffer { shard, source })?;
        }
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.records += count;
        read.bytes += bytes;
        Ok(Some((shard, Position { next_counter, is_finished })))
    }

    fn complain(&self, error: &(dyn std::error::Error + 'static)) {
        let stream = self.source.stream.as_str();
        tracing::error!(error, stream, "cannot read the source of a delivery stream; it is tried again");
    }
}

/// The user records of a Kinesis record. An aggregate that contradicts itself stays whole: its bytes are delivered.
fn incoming(record: Record) -> Vec<Incoming> {
    let sequence_number: Arc<str> = record.sequence_number.to_string().into();
    let place = |sub_sequence| Place { sequence_number: Arc::clone(&sequence_number), sub_sequence };
    let is_known = !record.data.starts_with(&COMPRESSED_MAGIC);
    let read = || kinesis_consumer::user_records_of(&record.partition_key, &sequence_number, &record.data).ok();
    match is_known.then(read).flatten() {
        Some(records) => records
            .map(|user| Incoming { data: user.data, origin: Some((place(user.sub_sequence), record.arrival_ms)) })
            .collect(),
        None => vec![Incoming { data: record.data, origin: Some((place(0), record.arrival_ms)) }],
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kinesis_record::{AggregateBuilder, Compressor};

    use super::incoming;
    use crate::kinesis::{Record, SequenceNumber};

    fn record(data: Bytes) -> Record {
        let sequence_number = SequenceNumber::new(1, 0, 7);
        Record { sequence_number, arrival_ms: 5, partition_key: "k".to_owned(), data }
    }

    #[test]
    fn aggregates_are_taken_apart() {
        let check = |data: Bytes, expected: &[(&[u8], u32)]| {
            let found = incoming(record(data));
            let found: Vec<(Bytes, u32)> = found
                .into_iter()
                .map(|incoming| {
                    let (place, arrival_ms) = incoming.origin.unwrap();
                    assert_eq!((arrival_ms, place.sequence_number.len()), (5, 56));
                    (incoming.data, place.sub_sequence)
                })
                .collect();
            let expected: Vec<(Bytes, u32)> =
                expected.iter().map(|(data, sub)| (Bytes::copy_from_slice(data), *sub)).collect();
            assert_eq!(found, expected);
        };
        let mut builder = AggregateBuilder::new();
        builder.push("a", None, Bytes::from_static(b"one"));
        builder.push("b", None, Bytes::from_static(b"two"));
        check(builder.encode(), &[(b"one", 0), (b"two", 1)]);
        check(Bytes::from_static(b"plain"), &[(b"plain", 0)]);
        let torn = builder.encode().slice(..20);
        check(torn.clone(), &[(&torn, 0)]);
        let compressed = Compressor::new(1).compress(&builder).unwrap();
        check(compressed.clone(), &[(&compressed, 0)]);
    }
}
