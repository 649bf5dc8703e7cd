//! What each operation does.

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{ShardFilter, ShardFilterType};

use super::*;

pub(super) fn code<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> String {
    error.code().unwrap_or("none").to_owned()
}

#[tokio::test]
async fn records_come_back_in_order_with_their_bytes() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    let entries: Vec<_> = (0..300_u32).map(|index| entry(&format!("k{index}"), &index.to_be_bytes())).collect();
    let answer = fixture.client.put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap();
    assert_eq!((answer.failed_record_count, answer.records.len()), (Some(0), 300));
    let empty = fixture.client.put_record().stream_name("s").partition_key("empty").data(Blob::new(b""));
    let empty = empty.send().await.unwrap();
    let mut total = 0;
    for shard in ["shardId-000000000000", "shardId-000000000001"] {
        let (records, has_ended) = read_shard(&fixture, shard).await;
        assert!(!has_ended);
        assert!(records.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (sequence_number, key, data) in &records {
            if key == "empty" {
                assert_eq!((sequence_number, data.len()), (&empty.sequence_number, 0));
                continue;
            }
            let index: usize = key.trim_start_matches('k').parse().unwrap();
            assert_eq!(*data, u32::try_from(index).unwrap().to_be_bytes());
            assert_eq!(answer.records[index].sequence_number.as_ref(), Some(sequence_number));
            assert_eq!(answer.records[index].shard_id.as_deref(), Some(shard));
        }
        total += records.len();
    }
    assert_eq!(total, 301);
}

#[tokio::test]
async fn an_explicit_hash_key_decides_the_shard() {
    let fixture = Fixture::new().await;
    fixture.create(4).await;
    let quarter = 1_u128 << 126;
    for (hash_key, shard) in [(0, 0), (quarter - 1, 0), (quarter, 1), (3 * quarter, 3), (u128::MAX, 3)] {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new("d"));
        let answer = put.explicit_hash_key(hash_key.to_string()).send().await.unwrap();
        assert_eq!(answer.shard_id, format!("shardId-{shard:012}"), "{hash_key}");
    }
}

#[tokio::test]
async fn a_shard_over_its_limit_refuses_single_records() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = async |count: usize| {
        let entries = vec![entry("k", b"d"); count];
        fixture.client.put_records().stream_name("s").set_records(Some(entries)).send().await.unwrap()
    };
    assert_eq!(put(500).await.failed_record_count, Some(0));
    assert_eq!(put(490).await.failed_record_count, Some(0));
    let answer = put(30).await;
    assert_eq!(answer.failed_record_count, Some(20));
    let last = &answer.records[29];
    assert_eq!(last.error_code.as_deref(), Some("ProvisionedThroughputExceededException"));
    let message = "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.";
    assert_eq!(last.error_message.as_deref(), Some(message));
    let single = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new("d"));
    assert_eq!(code(&single.clone().send().await.unwrap_err()), "ProvisionedThroughputExceededException");
    fixture.clock.jump(5);
    single.send().await.unwrap();
    assert_eq!(put(5).await.failed_record_count, Some(1));
    let (records, _) = read_shard(&fixture, "shardId-000000000000").await;
    assert_eq!(records.len(), 1_005, "a refused record is not kept");
}

#[tokio::test]
async fn reads_are_limited_and_iterators_expire() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let request = fixture.client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
    let iterator = request.shard_iterator_type(ShardIteratorType::Latest).send().await.unwrap().shard_iterator.unwrap();
    let get = async || fixture.client.get_records().shard_iterator(&iterator).send().await;
    for _ in 0..5 {
        get().await.unwrap();
    }
    assert_eq!(code(&get().await.unwrap_err()), "ProvisionedThroughputExceededException");
    fixture.clock.jump(200);
    get().await.unwrap();
    fixture.clock.jump(300_000);
    assert_eq!(code(&get().await.unwrap_err()), "ExpiredIteratorException");
}

#[tokio::test]
async fn each_iterator_type_starts_where_it_says() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let start_ms = fixture.clock.now_ms();
    let mut sequence_numbers = Vec::new();
    for text in ["a", "b", "c"] {
        let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new(text));
        sequence_numbers.push(put.send().await.unwrap().sequence_number);
        fixture.clock.jump(1_000);
    }
    let check = async |kind: ShardIteratorType, at: Option<&str>, at_ms: Option<i64>, expected: &str| {
        fixture.clock.jump(1_000);
        let request = fixture.client.get_shard_iterator().stream_name("s").shard_id("shardId-000000000000");
        let request = request.set_starting_sequence_number(at.map(str::to_owned)).shard_iterator_type(kind.clone());
        let request = request.set_timestamp(at_ms.map(DateTime::from_millis));
        let iterator = request.send().await.unwrap().shard_iterator.unwrap();
        let answer = fixture.client.get_records().shard_iterator(iterator).send().await.unwrap();
        let texts: Vec<u8> = answer.records.into_iter().flat_map(|record| record.data.into_inner()).collect();
        assert_eq!(String::from_utf8(texts).unwrap(), expected, "{kind} {at:?} {at_ms:?}");
    };
    let second = Some(sequence_numbers[1].as_str());
    check(ShardIteratorType::TrimHorizon, None, None, "abc").await;
    check(ShardIteratorType::Latest, None, None, "").await;
    check(ShardIteratorType::AtSequenceNumber, second, None, "bc").await;
    check(ShardIteratorType::AfterSequenceNumber, second, None, "c").await;
    check(ShardIteratorType::AtTimestamp, None, Some(start_ms), "abc").await;
    check(ShardIteratorType::AtTimestamp, None, Some(start_ms + 1), "bc").await;
    check(ShardIteratorType::AtTimestamp, None, Some(start_ms + 2_001), "").await;
}

#[tokio::test]
async fn streams_are_made_listed_described_and_deleted() {
    let fixture = Fixture::new().await;
    fixture.create(3).await;
    let client = &fixture.client;
    let error = client.create_stream().stream_name("s").shard_count(1).send().await.unwrap_err();
    assert_eq!(code(&error), "ResourceInUseException");
    client.create_stream().stream_name("t").shard_count(1).send().await.unwrap();
    let first = client.list_streams().limit(1).send().await.unwrap();
    assert_eq!((first.stream_names, first.has_more_streams), (vec!["s".to_owned()], true));
    let second = client.list_streams().limit(1).set_next_token(first.next_token).send().await.unwrap();
    assert_eq!((second.stream_names, second.has_more_streams), (vec!["t".to_owned()], false));
    let description =
        client.describe_stream().stream_name("s").limit(2).send().await.unwrap().stream_description.unwrap();
    assert_eq!((description.shards.len(), description.has_more_shards), (2, true));
    let arn = description.stream_arn;
    assert_eq!(arn, "arn:aws:kinesis:us-east-1:000000000000:stream/s");
    let summary = client.describe_stream_summary().stream_arn(arn).send().await.unwrap();
    let summary = summary.stream_description_summary.unwrap();
    assert_eq!((summary.open_shard_count, summary.retention_period_hours), (3, 24));
    assert_eq!(client.describe_limits().send().await.unwrap().open_shard_count, 4);
    client.delete_stream().stream_name("s").send().await.unwrap();
    let error = client.describe_stream_summary().stream_name("s").send().await.unwrap_err();
    assert_eq!(code(&error), "ResourceNotFoundException");
    let left: Vec<_> = std::fs::read_dir(fixture.dir.path().join("data/kinesis")).unwrap().collect();
    assert_eq!(left.len(), 1, "a deleted stream frees its disk");
}

#[tokio::test]
async fn tags_and_retention_are_kept() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    client.add_tags_to_stream().stream_name("s").tags("team", "ads").tags("env", "dev").send().await.unwrap();
    client.remove_tags_from_stream().stream_name("s").tag_keys("env").send().await.unwrap();
    let tags = client.list_tags_for_stream().stream_name("s").send().await.unwrap().tags;
    assert_eq!(tags.iter().map(|tag| (tag.key(), tag.value())).collect::<Vec<_>>(), [("team", Some("ads"))]);
    let increase = async |hours: i32| {
        client.increase_stream_retention_period().stream_name("s").retention_period_hours(hours).send().await
    };
    increase(48).await.unwrap();
    assert_eq!(code(&increase(47).await.unwrap_err()), "InvalidArgumentException");
    assert_eq!(code(&increase(8_761).await.unwrap_err()), "InvalidArgumentException");
    let decrease = client.decrease_stream_retention_period().stream_name("s");
    decrease.retention_period_hours(24).send().await.unwrap();
}

#[tokio::test]
async fn shards_are_listed_by_filter_and_page() {
    let fixture = Fixture::new().await;
    fixture.create(2).await;
    let client = &fixture.client;
    fixture.clock.jump(1_000);
    let split = client.split_shard().stream_name("s").shard_to_split("shardId-000000000000");
    split.new_starting_hash_key("5").send().await.unwrap();
    fixture.clock.jump(1_000);
    let list = async |filter: Option<ShardFilter>| -> Vec<u64> {
        let shards =
            client.list_shards().stream_name("s").set_shard_filter(filter).send().await.unwrap().shards.unwrap();
        shards.iter().map(|shard| crate::kinesis::parse_shard_id(&shard.shard_id).unwrap()).collect()
    };
    let filter = |kind| ShardFilter::builder().r#type(kind);
    assert_eq!(list(None).await, [0, 1, 2, 3]);
    assert_eq!(list(Some(filter(ShardFilterType::AtLatest).build().unwrap())).await, [1, 2, 3]);
    assert_eq!(list(Some(filter(ShardFilterType::AtTrimHorizon).build().unwrap())).await, [0, 1]);
    assert_eq!(list(Some(filter(ShardFilterType::FromTrimHorizon).build().unwrap())).await, [0, 1, 2, 3]);
    let after = filter(ShardFilterType::AfterShardId).shard_id("shardId-000000000001").build().unwrap();
    assert_eq!(list(Some(after)).await, [2, 3]);
    let now = DateTime::from_millis(fixture.clock.now_ms());
    assert_eq!(list(Some(filter(ShardFilterType::AtTimestamp).timestamp(now).build().unwrap())).await, [1, 2, 3]);
    let page = client.list_shards().stream_name("s").max_results(3).send().await.unwrap();
    let token = page.next_token.unwrap();
    let rest = client.list_shards().next_token(&token).send().await.unwrap();
    assert_eq!((page.shards.unwrap().len(), rest.shards.unwrap().len(), rest.next_token), (3, 1, None));
    let filter = filter(ShardFilterType::AtLatest).build().unwrap();
    let page = client.list_shards().stream_name("s").shard_filter(filter).max_results(1).send().await.unwrap();
    let rest = client.list_shards().next_token(page.next_token.unwrap()).send().await.unwrap().shards.unwrap();
    let rest: Vec<&str> = rest.iter().map(|shard| shard.shard_id()).collect();
    assert_eq!(rest, ["shardId-000000000002", "shardId-000000000003"], "the filter goes on in the token");
    let other = client.list_shards().stream_name("s").stream_creation_timestamp(DateTime::from_secs(1_600_000_000));
    assert_eq!(code(&other.send().await.unwrap_err()), "ResourceNotFoundException");
    let error = client.list_shards().stream_name("s").next_token(&token).send().await.unwrap_err();
    assert_eq!(code(&error), "InvalidArgumentException");
    fixture.clock.jump(300_000);
    let error = client.list_shards().next_token(&token).send().await.unwrap_err();
    assert_eq!(code(&error), "ExpiredNextTokenException");
}
