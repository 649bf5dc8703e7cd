//! Shard counts, modes, record sizes, warm throughput, limits on how often.

use std::collections::BTreeMap;

use aws_sdk_kinesis::types::{
    MinimumThroughputBillingCommitmentInput, MinimumThroughputBillingCommitmentInputStatus,
    MinimumThroughputBillingCommitmentOutputStatus, ScalingType, Shard, StreamMode, StreamModeDetails,
};

use super::operations::code;
use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
type Input = MinimumThroughputBillingCommitmentInputStatus;
type Output = MinimumThroughputBillingCommitmentOutputStatus;

const DAY_MS: i64 = 24 * 3_600_000;

fn mode(mode: StreamMode) -> StreamModeDetails {
    StreamModeDetails::builder().stream_mode(mode).build().unwrap()
}

async fn shards(fixture: &Fixture) -> Vec<Shard> {
    fixture.client.list_shards().stream_name("s").send().await.unwrap().shards.unwrap()
}

fn is_open(shard: &&Shard) -> bool {
    shard.sequence_number_range.as_ref().unwrap().ending_sequence_number.is_none()
}

#[tokio::test]
async fn a_stream_is_scaled_within_its_limits() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    let scale = async |count: i32| {
        let scaling = fixture.client.update_shard_count().stream_arn(ARN).target_shard_count(count);
        scaling.scaling_type(ScalingType::UniformScaling).send().await
    };
    for count in [5, 1_001] {
        assert_eq!(code(&scale(count).await.unwrap_err()), "LimitExceededException");
    }
    let put = async |text: &str| {
        let put = fixture.client.put_record().stream_name("s").partition_key(text).data(Blob::new(text));
        put.send().await.unwrap();
    };
    put("before").await;
    let answer = scale(3).await.unwrap();
    assert_eq!((answer.current_shard_count, answer.target_shard_count), (Some(2), Some(3)));
    put("between").await;
    for count in [6, 12, 6, 3] {
        fixture.clock.jump(1_000);
        scale(count).await.unwrap();
    }
    put("after").await;
    let all = shards(&fixture).await;
    let mut open: Vec<&Shard> = all.iter().filter(is_open).collect();
    open.sort_by_key(|shard| shard.hash_key_range.as_ref().unwrap().starting_hash_key.parse::<u128>().unwrap());
    let ends: Vec<&str> = open.iter().map(|shard| shard.hash_key_range().unwrap().ending_hash_key()).collect();
    let third = u128::MAX / 3;
    assert_eq!(ends, [(third - 1).to_string(), (2 * third - 1).to_string(), u128::MAX.to_string()]);
    let by_id: BTreeMap<&str, &Shard> = all.iter().map(|shard| (shard.shard_id(), shard)).collect();
    for shard in &all {
        let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
        for parent in parents.into_iter().flatten() {
            let end = by_id[parent].sequence_number_range().unwrap().ending_sequence_number().unwrap();
            assert!(end < shard.sequence_number_range().unwrap().starting_sequence_number());
        }
    }
    let mut read = Vec::new();
    for shard in &all {
        let (records, has_ended) = read_shard(&fixture, shard.shard_id()).await;
        assert_eq!(has_ended, !is_open(&shard));
        read.extend(records.into_iter().map(|(_, key, _)| key));
    }
    read.sort_unstable();
    assert_eq!(read, ["after", "before", "between"]);
}

#[tokio::test]
async fn scaling_is_counted_over_a_day_and_survives_a_restart() {
    let Fixture { dir, clock, cloud, client } = Fixture::new().await;
    client.create_stream().stream_name("s").shard_count(1).send().await.unwrap();
    for round in 0..10 {
        let scaling = client.update_shard_count().stream_name("s").target_shard_count(1 + (round + 1) % 2);
        scaling.scaling_type(ScalingType::UniformScaling).send().await.unwrap();
    }
    cloud.shutdown().await;
    let cloud = start(dir.path(), &clock).await;
    let client = super::client(&cloud);
    let scaling = client.update_shard_count().stream_name("s").target_shard_count(2);
    let scaling = scaling.scaling_type(ScalingType::UniformScaling);
    assert_eq!(code(&scaling.clone().send().await.unwrap_err()), "LimitExceededException");
    clock.jump(DAY_MS);
    scaling.send().await.unwrap();
    let limits = client.describe_limits().send().await.unwrap();
    assert_eq!((limits.shard_limit, limits.open_shard_count), (20_000, 2));
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_mode_changes_twice_a_day() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    let set = async |to: StreamMode| {
        fixture.client.update_stream_mode().stream_arn(ARN).stream_mode_details(mode(to)).send().await
    };
    set(StreamMode::OnDemand).await.unwrap();
    let scaling = fixture.client.update_shard_count().stream_arn(ARN).target_shard_count(4);
    let error = scaling.scaling_type(ScalingType::UniformScaling).send().await.unwrap_err();
    assert_eq!(code(&error), "ValidationException");
    let split = fixture.client.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    let error = split.new_starting_hash_key("9").send().await.unwrap_err();
    assert_eq!(code(&error), "ValidationException");
    assert_eq!(fixture.client.describe_limits().send().await.unwrap().on_demand_stream_count, 1);
    set(StreamMode::Provisioned).await.unwrap();
    assert_eq!(code(&set(StreamMode::OnDemand).await.unwrap_err()), "LimitExceededException");
    assert_eq!(shards(&fixture).await.len(), 2, "a change of mode keeps the shards");
    fixture.clock.jump(DAY_MS);
    set(StreamMode::OnDemand).await.unwrap();
}

#[tokio::test]
async fn warm_throughput_needs_a_commitment() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let on_demand = client.create_stream().stream_name("s").stream_mode_details(mode(StreamMode::OnDemand));
    on_demand.send().await.unwrap();
    let warm = async |mibps: i32| {
        client.update_stream_warm_throughput().stream_name("s").warm_throughput_mibps(mibps).send().await
    };
    assert_eq!(code(&warm(10).await.unwrap_err()), "InvalidArgumentException");
    let commit = async |status: Input| {
        let commitment = MinimumThroughputBillingCommitmentInput::builder().status(status).build().unwrap();
        let update = client.update_account_settings().minimum_throughput_billing_commitment(commitment);
        update.send().await.unwrap().minimum_throughput_billing_commitment.unwrap().status
    };
    assert_eq!(commit(Input::Enabled).await, Output::Enabled);
    let answer = warm(10).await.unwrap().warm_throughput.unwrap();
    assert_eq!((answer.target_mibps, answer.current_mibps), (Some(10), Some(10)));
    let answer = warm(5).await.unwrap().warm_throughput.unwrap();
    assert_eq!((answer.target_mibps, answer.current_mibps), (Some(5), Some(5)), "what was not used is given back");
    let answer = warm(6).await.unwrap().warm_throughput.unwrap();
    assert_eq!((answer.target_mibps, answer.current_mibps), (Some(6), Some(6)));
    assert_eq!(code(&warm(10_241).await.unwrap_err()), "LimitExceededException");
    let commitment = MinimumThroughputBillingCommitmentInput::builder().status(Input::Disabled).build().unwrap();
    let disable = client.update_account_settings().minimum_throughput_billing_commitment(commitment);
    assert_eq!(code(&disable.send().await.unwrap_err()), "ValidationException");
    let answer = warm(0).await.unwrap().warm_throughput.unwrap();
    assert_eq!((answer.target_mibps, answer.current_mibps), (Some(0), Some(4)));
    assert_eq!(commit(Input::Disabled).await, Output::EnabledUntilEarliestAllowedEnd);
    let settings = client.describe_account_settings().send().await.unwrap();
    let commitment = settings.minimum_throughput_billing_commitment.unwrap();
    let earliest_ms = commitment.earliest_allowed_end_at.unwrap().to_millis().unwrap();
    assert_eq!(earliest_ms, fixture.clock.now_ms() + DAY_MS);
    fixture.clock.jump(DAY_MS);
    let settings = client.describe_account_settings().send().await.unwrap();
    assert_eq!(settings.minimum_throughput_billing_commitment.unwrap().status, Output::Disabled);
    assert_eq!(code(&warm(10).await.unwrap_err()), "InvalidArgumentException");
}

#[tokio::test]
async fn records_are_as_large_as_their_stream_allows() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let large = vec![7_u8; 10_485_759];
    let put = async |bytes: usize| {
        fixture.clock.jump(60_000);
        let put = fixture.client.put_record().stream_name("s").partition_key("k");
        put.data(Blob::new(&large[..bytes])).send().await
    };
    put(1_048_575).await.unwrap();
    assert_eq!(code(&put(1_048_576).await.unwrap_err()), "InvalidArgumentException");
    assert_eq!(code(&put(1_048_577).await.unwrap_err()), "ValidationException");
    let resize = async |kib: i32| {
        fixture.client.update_max_record_size().stream_arn(ARN).max_record_size_in_kib(kib).send().await
    };
    for kib in [1_023, 10_241] {
        assert_eq!(code(&resize(kib).await.unwrap_err()), "ValidationException");
    }
    resize(10_240).await.unwrap();
    put(10_485_759).await.unwrap();
    let summary = fixture.client.describe_stream_summary().stream_name("s").send().await.unwrap();
    assert_eq!(summary.stream_description_summary.unwrap().max_record_size_in_kib, Some(10_240));
    let (records, _) = read_shard(&fixture, "shardId-000000000000").await;
    assert_eq!(records.iter().map(|(_, _, data)| data.len()).collect::<Vec<_>>(), [1_048_575, 10_485_759]);
}

#[tokio::test]
async fn an_on_demand_stream_grows_where_it_is_hot() {
    let fixture = Fixture::new().await;
    let on_demand = fixture.client.create_stream().stream_name("s").stream_mode_details(mode(StreamMode::OnDemand));
    on_demand.send().await.unwrap();
    let (clock, store) = (&fixture.clock, fixture.cloud.kinesis().store());
    // One hot key: 550 records a second into one of the four shards, for a minute.
    let hot: Vec<_> = (0..275).map(|_| entry("hot", b"x")).collect();
    let minute = async || {
        for _ in 0..60 {
            for _ in 0..2 {
                let put = fixture.client.put_records().stream_name("s").set_records(Some(hot.clone()));
                assert_eq!(put.send().await.unwrap().failed_record_count, Some(0));
            }
            clock.jump(1_000);
        }
        store.grow().await;
    };
    let open = async || shards(&fixture).await.iter().filter(is_open).count();
    store.grow().await;
    minute().await;
    assert_eq!(open().await, 4, "the stream is too young");
    clock.jump(15 * 60_000);
    store.grow().await;
    minute().await;
    assert_eq!(open().await, 5);
    minute().await;
    assert_eq!(open().await, 5, "twice within a quarter of an hour");
    clock.jump(15 * 60_000);
    store.grow().await;
    minute().await;
    assert_eq!(open().await, 6, "the hot key's shard again: the key itself is not set apart");
    let all = shards(&fixture).await;
    let parents: Vec<&str> = all.iter().filter_map(Shard::parent_shard_id).collect();
    assert_eq!((all.len(), parents.len()), (8, 4));
    for pair in all[4..].chunks(2) {
        let width = |shard: &Shard| {
            let range = shard.hash_key_range().unwrap();
            range.ending_hash_key().parse::<u128>().unwrap() - range.starting_hash_key().parse::<u128>().unwrap()
        };
        assert_eq!(width(&pair[0]), width(&pair[1]));
    }
}

#[tokio::test]
async fn an_automatic_stream_takes_records_in_turn() {
    let fixture = Fixture::new().await;
    let on_demand = fixture.client.create_stream().stream_name("s").stream_mode_details(mode(StreamMode::OnDemand));
    on_demand.send().await.unwrap();
    let call = async |operation: &str, body: &str| fixture.cloud.kinesis().call(operation, body.as_bytes()).await;
    let strategy = format!(r#"{{"StreamARN":"{ARN}","RecordDistributionStrategy":"AUTO"}}"#);
    call("UpdateStreamRecordDistributionStrategy", &strategy).await.unwrap();
    let mut seen = BTreeMap::new();
    for _ in 0..8 {
        let answer = call("PutRecord", r#"{"StreamName":"s","Data":"aGVs","PartitionKey":"same"}"#).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        *seen.entry(answer["ShardId"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), [2, 2, 2, 2]);
    call("PutRecord", r#"{"StreamName":"s","Data":"aGVs"}"#).await.unwrap();
}
