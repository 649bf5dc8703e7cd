//! The SDK for JavaScript, over plain HTTP/2 and over HTTPS.

use tokio::process::Command;

use crate::tools::{HERE, cloud, kept, succeeds};

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_for_javascript_puts_reads_and_subscribes() {
    if !succeeds("node", &["--version"]).await || !succeeds("npm", &["--version"]).await {
        println!("skipped: node and npm are not installed; nothing was called through the SDK for JavaScript");
        return;
    }
    let dir = kept("node");
    std::fs::create_dir_all(&dir).expect("a directory");
    for file in ["package.json", "kinesis.js"] {
        std::fs::copy(format!("{HERE}/node/{file}"), dir.join(file)).expect("a copy");
    }
    let prefix = dir.to_str().expect("a path");
    if !succeeds("npm", &["install", "--prefix", prefix, "--no-audit", "--no-fund", "--silent"]).await {
        println!("skipped: npm cannot install @aws-sdk/client-kinesis");
        return;
    }
    let (_data, cloud) = cloud().await;
    let https = cloud.https_endpoint().expect("it was asked for");
    for endpoint in [cloud.endpoint(), https] {
        let mut command = Command::new("node");
        command.arg(dir.join("kinesis.js")).arg(&endpoint).kill_on_drop(true);
        command.env("NODE_EXTRA_CA_CERTS", cloud.authority().expect("it is made"));
        let output = command.output().await.expect("node runs");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        println!("{out}");
        assert!(output.status.success(), "{endpoint}: {out}{errors}");
    }
    cloud.shutdown().await;
}
