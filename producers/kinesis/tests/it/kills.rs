//! A child process that puts records through a spool is killed again and again; whatever it said was durable must be on the
//! stream in the end. Shared by the integration test (few kills) and the example `spool_kills` (many).

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Region},
};
use kinesis_consumer::{Repeats, ShardWindows, user_records_of};
use kinesis_producer::{Config, Delivery, Producer, ProducerId, Record, SpoolConfig, SpoolPolicy};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::fake_kinesis::FakeKinesis;

/// Each life numbers its records from a multiple of this.
const NUMBERS_PER_LIFE: usize = 10_000_000;

const KEYS: usize = 61;

/// Records that a child has under way at most.
const WINDOW: usize = 2_000;

/// What a run found.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "people read it as a whole")]
pub(crate) struct Report {
    pub(crate) kills: usize,
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) stored: usize,
    pub(crate) repeats: usize,
    /// Records that a reader still has twice which looks at the marks.
    pub(crate) read_twice: usize,
    /// Records that are stored and that it does not have.
    pub(crate) not_read: usize,
    /// Kinesis records that it left out as a whole.
    pub(crate) aggregates_left_out: usize,
    /// Records that it left out one by one, by their numbers in the log.
    pub(crate) records_left_out: usize,
    pub(crate) inversions: usize,
    /// Of those that were acknowledged, how many the child was told of by the disk.
    pub(crate) spooled: usize,
}

/// What a run does.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) kills: usize,
    pub(crate) records_per_life: usize,
    pub(crate) shards: u8,
    pub(crate) seed: u64,
}

pub(crate) fn client(endpoint: &str) -> Client {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

fn config(folder: &Path, policy: SpoolPolicy) -> Config {
    let mut config = Config::new("events");
    config.dedupe_tag = Some(ProducerId::random());
    // A window of half of this is what may come again after a kill.
    config.buffer_bytes_max = 8 << 20;
    config.spool = Some(SpoolConfig { policy, ..SpoolConfig::new(folder) });
    config
}

/// The child: puts numbered records without end, and writes to its output which ones are acknowledged.
pub(crate) async fn live(folder: &Path, endpoint: &str, life: usize) {
    let policy = match life % 2 {
        0 => SpoolPolicy::Always,
        _ => SpoolPolicy::WhenSlow { after: Duration::from_millis(20) },
    };
    let producer = Producer::start(config(folder, policy), client(endpoint)).await.unwrap();
    let mut under_way: std::collections::VecDeque<(usize, Delivery)> = std::collections::VecDeque::new();
    let mut text = String::new();
    for number in life * NUMBERS_PER_LIFE..(life + 1) * NUMBERS_PER_LIFE {
        let record = Record::new(format!("key-{}", number % KEYS), format!("{number:070}"));
        under_way.push_back((number, producer.send(record).await.unwrap()));
        if under_way.len() < WINDOW {
            continue;
        }
        for (number, delivery) in under_way.drain(..WINDOW / 2) {
            let how = if delivery.await.unwrap().stored().is_some() { 's' } else { 'd' };
            text.push_str(&format!("{how}{number}\n"));
        }
        let mut output = std::io::stdout().lock();
        output.write_all(text.as_bytes()).unwrap();
        output.flush().unwrap();
        text.clear();
    }
}

/// The parent: lets children live and kills them, with the stream up and down in between, then drains the spool.
pub(crate) async fn run(plan: Plan, mut command: impl FnMut(&Path, &str, usize) -> Command) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let kinesis = FakeKinesis::start(plan.shards, vec![]).await;
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut acknowledged: Vec<usize> = Vec::new();
    let mut report = Report { kills: plan.kills, ..Report::default() };
    for life in 0..plan.kills {
        kinesis.set_down(random.random_ratio(1, 2));
        let wanted = random.random_range(plan.records_per_life / 2..=plan.records_per_life * 3 / 2);
        let child =
            command(folder.path(), &kinesis.endpoint, life).stdout(std::process::Stdio::piped()).spawn().unwrap();
        let more = random.random_range(0..20);
        let told = tokio::task::spawn_blocking(move || listen_and_kill(child, wanted, Duration::from_millis(more)));
        let told = told.await.unwrap();
        report.spooled += told.iter().filter(|(_, is_spooled)| *is_spooled).count();
        acknowledged.extend(told.into_iter().map(|(number, _)| number));
    }
    kinesis.set_down(false);
    drain(folder.path(), &kinesis).await;
    check(&kinesis, &acknowledged, report)
}

/// Reads acknowledgements until there are enough, kills the child a moment later, and reads what it still had said.
fn listen_and_kill(mut child: Child, wanted: usize, more: Duration) -> Vec<(usize, bool)> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut told = Vec::new();
    let mut line = String::new();
    let mut kill_at: Option<Instant> = None;
    let mut is_killed = false;
    while output.read_line(&mut line).unwrap() > 0 {
        // A line without an end was cut off; the test harness around a child writes other lines.
        let is_spooled = line.starts_with('d');
        let number = line.strip_suffix('\n').and_then(|line| line.strip_prefix(['s', 'd'])?.parse().ok());
        told.extend(number.map(|number| (number, is_spooled)));
        line.clear();
        if told.len() >= wanted && kill_at.is_none() {
            kill_at = Some(Instant::now() + more);
        }
        if !is_killed && kill_at.is_some_and(|at| Instant::now() >= at) {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    assert!(is_killed, "the child ended by itself after {} acknowledgements", told.len());
    child.wait().unwrap();
    told
}

async fn drain(folder: &Path, kinesis: &FakeKinesis) {
    let producer = Producer::start(config(folder, SpoolPolicy::Always), client(&kinesis.endpoint)).await.unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    while producer.stats().spool_backlog > 0 {
        pause.tick().await;
    }
    producer.close().await;
}

/// Reads the stream with the marks.
fn read(kinesis: &FakeKinesis, report: &mut Report) -> HashSet<usize> {
    let mut windows = ShardWindows::default();
    let mut read = HashSet::new();
    for stored in kinesis.stored() {
        let records = user_records_of(&stored.partition_key, &stored.sequence_number, &stored.data).unwrap();
        let aggregate = records.aggregate().expect("marked records travel in aggregates");
        let repeats = windows.repeats(&stored.shard.to_string(), aggregate, &stored.sequence_number);
        match &repeats {
            Repeats::All => report.aggregates_left_out += 1,
            Repeats::Records(repeats) => report.records_left_out += repeats.len(),
        }
        for record in records.without(repeats) {
            let number = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
            report.read_twice += usize::from(!read.insert(number));
        }
    }
    read
}

fn check(kinesis: &FakeKinesis, acknowledged: &[usize], mut report: Report) -> Report {
    let read = read(kinesis, &mut report);
    let mut seen: HashSet<usize> = HashSet::new();
    let mut last: HashMap<String, usize> = HashMap::new();
    for (key, number) in kinesis.user_records() {
        let number: usize = number.parse().unwrap();
        report.stored += 1;
        if !seen.insert(number) {
            report.repeats += 1;
            continue;
        }
        let last = last.entry(key).or_insert(number);
        report.inversions += usize::from(number < *last);
        *last = number.max(*last);
    }
    report.not_read = seen.difference(&read).count();
    report.acknowledged = acknowledged.len();
    report.lost = acknowledged.iter().filter(|number| !seen.contains(number)).count();
    report
}
