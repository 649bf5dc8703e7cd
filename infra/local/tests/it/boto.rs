//! Kinesis as boto3 sees it: every operation is called, and botocore parses every answer.
//!
//! Needs python3 and boto3: where it is not installed, it is installed into a virtual environment of the tests. Where
//! that cannot be done either, the test says so and what it skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use millrace::cloud::{Cloud, CloudConfig};
use tokio::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/boto/kinesis.py");

#[tokio::test]
async fn every_operation_through_boto3() {
    let Some(python) = python_with_boto3().await else {
        println!("skipped: boto3 cannot be had; no Kinesis operation was called through it");
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let cloud = Cloud::start(CloudConfig::new(dir.path().join("data"), listen)).await.expect("the cloud starts");
    let output = Command::new(python).arg(SCRIPT).arg(cloud.endpoint()).output().await.expect("python runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{out}{errors}");
    cloud.shutdown().await;
}

/// A Python that has boto3 with all that the script calls.
pub(crate) async fn python_with_boto3() -> Option<PathBuf> {
    let system = PathBuf::from("python3");
    if has_boto3(&system).await {
        return Some(system);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boto3");
    let python = venv.join("bin/python");
    if has_boto3(&python).await {
        return Some(python);
    }
    let venv = venv.to_str()?;
    let is_made = succeeds("python3".as_ref(), &["-m", "venv", venv]).await
        && succeeds(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "boto3"]).await;
    if is_made && has_boto3(&python).await { Some(python) } else { None }
}

/// Older ones do not know all operations: the first that knows the newest one will do.
async fn has_boto3(python: &Path) -> bool {
    let check = "import boto3; c = boto3.client('kinesis', region_name='us-east-1'); c.update_max_record_size";
    succeeds(python, &["-c", check]).await
}

async fn succeeds(program: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}
