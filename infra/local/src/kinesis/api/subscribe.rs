//! `SubscribeToShard`: starts a subscription.

use serde::Deserialize;

use crate::kinesis::ACCOUNT;
use crate::kinesis::log::Position;
use crate::kinesis::store::Store;
use crate::wire::{Request, ServiceError};

use super::consumer;
use super::dry_run;
use super::get::{STARTS, Start, StartingPoint, find_shard};
use super::lease::Subscriptions;
use super::subscription::Subscription;
use super::validate::{CONSUMER_ARN, Checks, NAME, SEQUENCE_NUMBER};
use super::value::Timestamp;

#[derive(Deserialize)]
struct Input {
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    #[serde(rename = "ShardId")]
    shard_id: Option<String>,
    #[serde(rename = "StartingPosition")]
    position: Option<PositionInput>,
    #[serde(rename = "DryRun")]
    is_dry_run: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PositionInput {
    r#type: Option<String>,
    sequence_number: Option<String>,
    timestamp: Option<Timestamp>,
}

/// Reads a shard for a consumer, from a starting position on, for five minutes.
pub(super) async fn subscribe_to_shard(
    store: &Store,
    subscriptions: &Subscriptions,
    request: Request<'_>,
) -> Result<Subscription, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    let consumer_arn = checks.required_text("consumerARN", input.consumer_arn.as_deref(), &CONSUMER_ARN);
    let shard_id = checks.required_text("shardId", input.shard_id.as_deref(), &NAME);
    let position = checks.required("startingPosition", input.position);
    let start = checks.required_choice("startingPosition.type", position.r#type.as_deref(), STARTS);
    let sequence_number = position.sequence_number.as_deref();
    checks.text("startingPosition.sequenceNumber", sequence_number, &SEQUENCE_NUMBER);
    checks.finish()?;
    let (stream, name) = consumer::find(store, consumer_arn)?;
    let now_ms = store.clock().now_ms();
    let state = stream.state();
    if state.settings.consumers.get(&name).is_some_and(|it| it.is_creating(now_ms, store.transition_ms())) {
        let message = format!("Consumer {consumer_arn} under account {ACCOUNT} not ACTIVE, instead in state CREATING");
        return Err(ServiceError::client("ResourceInUseException", message));
    }
    let shard = find_shard(&stream, shard_id)?;
    let start = start.unwrap_or(Start::Latest);
    let starting_point = StartingPoint { start, sequence_number, timestamp: position.timestamp };
    let counter = starting_point.counter(&stream, &shard, now_ms).await?;
    if input.is_dry_run == Some(true) {
        return Err(dry_run());
    }
    let ending = subscriptions.take(consumer_arn, shard.description.number, now_ms).map_err(|_in_use| {
        let message = format!(
            "Consumer {consumer_arn} under account {ACCOUNT} has a subscription to {shard_id} that is younger than 5 s."
        );
        ServiceError::client("ResourceInUseException", message)
    })?;
    let clock = store.clock().clone();
    Ok(Subscription::new((stream, shard), Position::at(counter), (ending, clock), request.protocol))
}
