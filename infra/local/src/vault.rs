//! Secrets Manager and the Parameter Store, as much of them as settings need: put a value, get it.
//!
//! Of each name the current value is kept, in one file that is replaced before a put is answered. Values lie there as
//! they are: this is no place for real secrets. What is absent: versions before the current one, rotation, policies,
//! KMS, paths and labels of parameters.

mod parameter;
mod secret;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::data_dir::replace_file;
use crate::wire::{self, ServiceError};

/// Secrets and parameters together; the file is written whole at each put.
const ENTRIES_MAX: usize = 1_000;

/// All values; cheap to clone.
#[derive(Debug, Clone)]
pub struct Vault {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Held while the file is written, on the blocking pool; never across an await.
    values: Mutex<Values>,
}

/// Everything, as it lies on disk.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Values {
    secrets: BTreeMap<String, secret::Secret>,
    parameters: BTreeMap<String, parameter::Parameter>,
}

/// Answers a question from what is kept.
type Get<Q, A> = fn(&Values, Q) -> Result<A, ServiceError>;
/// Changes what is kept, at a time in milliseconds.
type Put<Q, A> = fn(&mut Values, Q, i64) -> Result<A, ServiceError>;

impl Vault {
    /// Opens the file in a directory, which is made if it is missing. Blocks.
    ///
    /// # Errors
    /// What the operating system says, and a file that is damaged.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("values.json");
        let values = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Values::default(),
            Err(error) => return Err(error),
        };
        Ok(Self { shared: Arc::new(Shared { path, values: Mutex::new(values) }) })
    }

    /// Answers a call of Secrets Manager.
    pub(crate) async fn call_secrets(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let now_ms = crate::clock::now_ms();
        match operation {
            "CreateSecret" => self.put(body, now_ms, secret::create).await,
            "PutSecretValue" => self.put(body, now_ms, secret::put).await,
            "GetSecretValue" => self.get(body, secret::get),
            other => Err(ServiceError::not_here("secretsmanager", other)),
        }
    }

    /// Answers a call of Systems Manager.
    pub(crate) async fn call_parameters(&self, operation: &str, body: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let now_ms = crate::clock::now_ms();
        match operation {
            "PutParameter" => self.put(body, now_ms, parameter::put).await,
            "GetParameter" => self.get(body, parameter::get),
            other => Err(ServiceError::not_here("AmazonSSM", other)),
        }
    }

    fn get<Q: DeserializeOwned, A: Serialize>(&self, body: &[u8], get: Get<Q, A>) -> Result<Vec<u8>, ServiceError> {
        let asked = wire::parse(body)?;
        let answer = get(&self.shared.values.lock().unwrap_or_else(PoisonError::into_inner), asked)?;
        wire::answer(&answer)
    }

    /// Changes a copy, writes it, and only then makes it what is read.
    async fn put<Q, A>(&self, body: &[u8], now_ms: i64, put: Put<Q, A>) -> Result<Vec<u8>, ServiceError>
    where
        Q: DeserializeOwned + Send + 'static,
        A: Serialize + Send + 'static,
    {
        let asked: Q = wire::parse(body)?;
        let shared = Arc::clone(&self.shared);
        let written = tokio::task::spawn_blocking(move || {
            let mut values = shared.values.lock().unwrap_or_else(PoisonError::into_inner);
            let mut changed = values.clone();
            let answer = put(&mut changed, asked, now_ms)?;
            if changed.secrets.len() + changed.parameters.len() > ENTRIES_MAX {
                return Err(ServiceError::client("LimitExceededException", "There are too many values."));
            }
            let bytes = serde_json::to_vec(&changed).map_err(io::Error::other);
            let replaced = bytes.and_then(|bytes| replace_file(&shared.path, &bytes));
            replaced.map_err(|error| ServiceError::internal("InternalServiceError", error.to_string()))?;
            *values = changed;
            Ok(answer)
        });
        let answer =
            written.await.map_err(|error| ServiceError::internal("InternalServiceError", error.to_string()))??;
        wire::answer(&answer)
    }
}

/// A time as the JSON services write it: seconds since the epoch.
fn seconds(now_ms: i64) -> i64 {
    now_ms.div_euclid(1_000)
}

#[cfg(test)]
mod tests;
