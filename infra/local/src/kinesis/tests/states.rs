//! The states between, what is refused in them, and the account's calls a second.

use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::types::{ConsumerStatus, ScalingType, StreamStatus};

use super::*;

const TRANSITION: Duration = Duration::from_secs(30);

async fn slow() -> Fixture {
    let clock = Clock::standing_at(1_700_000_000_000);
    let dir = tempfile::tempdir().unwrap();
    let cloud = start(dir.path(), &clock).await;
    cloud.kinesis().store().set_transition_time(TRANSITION);
    let client = client(&cloud);
    Fixture { dir, clock, cloud, client }
}

impl Fixture {
    fn wait(&self) {
        self.clock.jump(30_000);
    }

    /// What the stream says it is, and how many shards it shows.
    async fn seen(&self) -> (StreamStatus, usize) {
        let answer = self.client.describe_stream().stream_name("s").send().await.unwrap();
        let seen = answer.stream_description.unwrap();
        (seen.stream_status, seen.shards.len())
    }

    async fn put(&self) -> Option<String> {
        let put = self.client.put_record().stream_name("s").partition_key("k").data(Blob::new("x"));
        code(put.send().await)
    }
}

/// The code of an error, or none.
fn code<T, E: std::fmt::Debug>(result: Result<T, aws_sdk_kinesis::error::SdkError<E>>) -> Option<String>
where
    aws_sdk_kinesis::error::SdkError<E>: aws_sdk_kinesis::error::ProvideErrorMetadata,
{
    result.err().map(|error| error.code().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_stream_is_made_and_deleted_in_its_time() {
    let fixture = slow().await;
    let client = fixture.client.clone();
    fixture.create(2).await;
    assert_eq!(fixture.seen().await, (StreamStatus::Creating, 0));
    assert_eq!(fixture.put().await.as_deref(), Some("ResourceNotFoundException"));
    let in_use = Some("ResourceInUseException");
    assert_eq!(code(client.list_shards().stream_name("s").send().await).as_deref(), in_use);
    let split = client.split_shard().stream_name("s").shard_to_split("shardId-000000000000").new_starting_hash_key("9");
    let refused = split.send().await.unwrap_err();
    let message = "Stream s under account 000000000000 not ACTIVE, instead in state CREATING";
    assert_eq!((refused.code(), refused.message()), (in_use, Some(message)));
    fixture.wait();
    assert_eq!(fixture.seen().await, (StreamStatus::Active, 2));
    assert_eq!(fixture.put().await, None);

    client.delete_stream().stream_name("s").send().await.unwrap();
    assert_eq!(fixture.seen().await.0, StreamStatus::Deleting);
    assert_eq!(fixture.put().await.as_deref(), Some("ResourceNotFoundException"));
    assert_eq!(code(client.delete_stream().stream_name("s").send().await).as_deref(), in_use);
    assert_eq!(code(client.create_stream().stream_name("s").shard_count(1).send().await).as_deref(), in_use);
    // Whether its time has come or not: who starts again does not find it.
    let Fixture { dir, clock, cloud, client } = fixture;
    drop(client);
    cloud.shutdown().await;
    let cloud = start(dir.path(), &clock).await;
    assert!(cloud.kinesis().store().list().is_empty());
    cloud.shutdown().await;
}

#[tokio::test]
async fn without_time_in_between_a_deleted_stream_is_gone_at_once() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    fixture.client.delete_stream().stream_name("s").send().await.unwrap();
    fixture.create(1).await;
    assert_eq!(fixture.seen().await, (StreamStatus::Active, 1));
}

#[tokio::test]
async fn every_change_is_updating_for_a_while_and_keeps_others_out() {
    let fixture = slow().await;
    fixture.create(2).await;
    fixture.wait();
    let client = &fixture.client;
    let arn = fixture.cloud.kinesis().store().stream("s").unwrap().arn();
    let scale = || {
        let scaling = client.update_shard_count().stream_name("s").scaling_type(ScalingType::UniformScaling);
        scaling.target_shard_count(4).send()
    };
    scale().await.unwrap();
    assert_eq!(fixture.seen().await.0, StreamStatus::Updating);
    assert_eq!(fixture.put().await, None, "records go in and out meanwhile");
    assert_eq!(code(scale().await).as_deref(), Some("ResourceInUseException"));
    let longer = || client.increase_stream_retention_period().stream_name("s").retention_period_hours(48).send();
    assert_eq!(code(longer().await).as_deref(), Some("ResourceInUseException"));
    fixture.wait();
    longer().await.unwrap();
    assert_eq!(fixture.seen().await.0, StreamStatus::Updating);
    fixture.wait();
    // A change that is refused takes no time.
    let shorter = || client.decrease_stream_retention_period().stream_name("s").retention_period_hours(72).send();
    assert_eq!(code(shorter().await).as_deref(), Some("InvalidArgumentException"));
    assert_eq!(fixture.seen().await.0, StreamStatus::Active);
    client.update_max_record_size().stream_arn(&arn).max_record_size_in_kib(2_048).send().await.unwrap();
    assert_eq!(fixture.seen().await.0, StreamStatus::Updating);
}

#[tokio::test]
async fn five_at_once_are_in_creating_streams_and_consumers_alike() {
    let fixture = slow().await;
    let client = &fixture.client;
    let create = |name: String| client.create_stream().stream_name(name).shard_count(1).send();
    for number in 0..5 {
        create(format!("s{number}")).await.unwrap();
    }
    assert_eq!(code(create("s".to_owned()).await).as_deref(), Some("LimitExceededException"));
    fixture.wait();
    create("s".to_owned()).await.unwrap();
    fixture.wait();
    let arn = fixture.cloud.kinesis().store().stream("s").unwrap().arn();
    let register = |name: String| client.register_stream_consumer().stream_arn(&arn).consumer_name(name).send();
    for number in 0..5 {
        let consumer = register(format!("c{number}")).await.unwrap().consumer.unwrap();
        assert_eq!(consumer.consumer_status, ConsumerStatus::Creating);
    }
    assert_eq!(code(register("c".to_owned()).await).as_deref(), Some("LimitExceededException"));
    let described = || client.describe_stream_consumer().stream_arn(&arn).consumer_name("c0").send();
    assert_eq!(described().await.unwrap().consumer_description.unwrap().consumer_status, ConsumerStatus::Creating);
    fixture.wait();
    assert_eq!(described().await.unwrap().consumer_description.unwrap().consumer_status, ConsumerStatus::Active);
}

#[tokio::test]
async fn the_account_has_five_calls_a_second() {
    let clock = Clock::standing_at(1_700_000_000_000);
    let dir = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = CloudConfig { clock: clock.clone(), ..CloudConfig::new(dir.path().join("data"), listen) };
    let cloud = Cloud::start(config).await.unwrap();
    let client = client(&cloud);
    for _ in 0..5 {
        client.list_streams().send().await.unwrap();
    }
    let refused = client.list_streams().send().await.unwrap_err();
    let message = "Rate exceeded for ListStreams under account 000000000000.";
    assert_eq!((refused.code(), refused.message()), (Some("LimitExceededException"), Some(message)));
    client.describe_limits().send().await.unwrap();
    assert_eq!(code(client.describe_limits().send().await).as_deref(), Some("LimitExceededException"));
    clock.jump(200);
    client.list_streams().send().await.unwrap();
    assert_eq!(code(client.list_streams().send().await).as_deref(), Some("LimitExceededException"));
    cloud.shutdown().await;
}
