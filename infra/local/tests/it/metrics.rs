//! CloudWatch as boto3 sees it: put, listed, answered, in the protocol that botocore chooses.

use std::net::SocketAddr;

use millrace::cloud::{Cloud, CloudConfig};
use tokio::process::Command;

use crate::boto::python_with_boto3;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/boto/metrics.py");

#[tokio::test]
async fn metrics_through_boto3() {
    let Some(python) = python_with_boto3().await else {
        println!("skipped: boto3 cannot be had; no metric was put through it");
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
