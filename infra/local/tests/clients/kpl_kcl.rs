//! The KPL writing over HTTPS, the KCL reading by polling and by fan-out, splits and merges in between.
//!
//! Between its phases the writer is idle, and starts a fresh producer. The KPL keeps no order among its requests, nor
//! before it knows the shards, so the order that the KCL is held to is that of the stream. At the end there is a split
//! under load. The KPL's old shard map then makes aggregates whose records belong to both halves, and acknowledges what
//! it finds in the right one, while the KCL drops such an aggregate whole. No service can help that; the test says how
//! many records it cost, and holds that all are on the stream and that the KCL reads those that its rule keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_kinesis::types::StreamStatus;
use kinesis_consumer::{HashRange, InRange, UserRecord, user_records_in_range, user_records_of};
use millrace::clients;
use millrace::cloud::Cloud;
use millrace::kinesis::ReadLimit;
use tokio::process::Command;

use crate::tools::{HERE, Program, cloud, kept, succeeds};

const STREAM: &str = "kpl";
const KEYS: usize = 50;
const PHASE: usize = 2_000;

/// The jars of a pom; none where they cannot be had.
async fn jars(pom: &str) -> Option<PathBuf> {
    let dir = kept(pom);
    let (done, pom) = (dir.join("complete"), format!("{HERE}/{pom}/pom.xml"));
    if !done.exists() {
        let output = format!("-DoutputDirectory={}", dir.display());
        // In a copy: Maven leaves a `target` beside its pom.
        let copy = kept("poms").join(dir.file_name()?);
        std::fs::create_dir_all(&copy).expect("a directory");
        std::fs::copy(pom, copy.join("pom.xml")).expect("a copy");
        let pom = copy.join("pom.xml");
        let arguments = ["-q", "-B", "-f", pom.to_str()?, "dependency:copy-dependencies", &output];
        if !succeeds("mvn", &arguments).await {
            println!("skipped: Maven cannot bring what {} names", pom.display());
            return None;
        }
        std::fs::write(&done, "").expect("a file");
    }
    Some(dir)
}

fn java(jars: &Path, program: &str, dir: &Path) -> Command {
    let mut command = Command::new("java");
    command
        .args(["-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
        .arg(format!("{}/*", jars.display()));
    command.arg(format!("{HERE}/{program}.java")).current_dir(dir);
    // Empty, but there: without a home the SDK stumbles over the file that it does not find.
    let profile = dir.join("profile");
    std::fs::write(&profile, "").expect("a file");
    for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
        command.env(name, &profile);
    }
    command
}

/// Splits and merges through the SDK, each after the one before is done.
struct Shards(aws_sdk_kinesis::Client);

impl Shards {
    async fn settled(&self) {
        loop {
            let seen = self.0.describe_stream_summary().stream_name(STREAM).send().await.expect("it is there");
            if seen.stream_description_summary.expect("a summary").stream_status == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn split(&self, shard: u64, at: u128) {
        let split = self.0.split_shard().stream_name(STREAM).shard_to_split(format!("shardId-{shard:012}"));
        split.new_starting_hash_key(at.to_string()).send().await.expect("it is split");
        self.settled().await;
    }

    async fn merge(&self, shard: u64, adjacent: u64) {
        let merge = self.0.merge_shards().stream_name(STREAM).shard_to_merge(format!("shardId-{shard:012}"));
        merge.adjacent_shard_to_merge(format!("shardId-{adjacent:012}")).send().await.expect("they are merged");
        self.settled().await;
    }
}

/// Numbers by key, in order.
type ByKey = BTreeMap<String, Vec<usize>>;

/// Reads until so many different numbers have come.
async fn read(reader: &mut Program, count: usize) -> ByKey {
    let (mut seen, mut by_key) = (BTreeSet::new(), ByKey::new());
    while seen.len() < count {
        let line = reader.next("record ").await;
        let [_shard, key, number] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let number: usize = number.parse().expect("a number");
        seen.insert(number);
        by_key.entry(key.to_owned()).or_default().push(number);
    }
    by_key
}

/// The numbers from `first` on that are on the stream, and those of them that the KCL's rule keeps: parents before
/// children, as shards are numbered.
async fn on_the_stream(cloud: &Cloud, first: usize) -> (BTreeSet<usize>, ByKey) {
    let (mut stored, mut kept) = (BTreeSet::new(), ByKey::new());
    let number = |record: &UserRecord| -> usize { String::from_utf8_lossy(&record.data).parse().expect("a number") };
    for shard in cloud.kinesis().store().stream(STREAM).expect("it is there").shards() {
        let range = shard.description().range;
        let range = HashRange { start: range.starting_hash_key.0, end: range.ending_hash_key.0 };
        let mut from = shard.horizon();
        loop {
            let batch = shard.read(from, ReadLimit { records: 1_000, bytes: 1 << 20 }).await.expect("it reads");
            if batch.records.is_empty() {
                break;
            }
            for record in &batch.records {
                let (key, at) = (record.partition_key.as_str(), record.sequence_number.to_string());
                let all = user_records_of(key, &at, &record.data).expect("it is sound");
                stored.extend(all.map(|record| number(&record)).filter(|number| *number >= first));
                match user_records_in_range(range, key, &at, &record.data).expect("it is sound") {
                    InRange::All(records) => {
                        for record in records.filter(|record| number(record) >= first) {
                            kept.entry(record.partition_key.to_string()).or_default().push(number(&record));
                        }
                    }
                    InRange::Dropped { .. } => {}
                }
            }
            from = batch.next;
        }
    }
    (stored, kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_kpl_writes_the_kcl_reads_through_splits_and_merges() {
    if !succeeds("java", &["-version"]).await || !succeeds("mvn", &["--version"]).await {
        println!("skipped: java and mvn are not installed; neither the KPL nor the KCL was met");
        return;
    }
    let (Some(kpl), Some(kcl), Some(leases)) = (jars("kpl").await, jars("kcl").await, jars("leases").await) else {
        return;
    };
    let (dir, cloud) = cloud().await;
    let aws = clients::local(&cloud.endpoint()).await;
    let shards = Shards(aws_sdk_kinesis::Client::new(&aws));
    shards.0.create_stream().stream_name(STREAM).shard_count(2).send().await.expect("it is made");
    shards.settled().await;

    let (_leases, lease_endpoint) = start_leases(&leases, dir.path()).await;
    let mut readers = Vec::new();
    for way in ["polling", "fanout"] {
        let mut command = java(&kcl, "kcl/Read", dir.path());
        command.args([&cloud.endpoint(), &lease_endpoint, STREAM, way]);
        readers.push(Program::start(way, &mut command, dir.path()));
    }
    let port = cloud.https_endpoint().and_then(|endpoint| Some(endpoint.rsplit_once(':')?.1.to_owned()));
    let mut command = java(&kpl, "kpl/Write", dir.path());
    let mut writer = Program::start("kpl", command.args([&port.expect("a port"), STREAM]), dir.path());

    let half = 1_u128 << 127;
    for phase in 0..4 {
        writer.order("new").await;
        writer.next("new").await;
        writer.order(&format!("put {} {} {KEYS} {PHASE}", phase * PHASE, (phase + 1) * PHASE)).await;
        let acknowledged = writer.next("put ").await;
        println!("phase {phase}: acknowledged and retried: {acknowledged}");
        match phase {
            0 => shards.split(0, half / 2).await,
            1 => shards.merge(2, 3).await,
            2 => shards.split(1, half + half / 2).await,
            _ => {}
        }
    }
    let whole = 4 * PHASE;
    let (stored, kept) = on_the_stream(&cloud, 0).await;
    assert_eq!((stored.len(), kept.values().map(Vec::len).sum()), (whole, whole), "each once");
    for reader in &mut readers {
        assert_eq!(read(reader, whole).await, kept, "every record once, and in order");
    }

    // A split under load.
    writer.order(&format!("put {whole} {} {KEYS} {whole}", 2 * whole)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    shards.split(4, half / 2).await;
    println!("under load: acknowledged and retried: {}", writer.next("put ").await);
    let (stored, kept) = on_the_stream(&cloud, whole).await;
    assert_eq!(stored.len(), whole, "every acknowledged record is on the stream");
    let different: BTreeSet<usize> = kept.values().flatten().copied().collect();
    println!("under load: {} are in no aggregate that the KCL keeps", whole - different.len());
    for reader in &mut readers {
        let seen = read(reader, different.len()).await;
        assert_eq!(seen.into_values().flatten().collect::<BTreeSet<usize>>(), different);
    }
    writer.end().await;
    for reader in readers {
        reader.end().await;
    }
    cloud.shutdown().await;
}

/// A `DynamoDB` in memory, on a port that was free a moment ago.
async fn start_leases(jars: &Path, dir: &Path) -> (Program, String) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let mut command = Command::new("java");
    command.arg(format!("-Djava.library.path={}", jars.display())).arg("-cp").arg(format!("{}/*", jars.display()));
    command.arg("com.amazonaws.services.dynamodbv2.local.main.ServerRunner").args(["-inMemory", "-disableTelemetry"]);
    command.args(["-port", &free.to_string()]).current_dir(dir);
    let program = Program::start("leases", &mut command, dir);
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", free)).await.is_ok() {
            return (program, format!("http://127.0.0.1:{free}"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("DynamoDBLocal does not listen on {free}");
}
