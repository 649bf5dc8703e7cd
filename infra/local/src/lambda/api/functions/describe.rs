//! How the service describes what a function was made from.

use serde_json::{Value, json};

use crate::lambda::registry::Definition;

/// What a definition adds to a function's description.
pub(super) fn of_definition(definition: &Definition) -> serde_json::Map<String, Value> {
    let modified = chrono::DateTime::from_timestamp_millis(definition.modified_ms).unwrap_or_default();
    let shown = json!({
        "Runtime": definition.runtime,
        "Role": definition.role,
        "Description": definition.description,
        "CodeSize": definition.code_bytes,
        "CodeSha256": definition.code_sha256,
        "LastModified": modified.format("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string(),
        "RevisionId": definition.revision,
        "TracingConfig": { "Mode": definition.tracing },
        "EphemeralStorage": { "Size": definition.storage_mb },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": format!("/aws/lambda/{}", definition.name) },
    });
    let mut shown = shown.as_object().cloned().unwrap_or_default();
    let dead_letters = definition.dead_letter.as_ref().map(|target| json!({ "TargetArn": target.arn() }));
    shown.extend(dead_letters.map(|target| ("DeadLetterConfig".to_owned(), target)));
    shown
}

/// What this machine runs, by the service's name.
pub(super) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}
