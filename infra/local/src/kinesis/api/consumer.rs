//! Consumers with enhanced fan-out: register, deregister, describe, list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kinesis::ACCOUNT;
use crate::kinesis::description::StreamMode;
use crate::kinesis::settings::Consumer;
use crate::kinesis::status::Status;
use crate::kinesis::store::Store;
use crate::kinesis::stream::Stream;
use crate::wire::{Request, ServiceError};

use super::lease::Subscriptions;
use super::shard::check_creation;
use super::token::{Token, TokenKind};
use super::validate::{CONSUMER_ARN, Checks, NAME, TOKEN, consumer_in_resource};
use super::value::Timestamp;
use super::{StreamRef, change_settings, invalid_argument, limit_exceeded, own_resource, stream_not_found, tag};

/// Consumers of a stream.
pub(super) const CONSUMERS_MAX: usize = 20;
/// Consumers of an on-demand stream in an account with a minimum throughput commitment.
pub(super) const CONSUMERS_ADVANTAGE_MAX: usize = 50;
/// Consumers of a stream in `CREATING` at once.
const CREATING_MAX: usize = 5;
/// Consumers in one page, whatever is asked for.
const PAGE_MAX: i64 = 100;
/// What a request may ask for.
const PAGE_ASKED_MAX: i64 = 10_000;

#[derive(Deserialize)]
struct Input {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(rename = "ConsumerName")]
    name: Option<String>,
    #[serde(rename = "ConsumerARN")]
    arn: Option<String>,
    #[serde(rename = "Tags")]
    tags: Option<BTreeMap<String, String>>,
    #[serde(rename = "NextToken")]
    next_token: Option<String>,
    #[serde(rename = "MaxResults")]
    max_results: Option<i64>,
    #[serde(rename = "StreamCreationTimestamp")]
    stream_creation: Option<Timestamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConsumerOutput {
    consumer_name: String,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: String,
    consumer_status: &'static str,
    consumer_creation_timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterOutput {
    consumer: ConsumerOutput,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DescribeOutput {
    consumer_description: ConsumerDescription,
}

#[derive(Serialize)]
struct ConsumerDescription {
    #[serde(flatten)]
    consumer: ConsumerOutput,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListOutput {
    consumers: Vec<ConsumerOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

/// Registers a consumer; it is active as soon as it has been `CREATING` for the time that is set.
pub(super) async fn register(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.required("streamARN", input.stream.arn.as_ref().map(|_| ()));
    let name = checks.required_text("consumerName", input.name.as_deref(), &NAME);
    if let Some(tags) = &input.tags {
        checks.tags("tags", tags);
    }
    checks.finish()?;
    let stream = input.stream.find_serving(store)?;
    let (now_ms, transition_ms) = (store.clock().now_ms(), store.transition_ms());
    let is_advantage = store.account().is_advantage(now_ms);
    let mut consumer = Consumer { created_ms: now_ms, tags: BTreeMap::new(), policy: None };
    tag::add(&mut consumer.tags, input.tags.unwrap_or_default())?;
    let output = output(store, (&stream, name), &consumer);
    change_settings(&stream, |settings| {
        let is_wide = is_advantage && settings.mode == StreamMode::OnDemand;
        let consumers_max = if is_wide { CONSUMERS_ADVANTAGE_MAX } else { CONSUMERS_MAX };
        if settings.consumers.contains_key(name) {
            return Err(ServiceError::client(
                "ResourceInUseException",
                format!("Consumer {name} of stream {} under account {ACCOUNT} already exists.", stream.name()),
            ));
        }
        if settings.consumers.len() >= consumers_max {
            return Err(limit_exceeded(format!("Stream {} has {consumers_max} consumers, its limit.", stream.name())));
        }
        let creating = settings.consumers.values().filter(|other| other.is_creating(now_ms, transition_ms)).count();
        if creating >= CREATING_MAX {
            let message = format!("Stream {} has {CREATING_MAX} consumers in CREATING, its limit.", stream.name());
            return Err(limit_exceeded(message));
        }
        settings.consumers.insert(name.to_owned(), consumer);
        Ok(())
    })
    .await?;
    request.answer(&RegisterOutput { consumer: output })
}

/// Takes a consumer away, and ends its subscriptions.
pub(super) async fn deregister(
    store: &Store,
    subscriptions: &Subscriptions,
    request: Request<'_>,
) -> Result<Vec<u8>, ServiceError> {
    let (stream, name) = named(store, &request.parse()?)?;
    let removal = change_settings(&stream, |settings| Ok(settings.consumers.remove(&name)));
    let consumer = removal.await?.ok_or_else(|| not_found(&stream, &name))?;
    subscriptions.end_consumer(&arn(&stream, &name, &consumer));
    Ok(Vec::new())
}

/// One consumer.
pub(super) fn describe(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let (stream, name) = named(store, &request.parse()?)?;
    let state = stream.state();
    let consumer = state.settings.consumers.get(&name).ok_or_else(|| not_found(&stream, &name))?;
    let consumer = output(store, (&stream, &name), consumer);
    request.answer(&DescribeOutput { consumer_description: ConsumerDescription { consumer, stream_arn: stream.arn() } })
}

/// A page of a stream's consumers, by name.
pub(super) fn list(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.required("streamARN", input.stream.arn.as_ref().map(|_| ()));
    checks.text("nextToken", input.next_token.as_deref(), &TOKEN);
    checks.number("maxResults", input.max_results, 1, PAGE_ASKED_MAX);
    checks.finish()?;
    let stream = input.stream.find(store)?;
    let after = match &input.next_token {
        Some(_) if input.stream_creation.is_some() => {
            return Err(invalid_argument("NextToken and StreamCreationTimestamp cannot be provided together."));
        }
        Some(token) => Some(last_of_page(store, &stream, token)?),
        None => {
            check_creation(&stream, input.stream_creation)?;
            None
        }
    };
    let page = usize::try_from(input.max_results.unwrap_or(PAGE_MAX).min(PAGE_MAX)).unwrap_or(1);
    let state = stream.state();
    let is_after = |name: &String| after.as_ref().is_none_or(|after| name > after);
    let mut consumers = state.settings.consumers.iter().filter(|(name, _)| is_after(name));
    let given: Vec<ConsumerOutput> =
        consumers.by_ref().take(page).map(|(name, consumer)| output(store, (&stream, name), consumer)).collect();
    let next_token = consumers.next().and(given.last()).map(|last| {
        let name = format!("{}/{}", stream.name(), last.consumer_name);
        let token = Token::new(TokenKind::Consumers, store.clock().now_ms(), name);
        Token { created_ms: stream.created_ms(), ..token }.write()
    });
    request.answer(&ListOutput { consumers: given, next_token })
}

fn last_of_page(store: &Store, stream: &Stream, token: &str) -> Result<String, ServiceError> {
    let token = Token::read(token, TokenKind::Consumers, store.clock())?;
    let (name, last) = token.name.split_once('/').unwrap_or_default();
    if name != stream.name() || token.created_ms != stream.created_ms() {
        return Err(invalid_argument("NextToken is of another stream."));
    }
    Ok(last.to_owned())
}

/// The stream and the name of the consumer that a request means, by the consumer's ARN, or by both names.
fn named(store: &Store, input: &Input) -> Result<(Stream, String), ServiceError> {
    let mut checks = Checks::default();
    checks.stream(&input.stream);
    checks.text("consumerName", input.name.as_deref(), &NAME);
    checks.text("consumerARN", input.arn.as_deref(), &CONSUMER_ARN);
    checks.finish()?;
    if let Some(arn) = &input.arn {
        let (stream, name) = find(store, arn)?;
        let is_other = input.name.as_ref().is_some_and(|other| *other != name)
            || input.stream.arn.as_ref().is_some_and(|other| *other != stream.arn());
        if is_other {
            return Err(invalid_argument("ConsumerARN does not go with StreamARN or ConsumerName."));
        }
        return Ok((stream, name));
    }
    let (Some(_), Some(name)) = (&input.stream.arn, &input.name) else {
        return Err(invalid_argument("Either ConsumerARN, or StreamARN and ConsumerName must be given."));
    };
    let stream = input.stream.find(store)?;
    Ok((stream, name.clone()))
}

/// The stream and the name of the consumer with this ARN, whose shape was checked.
pub(super) fn find(store: &Store, consumer_arn: &str) -> Result<(Stream, String), ServiceError> {
    let refused = || {
        let message = format!("Consumer {consumer_arn} under account {ACCOUNT} not found.");
        ServiceError::client("ResourceNotFoundException", message)
    };
    let (stream, name, _created_s) = consumer_in_resource(own_resource(consumer_arn)?).ok_or_else(refused)?;
    let stream = store.stream(stream).ok_or_else(|| stream_not_found(stream))?;
    let state = stream.state();
    let consumer = state.settings.consumers.get(name).ok_or_else(refused)?;
    if arn(&stream, name, consumer) == consumer_arn { Ok((stream, name.to_owned())) } else { Err(refused()) }
}

fn not_found(stream: &Stream, name: &str) -> ServiceError {
    ServiceError::client(
        "ResourceNotFoundException",
        format!("Consumer {name} of stream {} under account {ACCOUNT} not found.", stream.name()),
    )
}

fn arn(stream: &Stream, name: &str, consumer: &Consumer) -> String {
    format!("{}/consumer/{name}:{}", stream.arn(), consumer.created_ms.div_euclid(1_000))
}

fn output(store: &Store, (stream, name): (&Stream, &str), consumer: &Consumer) -> ConsumerOutput {
    let is_creating = consumer.is_creating(store.clock().now_ms(), store.transition_ms());
    ConsumerOutput {
        consumer_name: name.to_owned(),
        consumer_arn: arn(stream, name, consumer),
        consumer_status: if is_creating { Status::Creating } else { Status::Active }.name(),
        consumer_creation_timestamp: Timestamp(consumer.created_ms),
    }
}
