//! `millrace fault`: switches faults of a running local cloud on and off; and files of rules.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Method;
use serde_json::{Map, Value};

use super::FaultRule;
use crate::admin;
use crate::cli::FaultArgs;

/// The longest file of rules that is read.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;
/// What the local cloud tells of a rule beside the rule itself.
const TOLD: [&str; 2] = ["left_ms", "struck"];

/// Adds rules, takes all away, or shows what holds.
///
/// # Errors
/// When no local cloud answers, the file cannot be read, or a rule is refused.
pub async fn run(arguments: FaultArgs) -> anyhow::Result<ExitCode> {
    let held = exchange(&arguments.endpoint, Method::GET, Bytes::new()).await?;
    let mut added = match &arguments.file {
        Some(file) => read(file).await?,
        None => Vec::new(),
    };
    added.extend(typed(&arguments));
    let rules = if added.is_empty() && !arguments.clear {
        held
    } else {
        let mut rules = if arguments.clear { Vec::new() } else { without_told(held) };
        for rule in added {
            rules.push(serde_json::to_value(rule).context("write the rule")?);
        }
        let body = serde_json::to_vec(&rules).context("write the rules")?;
        exchange(&arguments.endpoint, Method::PUT, body.into()).await?
    };
    show(&rules);
    Ok(ExitCode::SUCCESS)
}

/// The rules of a file: a JSON list, as `PUT /_millrace/faults` takes it.
///
/// # Errors
/// A file that cannot be read, is over 1 MiB, or holds anything but rules.
pub async fn read(file: &Path) -> anyhow::Result<Vec<FaultRule>> {
    let length = tokio::fs::metadata(file).await.with_context(|| format!("read {}", file.display()))?.len();
    if length > FILE_BYTES_MAX {
        bail!("{} has {length} bytes; rules have at most {FILE_BYTES_MAX}", file.display());
    }
    let text = tokio::fs::read(file).await.with_context(|| format!("read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("read the rules in {}", file.display()))
}

/// The rule that was typed, if a kind was.
fn typed(arguments: &FaultArgs) -> Option<FaultRule> {
    Some(FaultRule {
        kind: arguments.kind?,
        services: arguments.service.clone(),
        operations: arguments.operation.clone(),
        names: arguments.name.clone(),
        probability: arguments.probability,
        duration_ms: arguments.seconds.map(|seconds| i64::from(seconds) * 1_000),
        delay_ms: arguments.delay_ms,
        jump_ms: arguments.jump_seconds.saturating_mul(1_000),
        seed: arguments.seed,
    })
}

/// Rules as they can be set again. One that runs out goes on for the time that it has left; one that is over is gone.
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
    let body = admin::ask(endpoint, method, "faults", body).await?;
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

    use clap::Parser as _;

    use crate::cli::{Cli, Command};
    use crate::cloud::{Cloud, CloudConfig};
    use crate::faults::FaultKind;

    use super::*;

    /// What was typed behind `millrace fault`.
    async fn fault(cloud: &Cloud, typed: &str) -> anyhow::Result<ExitCode> {
        let endpoint = cloud.endpoint();
        let words = ["millrace", "fault", "--endpoint", &endpoint].into_iter().chain(typed.split_whitespace());
        let Some(Command::Fault(arguments)) = Cli::try_parse_from(words)?.command else {
            unreachable!("it is `fault`")
        };
        run(arguments).await
    }

    #[tokio::test]
    async fn rules_are_added_and_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let cloud = Cloud::start(CloudConfig::new(dir.path().join("data"), listen)).await.unwrap();
        let faults = cloud.faults();
        for typed in [
            "throttle --operation PutRecords",
            "hang --service s3 --service glue --seconds 60",
            "slow --seconds 0",
            "",
            "kill --name enrich --probability 0.5",
            "clock-jump --jump-seconds=-60",
        ] {
            fault(&cloud, typed).await.unwrap();
        }
        let kinds = || -> Vec<FaultKind> { faults.status(0).iter().map(|status| status.rule.kind).collect() };
        let all = [FaultKind::Throttle, FaultKind::Hang, FaultKind::Kill, FaultKind::ClockJump];
        assert_eq!(kinds(), all, "what has run out is gone");
        assert!(cloud.kinesis().store().clock().now_ms() < crate::clock::now_ms() - 50_000, "the clock has jumped");
        let file = dir.path().join("rules.json");
        std::fs::write(&file, r#"[{"kind":"disk_full","probability":0.5},{"kind":"duplicate"}]"#).unwrap();
        fault(&cloud, &format!("--file {}", file.display())).await.unwrap();
        let all = [FaultKind::Throttle, FaultKind::Hang, FaultKind::Kill, FaultKind::DiskFull, FaultKind::Duplicate];
        assert_eq!(kinds(), all, "the clock does not jump a second time");
        fault(&cloud, "--clear").await.unwrap();
        assert!(faults.status(0).is_empty());
        let refused = fault(&cloud, "slow --probability 2").await.unwrap_err();
        assert!(format!("{refused:#}").contains("between 0 and 1"));
        std::fs::write(&file, r#"[{"kind":"flood"}]"#).unwrap();
        let refused = fault(&cloud, &format!("--file {}", file.display())).await.unwrap_err();
        assert!(format!("{refused:#}").contains("unknown variant"), "{refused:#}");
        cloud.shutdown().await;
    }
}
