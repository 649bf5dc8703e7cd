//! `millrace limits`: what a running local cloud says of its limits.

use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use http::Method;
use queries::QueryResult;

use super::LimitUse;
use crate::cli::LimitsArgs;
use crate::{admin, ask};

/// Asks, and prints the limits, the nearest first.
///
/// # Errors
/// When no local cloud answers.
#[expect(clippy::print_stdout, reason = "the limits are the command's result")]
pub async fn run(arguments: LimitsArgs) -> anyhow::Result<ExitCode> {
    let body = admin::ask(&arguments.endpoint, Method::GET, "limits", Bytes::new()).await?;
    let limits: Vec<LimitUse> = serde_json::from_slice(&body).context("read the limits")?;
    print!("{}", ask::render(&table(&limits), arguments.format, None));
    Ok(ExitCode::SUCCESS)
}

fn table(limits: &[LimitUse]) -> QueryResult {
    let (text, count) = (|name| (name, "varchar"), |name| (name, "bigint"));
    let columns = [
        text("service"),
        text("limit"),
        text("at"),
        count("now"),
        count("peak"),
        count("allowed"),
        text("unit"),
        ("used_percent", "double"),
        count("refused"),
        text("source"),
    ];
    QueryResult::of_cells(&columns, limits.iter().map(cells))
}

fn cells(limit: &LimitUse) -> Vec<String> {
    vec![
        limit.service.clone(),
        limit.limit.clone(),
        limit.at.clone(),
        limit.now.to_string(),
        limit.peak.to_string(),
        limit.allowed.to_string(),
        limit.unit.clone(),
        format!("{}.{}", limit.used_permille / 10, limit.used_permille % 10),
        limit.refused.unwrap_or(0).to_string(),
        limit.source.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use crate::cli::Format;
    use crate::meter::Reading;

    use super::*;

    #[test]
    fn a_limit_is_a_row() {
        let reading = Reading { now: 12, peak: 979_500 };
        let limit = LimitUse::new(("kinesis", "write bytes"), "s/shardId-0", (1_000_000, "bytes/s"), reading, "page");
        let csv = ask::render(&table(&[limit.refused(3)]), Format::Csv, None);
        expect_test::expect![[r#"
            service,limit,at,now,peak,allowed,unit,used_percent,refused,source
            kinesis,write bytes,s/shardId-0,12,979500,1000000,bytes/s,97.9,3,page
        "#]]
        .assert_eq(&csv);
    }
}
