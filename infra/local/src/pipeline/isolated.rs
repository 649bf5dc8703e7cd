//! The functions of the pipeline as the binaries that are deployed, run unchanged through the Runtime API.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::cloud::Cloud;
use crate::lambda::{Function, FunctionConfig};
use crate::names;

/// 1,769 MB are one vCPU at AWS.
const MEMORY_MB: u32 = 1_769;
const ENRICH_TIMEOUT: Duration = Duration::from_secs(60);
const STAGE_TIMEOUT: Duration = Duration::from_secs(300);

/// Where the binaries lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    enrich: PathBuf,
    stage: PathBuf,
}

impl Binaries {
    /// The binaries beside this program, where a build puts them.
    ///
    /// # Errors
    /// When one is missing: with the command that builds it.
    pub fn beside_this_program() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program's own path")?;
        Self::in_dir(program.parent().unwrap_or(Path::new(".")))
    }

    /// The binaries in a directory.
    ///
    /// # Errors
    /// When one is missing: with the command that builds it.
    pub fn in_dir(dir: &Path) -> anyhow::Result<Self> {
        let find = |name: &str| {
            let path = dir.join(name);
            if !path.is_file() {
                bail!("there is no {name} in {}: build it with cargo build --release -p enrich -p etl", dir.display());
            }
            Ok(path)
        };
        Ok(Self { enrich: find("enrich-lambda")?, stage: find("stage-lambda")? })
    }

    /// Makes them functions of the cloud: staging, then enrichment.
    pub(super) async fn create(self, cloud: &Cloud) -> anyhow::Result<(Function, Function)> {
        let failed = ("FAILED_EVENTS_STREAM", names::FAILED_DELIVERY_STREAM.to_owned());
        let large = ("CLAIM_CHECK_BUCKET", names::LAKE_BUCKET.to_owned());
        let large_failed = ("FAILED_EVENTS_URL", format!("s3://{}/{}", names::LAKE_BUCKET, names::FAILED_FOLDER));
        let screens = format!("s3://{}/{}", names::LAKE_BUCKET, names::SCREENS_KEY);
        let stage = FunctionConfig {
            memory_mb: MEMORY_MB,
            timeout: STAGE_TIMEOUT,
            environment: variables([("LAKE_BUCKET", names::LAKE_BUCKET.to_owned()), failed.clone(), large.clone()]),
            ..FunctionConfig::new("stage", self.stage)
        };
        let enriched = ("ENRICHED_STREAM", names::ENRICHED_STREAM.to_owned());
        let enrich = FunctionConfig {
            memory_mb: MEMORY_MB,
            timeout: ENRICH_TIMEOUT,
            environment: variables([("SCREENS_URL", screens), enriched, failed, large, large_failed]),
            ..FunctionConfig::new("enrich", self.enrich)
        };
        let lambda = cloud.lambda();
        Ok((lambda.create_function(stage).await?, lambda.create_function(enrich).await?))
    }
}

fn variables<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_binary_is_said_with_its_command() {
        let dir = tempfile::tempdir().unwrap();
        let error = Binaries::in_dir(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("no enrich-lambda") && error.contains("cargo build --release -p enrich -p etl"),
            "{error}"
        );
        std::fs::write(dir.path().join("enrich-lambda"), "").unwrap();
        std::fs::write(dir.path().join("stage-lambda"), "").unwrap();
        Binaries::in_dir(dir.path()).unwrap();
    }
}
