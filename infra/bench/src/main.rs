//! Every figure that is promised: `cargo run --release -p bench -- NAME [--json]`.

mod cloud;
mod first_build;
mod parquet;
mod pipeline;

use clap::{Parser, Subcommand};
use producer_bench::{cpu, figure, peer};

/// Measures one group of figures and prints a line for each.
///
/// Ours and a peer's are measured in the same run, because times on shared machines mean little.
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Cli {
    #[command(subcommand)]
    group: Group,
    /// One JSON object a line: name, value, unit, goal, better, peer, `peer_value`, note.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Group {
    /// Name the groups and their figures.
    List,
    /// The whole way: HTTP, both streams, enrichment, Parquet, tables, with the load generator beside it.
    Pipeline {
        /// Requests a second that are offered.
        #[arg(long, default_value_t = 23_148)]
        rate: u32,
        /// How long they are offered.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Requests in one HTTP call; 1 posts each by itself.
        #[arg(long, default_value_t = 1)]
        batch: u32,
    },
    /// JSON events to Parquet files on one thread, beside `DuckDB`.
    Parquet {
        /// How many events.
        #[arg(long, default_value_t = 200_000)]
        events: usize,
    },
    /// CPU time of a first release build, into an empty target directory of its own.
    Build,
    #[command(flatten)]
    Ingest(ingest_bench::Command),
    #[command(flatten)]
    Producer(producer_bench::Command),
    #[command(flatten)]
    Cloud(cloud_bench::Command),
    /// The local cloud's services alone, without limits: what `cloud` runs as a process of its own.
    #[command(hide = true)]
    CloudServer(cloud::ServerOptions),
}

const LIST: &[(&str, &str)] = &[
    ("pipeline", "pipeline.accepted_rate: events a second accepted over HTTP while the rate is offered"),
    ("pipeline", "pipeline.whole_rate: events a second from the first request to all being rows in SQL"),
    ("pipeline", "pipeline.cpu_per_event: CPU time of the whole process, load generator included"),
    ("pipeline", "pipeline.to_sql: time from the last acknowledgement to all rows in SQL"),
    ("parquet", "parquet.stage_rate: events a CPU second from JSON to a Parquet object, beside DuckDB"),
    ("parquet", "parquet.size: bytes an event in Parquet, beside DuckDB"),
    ("build", "build.cpu: CPU minutes of a first release build"),
    ("ingest", "ingest.validation: reading and checking a p50 request"),
    ("ingest", "ingest.singles: requests a CPU second of the server at 1.5 KB, each answered after its put"),
    ("ingest", "ingest.batches: events a CPU second in NDJSON batches"),
    ("ingest", "ingest.latency: p99 at half of the measured rate, open loop, linger 5 ms"),
    ("ingest", "ingest.memory: largest deviation from the median of resident memory at full load"),
    ("ingest", "ingest.outage_lost: events accepted and not on the stream after an outage at half load"),
    ("ingest", "ingest.outage_refused: events refused during it"),
    ("producer", "producer.records: records a CPU second at 300 B, full path with signing, beside the best peer"),
    ("producer", "producer.bytes: megabytes a CPU second at 1 KB"),
    ("producer", "producer.best_peer: times the best peer"),
    ("producer", "producer.bytes_used.{smooth,window,burst}: share of a shard's bytes, with the throttles"),
    ("producer", "producer.records_used.{smooth,window,burst}: share of a shard's records, with the throttles"),
    ("producer", "producer.crowd_used: share of a shard's bytes that eight producers use, under each limit model"),
    ("producer", "producer.crowd_throttled: share of their attempts that is throttled"),
    ("producer", "producer.crowd_jain: Jain's index over what each of the eight got"),
    ("producer", "producer.outage_memory: resident memory over the buffer's size while the endpoint fails"),
    ("producer", "producer.outage_cpu: CPU while blocked by it"),
    ("producer", "producer.outage_recovery: time from its end to the full rate"),
    ("producer", "producer.buffered: time in the buffer at half load"),
    ("producer", "producer.flush: time of a flush under that load, beside a bare round trip"),
    ("cloud", "cloud.plain: records of 1 KB for each CPU second of the server, acknowledged when synced"),
    ("cloud", "cloud.growth: what more is resident at the end of that load"),
    ("cloud", "cloud.times_{fakecloud,fakecloud_on_disk}: that rate in times of fakecloud's, in memory and persistent"),
    ("cloud", "cloud.times_{kinesalite,moto,ministack}: the same of others', in memory"),
    ("cloud", "cloud.aggregated_in: user records of 1.5 KB in KPL's aggregates for each CPU second"),
    ("cloud", "cloud.aggregated_out: the same, got out again"),
    ("cloud", "cloud.aggregated: the same, in and out"),
    ("cloud", "cloud.start: time from start to answer after a kill, with much on the disk"),
];

#[tokio::main]
#[expect(clippy::print_stdout, reason = "figures are this command's result")]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let figures = match cli.group {
        Group::List => {
            for (group, figure) in LIST {
                println!("{group:<10} {figure}");
            }
            return Ok(());
        }
        Group::Pipeline { rate, seconds, batch } => Box::pin(pipeline::measure(rate, seconds, batch)).await?,
        Group::Parquet { events } => parquet::measure(events).await?,
        Group::Build => first_build::measure()?,
        // It has runtimes of one thread, so that a core's work is one core's.
        Group::Ingest(command) => {
            return tokio::task::spawn_blocking(move || ingest_bench::run(&command, cli.json)).await?;
        }
        Group::Producer(command) => {
            return tokio::task::spawn_blocking(move || producer_bench::run(&command, cli.json)).await?;
        }
        // It has threads of its own, which do not wait for each other.
        Group::Cloud(command) => {
            let server = cloud::server()?;
            return tokio::task::spawn_blocking(move || cloud_bench::run(&command, Some(server), cli.json)).await?;
        }
        Group::CloudServer(options) => return cloud::serve(options).await,
    };
    for figure in &figures {
        println!("{}", if cli.json { serde_json::to_string(figure)? } else { figure.to_string() });
    }
    Ok(())
}
