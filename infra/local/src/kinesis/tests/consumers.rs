//! Consumers with enhanced fan-out, and what they are sent.

use aws_sdk_kinesis::primitives::event_stream::EventReceiver;
use aws_sdk_kinesis::types::error::SubscribeToShardEventStreamError;
use aws_sdk_kinesis::types::{
    ShardIteratorType as Start, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;

use super::operations::code;
use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
const SHARD: &str = "shardId-000000000000";

type Events = EventReceiver<SubscribeToShardEventStream, SubscribeToShardEventStreamError>;

async fn register(fixture: &Fixture, name: &str) -> String {
    let register = fixture.client.register_stream_consumer().stream_arn(ARN).consumer_name(name);
    register.send().await.unwrap().consumer.unwrap().consumer_arn
}

fn from(start: Start) -> StartingPosition {
    StartingPosition::builder().r#type(start).build().unwrap()
}

async fn subscribe(fixture: &Fixture, consumer: &str, position: StartingPosition) -> Result<Events, String> {
    let subscribe = fixture.client.subscribe_to_shard().consumer_arn(consumer).shard_id(SHARD);
    match subscribe.starting_position(position).send().await {
        Ok(answer) => Ok(answer.event_stream),
        Err(error) => Err(code(&error)),
    }
}

/// The next event that says something.
async fn next(events: &mut Events) -> Option<SubscribeToShardEvent> {
    loop {
        match events.recv().await.unwrap() {
            None => return None,
            Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) => {
                let says_something = !event.records.is_empty() || event.child_shards.is_some();
                if says_something {
                    return Some(event);
                }
            }
            Some(other) => panic!("{other:?}"),
        }
    }
}

/// The error that ends the events.
async fn ending(events: &mut Events) -> SubscribeToShardEventStreamError {
    loop {
        match events.recv().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the events ended without a reason"),
            Err(error) => return error.into_service_error(),
        }
    }
}

fn texts(event: &SubscribeToShardEvent) -> Vec<String> {
    event.records.iter().map(|record| String::from_utf8(record.data.as_ref().to_vec()).unwrap()).collect()
}

async fn put(fixture: &Fixture, text: &str) -> String {
    let put = fixture.client.put_record().stream_name("s").partition_key("k").data(Blob::new(text));
    put.send().await.unwrap().sequence_number
}

#[tokio::test]
async fn consumers_are_registered_within_their_limit() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let client = &fixture.client;
    let arn = register(&fixture, "c00").await;
    assert_eq!(arn, format!("{ARN}/consumer/c00:1700000000"));
    let again = client.register_stream_consumer().stream_arn(ARN).consumer_name("c00").send().await.unwrap_err();
    assert_eq!(code(&again), "ResourceInUseException");
    for number in 1..20 {
        register(&fixture, &format!("c{number:02}")).await;
    }
    let over = client.register_stream_consumer().stream_arn(ARN).consumer_name("over").send().await.unwrap_err();
    assert_eq!(code(&over), "LimitExceededException");
    let page = client.list_stream_consumers().stream_arn(ARN).max_results(15).send().await.unwrap();
    let token = page.next_token.unwrap();
    let rest = client.list_stream_consumers().stream_arn(ARN).next_token(&token).send().await.unwrap();
    assert_eq!((page.consumers.unwrap().len(), rest.consumers.unwrap().len(), rest.next_token), (15, 5, None));
    let summary = client.describe_stream_summary().stream_name("s").send().await.unwrap();
    assert_eq!(summary.stream_description_summary.unwrap().consumer_count, Some(20));
    let by_name = client.describe_stream_consumer().stream_arn(ARN).consumer_name("c07").send().await.unwrap();
    let by_arn =
        client.describe_stream_consumer().consumer_arn(&arn).send().await.unwrap().consumer_description.unwrap();
    assert_eq!(by_name.consumer_description.unwrap().stream_arn, ARN);
    assert_eq!(by_arn.consumer_name, "c00");
    let neither = client.describe_stream_consumer().stream_arn(ARN).send().await.unwrap_err();
    assert_eq!(code(&neither), "InvalidArgumentException");
    assert_eq!(code(&client.delete_stream().stream_name("s").send().await.unwrap_err()), "ResourceInUseException");
    client.deregister_stream_consumer().consumer_arn(&arn).send().await.unwrap();
    let gone = client.deregister_stream_consumer().consumer_arn(&arn).send().await.unwrap_err();
    assert_eq!(code(&gone), "ResourceNotFoundException");
    fixture.clock.jump(300_000);
    let expired = client.list_stream_consumers().stream_arn(ARN).next_token(token).send().await.unwrap_err();
    assert_eq!(code(&expired), "ExpiredNextTokenException");
    client.delete_stream().stream_name("s").enforce_consumer_deletion(true).send().await.unwrap();
}

#[tokio::test]
async fn a_subscription_brings_what_is_there_and_what_comes() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let consumer = register(&fixture, "c").await;
    put(&fixture, "one").await;
    put(&fixture, "two").await;
    let mut events = subscribe(&fixture, &consumer, from(Start::TrimHorizon)).await.unwrap();
    let event = next(&mut events).await.unwrap();
    assert_eq!((texts(&event), event.millis_behind_latest), (vec!["one".to_owned(), "two".to_owned()], 0));
    let three = put(&fixture, "three").await;
    let event = next(&mut events).await.unwrap();
    assert_eq!(texts(&event), ["three"]);
    assert_eq!(event.continuation_sequence_number, three);
    fixture.clock.jump(300_000);
    put(&fixture, "four").await;
    assert!(next(&mut events).await.is_none(), "after five minutes the subscription is over");
    let after = StartingPosition::builder().r#type(Start::AfterSequenceNumber).sequence_number(three).build().unwrap();
    let mut events = subscribe(&fixture, &consumer, after).await.unwrap();
    assert_eq!(texts(&next(&mut events).await.unwrap()), ["four"]);
}

#[tokio::test]
async fn an_idle_shard_still_gives_a_place_to_go_on_from() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let consumer = register(&fixture, "c").await;
    let last = put(&fixture, "before").await;
    let mut events = subscribe(&fixture, &consumer, from(Start::Latest)).await.unwrap();
    let Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)) = events.recv().await.unwrap() else {
        panic!("no event");
    };
    assert_eq!((event.records.len(), event.continuation_sequence_number), (0, last));
}

#[tokio::test]
async fn one_subscription_at_a_time() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let (consumer, other) = (register(&fixture, "c").await, register(&fixture, "d").await);
    let mut first = subscribe(&fixture, &consumer, from(Start::Latest)).await.unwrap();
    subscribe(&fixture, &other, from(Start::Latest)).await.unwrap();
    let refused = subscribe(&fixture, &consumer, from(Start::Latest)).await.unwrap_err();
    assert_eq!(refused, "ResourceInUseException");
    fixture.clock.jump(5_000);
    let mut second = subscribe(&fixture, &consumer, from(Start::TrimHorizon)).await.unwrap();
    assert!(ending(&mut first).await.is_resource_in_use_exception());
    put(&fixture, "one").await;
    assert_eq!(texts(&next(&mut second).await.unwrap()), ["one"]);
    fixture.client.deregister_stream_consumer().consumer_arn(&consumer).send().await.unwrap();
    assert!(ending(&mut second).await.is_resource_not_found_exception());
}

#[tokio::test]
async fn the_end_of_a_shard_names_its_children() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let consumer = register(&fixture, "c").await;
    put(&fixture, "last").await;
    let split = fixture.client.split_shard().stream_name("s").shard_to_split(SHARD);
    split.new_starting_hash_key("9").send().await.unwrap();
    let mut events = subscribe(&fixture, &consumer, from(Start::TrimHorizon)).await.unwrap();
    let event = next(&mut events).await.unwrap();
    assert_eq!(texts(&event), ["last"]);
    assert_eq!(event.continuation_sequence_number, "", "missing on the wire: the SDK fills it in");
    let children: Vec<&str> = event.child_shards().iter().map(|child| child.shard_id()).collect();
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(next(&mut events).await.is_none());
}

#[tokio::test]
async fn bad_subscriptions_are_refused() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let consumer = register(&fixture, "c").await;
    let call = async |body: String| {
        let request = crate::wire::Request::json(body.as_bytes());
        fixture.cloud.kinesis().answer("SubscribeToShard", request).await.unwrap_err().to_string()
    };
    let text = call("{}".to_owned()).await;
    assert!(
        text.starts_with("ValidationException: 4 validation errors detected: Value null at 'consumerARN'"),
        "{text}"
    );
    let body = |consumer: &str, shard: &str, rest: &str| {
        format!(r#"{{"ConsumerARN":"{consumer}","ShardId":"{shard}","StartingPosition":{{"Type":"LATEST"}}{rest}}}"#)
    };
    let text = call(body(&format!("{consumer}0"), SHARD, "")).await;
    assert!(text.starts_with("ResourceNotFoundException: Consumer"), "{text}");
    let text = call(body(&consumer, "shardId-000000000009", "")).await;
    assert!(text.starts_with("ResourceNotFoundException: Could not find shard"), "{text}");
    let text = call(body(&consumer, SHARD, r#","DryRun":true"#)).await;
    assert!(text.starts_with("DryRunOperationException"), "{text}");
    subscribe(&fixture, &consumer, from(Start::Latest)).await.unwrap();
}

#[tokio::test]
async fn events_go_over_http_2_in_cbor() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let consumer = register(&fixture, "c").await;
    put(&fixture, "hel").await;
    let client = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let body = serde_json::json!({
        "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": { "Type": "TRIM_HORIZON" },
    });
    let request = Request::post(fixture.cloud.endpoint())
        .header("x-amz-target", "Kinesis_20131202.SubscribeToShard")
        .header("content-type", "application/x-amz-cbor-1.1")
        .body(Full::new(crate::cbor::to_vec(&body).unwrap().into()))
        .unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(
        (answer.version(), answer.headers()["content-type"].as_bytes()),
        (Version::HTTP_2, b"application/vnd.amazon.eventstream".as_slice())
    );
    let mut body = answer.into_body();
    let mut messages = Vec::new();
    while messages.len() < 2 {
        messages.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
    }
    let holds = |message: &[u8], part: &[u8]| message.windows(part.len()).any(|window| window == part);
    assert!(holds(&messages[0], b"initial-response") && holds(&messages[0], b"application/x-amz-cbor-1.1\xa0"));
    assert!(holds(&messages[1], b"SubscribeToShardEvent") && holds(&messages[1], b"\x64Data\x43hel"));
}
