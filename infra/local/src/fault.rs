//! `millrace fault`: switches faults of a running local cloud on and off.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value};

use crate::cli::FaultArgs;
use crate::faults::FaultRule;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1_024 * 1_024;
/// What the local cloud tells of a rule beside the rule itself.
const TOLD: [&str; 2] = ["left_ms", "struck"];

/// Adds a rule, takes all away, or shows what holds.
///
/// # Errors
/// When no local cloud answers, or it refuses the rule.
pub async fn run(arguments: FaultArgs) -> anyhow::Result<ExitCode> {
    let held = exchange(&arguments.endpoint, Method::GET, Bytes::new()).await?;
    let rules = match (&arguments.kind, arguments.clear) {
        (None, false) => held,
        (kind, clear) => {
            let mut rules = if clear { Vec::new() } else { without_told(held) };
            if let Some(kind) = kind {
                let rule = FaultRule {
                    kind: *kind,
                    operations: arguments.operation.clone(),
                    probability: arguments.probability,
                    duration_ms: arguments.seconds.map(|seconds| i64::from(seconds) * 1_000),
                    delay_ms: arguments.delay_ms,
                    seed: arguments.seed,
                };
                rules.push(serde_json::to_value(rule).context("write the rule")?);
            }
            let body = serde_json::to_vec(&rules).context("write the rules")?;
            exchange(&arguments.endpoint, Method::PUT, body.into()).await?
        }
    };
    show(&rules);
    Ok(ExitCode::SUCCESS)
}

/// Rules as they can be set again. One that runs out goes on for the time that it has left.
fn without_told(held: Vec<Map<String, Value>>) -> Vec<Value> {
    let rule = |mut rule: Map<String, Value>| {
        if let Some(left_ms) = rule.get("left_ms").cloned() {
            rule.insert("duration_ms".to_owned(), left_ms);
        }
        rule.retain(|key, _| !TOLD.contains(&key.as_str()));
        Value::Object(rule)
    };
    held.into_iter().filter(|rule| rule.get("left_ms") != Some(&Value::from(0))).map(rule).collect()
}

async fn exchange(endpoint: &str, method: Method, body: Bytes) -> anyhow::Result<Vec<Map<String, Value>>> {
    #[derive(serde::Deserialize)]
    struct Rules {
        rules: Vec<Map<String, Value>>,
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder().method(method).uri(format!("{endpoint}/_millrace/faults"));
    let request = request.body(Full::new(body)).context("make the request")?;
    let answer = client.request(request).await.with_context(|| format!("reach a local cloud at {endpoint}"))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed).context("read the answer")?.to_bytes();
    if !status.is_success() {
        bail!("the local cloud refuses: {}", String::from_utf8_lossy(&body));
    }
    let rules: Rules = serde_json::from_slice(&body).context("read the rules")?;
    Ok(rules.rules)
}

#[expect(clippy::print_stdout, reason = "what holds is the command's answer")]
fn show(rules: &[Map<String, Value>]) {
    if rules.is_empty() {
        println!("no faults");
    }
    for rule in rules {
        println!("{}", Value::Object(rule.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::cloud::{Cloud, CloudConfig};
    use crate::faults::FaultKind;

    use super::*;

    #[tokio::test]
    async fn rules_are_added_and_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let cloud = Cloud::start(CloudConfig::new(dir.path().join("data"), listen)).await.unwrap();
        let arguments = |kind: Option<FaultKind>, clear: bool, seconds: Option<u32>| FaultArgs {
            kind,
            operation: vec!["PutRecords".to_owned()],
            probability: 0.5,
            seconds,
            delay_ms: 0,
            seed: 1,
            clear,
            endpoint: cloud.endpoint(),
        };
        let faults = cloud.kinesis().faults();
        run(arguments(Some(FaultKind::Throttle), false, None)).await.unwrap();
        run(arguments(Some(FaultKind::Hang), false, Some(60))).await.unwrap();
        run(arguments(Some(FaultKind::Slow), false, Some(0))).await.unwrap();
        run(arguments(None, false, None)).await.unwrap();
        run(arguments(Some(FaultKind::Record), false, None)).await.unwrap();
        let kinds: Vec<FaultKind> = faults.status(0).iter().map(|status| status.rule.kind).collect();
        assert_eq!(kinds, [FaultKind::Throttle, FaultKind::Hang, FaultKind::Record], "what has run out is gone");
        run(arguments(None, true, None)).await.unwrap();
        assert!(faults.status(0).is_empty());
        let refused = FaultArgs { probability: 2.0, ..arguments(Some(FaultKind::Slow), false, None) };
        assert!(format!("{:#}", run(refused).await.unwrap_err()).contains("between 0 and 1"));
        cloud.shutdown().await;
    }
}
