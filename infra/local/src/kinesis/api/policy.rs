//! `PutResourcePolicy`, `GetResourcePolicy` and `DeleteResourcePolicy`. Policies are kept and given back; as every
//! credential may do everything here, none is applied.

use serde::{Deserialize, Serialize};

use crate::kinesis::store::Store;
use crate::wire::{Request, ServiceError};

use super::resource::Resource;
use super::validate::{Checks, RESOURCE_ARN};
use super::{invalid_argument, limit_exceeded};

/// The largest policy, in bytes: 20 KB.
const POLICY_BYTES_MAX: usize = 20 * 1_024;

#[derive(Deserialize)]
struct Input {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    #[serde(rename = "Policy")]
    policy: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Output {
    policy: String,
}

/// Attaches a policy to a stream or consumer, in place of the one that it has.
pub(super) async fn put(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    let arn = checks.required_text("resourceARN", input.resource_arn.as_deref(), &RESOURCE_ARN);
    let policy = checks.required("policy", input.policy);
    checks.finish()?;
    let resource = Resource::find(store, arn)?;
    if policy.len() > POLICY_BYTES_MAX {
        return Err(limit_exceeded(format!(
            "A policy has {POLICY_BYTES_MAX} bytes at most, this one {}.",
            policy.len()
        )));
    }
    let is_object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&policy);
    let statements =
        is_object.map_err(|error| invalid_argument(format!("The policy is not a JSON object: {error}.")))?;
    if !statements.contains_key("Statement") {
        return Err(invalid_argument("The policy has no Statement."));
    }
    resource
        .change(|labels| {
            *labels.policy = Some(policy);
            Ok(())
        })
        .await?;
    Ok(Vec::new())
}

/// The policy of a stream or consumer; an empty object where there is none.
pub(super) fn get(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let resource = find(store, request)?;
    let policy = resource.read(|labels| labels.policy.clone())?.unwrap_or_else(|| "{}".to_owned());
    request.answer(&Output { policy })
}

/// Takes the policy away.
pub(super) async fn delete(store: &Store, request: Request<'_>) -> Result<Vec<u8>, ServiceError> {
    let resource = find(store, request)?;
    let had_one = resource.change(|labels| Ok(labels.policy.take().is_some())).await?;
    if had_one {
        Ok(Vec::new())
    } else {
        Err(ServiceError::client("ResourceNotFoundException", "The resource has no policy."))
    }
}

fn find(store: &Store, request: Request<'_>) -> Result<Resource, ServiceError> {
    let input: Input = request.parse()?;
    let mut checks = Checks::default();
    let arn = checks.required_text("resourceARN", input.resource_arn.as_deref(), &RESOURCE_ARN);
    checks.finish()?;
    Resource::find(store, arn)
}
