//! Parameters: put and get.

use serde::{Deserialize, Serialize};

use super::{Values, seconds};
use crate::kinesis::{ACCOUNT, REGION};
use crate::wire::ServiceError;

/// Longest value of a parameter of the standard and of the advanced tier, in bytes (service quotas).
const STANDARD_BYTES_MAX: usize = 4_096;
const ADVANCED_BYTES_MAX: usize = 8_192;
const TYPES: [&str; 3] = ["String", "StringList", "SecureString"];

/// A parameter's current value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Parameter {
    kind: String,
    value: String,
    version: u64,
    modified_s: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutParameter {
    name: String,
    value: String,
    r#type: Option<String>,
    overwrite: Option<bool>,
    tier: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetParameter {
    name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    version: u64,
    tier: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Got {
    parameter: GotParameter,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GotParameter {
    name: String,
    r#type: String,
    value: String,
    version: u64,
    last_modified_date: i64,
    #[serde(rename = "ARN")]
    arn: String,
    data_type: &'static str,
}

pub(super) fn put(values: &mut Values, asked: PutParameter, now_ms: i64) -> Result<Put, ServiceError> {
    let invalid = |message: &str| Err(ServiceError::client("ValidationException", message));
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
    if !(1..=1_011).contains(&asked.name.len()) || !asked.name.bytes().all(is_name) {
        return invalid("Parameter name must be letters, digits, and the symbols . - _ /");
    }
    let (tier, bytes_max) = match asked.tier.as_deref() {
        None | Some("Standard") => ("Standard", STANDARD_BYTES_MAX),
        Some("Advanced") => ("Advanced", ADVANCED_BYTES_MAX),
        Some("Intelligent-Tiering") if asked.value.len() > STANDARD_BYTES_MAX => ("Advanced", ADVANCED_BYTES_MAX),
        Some("Intelligent-Tiering") => ("Standard", STANDARD_BYTES_MAX),
        Some(_) => return invalid("Tier must be Standard, Advanced or Intelligent-Tiering."),
    };
    if asked.value.is_empty() || asked.value.len() > bytes_max {
        return invalid("The value must have 1 to 4,096 bytes, or to 8,192 in the advanced tier.");
    }
    let old = values.parameters.get(&asked.name);
    if old.is_some() && asked.overwrite != Some(true) {
        let message = "The parameter already exists. To overwrite this value, set the overwrite option to true.";
        return Err(ServiceError::client("ParameterAlreadyExists", message));
    }
    let Some(kind) = asked.r#type.or_else(|| old.map(|old| old.kind.clone())) else {
        return invalid("A parameter type is required when you create a parameter.");
    };
    if !TYPES.contains(&kind.as_str()) {
        return Err(ServiceError::client("UnsupportedParameterType", "The parameter type is not supported."));
    }
    let version = old.map_or(0, |old| old.version) + 1;
    let parameter = Parameter { kind, value: asked.value, version, modified_s: seconds(now_ms) };
    values.parameters.insert(asked.name, parameter);
    Ok(Put { version, tier })
}

pub(super) fn get(values: &Values, asked: GetParameter) -> Result<Got, ServiceError> {
    let GetParameter { name: asked } = asked;
    let prefix = format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter");
    let name = asked.strip_prefix(&prefix).unwrap_or(&asked);
    // In an ARN a slash stands before a name that does not begin with one.
    let named = values.parameters.get_key_value(name);
    let found = named.or_else(|| values.parameters.get_key_value(name.strip_prefix('/')?));
    let (name, parameter) = found.ok_or_else(|| ServiceError::client("ParameterNotFound", ""))?;
    let slash = if name.starts_with('/') { "" } else { "/" };
    Ok(Got {
        parameter: GotParameter {
            name: name.clone(),
            r#type: parameter.kind.clone(),
            value: parameter.value.clone(),
            version: parameter.version,
            last_modified_date: parameter.modified_s,
            arn: format!("{prefix}{slash}{name}"),
            data_type: "text",
        },
    })
}
