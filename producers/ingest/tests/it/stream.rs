//! A Kinesis of one shard that takes, holds, throttles or refuses, as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use kinesis_record::Unpacked;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// What the stream does with `PutRecords`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Take,
    /// Answers nothing until the mode changes.
    Hold,
    /// Takes no record of any request.
    Throttle,
    /// Answers with a fault of its own.
    Fail,
    /// Refuses whole requests with this error.
    Refuse(&'static str),
}

/// The small Kinesis.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    taken: Arc<Mutex<Vec<Bytes>>>,
}

impl Stream {
    pub(crate) async fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = Self {
            address: listener.local_addr().unwrap(),
            mode: Arc::new(watch::Sender::new(mode)),
            taken: Arc::default(),
        };
        let router = Router::new().fallback(serve).with_state(stream.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stream
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The user records that were acknowledged, in their order on the shard.
    pub(crate) fn records(&self) -> Vec<Bytes> {
        let mut records = Vec::new();
        for data in self.taken.lock().unwrap().iter() {
            match kinesis_record::unpack(data).unwrap() {
                Unpacked::Plain => records.push(data.clone()),
                Unpacked::Aggregate(aggregate) => records.extend(aggregate.into_iter().map(|record| record.data)),
            }
        }
        records
    }

    /// How many Kinesis records they came in.
    pub(crate) fn kinesis_records(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    fn put(&self, request: &Value, mode: Mode) -> Response {
        let records = request["Records"].as_array().unwrap();
        let results: Vec<Value> = records
            .iter()
            .map(|record| {
                if mode == Mode::Throttle {
                    return json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"});
                }
                let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
                let mut taken = self.taken.lock().unwrap();
                taken.push(Bytes::from(data));
                json!({"ShardId": "shardId-000000000000", "SequenceNumber": taken.len().to_string()})
            })
            .collect();
        let failed = if mode == Mode::Throttle { results.len() } else { 0 };
        answer(StatusCode::OK, &json!({"FailedRecordCount": failed, "Records": results}))
    }
}

async fn serve(State(stream): State<Stream>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    match headers["x-amz-target"].to_str().unwrap() {
        "Kinesis_20131202.ListShards" if *stream.mode.borrow() == Mode::Fail => {
            answer(StatusCode::INTERNAL_SERVER_ERROR, &json!({"__type": "InternalFailure", "message": "gone"}))
        }
        "Kinesis_20131202.ListShards" => {
            let range = json!({"StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string()});
            let shard = json!({"ShardId": "shardId-000000000000", "HashKeyRange": range,
                "SequenceNumberRange": {"StartingSequenceNumber": "1"}});
            answer(StatusCode::OK, &json!({"Shards": [shard]}))
        }
        "Kinesis_20131202.PutRecords" => {
            let mode = *stream.mode.subscribe().wait_for(|mode| *mode != Mode::Hold).await.unwrap();
            match mode {
                Mode::Refuse(code) => answer(StatusCode::BAD_REQUEST, &json!({"__type": code, "message": "no"})),
                Mode::Fail => {
                    let fault = json!({"__type": "InternalFailure", "message": "gone"});
                    answer(StatusCode::INTERNAL_SERVER_ERROR, &fault)
                }
                Mode::Take | Mode::Hold | Mode::Throttle => stream.put(&request, mode),
            }
        }
        other => answer(StatusCode::BAD_REQUEST, &json!({"__type": "UnknownOperationException", "message": other})),
    }
}

fn answer(status: StatusCode, document: &Value) -> Response {
    (status, [("content-type", "application/x-amz-json-1.1")], document.to_string()).into_response()
}
