//! The local cloud as boto3 sees it: every operation is called, and botocore parses every answer.
//!
//! Needs python3 and boto3: where it is not installed, it is installed into a virtual environment of the tests. Where
//! that cannot be done either, the test says so and what it skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use millrace::cloud::{Cloud, CloudConfig, Doors};
use millrace::lambda::FunctionConfig;
use millrace::signature::KeyRing;
use tokio::process::Command;

/// One test makes the virtual environment, all use it.
static MAKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/boto");

#[tokio::test]
async fn every_kinesis_operation_through_boto3() {
    let Some(python) = python_with_boto3("no Kinesis operation was called through it").await else { return };
    let (_dir, cloud) = start(Doors::default()).await;
    run(&python, "kinesis.py", &[&cloud.endpoint()]).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn secrets_and_parameters_through_boto3() {
    let Some(python) = python_with_boto3("no secret or parameter was read through it").await else { return };
    let (_dir, cloud) = start(Doors::default()).await;
    run(&python, "settings.py", &[&cloud.endpoint()]).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn metrics_through_boto3() {
    let Some(python) = python_with_boto3("no metric was put through it").await else { return };
    let (_dir, cloud) = start(Doors::default()).await;
    run(&python, "metrics.py", &[&cloud.endpoint()]).await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_firehose_operation_through_boto3() {
    let Some(python) = python_with_boto3("no operation of Firehose was called through it").await else { return };
    let (_dir, cloud) = start(Doors::default()).await;
    run(&python, "firehose.py", &[&cloud.endpoint()]).await;
    cloud.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_of_the_other_services_through_boto3() {
    let Some(python) = python_with_boto3("no operation of Glue, Athena, S3, Lambda, STS was called").await else {
        return;
    };
    let (_dir, cloud) = start(Doors::default()).await;
    let function = FunctionConfig::new("f", "/bin/sh");
    cloud.lambda().create_function(function).await.expect("it is made");
    run(&python, "services.py", &[&cloud.endpoint()]).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn https_and_signatures_through_boto3() {
    let Some(python) = python_with_boto3("neither HTTPS nor a signature was met by it").await else { return };
    let keys = Some(KeyRing::of([("AKIDBOTO", "right/+secret")]));
    let (_dir, cloud) = start(Doors { https_port: Some(0), keys }).await;
    let https = cloud.https_endpoint().expect("it was asked for");
    let authority = cloud.authority().expect("it is made").display().to_string();
    run(&python, "doors.py", &[&cloud.endpoint(), &https, &authority]).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_dozen_commands_of_the_aws_cli() {
    let Some(python) = python_with_boto3("no command of the AWS CLI was run").await else { return };
    let Some(aws) = aws_cli(&python).await else {
        println!("skipped: the AWS CLI cannot be had; none of its commands was run");
        return;
    };
    let (dir, cloud) = start(Doors { https_port: Some(0), keys: None }).await;
    // Over HTTPS, as the README has it; each command is a process of its own, so each is run but once.
    let mut command = Command::new("bash");
    command.arg(format!("{SCRIPTS}/cli.sh")).arg(&aws).current_dir(dir.path());
    command.env("AWS_ENDPOINT_URL", cloud.https_endpoint().expect("it was asked for"));
    command.env("AWS_CA_BUNDLE", cloud.authority().expect("it is made"));
    succeed(command, "cli.sh").await;
    cloud.shutdown().await;
}

async fn start(doors: Doors) -> (tempfile::TempDir, Cloud) {
    let dir = tempfile::tempdir().expect("a directory");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = CloudConfig { doors, ..CloudConfig::new(dir.path().join("data"), listen) };
    let cloud = Cloud::start(config).await.expect("the cloud starts");
    (dir, cloud)
}

async fn run(python: &Path, script: &str, arguments: &[&str]) {
    let mut command = Command::new(python);
    command.arg("-B").arg(format!("{SCRIPTS}/{script}")).args(arguments);
    succeed(command, script).await;
}

async fn succeed(mut command: Command, what: &str) {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("it runs");
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}");
    assert!(output.status.success(), "{what}: {out}{errors}");
}

/// A Python that has boto3 with all that the scripts call. Where there is none it says so, and `what` is not shown.
async fn python_with_boto3(what: &str) -> Option<PathBuf> {
    let system = PathBuf::from("python3");
    if has_boto3(&system).await {
        return Some(system);
    }
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("boto3");
    let python = venv.join("bin/python");
    let _one_at_a_time = MAKING.lock().await;
    if has_boto3(&python).await {
        return Some(python);
    }
    let is_made =
        succeeds("python3".as_ref(), &["-m", "venv", venv.to_str()?]).await && install(&python, "boto3").await;
    if is_made && has_boto3(&python).await {
        return Some(python);
    }
    println!("skipped: boto3 cannot be had; {what}");
    None
}

/// The AWS CLI: the system's, or one beside the Python that has boto3.
async fn aws_cli(python: &Path) -> Option<PathBuf> {
    let system = PathBuf::from("aws");
    if succeeds(&system, &["--version"]).await {
        return Some(system);
    }
    let beside = python.parent()?.join("aws");
    let is_there = succeeds(&beside, &["--version"]).await || (beside.is_absolute() && install(python, "awscli").await);
    (is_there && succeeds(&beside, &["--version"]).await).then_some(beside)
}

async fn install(python: &Path, package: &str) -> bool {
    succeeds(python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", package]).await
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
