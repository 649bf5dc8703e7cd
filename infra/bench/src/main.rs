//! Every figure that is promised: `cargo run --release -p bench -- NAME [--json]`.

mod cpu;
mod figure;
mod first_build;
mod parquet;
mod peer;
mod pipeline;

use clap::{Parser, Subcommand};

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

#[derive(Debug, Clone, Copy, Subcommand)]
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
}

const LIST: [(&str, &str); 7] = [
    ("pipeline", "pipeline.accepted_rate: events a second accepted over HTTP while the rate is offered"),
    ("pipeline", "pipeline.whole_rate: events a second from the first request to all being rows in SQL"),
    ("pipeline", "pipeline.cpu_per_event: CPU time of the whole process, load generator included"),
    ("pipeline", "pipeline.to_sql: time from the last acknowledgement to all rows in SQL"),
    ("parquet", "parquet.stage_rate: events a CPU second from JSON to a Parquet object, beside DuckDB"),
    ("parquet", "parquet.size: bytes an event in Parquet, beside DuckDB"),
    ("build", "build.cpu: CPU minutes of a first release build"),
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
        Group::Pipeline { rate, seconds, batch } => pipeline::measure(rate, seconds, batch).await?,
        Group::Parquet { events } => parquet::measure(events).await?,
        Group::Build => first_build::measure()?,
    };
    for figure in &figures {
        println!("{}", if cli.json { serde_json::to_string(figure)? } else { figure.to_string() });
    }
    Ok(())
}
