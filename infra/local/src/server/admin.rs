//! What is asked of the local cloud itself, under `/_millrace/`: faults on demand, and limits with their use.

use http::{Method, StatusCode};
use serde::Serialize;

use super::Services;
use crate::faults::{FaultRule, FaultStatus, action};
use crate::limits::{self, LimitUse};

/// The path under which no service is.
pub(super) const PREFIX: &str = "/_millrace/";

#[derive(Serialize)]
struct Rules {
    rules: Vec<FaultStatus>,
}

#[derive(Serialize)]
struct Refusal {
    error: String,
}

/// Why something is not answered.
type Refused = (StatusCode, String);

/// - `GET` and `PUT /_millrace/faults`: the rules as a JSON list, each as [`FaultRule`] has it. Answers with the rules
///   that hold, after what happens at once has happened.
/// - `GET /_millrace/limits`: a list of [`LimitUse`], the nearest first.
pub(super) async fn answer(services: &Services, (method, path): (&Method, &str), body: &[u8]) -> (StatusCode, Vec<u8>) {
    let result = match (method, path.strip_prefix(PREFIX)) {
        (&Method::GET, Some("faults")) => Ok(rules(services)),
        (&Method::PUT, Some("faults")) => set(services, body).await,
        (_, Some("faults")) => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{method} is neither GET nor PUT"))),
        (&Method::GET, Some("limits")) => all_limits(services).await.map(|limits| json(&limits)),
        (_, Some("limits")) => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not GET"))),
        _ => Err((StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
    };
    match result {
        Ok(body) => (StatusCode::OK, body),
        Err((status, error)) => (status, json(&Refusal { error })),
    }
}

/// What is written here are numbers and texts, which always can be written.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

fn rules(services: &Services) -> Vec<u8> {
    let kinesis = &services.kinesis;
    json(&Rules { rules: kinesis.faults().status(kinesis.store().clock().now_ms()) })
}

async fn set(services: &Services, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let rules_given: Vec<FaultRule> =
        serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let kinesis = &services.kinesis;
    let set = kinesis.faults().set(rules_given, kinesis.store().clock().now_ms());
    set.map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    action::act(kinesis).await;
    Ok(rules(services))
}

async fn all_limits(services: &Services) -> Result<Vec<LimitUse>, Refused> {
    let glue = services.glue.limits().await;
    let glue = glue.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    let mut all = services.kinesis.limits();
    all.extend(services.lambda.limits());
    all.extend(services.firehose.limits());
    all.extend(glue);
    all.extend(services.athena.limits());
    all.extend(services.sqs.limits());
    all.extend(services.sns.limits());
    limits::sort(&mut all);
    Ok(all)
}
