//! The growth of compressed aggregates: the estimate, and that no limit is ever passed, whatever the records are like.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kinesis_record::{AggregateBuilder, COMPRESSED_MAGIC, Compressor, HashRange, Origin, Unpacked, unpack};
use proptest::prelude::*;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::sync::oneshot;

use super::{CONTENT_BYTES_MAX, Estimate};
use crate::{
    config::{Config, ProducerId, WRAPPING_BYTES_MAX},
    pipeline::{
        batch::{Batch, Pending, Ticket},
        lane::{Cut, Lane, LaneId, Packer},
        spool_marks::SpoolMarks,
    },
    record::Record,
};

#[test]
fn an_estimate_falls_at_once_and_climbs_by_and_by() {
    let mut estimate = Estimate::default();
    assert_eq!(estimate.content_max(50_000), 50_000, "nothing is known");
    estimate.learn(50_000, 10_000);
    assert_eq!(estimate.content_max(50_000), 240_000, "five times as much, less a little");
    estimate.learn(240_000, 24_000);
    let better = estimate.content_max(50_000);
    assert!((260_000..300_000).contains(&better), "{better}");
    estimate.learn(better, better / 2);
    assert_eq!(estimate.content_max(50_000), 96_000);
    // Nothing is gained: as much as goes uncompressed.
    estimate.learn(96_000, 97_000);
    assert_eq!(estimate.content_max(50_000), 50_000);
    for _ in 0..100 {
        estimate.learn(1_000_000, 0);
    }
    assert_eq!(estimate.content_max(50_000), 50_000 * 256 / 100 * 96);
    assert_eq!(estimate.content_max(10 << 20), CONTENT_BYTES_MAX, "no more than readers take");
}

fn pending(now: Instant, number: u64, key: &str, data: Vec<u8>) -> Pending {
    let ticket = Ticket {
        reply: crate::reply::Reply::Sender(oneshot::channel().0),
        hash_key: 0,
        hash_key_is_explicit: false,
        number,
        epoch: 0,
        cost: 0,
        attempts_before: 0,
        deadline: now + Duration::from_secs(1),
    };
    Pending::new(Record::new(key, data), ticket)
}

/// Payloads from "nothing to gain" to "nearly nothing left".
fn payload(kind: u8, bytes: usize, random: &mut StdRng) -> Vec<u8> {
    match kind {
        0 => {
            let mut data = vec![0; bytes];
            random.fill_bytes(&mut data);
            data
        }
        1 => vec![b'x'; bytes],
        _ => format!(
            r#"{{"id":"{:016x}","imp":[{{"id":"1","bidfloor":0.{}}}],"device":{{"ua":"Mozilla/5.0"}}}}"#,
            random.next_u64(),
            random.next_u32()
        )
        .repeat(1 + bytes / 200)
        .into_bytes(),
    }
}

fn packer() -> Packer {
    Packer { builder: AggregateBuilder::new(), compressor: Some(Compressor::new(1)) }
}

/// Cuts everything; checks each batch; returns how many there were.
fn drain(mut lane: Lane, config: &Config, expect: &[(String, Vec<u8>)]) -> usize {
    let mut packer = packer();
    let now = Instant::now();
    let (mut batches, mut read) = (0, Vec::new());
    while let Some((batch, unsealed)) = lane.cut(cut_at(now, config), config, &mut packer) {
        assert!(unsealed.is_none(), "what is compressed has no digest");
        batches += 1;
        let fits = batch.tickets.len() == 1 || batch.entry.data.len() <= config.aggregate_bytes_max;
        assert!(fits, "{} bytes in {} records", batch.entry.data.len(), batch.tickets.len());
        assert!(batch.entry.bytes() <= config.record_bytes_max);
        assert!(batch.is_aggregate || (batch.tickets.len() == 1 && config.dedupe_tag.is_none()));
        lane.settle(&batch);
        let tickets = batch.tickets.len();
        let records = batch.into_pending();
        assert_eq!(records.len(), tickets);
        read.extend(records.into_iter().map(|pending| ((*pending.partition_key).to_owned(), pending.data.to_vec())));
    }
    assert!(read == expect, "every record, in its order");
    usize::try_from(batches).unwrap()
}

/// The longest mark there can be.
fn origin(config: &Config) -> Option<Origin> {
    let most = u64::MAX;
    config.dedupe_tag.map(|ProducerId { producer, epoch }| Origin { producer, epoch, lane: most, counter: most })
}

fn cut_at(now: Instant, config: &Config) -> Cut<'static> {
    static NO_LOG: SpoolMarks = SpoolMarks::new(Vec::new());
    Cut { now, room: usize::MAX, origin: origin(config), spool_marks: &NO_LOG }
}

fn lane() -> Lane {
    Lane::new(LaneId(7), Arc::from("shardId-000000000000"), HashRange::FULL, 0)
}

fn any_batch() -> impl Strategy<Value = Vec<(u8, usize)>> {
    // The kind changes in the middle, so that estimates turn out wrong.
    let run = (0..3_u8, proptest::collection::vec(prop_oneof![9 => 0..2_000_usize, 1 => 0..60_000_usize], 0..60));
    proptest::collection::vec(run, 1..5).prop_map(|runs| {
        runs.into_iter().flat_map(|(kind, sizes)| sizes.into_iter().map(move |size| (kind, size))).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn limits_hold_on_the_wire_and_every_record_comes_back(
        records in any_batch(),
        aggregate_bytes_max in 1_024..60_000_usize,
        is_marked in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut config = Config::new("events");
        config.compression_level = Some(1);
        config.aggregate_bytes_max = aggregate_bytes_max;
        config.record_bytes_max = 100_000;
        config.dedupe_tag = is_marked.then_some(ProducerId { producer: u64::MAX, epoch: u64::MAX });
        let mut random = StdRng::seed_from_u64(seed);
        let (mut lane, mut expect) = (lane(), Vec::new());
        for (number, (kind, bytes)) in (0..).zip(records) {
            let (key, mut data) = (format!("key-{}", number % 50), payload(kind, bytes, &mut random));
            data.truncate(config.record_bytes_max - WRAPPING_BYTES_MAX - key.len());
            lane.push(pending(Instant::now(), number, &key, data.clone()));
            expect.push((key, data));
        }
        drain(lane, &config, &expect);
    }
}

#[test]
fn a_shard_carries_several_times_its_bytes_of_json() {
    let mut config = Config::new("events");
    config.compression_level = Some(1);
    let mut random = StdRng::seed_from_u64(1);
    let (mut lane, mut expect) = (lane(), Vec::new());
    for number in 0..20_000 {
        let data = payload(2, 0, &mut random);
        lane.push(pending(Instant::now(), number, "screen", data.clone()));
        expect.push(("screen".to_owned(), data));
    }
    let bytes: usize = expect.iter().map(|(_, data)| data.len()).sum();
    let batches = drain(lane, &config, &expect);
    assert!(batches * config.aggregate_bytes_max * 3 < bytes, "{batches} aggregates for {bytes} bytes");
}

#[test]
fn a_record_alone_goes_in_its_smallest_form() {
    let mut config = Config::new("events");
    config.compression_level = Some(1);
    let check = |config: &Config, data: &[u8], is_aggregate: bool, is_compressed: bool| {
        let mut lane = lane();
        lane.push(pending(Instant::now(), 1, "k", data.to_vec()));
        let (batch, _): (Batch, _) = lane.cut(cut_at(Instant::now(), config), config, &mut packer()).unwrap();
        assert_eq!(batch.is_aggregate, is_aggregate);
        assert_eq!(batch.entry.data.starts_with(&COMPRESSED_MAGIC), is_compressed);
        let Ok(Unpacked::Aggregate(records)) = unpack(&batch.entry.data) else { return assert!(!is_aggregate) };
        assert_eq!(records[0].data, data);
    };
    check(&config, b"short", false, false);
    check(&config, &[b'x'; 1000], true, true);
    // Readers would take it for a compressed aggregate.
    let looks_packed = [&COMPRESSED_MAGIC[..], b"but is not"].concat();
    check(&config, &looks_packed, true, false);
    config.dedupe_tag = Some(ProducerId { producer: 1, epoch: 2 });
    check(&config, b"short", true, false);
}
