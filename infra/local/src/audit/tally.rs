//! What was accepted: the user records of the raw stream.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::types::{Record, ShardIteratorType};
use bytes::Bytes;
use events::envelope::{Event, EventType};
use events::event_id::EventId;

use super::HOUR_MS;
use crate::names;

/// Most records of one `GetRecords` (service quota).
const RECORDS_MAX: i32 = 10_000;
/// A shard takes 5 reads a second from all its readers together; the pause leaves room for them.
const PAUSE: Duration = Duration::from_millis(250);

/// Counts of user records by the hour they were received in. Holds every id: 16 bytes and the set's overhead each.
#[derive(Debug, Default)]
pub struct Tally {
    ids: HashSet<[u8; 16]>,
    hours: BTreeMap<i64, (u64, u64)>,
}

impl Tally {
    /// Counts one user record.
    pub fn add(&mut self, id: [u8; 16], received_ts: i64) {
        let (accepted, duplicates) = self.hours.entry(received_ts.div_euclid(HOUR_MS) * HOUR_MS).or_default();
        *accepted += 1;
        *duplicates += u64::from(!self.ids.insert(id));
    }

    /// The hours with records.
    pub fn hours(&self) -> impl Iterator<Item = i64> {
        self.hours.keys().copied()
    }

    /// User records received in an hour.
    pub fn accepted(&self, hour_ts: i64) -> u64 {
        self.hours.get(&hour_ts).map_or(0, |(accepted, _)| *accepted)
    }

    /// Those of them whose id an earlier one has.
    pub fn duplicates(&self, hour_ts: i64) -> u64 {
        self.hours.get(&hour_ts).map_or(0, |(_, duplicates)| *duplicates)
    }

    fn add_record(&mut self, shard_id: &str, record: &Record) {
        let data = Bytes::copy_from_slice(record.data().as_ref());
        let arrival_ms = record.approximate_arrival_timestamp().map_or(0, |time| time.to_millis().unwrap_or(0));
        let partition_key = record.partition_key().unwrap_or_default();
        let sequence_number = record.sequence_number();
        let user_records = kinesis_consumer::user_records_of(partition_key, sequence_number, &data);
        let Ok(user_records) = user_records else {
            // The enrichment files a damaged aggregate as one failed event.
            let position = format!("{shard_id}:{sequence_number}:0");
            self.add(*EventId::of_content("", "damaged", &position, &data).as_bytes(), arrival_ms);
            return;
        };
        for user_record in user_records {
            match Event::read(&user_record.data) {
                // What the door refused was never accepted; it is not counted among the failed events either.
                Ok(event) if event.envelope.event_type == EventType::FailedEvent => {}
                Ok(event) => self.add(*event.envelope.event_id.as_bytes(), event.envelope.received_ts),
                Err(_) => {
                    // Not an event: the enrichment files it as a failed event, by its place on the stream.
                    let position = format!("{shard_id}:{sequence_number}:{}", user_record.sub_sequence);
                    self.add(*EventId::of_content("", "unreadable", &position, &[]).as_bytes(), arrival_ms);
                }
            }
        }
    }
}

/// Start of the first hour that the raw stream has whole.
pub(super) async fn first_hour(kinesis: &Client, now_ms: i64) -> anyhow::Result<i64> {
    let answer = kinesis.describe_stream_summary().stream_name(names::RAW_STREAM).send().await;
    let answer = answer.context("describe the raw stream")?;
    let summary = answer.stream_description_summary().context("the raw stream has no description")?;
    let created_ms = summary.stream_creation_timestamp().to_millis().unwrap_or(0);
    let kept_ms = now_ms - i64::from(summary.retention_period_hours()) * HOUR_MS;
    if created_ms >= kept_ms {
        return Ok(created_ms.div_euclid(HOUR_MS) * HOUR_MS);
    }
    Ok((kept_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS)
}

/// Reads the raw stream from its oldest record to its newest.
pub(super) async fn read(kinesis: &Client) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut token = None;
    let mut shard_ids = Vec::new();
    loop {
        let call = kinesis.list_shards();
        let call = if token.is_some() { call } else { call.stream_name(names::RAW_STREAM) };
        let answer = call.set_next_token(token).send().await.context("list the shards of the raw stream")?;
        shard_ids.extend(answer.shards().iter().map(|shard| shard.shard_id().to_owned()));
        token = answer.next_token().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    // Shards side by side, each at its own read limit; pages come back over a short channel.
    let (sender, mut pages) = tokio::sync::mpsc::channel(shard_ids.len().clamp(1, 64));
    let mut readers = tokio::task::JoinSet::new();
    for shard_id in shard_ids {
        let (kinesis, sender) = (kinesis.clone(), sender.clone());
        readers.spawn(async move { read_shard(&kinesis, shard_id, &sender).await });
    }
    drop(sender);
    while let Some((shard_id, records)) = pages.recv().await {
        for record in &records {
            tally.add_record(&shard_id, record);
        }
    }
    while let Some(finished) = readers.join_next().await {
        finished.context("a reader of the raw stream stopped")??;
    }
    Ok(tally)
}

type Page = (String, Vec<Record>);

async fn read_shard(kinesis: &Client, shard_id: String, pages: &tokio::sync::mpsc::Sender<Page>) -> anyhow::Result<()> {
    let call = kinesis.get_shard_iterator().stream_name(names::RAW_STREAM).shard_id(&shard_id);
    let answer =
        call.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.context("start to read a shard")?;
    let mut iterator = answer.shard_iterator().map(str::to_owned);
    while let Some(position) = iterator {
        let answer = kinesis.get_records().shard_iterator(&position).limit(RECORDS_MAX).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.code() == Some("ProvisionedThroughputExceededException") => {
                tokio::time::sleep(PAUSE).await;
                iterator = Some(position);
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("read {shard_id} of the raw stream")),
        };
        iterator = answer.next_shard_iterator().map(str::to_owned);
        let is_at_end = answer.records().is_empty() && answer.millis_behind_latest() == Some(0);
        if !answer.records().is_empty() && pages.send((shard_id.clone(), answer.records.clone())).await.is_err() {
            return Ok(()); // The audit has ended.
        }
        if is_at_end {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
