//! A Kinesis of one stream behind a real HTTP server on loopback: `PutRecords` and `ListShards`, with scripted faults. It keeps
//! what it stored, so that tests can look at the bytes as a reader would.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use aws_credential_types::Credentials;
use aws_sdk_kinesis::{
    Client,
    config::{BehaviorVersion, Region},
};
use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use kinesis_record::{HashRange, SubRecord, Unpacked, first_outside, hash_key, unpack};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

/// What happens to the next `PutRecords` call. Calls beyond the script succeed.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    None,
    /// The entries at these positions get this error code; the others are stored.
    Entries(Vec<usize>, &'static str),
    /// Every entry whose data contains this text gets the whole call refused, as a validation does.
    RefuseIfContains(&'static str),
    /// The call is answered with this status and code; nothing is stored.
    Call(u16, &'static str),
    /// Everything is stored, but no answer ever comes.
    HangAfterCommit,
    /// The first shard is split in the middle before the call is served.
    Split,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) shard: usize,
    pub(crate) sequence_number: String,
    pub(crate) partition_key: String,
    pub(crate) data: Bytes,
}

#[derive(Debug)]
struct Shard {
    range: HashRange,
    is_open: bool,
}

#[derive(Debug, Default)]
struct State {
    shards: Vec<Shard>,
    stored: Vec<Stored>,
    faults: VecDeque<Fault>,
    puts: usize,
    lists: usize,
    is_down: bool,
}

/// Stops serving when dropped.
#[derive(Debug)]
pub(crate) struct FakeKinesis {
    state: Arc<Mutex<State>>,
    pub(crate) endpoint: String,
    server: AbortHandle,
}

impl Drop for FakeKinesis {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl FakeKinesis {
    pub(crate) async fn start(shards: u8, faults: Vec<Fault>) -> Self {
        let width = u128::MAX / u128::from(shards);
        let range = |index: u8| HashRange {
            start: width * u128::from(index) + u128::from(index.min(1)),
            end: if index + 1 == shards { u128::MAX } else { width * (u128::from(index) + 1) },
        };
        let shards = (0..shards).map(|index| Shard { range: range(index), is_open: true }).collect();
        let state = Arc::new(Mutex::new(State { shards, faults: faults.into(), ..State::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                // A client that went away is not the server's concern.
                tokio::spawn(async move { drop(connection.await) });
            }
        });
        FakeKinesis { state, endpoint, server: server.abort_handle() }
    }

    pub(crate) fn client(&self) -> Client {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("key", "secret", None, None, "test"))
            .endpoint_url(&self.endpoint);
        Client::from_conf(config.build())
    }

    pub(crate) fn stored(&self) -> Vec<Stored> {
        self.state.lock().unwrap().stored.clone()
    }

    pub(crate) fn puts(&self) -> usize {
        self.state.lock().unwrap().puts
    }

    pub(crate) fn lists(&self) -> usize {
        self.state.lock().unwrap().lists
    }

    /// While it is down, every call is answered with an internal error.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.state.lock().unwrap().is_down = is_down;
    }

    /// The user records as a reader without the rule of the KCL sees them, in stored order, with their keys.
    pub(crate) fn user_records(&self) -> Vec<(String, String)> {
        let read = |stored: &Stored| match unpack(&stored.data).unwrap() {
            Unpacked::Plain => vec![(stored.partition_key.clone(), text(&stored.data))],
            Unpacked::Aggregate(records) => {
                records.iter().map(|record| (record.partition_key.to_string(), text(&record.data))).collect()
            }
        };
        self.stored().iter().flat_map(read).collect()
    }

    /// How many stored aggregates the KCL would drop.
    pub(crate) fn dropped_by_kcl(&self) -> usize {
        let state = self.state.lock().unwrap();
        let is_dropped = |stored: &&Stored| {
            let records: Vec<SubRecord> = match unpack(&stored.data).unwrap() {
                Unpacked::Plain => vec![],
                Unpacked::Aggregate(records) => records,
            };
            first_outside(&records, state.shards[stored.shard].range).is_some()
        };
        state.stored.iter().filter(is_dropped).count()
    }
}

fn text(data: &Bytes) -> String {
    String::from_utf8_lossy(data).into_owned()
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    let target = request.headers()["x-amz-target"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    // A stream that is down costs next to nothing, so that the producer's own cost can be measured.
    let is_down = state.lock().unwrap().is_down;
    let body: Value = if is_down { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let answer = match target.as_str() {
        "Kinesis_20131202.ListShards" => Some(state.lock().unwrap().list_shards(&body)),
        "Kinesis_20131202.PutRecords" => state.lock().unwrap().put_records(&body),
        other => panic!("the producer calls {other}"),
    };
    match answer {
        Some((status, body)) => Ok(Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.1")
            .body(Full::new(body.to_string().into()))
            .unwrap()),
        None => std::future::pending().await,
    }
}

fn error(status: u16, code: &str) -> (u16, Value) {
    (status, json!({"__type": code, "message": "scripted"}))
}

impl State {
    /// Two shards a page, so that paging is always tested; closed shards are listed too, as some endpoints do.
    fn list_shards(&mut self, body: &Value) -> (u16, Value) {
        self.lists += 1;
        if self.is_down {
            return error(500, "InternalFailureException");
        }
        if body["StreamName"] == "missing" {
            return error(400, "ResourceNotFoundException");
        }
        let from: usize = body["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        assert!(from == 0 || body.get("StreamName").is_none(), "a token stands alone");
        let shard = |(index, shard): (usize, &Shard)| {
            let ending = (!shard.is_open).then_some("9");
            json!({
                "ShardId": shard_id(index),
                "HashKeyRange": {"StartingHashKey": shard.range.start.to_string(), "EndingHashKey": shard.range.end.to_string()},
                "SequenceNumberRange": {"StartingSequenceNumber": "0", "EndingSequenceNumber": ending},
            })
        };
        let page: Vec<Value> = self.shards.iter().enumerate().skip(from).take(2).map(shard).collect();
        let next = from + page.len();
        let token = (next < self.shards.len()).then(|| next.to_string());
        (200, json!({"Shards": page, "NextToken": token}))
    }

    fn put_records(&mut self, body: &Value) -> Option<(u16, Value)> {
        self.puts += 1;
        if self.is_down {
            return Some(error(500, "InternalFailureException"));
        }
        let entries = body["Records"].as_array().unwrap();
        assert!((1..=500).contains(&entries.len()));
        let fault = self.faults.pop_front().unwrap_or(Fault::None);
        let mut failing = (Vec::new(), "");
        match &fault {
            Fault::Call(status, code) => return Some(error(*status, code)),
            Fault::Entries(positions, code) => failing = (positions.clone(), *code),
            Fault::RefuseIfContains(text) => {
                // It stays refused: the script goes on with the same fault.
                self.faults.push_front(fault.clone());
                let has = |entry: &Value| decode(entry).windows(text.len()).any(|window| window == text.as_bytes());
                if entries.iter().any(has) {
                    return Some(error(400, "InvalidArgumentException"));
                }
            }
            Fault::Split => self.split(),
            Fault::None | Fault::HangAfterCommit => {}
        }
        let results: Vec<Value> = entries
            .iter()
            .enumerate()
            .map(|(position, entry)| {
                if failing.0.contains(&position) {
                    return json!({"ErrorCode": failing.1, "ErrorMessage": "scripted"});
                }
                let stored = self.store(entry);
                json!({"SequenceNumber": stored.sequence_number, "ShardId": shard_id(stored.shard)})
            })
            .collect();
        let answer = json!({"FailedRecordCount": failing.0.len(), "Records": results});
        (!matches!(fault, Fault::HangAfterCommit)).then_some((200, answer))
    }

    fn store(&mut self, entry: &Value) -> Stored {
        let partition_key = entry["PartitionKey"].as_str().unwrap().to_owned();
        let explicit = entry["ExplicitHashKey"].as_str().map(|key| key.parse().unwrap());
        let landing = explicit.unwrap_or_else(|| hash_key(&partition_key));
        let shard = self.shards.iter().position(|shard| shard.is_open && shard.range.contains(landing)).unwrap();
        let sequence_number = format!("4959{:052}", self.stored.len());
        let stored = Stored { shard, sequence_number, partition_key, data: decode(entry) };
        self.stored.push(stored.clone());
        stored
    }

    fn split(&mut self) {
        let range = self.shards[0].range;
        let middle = range.start + (range.end - range.start) / 2;
        self.shards[0].is_open = false;
        self.shards.push(Shard { range: HashRange { start: range.start, end: middle }, is_open: true });
        self.shards.push(Shard { range: HashRange { start: middle + 1, end: range.end }, is_open: true });
    }
}

fn shard_id(index: usize) -> String {
    format!("shardId-{index:012}")
}

fn decode(entry: &Value) -> Bytes {
    STANDARD.decode_to_vec(entry["Data"].as_str().unwrap()).unwrap().into()
}
