//! Event source mappings over the REST API: create, get, list, update, delete, kept over restarts.
//!
//! A mapping runs while its function is there: functions are made known anew after each start, and bring their mappings
//! with them. A change is done when it is answered, so there is no `Creating` in between.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;
use uuid::Uuid;

use super::{Refusal, json as json_response};
use crate::kinesis::{ACCOUNT, REGION, stream_arn};
use crate::lambda::definition::{self, Definition, DefinitionError, Settings};
use crate::lambda::function::{Function, function_arn};
use crate::lambda::{Lambda, MappingError, filter};

/// Beside the checkpoints of all mappings.
/// What of a path comes before the operation.
const PREFIX: &str = "/2015-03-31/";
const FILE: &str = "lambda-mappings.json";
/// Mappings that can be defined: each has a task a shard.
const MAPPINGS_MAX: usize = 1_000;
/// Mappings in one page, whatever is asked for.
const PAGE_MAX: usize = 100;

/// Which operation on mappings a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Create,
    List,
    Get(&'a str),
    Update(&'a str),
    Delete(&'a str),
}

impl<'a> Route<'a> {
    /// The operation, or none where the path is another's.
    pub(super) fn of(method: &Method, path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(PREFIX)?.strip_prefix("event-source-mappings")?;
        match (method, rest.trim_start_matches('/').trim_end_matches('/')) {
            (&Method::POST, "") => Some(Self::Create),
            (&Method::GET, "") => Some(Self::List),
            (&Method::GET, uuid) => Some(Self::Get(uuid)),
            (&Method::PUT, uuid) => Some(Self::Update(uuid)),
            (&Method::DELETE, uuid) => Some(Self::Delete(uuid)),
            _ => None,
        }
    }
}

/// What is defined, once it was read.
#[derive(Debug, Default)]
pub(in crate::lambda) struct Definitions(Option<BTreeMap<String, Definition>>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    #[serde(default)]
    event_source_arn: Option<String>,
    #[serde(default)]
    function_name: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
    #[serde(default)]
    starting_position: Option<String>,
    #[serde(default)]
    starting_position_timestamp: Option<f64>,
    #[serde(flatten)]
    settings: Settings,
    /// What belongs to other sources, or is not here.
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Lambda {
    /// Answers an operation on mappings.
    pub(super) async fn answer_mappings(
        &self,
        route: Route<'_>,
        query: &str,
        body: &[u8],
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let mut held = self.definitions.lock().await;
        let definitions = self.read_definitions(&mut held).await?;
        let (status, answer) = match route {
            Route::Create => (StatusCode::ACCEPTED, self.create_mapping(definitions, parse(body)?).await?),
            Route::List => (StatusCode::OK, self.list_mappings(definitions, query)),
            Route::Get(uuid) => (StatusCode::OK, self.describe(find(definitions, uuid)?)),
            Route::Update(uuid) => (StatusCode::ACCEPTED, self.update_mapping(definitions, uuid, parse(body)?).await?),
            Route::Delete(uuid) => (StatusCode::ACCEPTED, self.delete_mapping(definitions, uuid).await?),
        };
        Ok(json_response(status, &answer))
    }

    /// Starts what was defined for a function that is there from now on. What cannot start is logged.
    pub(in crate::lambda) async fn resume(&self, function: &Function) {
        let mut held = self.definitions.lock().await;
        let Ok(definitions) = self.read_definitions(&mut held).await else { return };
        let name = &function.config().name;
        for definition in definitions.values().filter(|definition| definition.function == *name) {
            if let Err(refusal) = self.run(definition).await {
                tracing::error!(mapping = definition.uuid, message = refusal.message, "a mapping cannot start");
            }
        }
    }

    async fn create_mapping(
        &self,
        definitions: &mut BTreeMap<String, Definition>,
        input: Input,
    ) -> Result<Value, Refusal> {
        let missing = |name: &str| invalid(format!("1 validation error detected: {name} is required"));
        let arn = input.event_source_arn.as_deref().ok_or_else(|| missing("EventSourceArn"))?;
        let stream = arn.strip_prefix(&stream_arn("")).ok_or_else(|| {
            invalid(format!("Unrecognized event source {arn}: the Millrace local cloud maps its own Kinesis streams"))
        })?;
        let function = self.named(input.function_name.as_deref().ok_or_else(|| missing("FunctionName"))?)?;
        let function = function.config().name.clone();
        let position = input.starting_position.ok_or_else(|| missing("StartingPosition"))?;
        if let Some(other) = definitions.values().find(|other| other.function == function && other.stream == stream) {
            let message = format!(
                "An event source mapping with event source arn (\"{arn}\") and function (\"{function}\") already \
                 exists. Please update or delete the existing mapping with UUID {}",
                other.uuid
            );
            return Err(Refusal {
                status: StatusCode::CONFLICT,
                ..Refusal::client("ResourceConflictException", message)
            });
        }
        if definitions.len() >= MAPPINGS_MAX {
            return Err(invalid(format!("The local cloud holds at most {MAPPINGS_MAX} mappings")));
        }
        let definition = Definition {
            uuid: Uuid::new_v4().to_string(),
            function,
            stream: stream.to_owned(),
            is_enabled: input.enabled.unwrap_or(true),
            modified_ms: self.store.clock().now_ms(),
            starting_position: position,
            starting_ms: input.starting_position_timestamp.map(milliseconds),
            settings: input.settings,
        };
        self.run(&definition).await?;
        let answer = self.describe(&definition);
        definitions.insert(definition.uuid.clone(), definition);
        self.write_definitions(definitions).await?;
        Ok(answer)
    }

    async fn update_mapping(
        &self,
        definitions: &mut BTreeMap<String, Definition>,
        uuid: &str,
        input: Input,
    ) -> Result<Value, Refusal> {
        let definition = find(definitions, uuid)?.clone();
        let function = match input.function_name {
            Some(name) => self.named(&name)?.config().name.clone(),
            None => definition.function,
        };
        let changed = Definition {
            function,
            is_enabled: input.enabled.unwrap_or(definition.is_enabled),
            modified_ms: self.store.clock().now_ms(),
            settings: definition.settings.with(input.settings),
            ..definition
        };
        // Before the old one stops: what cannot run is refused, and the old one goes on.
        check(&changed)?;
        self.stop_mapping(uuid).await;
        self.run(&changed).await?;
        let answer = self.describe(&changed);
        definitions.insert(uuid.to_owned(), changed);
        self.write_definitions(definitions).await?;
        Ok(answer)
    }

    async fn delete_mapping(
        &self,
        definitions: &mut BTreeMap<String, Definition>,
        uuid: &str,
    ) -> Result<Value, Refusal> {
        let mut answer = self.describe(find(definitions, uuid)?);
        self.stop_mapping(uuid).await;
        definitions.remove(uuid);
        self.write_definitions(definitions).await?;
        let checkpoints = self.data.join("lambda").join(uuid);
        match tokio::fs::remove_dir_all(&checkpoints).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(disk(&error)),
            Ok(()) | Err(_) => {}
        }
        if let Some(state) = answer.get_mut("State") {
            *state = Value::from("Deleting");
        }
        Ok(answer)
    }

    fn list_mappings(&self, definitions: &BTreeMap<String, Definition>, query: &str) -> Value {
        let asked: BTreeMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let page = asked.get("MaxItems").and_then(|items| items.parse().ok()).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let name = |text: &String| text.rsplit(':').next().unwrap_or_default().to_owned();
        let function = asked.get("FunctionName").map(name);
        let is_asked = |definition: &&Definition| {
            asked.get("Marker").is_none_or(|marker| definition.uuid > *marker)
                && asked.get("EventSourceArn").is_none_or(|arn| *arn == stream_arn(&definition.stream))
                && function.as_ref().is_none_or(|name| definition.function == *name)
        };
        let mut found = definitions.values().filter(is_asked);
        let given: Vec<&Definition> = found.by_ref().take(page).collect();
        let marker = found.next().and(given.last()).map(|last| last.uuid.clone());
        let mappings: Vec<Value> = given.into_iter().map(|definition| self.describe(definition)).collect();
        match marker {
            Some(marker) => json!({ "EventSourceMappings": mappings, "NextMarker": marker }),
            None => json!({ "EventSourceMappings": mappings }),
        }
    }

    /// A definition as the service describes it, defaults included.
    fn describe(&self, definition: &Definition) -> Value {
        let settings = serde_json::to_value(&definition.settings).unwrap_or_default();
        let progress = self.running().into_iter().find(|mapping| mapping.name() == definition.uuid);
        let invocations = progress.map_or(0, |mapping| mapping.progress().invocations);
        let mut answer = json!({
            "UUID": definition.uuid,
            "EventSourceMappingArn":
                format!("arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{}", definition.uuid),
            "EventSourceArn": stream_arn(&definition.stream),
            "FunctionArn": function_arn(&definition.function),
            "StartingPosition": definition.starting_position,
            "State": if definition.is_enabled { "Enabled" } else { "Disabled" },
            "StateTransitionReason": "User action",
            "LastProcessingResult": if invocations == 0 { "No records processed" } else { "OK" },
            "LastModified": seconds(definition.modified_ms),
            "BatchSize": 100,
            "MaximumBatchingWindowInSeconds": 0,
            "ParallelizationFactor": 1,
            "MaximumRetryAttempts": -1,
            "MaximumRecordAgeInSeconds": -1,
            "BisectBatchOnFunctionError": false,
            "TumblingWindowInSeconds": 0,
            "FunctionResponseTypes": [],
            "DestinationConfig": { "OnFailure": {} },
        });
        if let (Value::Object(answer), Value::Object(settings)) = (&mut answer, settings) {
            answer.extend(settings);
            answer.extend(definition.starting_ms.map(|ms| ("StartingPositionTimestamp".to_owned(), seconds(ms))));
        }
        answer
    }

    /// Starts a mapping if it is enabled and its function is there.
    async fn run(&self, definition: &Definition) -> Result<(), Refusal> {
        let mapping = check(definition)?;
        let Some(function) = self.function(&definition.function).filter(|_| definition.is_enabled) else {
            return Ok(());
        };
        match self.map(mapping, function).await {
            Ok(_running) => Ok(()),
            Err(error @ MappingError::NoStream { .. }) => {
                let refusal = Refusal::client("ResourceNotFoundException", error.to_string());
                Err(Refusal { status: StatusCode::NOT_FOUND, ..refusal })
            }
            Err(MappingError::Checkpoints { source, .. }) => Err(disk(&source)),
            Err(
                error @ (MappingError::Setting { .. }
                | MappingError::Filter { .. }
                | MappingError::OnFailure { .. }
                | MappingError::Exists { .. }),
            ) => Err(invalid(error.to_string())),
        }
    }

    /// Stops what runs for a function that goes; it stays defined, and runs again with the next one of that name.
    pub(super) async fn stop_mappings_of(&self, function: &str) {
        let running = self.running();
        let of_function = running.iter().filter(|mapping| mapping.function_name() == function);
        futures::future::join_all(of_function.map(|mapping| mapping.stop())).await;
    }

    async fn stop_mapping(&self, uuid: &str) {
        let running = self.running().into_iter().find(|mapping| mapping.name() == uuid);
        if let Some(mapping) = running {
            mapping.stop().await;
        }
    }

    async fn read_definitions<'a>(
        &self,
        held: &'a mut Definitions,
    ) -> Result<&'a mut BTreeMap<String, Definition>, Refusal> {
        if held.0.is_none() {
            let path = self.data.join(FILE);
            let reading = tokio::task::spawn_blocking(move || definition::read(&path)).await;
            let read = reading.map_err(std::io::Error::other).flatten().map_err(|error| disk(&error))?;
            held.0 = Some(read);
        }
        Ok(held.0.get_or_insert_default())
    }

    async fn write_definitions(&self, definitions: &BTreeMap<String, Definition>) -> Result<(), Refusal> {
        let (path, definitions) = (self.data.join(FILE), definitions.clone());
        let writing = tokio::task::spawn_blocking(move || definition::write(&path, &definitions)).await;
        writing.map_err(std::io::Error::other).flatten().map_err(|error| disk(&error))
    }
}

/// The mapping that can run.
fn check(definition: &Definition) -> Result<crate::lambda::EventSourceMapping, Refusal> {
    let mapping = definition.mapping().map_err(|error: DefinitionError| invalid(error.to_string()))?;
    filter::Filters::parse(&mapping.filters).map_err(|error| invalid(error.to_string()))?;
    Ok(mapping)
}

fn find<'a>(definitions: &'a BTreeMap<String, Definition>, uuid: &str) -> Result<&'a Definition, Refusal> {
    definitions.get(uuid).ok_or_else(|| {
        let refusal = Refusal::client("ResourceNotFoundException", "The resource you requested does not exist.");
        Refusal { status: StatusCode::NOT_FOUND, ..refusal }
    })
}

fn parse(body: &[u8]) -> Result<Input, Refusal> {
    let input: Input = serde_json::from_slice(body)
        .map_err(|error| Refusal::client("InvalidRequestContentException", error.to_string()))?;
    match input.others.iter().find(|(_, value)| !value.is_null()) {
        Some((name, _)) => Err(invalid(format!("{name} is not implemented by the Millrace local cloud"))),
        None => Ok(input),
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::client("InvalidParameterValueException", message)
}

fn disk(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "cannot keep the event source mappings");
    let refusal = Refusal::client("ServiceException", "The disk refuses.");
    Refusal { status: StatusCode::INTERNAL_SERVER_ERROR, ..refusal }
}

/// A time as the REST API has it: seconds with a fraction.
pub(super) fn seconds(ms: i64) -> Value {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of this millennium are exact in a double")]
    let seconds = ms as f64 / 1_000.0;
    Value::from(seconds)
}

fn milliseconds(seconds: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and a time beyond the range is beyond any record")]
    let ms = (seconds * 1_000.0).round() as i64;
    ms
}

#[cfg(test)]
mod tests;
