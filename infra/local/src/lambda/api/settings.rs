//! Concurrency of functions, and what becomes of their asynchronous events, over the REST API.

use serde::Deserialize;
use serde_json::{Value, json};

use super::Refusal;
use crate::lambda::Lambda;
use crate::lambda::code::{UNZIPPED_BYTES_MAX, ZIPPED_BYTES_MAX};
use crate::lambda::destination::{Destination, Use};
use crate::lambda::events::{AGE_S_MAX, RETRIES_MAX};
use crate::lambda::function::Function;
use crate::lambda::settings::EventInvoke;

/// The shortest life of an event that can be set.
const AGE_S_MIN: u32 = 60;
/// All code of an account at the service; here it is not counted.
const CODE_BYTES_MAX: u64 = 300 << 30;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Concurrency {
    reserved_concurrent_executions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EventInvokeInput {
    #[serde(default)]
    maximum_retry_attempts: Option<u32>,
    #[serde(default)]
    maximum_event_age_in_seconds: Option<u32>,
    #[serde(default)]
    destination_config: Option<Destinations>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Destinations {
    #[serde(default)]
    on_success: Option<Named>,
    #[serde(default)]
    on_failure: Option<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    #[serde(default)]
    destination: Option<String>,
}

impl Lambda {
    pub(super) async fn put_concurrency(&self, name: &str, body: &[u8]) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let input: Concurrency = parse(body)?;
        let asked = input.reserved_concurrent_executions;
        let asked = asked.ok_or_else(|| Refusal::invalid("ReservedConcurrentExecutions is required"))?;
        let before = self.account.reserved(function.name());
        self.account.reserve(function.name(), asked).map_err(|_less_than_that| {
            Refusal::invalid(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
                 below its minimum value of [100].",
            )
        })?;
        let kept = self.settings.change(function.name(), move |settings| settings.reserved_concurrency = Some(asked));
        if let Err(error) = kept.await {
            self.restore(&function, before);
            return Err(disk(&error));
        }
        Ok(json!({ "ReservedConcurrentExecutions": asked }))
    }

    pub(super) fn get_concurrency(&self, name: &str) -> Result<Value, Refusal> {
        let reserved = self.account.reserved(self.named(name)?.name());
        Ok(reserved.map_or_else(|| json!({}), |reserved| json!({ "ReservedConcurrentExecutions": reserved })))
    }

    pub(super) async fn delete_concurrency(&self, name: &str) -> Result<(), Refusal> {
        let function = self.named(name)?;
        let kept = self.settings.change(function.name(), |settings| settings.reserved_concurrency = None);
        kept.await.map_err(|error| disk(&error))?;
        self.account.release(function.name());
        Ok(())
    }

    fn restore(&self, function: &Function, before: Option<usize>) {
        self.account.release(function.name());
        if let Some(before) = before
            && let Err(error) = self.account.reserve(function.name(), before)
        {
            tracing::error!(%error, function = function.name(), "its reserved concurrency is gone");
        }
    }

    pub(super) fn account_settings(&self) -> Value {
        let used = self.account.read();
        json!({
            "AccountLimit": {
                "TotalCodeSize": CODE_BYTES_MAX,
                "CodeSizeUnzipped": UNZIPPED_BYTES_MAX,
                "CodeSizeZipped": ZIPPED_BYTES_MAX,
                "ConcurrentExecutions": used.account.0,
                "UnreservedConcurrentExecutions": used.unreserved.0,
            },
            "AccountUsage": { "TotalCodeSize": self.registry.code_bytes(), "FunctionCount": self.functions().len() },
        })
    }

    /// Puts settings in place of those that are there, or over them.
    pub(super) async fn set_event_invoke(&self, name: &str, body: &[u8], is_update: bool) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let held = self.settings.of(function.name()).event_invoke;
        if is_update && held.is_none() {
            return Err(no_config(&function));
        }
        let mut given = held.filter(|_| is_update).unwrap_or_default();
        let input: EventInvokeInput = parse(body)?;
        if let Some(retries) = input.maximum_retry_attempts {
            if retries > RETRIES_MAX {
                return Err(Refusal::invalid("MaximumRetryAttempts must be 0 to 2"));
            }
            given.maximum_retry_attempts = Some(retries);
        }
        if let Some(age_s) = input.maximum_event_age_in_seconds {
            if !(AGE_S_MIN..=AGE_S_MAX).contains(&age_s) {
                return Err(Refusal::invalid("MaximumEventAgeInSeconds must be 60 to 21600"));
            }
            given.maximum_event_age_in_seconds = Some(age_s);
        }
        if let Some(destinations) = input.destination_config {
            if let Some(named) = destinations.on_success {
                given.on_success = destination(named, Use::OnSuccess)?;
            }
            if let Some(named) = destinations.on_failure {
                given.on_failure = destination(named, Use::OnFailure)?;
            }
        }
        given.modified_ms = self.store.clock().now_ms();
        let shown = show(&function, &given);
        let kept = self.settings.change(function.name(), move |settings| settings.event_invoke = Some(given));
        kept.await.map_err(|error| disk(&error))?;
        Ok(shown)
    }

    pub(super) fn get_event_invoke(&self, name: &str) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let held = self.settings.of(function.name()).event_invoke.ok_or_else(|| no_config(&function))?;
        Ok(show(&function, &held))
    }

    pub(super) async fn delete_event_invoke(&self, name: &str) -> Result<(), Refusal> {
        let function = self.named(name)?;
        self.settings.of(function.name()).event_invoke.ok_or_else(|| no_config(&function))?;
        let kept = self.settings.change(function.name(), |settings| settings.event_invoke = None);
        kept.await.map(drop).map_err(|error| disk(&error))
    }

    pub(super) fn list_event_invokes(&self, name: &str) -> Result<Value, Refusal> {
        let function = self.named(name)?;
        let held = self.settings.of(function.name()).event_invoke;
        let shown: Vec<Value> = held.iter().map(|held| show(&function, held)).collect();
        Ok(json!({ "FunctionEventInvokeConfigs": shown }))
    }
}

fn destination(named: Named, used: Use) -> Result<Option<Destination>, Refusal> {
    let arn = named.destination.filter(|arn| !arn.is_empty());
    let found = arn.map(|arn| Destination::for_use(&arn, used)).transpose();
    found.map_err(|error| Refusal::invalid(error.to_string()))
}

fn show(function: &Function, held: &EventInvoke) -> Value {
    let named = |destination: &Option<Destination>| match destination {
        Some(destination) => json!({ "Destination": destination.arn() }),
        None => json!({}),
    };
    let mut shown = json!({
        "LastModified": super::mappings::seconds(held.modified_ms),
        "FunctionArn": format!("{}:{}", function.config().arn(), crate::lambda::VERSION),
        "DestinationConfig": { "OnSuccess": named(&held.on_success), "OnFailure": named(&held.on_failure) },
    });
    if let Value::Object(shown) = &mut shown {
        let numbers = [
            ("MaximumRetryAttempts", held.maximum_retry_attempts),
            ("MaximumEventAgeInSeconds", held.maximum_event_age_in_seconds),
        ];
        shown.extend(numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))));
    }
    shown
}

fn no_config(function: &Function) -> Refusal {
    let arn = function.config().arn();
    let message = format!("The function {arn} doesn't have an EventInvokeConfig");
    Refusal { status: http::StatusCode::NOT_FOUND, ..Refusal::client("ResourceNotFoundException", message) }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::client("InvalidRequestContentException", error.to_string()))
}

fn disk(error: &std::io::Error) -> Refusal {
    tracing::error!(%error, "cannot keep the settings of a function");
    Refusal::service(format!("The disk refuses: {error}"))
}
