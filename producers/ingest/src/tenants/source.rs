//! Where tenants are read from: a file, a secret of Secrets Manager, or a parameter of Systems Manager.
//!
//! The two of AWS are one signed JSON call each. An SDK for either would add minutes of compilation; the object store's
//! library, which is here for large events, has all that the call needs: signer, credentials, client.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector as _, HttpError, ReqwestConnector};
use serde::Deserialize;

use super::TenantsError;

/// Longest wait for an answer of AWS.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: a secret has at most 64 KiB (service quota), escaped and with what stands around it.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How often a file is looked at: it costs nothing.
const FILE_INTERVAL: Duration = Duration::from_secs(5);
/// How often AWS is asked: each call of Secrets Manager is paid for, and each process makes them.
const CALL_INTERVAL: Duration = Duration::from_secs(60);

/// Where tenants are, as it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// Name or ARN of a secret.
    Secret(String),
    /// Name or ARN of a parameter.
    Parameter(String),
}

/// What tenants are read from, again and again.
#[derive(Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A service of AWS.
    Service(Box<Service>),
}

/// One call of a service.
#[derive(Debug)]
pub struct Service {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    region: String,
    endpoint: String,
    call: Call,
}

/// Takes the document out of an answer.
type Read = fn(&[u8]) -> Option<String>;

/// Which call, and what differs between them.
#[derive(Debug)]
struct Call {
    /// As the signature names it.
    service: &'static str,
    target: &'static str,
    body: String,
    read: Read,
}

/// Why a service did not say who the tenants are. Never with a value in it.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The environment's settings contradict each other.
    #[error("prepare the call")]
    Settings(#[source] object_store::Error),
    /// The service's address, as it was set, is none.
    #[error("the address of the service is none")]
    Address(#[source] http::Error),
    /// There are no credentials.
    #[error("find credentials")]
    Credentials(#[source] object_store::Error),
    /// There was no answer.
    #[error("call the service")]
    Call(#[source] HttpError),
    /// The answer broke off, or was too large.
    #[error("read the answer of the service")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service refused.
    #[error("the service answered {status} {code}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// Its name of the error.
        code: String,
    },
    /// There is no text in the answer.
    #[error("the answer of the service holds no text")]
    NoText,
}

impl Source {
    /// Prepares to read from a place, with credentials, region and endpoints from the environment. `endpoint` is where
    /// the service is, if that is not at AWS.
    ///
    /// # Errors
    /// When the environment's settings contradict each other.
    pub fn new(location: &Location, endpoint: Option<&str>) -> Result<Self, TenantsError> {
        let call = match location {
            Location::File(path) => return Ok(Source::File(path.clone())),
            Location::Secret(id) => Call {
                service: "secretsmanager",
                target: "secretsmanager.GetSecretValue",
                body: serde_json::json!({ "SecretId": id }).to_string(),
                read: secret,
            },
            Location::Parameter(name) => Call {
                service: "ssm",
                target: "AmazonSSM.GetParameter",
                body: serde_json::json!({ "Name": name, "WithDecryption": true }).to_string(),
                read: parameter,
            },
        };
        let service = Service::new(call, endpoint).map_err(TenantsError::Service)?;
        Ok(Source::Service(Box::new(service)))
    }

    /// The document, as it is now.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn read(&self) -> Result<Vec<u8>, TenantsError> {
        match self {
            Source::File(path) => tokio::fs::read(path).await.map_err(TenantsError::Read),
            Source::Service(service) => service.read().await.map(String::into_bytes).map_err(TenantsError::Service),
        }
    }

    /// How often to read it again.
    pub fn interval(&self) -> Duration {
        match self {
            Source::File(_) => FILE_INTERVAL,
            Source::Service(_) => CALL_INTERVAL,
        }
    }
}

impl Service {
    fn new(call: Call, endpoint: Option<&str>) -> Result<Self, ServiceError> {
        // No bucket is ever asked for: the builder knows the environment's region and credentials.
        let builder = AmazonS3Builder::from_env().with_bucket_name("none");
        let region = builder.get_config_value(&AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let credentials = builder.build().map_err(ServiceError::Settings)?.credentials().clone();
        let endpoint = endpoint.map_or_else(|| at_aws(call.service, &region), str::to_owned);
        let options = ClientOptions::new().with_timeout(CALL_TIMEOUT).with_allow_http(endpoint.starts_with("http://"));
        let client = ReqwestConnector::default().connect(&options).map_err(ServiceError::Settings)?;
        Ok(Self { client, credentials, region, endpoint, call })
    }

    async fn read(&self) -> Result<String, ServiceError> {
        let credential = self.credentials.get_credential().await.map_err(ServiceError::Credentials)?;
        let request = Request::post(format!("{}/", self.endpoint.trim_end_matches('/')))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"))
            .header("x-amz-target", HeaderValue::from_static(self.call.target))
            .body(self.call.body.clone().into());
        let mut request = request.map_err(ServiceError::Address)?;
        AwsAuthorizer::new(&credential, self.call.service, &self.region).authorize(&mut request, None);
        let (head, body) = self.client.execute(request).await.map_err(ServiceError::Call)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(ServiceError::Answer)?.to_bytes();
        if head.status != StatusCode::OK {
            return Err(ServiceError::Refused { status: head.status, code: code(&body) });
        }
        (self.call.read)(&body).ok_or(ServiceError::NoText)
    }
}

fn at_aws(service: &str, region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://{service}.{region}.{domain}")
}

/// The text of a secret, or the bytes of one that is binary.
fn secret(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        secret_string: Option<String>,
        secret_binary: Option<String>,
    }
    let Answer { secret_string, secret_binary } = serde_json::from_slice(answer).ok()?;
    secret_string.or_else(|| {
        let binary = base64_simd::STANDARD.decode_to_vec(secret_binary?).ok()?;
        String::from_utf8(binary).ok()
    })
}

fn parameter(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        parameter: Parameter,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Parameter {
        value: String,
    }
    let Answer { parameter: Parameter { value } } = serde_json::from_slice(answer).ok()?;
    Some(value)
}

/// The service's name of an error, such as `ResourceNotFoundException`.
fn code(answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(rename = "__type")]
        code: String,
    }
    let code = serde_json::from_slice(answer).map(|Refusal { code }| code).unwrap_or_default();
    // Some services put a name space before it.
    code.rsplit('#').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(secret(br#"{"ARN":"a","SecretString":"text"}"#).as_deref(), Some("text"));
        assert_eq!(secret(br#"{"SecretBinary":"dGV4dA=="}"#).as_deref(), Some("text"));
        assert_eq!(parameter(br#"{"Parameter":{"Name":"n","Value":"text"}}"#).as_deref(), Some("text"));
        for answer in [&b""[..], b"{}", br#"{"SecretString":1}"#, br#"{"SecretBinary":"%"}"#, br#"{"Parameter":{}}"#] {
            assert_eq!((secret(answer), parameter(answer)), (None, None));
        }
        assert_eq!(code(br#"{"__type":"com.amazonaws#ParameterNotFound","message":"secret"}"#), "ParameterNotFound");
        assert_eq!(code(b"secret"), "");
    }

    #[test]
    fn addresses() {
        assert_eq!(at_aws("ssm", "eu-central-1"), "https://ssm.eu-central-1.amazonaws.com");
        assert_eq!(at_aws("secretsmanager", "cn-north-1"), "https://secretsmanager.cn-north-1.amazonaws.com.cn");
    }
}
