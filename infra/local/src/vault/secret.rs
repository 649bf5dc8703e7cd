//! Secrets: create, put and get.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Values, seconds};
use crate::kinesis::{ACCOUNT, REGION};
use crate::wire::ServiceError;

/// Longest value in bytes (service quota).
const VALUE_BYTES_MAX: usize = 65_536;
const CURRENT: &str = "AWSCURRENT";

/// A secret's current value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Secret {
    arn: String,
    version_id: String,
    text: Option<String>,
    /// Base64, as it is on the wire.
    binary: Option<String>,
    created_s: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateSecret {
    name: String,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutSecretValue {
    secret_id: String,
    client_request_token: Option<String>,
    secret_string: Option<String>,
    secret_binary: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetSecretValue {
    secret_id: String,
    version_id: Option<String>,
    version_stage: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Put {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    version_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    version_stages: Option<[&'static str; 1]>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Got {
    #[serde(rename = "ARN")]
    arn: String,
    name: String,
    version_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<String>,
    version_stages: [&'static str; 1],
    created_date: i64,
}

pub(super) fn create(values: &mut Values, asked: CreateSecret, now_ms: i64) -> Result<Put, ServiceError> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte);
    if !(1..=512).contains(&asked.name.len()) || !asked.name.bytes().all(is_name) {
        return Err(ServiceError::client("InvalidParameterException", "The name is not valid."));
    }
    if values.secrets.contains_key(&asked.name) {
        let message = format!("The secret {} already exists.", asked.name);
        return Err(ServiceError::client("ResourceExistsException", message));
    }
    let id = Uuid::new_v4().simple().to_string();
    let suffix = id.get(..6).unwrap_or_default();
    let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{}-{suffix}", asked.name);
    let value = (asked.secret_string, asked.secret_binary);
    let secret = secret(arn, asked.client_request_token, value, now_ms)?;
    let answer = Put {
        arn: secret.arn.clone(),
        name: asked.name.clone(),
        version_id: secret.version_id.clone(),
        version_stages: None,
    };
    values.secrets.insert(asked.name, secret);
    Ok(answer)
}

pub(super) fn put(values: &mut Values, asked: PutSecretValue, now_ms: i64) -> Result<Put, ServiceError> {
    let (name, old) = find(values, &asked.secret_id)?;
    let (name, value) = (name.to_owned(), (asked.secret_string, asked.secret_binary));
    let new = secret(old.arn.clone(), asked.client_request_token, value, now_ms)?;
    if old.version_id == new.version_id && (&old.text, &old.binary) != (&new.text, &new.binary) {
        let message = "The token was used for another value.";
        return Err(ServiceError::client("ResourceExistsException", message));
    }
    let answer = Put {
        arn: new.arn.clone(),
        name: name.clone(),
        version_id: new.version_id.clone(),
        version_stages: Some([CURRENT]),
    };
    values.secrets.insert(name, new);
    Ok(answer)
}

pub(super) fn get(values: &Values, asked: GetSecretValue) -> Result<Got, ServiceError> {
    let (name, secret) = find(values, &asked.secret_id)?;
    let is_current = asked.version_stage.is_none_or(|stage| stage == CURRENT)
        && asked.version_id.is_none_or(|version_id| version_id == secret.version_id);
    if !is_current || (&secret.text, &secret.binary) == (&None, &None) {
        return Err(missing("Secrets Manager can't find the specified secret value."));
    }
    Ok(Got {
        arn: secret.arn.clone(),
        name: name.to_owned(),
        version_id: secret.version_id.clone(),
        secret_string: secret.text.clone(),
        secret_binary: secret.binary.clone(),
        version_stages: [CURRENT],
        created_date: secret.created_s,
    })
}

/// A secret by its name or its ARN.
fn find<'v>(values: &'v Values, id: &str) -> Result<(&'v str, &'v Secret), ServiceError> {
    let named = values.secrets.get_key_value(id);
    let found = named.or_else(|| values.secrets.iter().find(|(_, secret)| secret.arn == id));
    let found = found.map(|(name, secret)| (name.as_str(), secret));
    found.ok_or_else(|| missing("Secrets Manager can't find the specified secret."))
}

fn secret(
    arn: String,
    token: Option<String>,
    (text, binary): (Option<String>, Option<String>),
    now_ms: i64,
) -> Result<Secret, ServiceError> {
    let invalid = |message: &str| Err(ServiceError::client("InvalidParameterException", message));
    if text.is_some() && binary.is_some() {
        return invalid("You can't specify both SecretString and SecretBinary.");
    }
    let binary_bytes =
        binary.as_ref().map(|binary| base64_simd::STANDARD.decode_to_vec(binary).map(|bytes| bytes.len()));
    let bytes = match binary_bytes {
        Some(Ok(bytes)) => bytes,
        Some(Err(_not_base64)) => return invalid("SecretBinary is not base64."),
        None => text.as_ref().map_or(0, String::len),
    };
    if bytes > VALUE_BYTES_MAX {
        return invalid("The value is longer than 65536 bytes.");
    }
    let version_id = token.unwrap_or_else(|| Uuid::new_v4().to_string());
    if !(32..=64).contains(&version_id.len()) {
        return invalid("ClientRequestToken must have 32 to 64 characters.");
    }
    Ok(Secret { arn, version_id, text, binary, created_s: seconds(now_ms) })
}

fn missing(message: &str) -> ServiceError {
    ServiceError::client("ResourceNotFoundException", message)
}
