//! Tags, policies, encryption, monitoring, paging: what streams carry beside records.

use aws_sdk_kinesis::types::{EncryptionType, MetricsName};

use super::operations::code;
use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

#[tokio::test]
async fn streams_and_consumers_are_tagged_by_arn() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    let consumer = client.register_stream_consumer().stream_arn(ARN).consumer_name("c").tags("from", "start");
    let consumer = consumer.send().await.unwrap().consumer.unwrap().consumer_arn;
    for arn in [ARN, &consumer] {
        client.tag_resource().resource_arn(arn).tags("team", "ads").tags("env", "dev").send().await.unwrap();
        client.untag_resource().resource_arn(arn).tag_keys("env").tag_keys("none").send().await.unwrap();
    }
    let list = async |arn: &str| -> Vec<String> {
        let tags = client.list_tags_for_resource().resource_arn(arn).send().await.unwrap().tags.unwrap();
        tags.iter().map(|tag| format!("{}={}", tag.key(), tag.value().unwrap())).collect()
    };
    assert_eq!(list(ARN).await, ["team=ads"]);
    assert_eq!(list(&consumer).await, ["from=start", "team=ads"]);
    let many: std::collections::HashMap<_, _> = (0..50).map(|n| (format!("k{n}"), String::new())).collect();
    let error = client.tag_resource().resource_arn(ARN).set_tags(Some(many)).send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidArgumentException");
    for arn in [format!("{ARN}x"), format!("{consumer}9"), ARN.replace("us-east-1", "eu-west-1")] {
        let error = client.list_tags_for_resource().resource_arn(&arn).send().await.unwrap_err();
        assert_eq!(code(&error), "ResourceNotFoundException", "{arn}");
    }
    let error = client.list_tags_for_resource().resource_arn("s").send().await.unwrap_err();
    assert_eq!(code(&error), "ValidationException");
}

#[tokio::test]
async fn policies_are_kept() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let put = async |policy: &str| client.put_resource_policy().resource_arn(ARN).policy(policy).send().await;
    for bad in ["", "[]", "{", r#"{"Version":"2012-10-17"}"#] {
        assert_eq!(code(&put(bad).await.unwrap_err()), "InvalidArgumentException", "{bad}");
    }
    let get = async || client.get_resource_policy().resource_arn(ARN).send().await.unwrap().policy;
    assert_eq!(get().await, "{}");
    put(policy).await.unwrap();
    assert_eq!(get().await, policy);
    let delete = client.delete_resource_policy().resource_arn(ARN);
    delete.clone().send().await.unwrap();
    assert_eq!(code(&delete.send().await.unwrap_err()), "ResourceNotFoundException");
}

#[tokio::test]
async fn an_encrypted_stream_says_so_everywhere() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    let start = async |key: &str| {
        let start = client.start_stream_encryption().stream_name("s").encryption_type(EncryptionType::Kms);
        start.key_id(key).send().await
    };
    start("alias/aws/kinesis").await.unwrap();
    let put = client.put_record().stream_name("s").partition_key("k").data(Blob::new("d")).send().await.unwrap();
    assert_eq!(put.encryption_type, Some(EncryptionType::Kms));
    let summary = client.describe_stream_summary().stream_name("s").send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!(
        (summary.encryption_type, summary.key_id.as_deref()),
        (Some(EncryptionType::Kms), Some("alias/aws/kinesis"))
    );
    let request = client.get_shard_iterator().stream_arn(ARN).shard_id("shardId-000000000000");
    let iterator = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap().shard_iterator;
    let records = client.get_records().set_shard_iterator(iterator).stream_arn(ARN).send().await.unwrap().records;
    assert_eq!(records[0].encryption_type, Some(EncryptionType::Kms));
    for round in 1..25 {
        start(&format!("alias/{round}")).await.unwrap();
    }
    assert_eq!(code(&start("alias/too-many").await.unwrap_err()), "LimitExceededException");
    let stop = client.stop_stream_encryption().stream_arn(ARN).encryption_type(EncryptionType::Kms).key_id("any");
    stop.send().await.unwrap();
    let put = client.put_record().stream_name("s").partition_key("k").data(Blob::new("d")).send().await.unwrap();
    assert_eq!(put.encryption_type, None);
    let none = client.start_stream_encryption().stream_name("s").encryption_type(EncryptionType::None).key_id("k");
    assert_eq!(code(&none.send().await.unwrap_err()), "InvalidArgumentException");
}

#[tokio::test]
async fn metrics_are_switched() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    let enable = client.enable_enhanced_monitoring().stream_name("s");
    let answer = enable.shard_level_metrics(MetricsName::IncomingBytes).send().await.unwrap();
    assert_eq!(answer.current_shard_level_metrics(), []);
    assert_eq!(answer.desired_shard_level_metrics(), [MetricsName::IncomingBytes]);
    let all = client.enable_enhanced_monitoring().stream_arn(ARN).shard_level_metrics(MetricsName::All);
    assert_eq!(all.send().await.unwrap().desired_shard_level_metrics().len(), 7);
    let disable = client.disable_enhanced_monitoring().stream_name("s");
    let answer = disable.shard_level_metrics(MetricsName::OutgoingBytes).send().await.unwrap();
    assert_eq!((answer.current_shard_level_metrics().len(), answer.desired_shard_level_metrics().len()), (7, 6));
    let described = client.describe_stream().stream_name("s").send().await.unwrap().stream_description.unwrap();
    assert_eq!(described.enhanced_monitoring[0].shard_level_metrics().len(), 6);
    let unknown = client.enable_enhanced_monitoring().stream_name("s").shard_level_metrics("X".into());
    assert_eq!(code(&unknown.send().await.unwrap_err()), "ValidationException");
}

#[tokio::test]
async fn pages_of_streams_expire_and_hold_a_hundred() {
    let fixture = Fixture::new().await;
    for number in 0..101 {
        let name = format!("s{number:03}");
        fixture.client.create_stream().stream_name(name).shard_count(1).send().await.unwrap();
    }
    let page = fixture.client.list_streams().limit(10_000).send().await.unwrap();
    assert_eq!((page.stream_names.len(), page.has_more_streams), (100, true));
    let token = page.next_token.unwrap();
    let rest = fixture.client.list_streams().next_token(&token).send().await.unwrap();
    assert_eq!((rest.stream_names, rest.has_more_streams), (vec!["s100".to_owned()], false));
    fixture.clock.jump(300_000);
    let error = fixture.client.list_streams().next_token(&token).send().await.unwrap_err();
    assert_eq!(code(&error), "ExpiredNextTokenException");
}

#[tokio::test]
async fn what_expired_stays_expired() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = async |text: &str| {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new(text));
        put.send().await.unwrap();
    };
    put("old").await;
    fixture.clock.jump(600_000);
    put("new").await;
    fixture.clock.jump(24 * 3_600_000 - 300_000);
    let texts = async || -> Vec<Vec<u8>> {
        read_shard(&fixture, "shardId-000000000000").await.0.into_iter().map(|(_, _, data)| data).collect()
    };
    let increase = fixture.client.increase_stream_retention_period().stream_arn(ARN).retention_period_hours(48);
    increase.send().await.unwrap();
    assert_eq!(texts().await, [b"new".to_vec()], "both lie in one segment, and one has expired");
    fixture.clock.jump(24 * 3_600_000);
    assert_eq!(texts().await, [b"new".to_vec()], "the longer retention holds for what had not expired");
    fixture.clock.jump(600_000);
    assert!(texts().await.is_empty());
}
