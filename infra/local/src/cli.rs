//! What a person types: `millrace` and its subcommands.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cloud::Doors;
use crate::faults::{FaultKind, FaultService};
use crate::signature::{KeyRing, KeyRingError};

/// A serverless ad-request pipeline, all of it on this machine.
///
/// Without a subcommand it runs the demo: the local cloud and every stage, half a minute of traffic from screens,
/// a report answered by SQL, and an audit that every accepted event is in the tables.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; the demo when nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What the demo takes when no subcommand is given.
    #[command(flatten)]
    pub demo: DemoArgs,
}

const EXAMPLES: &str = "Examples:
  millrace                                   the demo
  millrace up                                stay up; then, from another terminal:
  curl -H 'content-type: application/json' \\
       -d '{\"id\":\"1\",\"imp\":[{\"id\":\"1\",\"banner\":{}}],\"dooh\":{\"id\":\"s1\"}}' \\
       http://127.0.0.1:8080/v1/ad_requests
  millrace query 'SELECT count(*) FROM ad_requests'
  millrace report --list
  millrace audit
  millrace limits                            which limit is nearest
  millrace fault throttle --probability 0.1 --seconds 60
  aws --endpoint-url http://127.0.0.1:4566 kinesis list-streams";

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything, send it traffic for half a minute, show a report and the audit (the default).
    Demo(DemoArgs),
    /// Run the local cloud and every stage until ctrl-C.
    Up(UpArgs),
    /// Answer one SQL query (Athena's dialect) over the tables.
    Query(QueryArgs),
    /// Answer a named report.
    Report(ReportArgs),
    /// Prove that every accepted event is a row, a counted duplicate or a failed event.
    Audit(AuditArgs),
    /// Show every limit of a running local cloud with its use, the nearest first.
    Limits(LimitsArgs),
    /// Make a running local cloud fail on purpose; without a kind or a file, show what holds.
    Fault(FaultArgs),
}

/// Where the pipeline runs.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// Directory that holds everything.
    #[arg(long, default_value = ".millrace", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Address of the local cloud (all AWS protocols on one port).
    #[arg(long, default_value = "127.0.0.1:4566", value_name = "ADDRESS")]
    pub cloud: SocketAddr,
    /// Address of the collection API.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub ingest: SocketAddr,
    /// Shards of the raw stream, 1 MB/s and 1,000 records/s each; the enriched one gets half as many again.
    /// Counts only when the streams are made.
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub shards: u16,
    /// Number of screens in the screens table.
    #[arg(long, default_value_t = 40_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub screens: u32,
    /// Seconds between publications of staged rows into the tables.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub publish_interval: u64,
    /// How long streams are CREATING, UPDATING and DELETING: some ten seconds at the service, shorter here.
    #[arg(long, default_value_t = 200, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub stream_transition_ms: u64,
    /// How the local cloud is reached.
    #[command(flatten)]
    pub doors: DoorArgs,
    /// Run the functions as they are deployed: the built binaries as child processes through Lambda's Runtime API,
    /// frozen between invocations. They are found beside this program.
    #[arg(long)]
    pub isolated: bool,
    /// File of faults that hold from the start: a JSON list of rules, as `GET /_millrace/faults` shows them.
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
}

/// How the local cloud is reached.
#[derive(Debug, Clone, Default, Args)]
pub struct DoorArgs {
    /// Speak HTTPS too, on this port of the same address; the certificate is made on first use.
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "4567")]
    pub https: Option<u16>,
    /// Refuse what is not signed (Signature Version 4) with a known key: `local`, whose secret is `local`, and those of
    /// --credentials.
    #[arg(long)]
    pub check_signatures: bool,
    /// Keys and secrets, as the AWS CLI keeps them in `~/.aws/credentials`.
    #[arg(long, value_name = "FILE", requires = "check_signatures")]
    pub credentials: Option<PathBuf>,
}

impl DoorArgs {
    /// The doors that were asked for.
    ///
    /// # Errors
    /// A credentials file that cannot be read or has no keys.
    pub fn doors(&self) -> Result<Doors, KeyRingError> {
        let keys = match (&self.credentials, self.check_signatures) {
            (Some(path), _) => Some(KeyRing::read(path)?),
            (None, true) => Some(KeyRing::default()),
            (None, false) => None,
        };
        Ok(Doors { https_port: self.https, keys })
    }
}

/// What has to be typed again to meet the same pipeline; empty for what is a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// ` --data-dir DIR`.
    pub data_dir: String,
    /// ` --cloud ADDRESS --ingest ADDRESS --isolated`.
    pub addresses: String,
}

impl PlaceArgs {
    /// The options that differ from the defaults, as they are typed.
    pub fn typed(&self) -> Typed {
        let unless = |default: &str, option: &str, value: String| {
            if value == default { String::new() } else { format!(" {option} {value}") }
        };
        let data_dir = unless(".millrace", "--data-dir", self.data_dir.display().to_string());
        let cloud = unless("127.0.0.1:4566", "--cloud", self.cloud.to_string());
        let ingest = unless("127.0.0.1:8080", "--ingest", self.ingest.to_string());
        let isolated = if self.isolated { " --isolated" } else { "" };
        Typed { data_dir, addresses: format!("{cloud}{ingest}{isolated}") }
    }
}

/// The demo.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Where it runs.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Requests a second.
    #[arg(long, default_value_t = 1_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// How long traffic is sent.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Seed of the traffic: the same seed makes the same screens and requests.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

/// `up`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// Where it runs.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Which tables a question goes to.
#[derive(Debug, Clone, Args)]
pub struct TargetArgs {
    /// Data directory of the local pipeline. If `millrace up` runs on it, the question goes there; if not, it is
    /// opened for the question.
    #[arg(long, default_value = ".millrace", value_name = "DIR", conflicts_with_all = ["endpoint", "aws"])]
    pub data_dir: PathBuf,
    /// A local cloud by its address, such as `http://127.0.0.1:4566`.
    #[arg(long, value_name = "URL", conflicts_with = "aws", value_parser = endpoint)]
    pub endpoint: Option<String>,
    /// AWS itself, with region and credentials from the environment.
    #[arg(long)]
    pub aws: bool,
}

/// An endpoint, with its scheme.
fn endpoint(text: &str) -> Result<String, String> {
    let has_scheme = text.starts_with("http://") || text.starts_with("https://");
    has_scheme.then(|| text.to_owned()).ok_or_else(|| format!("write it with its scheme: http://{text}"))
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// With a header line.
    Csv,
}

/// `query`.
#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    /// The query, in the dialect of Athena engine version 3.
    pub sql: String,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Which tables.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// Name of the report; without one, the reports are listed.
    pub name: Option<String>,
    /// List the reports.
    #[arg(long)]
    pub list: bool,
    /// First day, UTC, as YYYY-MM-DD; default yesterday.
    #[arg(long, value_name = "DATE")]
    pub from: Option<String>,
    /// Last day, UTC, as YYYY-MM-DD; default today.
    #[arg(long, value_name = "DATE")]
    pub to: Option<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Which tables.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `audit`.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    /// How the answer is printed; JSON is one object with the hours, the total and whether it balances.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Which pipeline.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `limits`.
#[derive(Debug, Clone, Args)]
pub struct LimitsArgs {
    /// How the limits are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// The local cloud.
    #[arg(long, default_value = "http://127.0.0.1:4566", value_name = "URL", value_parser = endpoint)]
    pub endpoint: String,
}

/// `fault`.
#[derive(Debug, Clone, Args)]
pub struct FaultArgs {
    /// What happens.
    #[arg(value_enum)]
    pub kind: Option<FaultKind>,
    /// Service whose calls are struck; can be repeated.
    #[arg(long, value_enum, value_name = "SERVICE", default_value = "kinesis")]
    pub service: Vec<FaultService>,
    /// Operation that is struck, such as `PutRecords` or `PutObject`; can be repeated. Without one, all are.
    #[arg(long, value_name = "OPERATION")]
    pub operation: Vec<String>,
    /// For `kill`, `freeze` and `duplicate`: a function or mapping; for `split` and `merge`: a stream. Can be repeated;
    /// without one, all are.
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// How likely a call, record, invocation or write is struck (`split`, `merge`, `clock-jump`: each second), 0 to 1.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    pub probability: f64,
    /// How long; without it until `--clear`, or until the local cloud stops (`split`, `merge`, `clock-jump`: once).
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<u32>,
    /// For `slow`: how late answers come; for `kill` and `freeze`: how long after the event.
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    pub delay_ms: u64,
    /// For `clock-jump`: by how much; back, when it is negative.
    #[arg(long, default_value_t = 0, value_name = "SECONDS", allow_hyphen_values = true)]
    pub jump_seconds: i64,
    /// Seed of the dice: the same seed strikes the same calls.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// File of rules that are added: a JSON list, as `GET /_millrace/faults` shows them.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Take all faults away first.
    #[arg(long)]
    pub clear: bool,
    /// The local cloud.
    #[arg(long, default_value = "http://127.0.0.1:4566", value_name = "URL", value_parser = endpoint)]
    pub endpoint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_opened_as_typed() {
        let check = |typed: &[&str], port: Option<u16>, checks: bool| {
            let cli = Cli::try_parse_from([&["millrace", "up"], typed].concat()).unwrap();
            let Some(Command::Up(up)) = cli.command else { panic!("{typed:?}") };
            let doors = up.place.doors.doors().unwrap();
            assert_eq!((doors.https_port, doors.keys.is_some()), (port, checks), "{typed:?}");
        };
        check(&[], None, false);
        check(&["--https"], Some(4_567), false);
        check(&["--https", "8443", "--check-signatures"], Some(8_443), true);
        check(&["--https", "--shards", "2"], Some(4_567), false);
        let refused = |typed: &[&str]| Cli::try_parse_from([&["millrace", "up"], typed].concat()).is_err();
        assert!(refused(&["--https", "0x1"]));
        assert!(refused(&["--credentials", "file"]), "nobody would look at it");
        let missing = ["--check-signatures", "--credentials", "/does/not/exist"];
        let cli = Cli::try_parse_from([&["millrace", "up"], &missing[..]].concat()).unwrap();
        let Some(Command::Up(up)) = cli.command else { panic!("up") };
        assert!(up.place.doors.doors().unwrap_err().to_string().contains("/does/not/exist"));
    }
}
