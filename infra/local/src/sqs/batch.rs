//! Batches of requests: how many entries, how they are told apart, and how one says that it failed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::is_name;
use crate::wire::ServiceError;

/// Entries of a batch.
pub(super) const BATCH_MAX: usize = 10;

/// Checks the ids of a batch's entries.
pub(super) fn check_ids<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), ServiceError> {
    let ids: Vec<&str> = ids.collect();
    let refused = |code, said: String| Err(ServiceError::client(code, said));
    if ids.is_empty() {
        return refused("EmptyBatchRequest", "There should be at least one entry in the request.".to_owned());
    }
    if ids.len() > BATCH_MAX {
        let said = format!("Maximum number of entries per request are {BATCH_MAX}. You have sent {}.", ids.len());
        return refused("TooManyEntriesInBatchRequest", said);
    }
    if let Some(id) = ids.iter().find(|id| !is_name(id)) {
        let said = format!(
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores, at most 80: '{id}'"
        );
        return refused("InvalidBatchEntryId", said);
    }
    let distinct: BTreeSet<&str> = ids.iter().copied().collect();
    if distinct.len() < ids.len() {
        return refused("BatchEntryIdsNotDistinct", "Two entries have the same id.".to_owned());
    }
    Ok(())
}

/// An entry of a batch that failed.
pub(super) fn failure(id: &str, error: &ServiceError) -> Value {
    let code = super::older_code(error.code).unwrap_or(error.code);
    json!({ "Id": id, "SenderFault": error.status < 500, "Code": code, "Message": error.message })
}
