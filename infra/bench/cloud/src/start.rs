//! How long a start takes, with nothing on the disk and with much, after a kill.
//!
//! More can be shown than the disk has room for: one stream is filled, and others are made whose finished files are hard
//! links to its own. The newest segment, which is written to, is a copy. The server knows nothing of that: it sees as many
//! streams, segments and bytes as it would without.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use producer_bench::figure::{Better, Figure};

use crate::command::Plan;
use crate::http::Connection;
use crate::load::{self, STREAM, Shape};
use crate::put::{Scratch, figure};
use crate::server::Server;

const GOAL_MS: f64 = 200.0;
/// 9 MB a request: what fills a disk fastest.
const FILL: Shape = Shape { records: 9, bytes: 1_000_000, is_aggregated: false };
const STARTS: usize = 3;
/// Longest time that the disk is filled without a look at how far it is.
const FILL_LENGTH: Duration = Duration::from_secs(4);

/// What lies on the disk.
#[derive(Debug, Clone, Copy)]
struct Stored {
    /// As the server sees it.
    bytes: u64,
    files: u64,
    /// What it takes on the disk.
    real_bytes: u64,
}

/// Fills the disk, kills the server, and times starts.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Vec<Figure>> {
    let scratch = Scratch::new("start")?;
    let server = Server::start(&plan.program, scratch.path())?;
    let empty_ms = server.started_in.as_secs_f64() * 1e3;
    load::create_stream(server.address, plan.shards)?;
    let bytes_wanted = plan.start_gib << 30;
    let mut bytes = 0;
    while bytes < bytes_wanted {
        let put = load::put(&server, FILL, plan.connections, FILL_LENGTH)?;
        ensure!(put.records > 0, "nothing was put within {} s", FILL_LENGTH.as_secs());
        bytes += put.records * 1_000_000;
    }
    server.kill()?;
    let stored = multiply(scratch.path(), plan.start_streams)?;
    let mut starts = Vec::new();
    let mut is_cold = true;
    for start in 0..STARTS {
        is_cold &= plan.drops_caches && drop_caches();
        let server = Server::start(&plan.program, scratch.path()).context("start again")?;
        starts.push(server.started_in.as_secs_f64() * 1e3);
        if start + 1 == STARTS {
            check(server.address, plan.start_streams)?;
        }
        server.kill()?;
    }
    let slowest = starts.iter().copied().fold(0.0, f64::max);
    let note = format!(
        "the slowest of {STARTS} after a kill ({}), to the first answer; {} GB in {} files of {} streams with {} shards \
         each, {} GB of them real and the rest hard links; pages {}; {empty_ms:.0} ms with nothing",
        starts.iter().map(|ms| format!("{ms:.0}")).collect::<Vec<_>>().join(", "),
        stored.bytes / 1_000_000_000,
        stored.files,
        plan.start_streams,
        plan.shards,
        stored.real_bytes / 1_000_000_000,
        if is_cold { "dropped before each" } else { "in memory" },
    );
    Ok(vec![Figure { better: Better::Lower, ..figure("cloud.start", slowest, "ms", Some(GOAL_MS), note) }])
}

/// Makes streams beside the one in a data directory until there are so many.
fn multiply(data_dir: &Path, streams: u32) -> anyhow::Result<Stored> {
    let root = data_dir.join("kinesis");
    let prefix = format!("{STREAM}@");
    let mut found = None;
    for entry in fs::read_dir(&root).context("list the streams")? {
        let entry = entry.context("list the streams")?;
        if let Some(created) = entry.file_name().to_str().and_then(|name| name.strip_prefix(&prefix)) {
            found = Some((entry.path(), created.to_owned()));
        }
    }
    let (stream, created) = found.context("the server keeps its streams elsewhere: only one can be measured")?;
    let log = stream.join("log");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&log).context("list a stream's files")? {
        files.push(entry.context("list a stream's files")?.path());
    }
    files.sort();
    let bytes = files.iter().map(|file| Ok(file.metadata()?.len())).sum::<anyhow::Result<u64>>()?;
    let newest = files.last().and_then(|file| file.file_name()?.to_str()?.get(..12)).context("no segment")?.to_owned();
    let is_newest =
        |file: &Path| file.file_name().and_then(|name| name.to_str()).is_some_and(|it| it.starts_with(&newest));
    let mut real_bytes = bytes;
    let description = fs::read_to_string(stream.join("stream.json")).context("read a stream's description")?;
    for number in 1..streams {
        let name = stream_name(number);
        let other = root.join(format!("{name}@{created}"));
        fs::create_dir_all(other.join("log")).context("make a stream")?;
        for file in &files {
            let target = other.join("log").join(file.file_name().context("a file without a name")?);
            if is_newest(file) {
                real_bytes += fs::copy(file, target).context("copy a segment")?;
            } else {
                fs::hard_link(file, target).context("link a segment")?;
            }
        }
        let renamed = description.replacen(&format!("\"{STREAM}\""), &format!("\"{name}\""), 1);
        fs::write(other.join("stream.json"), renamed).context("describe a stream")?;
    }
    let count = u64::try_from(files.len()).unwrap_or(0);
    Ok(Stored { bytes: bytes * u64::from(streams), files: count * u64::from(streams), real_bytes })
}

fn stream_name(number: u32) -> String {
    if number == 0 { STREAM.to_owned() } else { format!("{STREAM}-{number}") }
}

/// All streams are there, the last one gives its oldest records and takes new ones.
fn check(address: SocketAddr, streams: u32) -> anyhow::Result<()> {
    let mut connection = Connection::open(address)?;
    let name = stream_name(streams - 1);
    let limits = connection.ask("DescribeLimits", "{}")?;
    let summary = connection.ask("DescribeStreamSummary", &format!(r#"{{"StreamName":"{name}"}}"#))?;
    let shards = summary.pointer("/StreamDescriptionSummary/OpenShardCount").and_then(|count| count.as_u64());
    let open = limits.get("OpenShardCount").and_then(|count| count.as_u64());
    ensure!(open == shards.map(|shards| shards * u64::from(streams)), "{open:?} shards in {streams} streams");
    let put = format!(r#"{{"StreamName":"{name}","PartitionKey":"k","Data":"bmV3"}}"#);
    let put = connection.ask("PutRecord", &put)?;
    let shard = put.get("ShardId").and_then(|id| id.as_str()).context("a record went nowhere")?;
    for (start, is_new) in [("TRIM_HORIZON", false), ("AT_SEQUENCE_NUMBER", true)] {
        let number = put.get("SequenceNumber").and_then(|number| number.as_str()).context("no sequence number")?;
        let number = if is_new { format!(r#","StartingSequenceNumber":"{number}""#) } else { String::new() };
        let ask = format!(r#"{{"StreamName":"{name}","ShardId":"{shard}","ShardIteratorType":"{start}"{number}}}"#);
        let answer = connection.ask("GetShardIterator", &ask)?;
        let iterator = answer.get("ShardIterator").and_then(|text| text.as_str()).context("no iterator")?;
        let answer = connection.ask("GetRecords", &format!(r#"{{"ShardIterator":"{iterator}","Limit":1}}"#))?;
        let data = answer.pointer("/Records/0/Data").and_then(|data| data.as_str()).context("no record")?;
        ensure!((data == "bmV3") == is_new, "{start} gave {} bytes", data.len());
    }
    Ok(())
}

/// Takes all files out of memory; whether that could be done.
fn drop_caches() -> bool {
    // What is not yet on the disk cannot be dropped.
    let is_synced = Command::new("sync").status().is_ok_and(|status| status.success());
    is_synced && fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}
