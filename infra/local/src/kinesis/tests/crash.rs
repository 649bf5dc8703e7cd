//! What is on the disk while the process runs is what a kill leaves behind: a copy of it is opened as a crash would be.

use std::fs;
use std::path::Path;

use super::*;

/// Copies a data directory as a crash would leave it, without the lock that the running process holds.
fn crash_image(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            crash_image(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_crash_is_there_after_it() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let (acknowledged, mut seen) = tokio::sync::watch::channel(0_u32);
    let writer = {
        let (client, clock, stop) = (fixture.client.clone(), fixture.clock.clone(), stop.clone());
        tokio::spawn(async move {
            let mut step = 0;
            while !stop.is_cancelled() {
                clock.jump(100);
                let entries = (0..10).map(|part| entry(&format!("{step} {part}"), &[7; 2_000])).collect();
                let answer = client.put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap();
                assert_eq!(answer.failed_record_count, Some(0));
                step += 1;
                acknowledged.send_replace(step);
            }
        })
    };
    for round in 1..=5 {
        let before = *seen.wait_for(|step| *step >= round * 5).await.unwrap();
        let image = tempfile::tempdir().unwrap();
        crash_image(&fixture.dir.path().join("data"), &image.path().join("data"));
        let clock = Clock::standing_at(fixture.clock.now_ms());
        let cloud = start(image.path(), &clock).await;
        let client = client(&cloud);
        let mut keys = std::collections::BTreeSet::new();
        for shard in ["shardId-000000000000", "shardId-000000000001"] {
            let (records, _) = read_shard_of(&client, &clock, shard).await;
            for (_, key, _) in records {
                assert!(keys.insert(key), "a record came twice");
            }
        }
        for step in 0..before {
            for part in 0..10 {
                assert!(keys.contains(&format!("{step} {part}")), "{step} {part} was acknowledged and is lost");
            }
        }
        client.put_record().stream_name("s").partition_key("k").data(Blob::new("d")).send().await.unwrap();
        cloud.shutdown().await;
    }
    stop.cancel();
    writer.await.unwrap();
}

#[tokio::test]
async fn a_torn_write_is_cut_and_reported() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new("kept"));
    let kept = put.send().await.unwrap();
    let image = tempfile::tempdir().unwrap();
    crash_image(&fixture.dir.path().join("data"), &image.path().join("data"));
    let stream = fs::read_dir(image.path().join("data/kinesis")).unwrap().next().unwrap().unwrap().path();
    let segment = stream.join("log/000000000001-1700000000000.log");
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, [&whole[..], &whole[40..64]].concat()).unwrap();
    let clock = Clock::standing_at(fixture.clock.now_ms());
    let cloud = start(image.path(), &clock).await;
    let torn = cloud.kinesis().store().torn_tails();
    assert_eq!(torn.len(), 1);
    assert_eq!((torn[0].stream.as_str(), &torn[0].segment, torn[0].bytes), ("s", &segment, 24));
    assert_eq!(usize::try_from(torn[0].offset).unwrap(), whole.len());
    let (records, _) = read_shard_of(&client(&cloud), &clock, "shardId-000000000000").await;
    assert_eq!(records, [(kept.sequence_number, "k".to_owned(), b"kept".to_vec())]);
    cloud.shutdown().await;
}

#[tokio::test]
async fn streams_shards_and_settings_survive_a_restart() {
    let Fixture { dir, clock, cloud, client } = Fixture::new().await;
    client.create_stream().stream_name("s").shard_count(2).send().await.unwrap();
    client.add_tags_to_stream().stream_name("s").tags("a", "b").send().await.unwrap();
    let split = client.split_shard().stream_name("s").shard_to_split("shardId-000000000001");
    split.new_starting_hash_key("300000000000000000000000000000000000000").send().await.unwrap();
    let before = client.list_shards().stream_name("s").send().await.unwrap().shards;
    cloud.shutdown().await;
    let stream = fs::read_dir(dir.path().join("data/kinesis")).unwrap().next().unwrap().unwrap().path();
    fs::create_dir(stream.join("shardId-000000000004")).unwrap();
    fs::create_dir(dir.path().join("data/kinesis/half@1")).unwrap();
    let cloud = start(dir.path(), &clock).await;
    let client = super::client(&cloud);
    assert_eq!(client.list_shards().stream_name("s").send().await.unwrap().shards, before);
    assert_eq!(client.list_tags_for_stream().stream_name("s").send().await.unwrap().tags.len(), 1);
    assert!(!stream.join("shardId-000000000004").exists(), "a reshard that died is cleared away");
    assert!(!dir.path().join("data/kinesis/half@1").exists(), "a creation that died is cleared away");
    cloud.shutdown().await;
}

#[tokio::test]
async fn retention_frees_segments_and_closed_shards() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let store = fixture.cloud.kinesis().store().clone();
    let put = async || {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new("d"));
        put.send().await.unwrap()
    };
    for _ in 0..3 {
        put().await;
        fixture.clock.jump(3_600_000);
    }
    let split = fixture.client.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key("9").send().await.unwrap();
    fixture.clock.jump(22 * 3_600_000 + 1);
    store.trim().await.unwrap();
    let (records, has_ended) = read_shard(&fixture, "shardId-000000000000").await;
    assert_eq!((records.len(), has_ended), (1, true), "the second has expired in a segment that is still there");
    fixture.clock.jump(3 * 3_600_000);
    store.trim().await.unwrap();
    let shards = fixture.client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap();
    assert_eq!(
        shards.iter().map(|shard| shard.shard_id()).collect::<Vec<_>>(),
        ["shardId-000000000001", "shardId-000000000002"]
    );
}
