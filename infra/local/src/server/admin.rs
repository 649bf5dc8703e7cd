//! What is asked of the local cloud itself, under `/_millrace/`: faults on demand.

use http::{Method, StatusCode};
use serde::Serialize;

use crate::faults::{FaultRule, FaultStatus, Faults};

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

/// `GET` and `PUT /_millrace/faults`: the rules as a JSON list, each as [`FaultRule`] has it. Answers with the rules
/// that hold.
pub(super) fn answer(
    faults: &Faults,
    (method, path): (&Method, &str),
    body: &[u8],
    now_ms: i64,
) -> (StatusCode, Vec<u8>) {
    let result = match (method, path.strip_prefix(PREFIX)) {
        (&Method::GET, Some("faults")) => Ok(()),
        (&Method::PUT, Some("faults")) => set(faults, body, now_ms),
        (_, Some("faults")) => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{method} is neither GET nor PUT"))),
        _ => Err((StatusCode::NOT_FOUND, format!("there is nothing at {path}"))),
    };
    match result {
        // What is written here are numbers and texts, which always can be written.
        Ok(()) => {
            let rules = Rules { rules: faults.status(now_ms) };
            (StatusCode::OK, serde_json::to_vec(&rules).unwrap_or_default())
        }
        Err((status, error)) => (status, serde_json::to_vec(&Refusal { error }).unwrap_or_default()),
    }
}

fn set(faults: &Faults, body: &[u8], now_ms: i64) -> Result<(), (StatusCode, String)> {
    let rules: Vec<FaultRule> =
        serde_json::from_slice(body).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    faults.set(rules, now_ms).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}
