//! `millrace query`, `report` and `audit`: a question to the tables of a running pipeline, of one at rest, or of AWS.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_config::SdkConfig;
use queries::QueryResult;
use tokio::net::TcpStream;

use crate::audit::{self, Audit};
use crate::cli::{AuditArgs, Format, QueryArgs, ReportArgs, TargetArgs};
use crate::cloud::{Cloud, CloudConfig, CloudError};
use crate::data_dir::DataDirError;
use crate::pipeline::ENDPOINT_FILE;
use crate::{clients, clock, demo, names};

/// Any free port of the loopback interface: nobody else is to find a cloud that is opened for one question.
const ANY_PORT: &str = "127.0.0.1:0";

/// Answers one query.
///
/// # Errors
/// A pipeline that cannot be found or opened, and what the query's engine says.
#[expect(clippy::print_stdout, reason = "the answer is the command's result")]
pub async fn query(arguments: QueryArgs) -> anyhow::Result<ExitCode> {
    let target = Target::open(&arguments.target).await?;
    let answer = names::athena(&target.aws).run(&arguments.sql).await;
    target.close().await;
    print!("{}", render(&answer?, arguments.format, None));
    Ok(ExitCode::SUCCESS)
}

/// Answers a named report, or lists the reports.
///
/// # Errors
/// An unknown report, and what [`query`] says.
#[expect(clippy::print_stdout, reason = "the answer is the command's result")]
pub async fn named_report(arguments: ReportArgs) -> anyhow::Result<ExitCode> {
    let Some(name) = arguments.name.filter(|_| !arguments.list) else {
        let rows = queries::reports().iter().map(|report| vec![report.name.to_owned(), report.question.to_owned()]);
        let reports = QueryResult::of_cells(&[("name", "varchar"), ("question", "varchar")], rows);
        print!("{}", render(&reports, arguments.format, None));
        return Ok(ExitCode::SUCCESS);
    };
    let target = Target::open(&arguments.target).await?;
    let answer = answer_report(&target.aws, &name, arguments.from, arguments.to).await;
    target.close().await;
    print!("{}", render(&answer?, arguments.format, None));
    Ok(ExitCode::SUCCESS)
}

/// Audits every hour that the raw stream still has. The exit code is success only if the audit balances.
///
/// # Errors
/// A pipeline that cannot be found or opened, and what the stream or the tables say.
#[expect(clippy::print_stdout, reason = "the answer is the command's result")]
pub async fn audit(arguments: AuditArgs) -> anyhow::Result<ExitCode> {
    let target = Target::open(&arguments.target).await?;
    let audit = audit::run(&target.aws, clock::now_ms()).await;
    target.close().await;
    let audit = audit?;
    match arguments.format {
        Format::Table => println!("{}{}", render(&hours(&audit), Format::Table, None), demo::verdict(&audit)),
        Format::Csv => print!("{}", render(&hours(&audit), Format::Csv, None)),
        Format::Json => println!("{}", serde_json::to_string(&audit).context("write the audit as JSON")?),
    }
    Ok(if audit.balances { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a report over the days from `from` to `to`, yesterday and today by default.
///
/// # Errors
/// An unknown report, a day that is none, and what the query's engine says.
pub async fn answer_report(
    aws: &SdkConfig,
    name: &str,
    from: Option<String>,
    to: Option<String>,
) -> anyhow::Result<QueryResult> {
    let Some(report) = queries::report(name) else {
        let names: Vec<&str> = queries::reports().iter().map(|report| report.name).collect();
        bail!("there is no report {name:?}; there are {}", names.join(", "));
    };
    let day = |days_ago: i64| clock::date_text(clock::now_ms() - days_ago * 86_400_000);
    let (from, to) = (from.unwrap_or_else(|| day(1)), to.unwrap_or_else(|| day(0)));
    let sql = report.sql(&from, &to).with_context(|| format!("read the days {from} to {to}"))?;
    Ok(names::athena(aws).run(&sql).await?)
}

/// An answer as text; at most `rows_max` rows of a table for people.
pub fn render(answer: &QueryResult, format: Format, rows_max: Option<usize>) -> String {
    match format {
        Format::Table => queries::format::table(answer, rows_max),
        Format::Json => queries::format::json(answer),
        Format::Csv => queries::format::csv(answer),
    }
}

fn hours(audit: &Audit) -> QueryResult {
    let count = |name| (name, "bigint");
    let columns = [("hour_utc", "varchar"), count("accepted"), count("rows"), count("duplicates"), count("failed")];
    let rows = audit.hours.iter().map(|line| {
        let numbers = [line.accepted, line.rows, line.duplicates, line.failed].map(|number| number.to_string());
        [vec![clock::hour_text(line.hour_ts)], numbers.to_vec()].concat()
    });
    QueryResult::of_cells(&columns, rows)
}

/// Fails with the endpoint's name when nothing listens there; the SDK's own message would not have it.
async fn reach(endpoint: &str) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let uri: http::Uri = endpoint.parse().with_context(|| format!("{endpoint} is not a URL"))?;
    let host = uri.host().with_context(|| format!("{endpoint} names no host"))?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect((host, port)));
    let connected = connected.await.with_context(|| format!("{endpoint} does not answer"))?;
    connected.with_context(|| format!("nothing listens at {endpoint}; is `millrace up` running there?"))?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "a word to the person who asks; the answer itself goes to the other stream")]
fn warn_of_waiting_events(data_dir: &Path) {
    eprintln!(
        "millrace: {0} was not stopped in order: what was accepted last may not be in the tables yet. \
         `millrace up --data-dir {0}` works it off; `millrace audit --data-dir {0}` says how much it is.",
        data_dir.display()
    );
}

/// Where a question goes.
struct Target {
    aws: SdkConfig,
    opened: Option<Cloud>,
}

impl Target {
    async fn open(arguments: &TargetArgs) -> anyhow::Result<Self> {
        if arguments.aws {
            return Ok(Self { aws: clients::aws().await, opened: None });
        }
        if let Some(endpoint) = &arguments.endpoint {
            reach(endpoint).await?;
            return Ok(Self { aws: clients::local(endpoint).await, opened: None });
        }
        Self::of_data_dir(&arguments.data_dir).await
    }

    /// The cloud that runs on the directory, or one that is opened on it for the question.
    async fn of_data_dir(data_dir: &Path) -> anyhow::Result<Self> {
        if !data_dir.exists() {
            bail!(
                "{} does not exist: run `millrace` or `millrace up` first, or name a pipeline with --data-dir or \
                 --endpoint",
                data_dir.display()
            );
        }
        if !data_dir.join("VERSION").exists() {
            bail!("{} is not a Millrace data directory", data_dir.display());
        }
        let address = ANY_PORT.parse().context("read the loopback address")?;
        match Cloud::start(CloudConfig::new(data_dir, address)).await {
            Ok(cloud) => {
                if data_dir.join(ENDPOINT_FILE).exists() {
                    warn_of_waiting_events(data_dir);
                }
                Ok(Self { aws: clients::local(&cloud.endpoint()).await, opened: Some(cloud) })
            }
            Err(CloudError::DataDir(DataDirError::InUse { .. })) => {
                let file = data_dir.join(ENDPOINT_FILE);
                let endpoint = tokio::fs::read_to_string(&file).await.with_context(|| {
                    format!(
                        "{} is in use and does not say where its cloud listens; try again when it is ready",
                        data_dir.display()
                    )
                })?;
                reach(endpoint.trim()).await?;
                Ok(Self { aws: clients::local(endpoint.trim()).await, opened: None })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn close(self) {
        if let Some(cloud) = self.opened {
            cloud.shutdown().await;
        }
    }
}
