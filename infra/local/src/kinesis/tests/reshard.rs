//! Splits and merges, at rest and under load.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kinesis::HashKey;

use super::*;

#[tokio::test]
async fn a_parent_ends_and_names_its_children() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    let put = async |text: &str| {
        let put = client.put_record().stream_name("s").partition_key("k").data(Blob::new(text));
        put.send().await.unwrap()
    };
    let before = put("before").await;
    let half = (1_u128 << 127).to_string();
    let split = client.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key(&half).send().await.unwrap();
    let between = put("between").await;
    let merge = client.merge_shards().stream_name("s").shard_to_merge("shardId-000000000001");
    merge.adjacent_shard_to_merge("shardId-000000000002").send().await.unwrap();
    let after = put("after").await;
    assert!(before.sequence_number < between.sequence_number && between.sequence_number < after.sequence_number);
    assert_eq!(after.shard_id, "shardId-000000000003");

    let request = client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let iterator = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap().shard_iterator;
    let answer = client.get_records().set_shard_iterator(iterator).send().await.unwrap();
    assert_eq!((answer.records.len(), answer.next_shard_iterator), (1, None));
    let children = answer.child_shards.unwrap();
    let ids: Vec<&str> = children.iter().map(|child| child.shard_id()).collect();
    assert_eq!(ids, ["shardId-000000000001", "shardId-000000000002"]);
    assert_eq!(children[0].parent_shards(), ["shardId-000000000000"]);
    assert_eq!(children[1].hash_key_range().unwrap().starting_hash_key(), half);

    let shards = client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap();
    let merged = &shards[3];
    assert_eq!(merged.parent_shard_id(), Some("shardId-000000000001"));
    assert_eq!(merged.adjacent_parent_shard_id(), Some("shardId-000000000002"));
    let parent = shards[0].sequence_number_range.as_ref().unwrap();
    let child = shards[1].sequence_number_range.as_ref().unwrap();
    assert!(parent.ending_sequence_number().unwrap() > before.sequence_number.as_str());
    assert!(parent.ending_sequence_number().unwrap() < child.starting_sequence_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resharding_under_load_loses_and_repeats_nothing() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = Arc::new(fixture.client.clone());
    let clock = fixture.clock.clone();
    let writers: Vec<_> = (0..4)
        .map(|task| {
            let (client, clock) = (Arc::clone(&client), clock.clone());
            tokio::spawn(async move {
                let mut put = Vec::new();
                for step in 0..60 {
                    // Time for the limits to refill.
                    clock.jump(50);
                    let texts: Vec<String> = (0..5).map(|part| format!("{task} {step} {part}")).collect();
                    let entries = texts.iter().map(|text| entry(&format!("k{task}"), text.as_bytes())).collect();
                    let answer = client.put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap();
                    assert_eq!(answer.failed_record_count, Some(0));
                    put.extend(texts.into_iter().zip(answer.records.into_iter().map(|r| r.sequence_number.unwrap())));
                }
                put
            })
        })
        .collect();
    let mut open = vec![(0_u64, 0_u128, u128::MAX)];
    let mut next = 1;
    for round in 0..3 {
        let (number, start, end) = open.remove(round);
        let at = start + (end - start) / 2;
        let split = client.split_shard().stream_name("s").shard_to_split(format!("shardId-{number:012}"));
        split.new_starting_hash_key(at.to_string()).send().await.unwrap();
        open.insert(round, (next, start, at - 1));
        open.insert(round + 1, (next + 1, at, end));
        next += 2;
    }
    let merge = client.merge_shards().stream_name("s").shard_to_merge(format!("shardId-{:012}", open[0].0));
    merge.adjacent_shard_to_merge(format!("shardId-{:012}", open[1].0)).send().await.unwrap();
    let mut acknowledged = BTreeMap::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }

    let shards = client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap();
    let mut read = BTreeMap::new();
    for shard in &shards {
        let (records, has_ended) = read_shard(&fixture, &shard.shard_id).await;
        let range = shard.hash_key_range.as_ref().unwrap();
        let range = range.starting_hash_key.parse::<u128>().unwrap()..=range.ending_hash_key.parse::<u128>().unwrap();
        let is_closed = shard.sequence_number_range.as_ref().unwrap().ending_sequence_number.is_some();
        assert_eq!(has_ended, is_closed);
        for (sequence_number, key, data) in records {
            assert!(range.contains(&HashKey::of(&key).0));
            assert!(read.insert(String::from_utf8(data).unwrap(), sequence_number).is_none(), "read twice");
        }
    }
    assert_eq!(read, acknowledged);
    for task in 0..4 {
        let mut of_key: Vec<(&String, &String)> =
            read.iter().filter(|(text, _)| text.starts_with(&format!("{task} "))).collect();
        of_key.sort_by_key(|(_, sequence_number)| *sequence_number);
        let steps: Vec<u32> = of_key.iter().map(|(text, _)| text.split(' ').nth(1).unwrap().parse().unwrap()).collect();
        assert!(steps.is_sorted(), "order per key holds over splits and merges");
    }
}
