//! The function's binary, as a child process of a Runtime API that hands out many events at once, as Lambda does on
//! Managed Instances; with one at a time, as classic Lambda does, it is tested on the local cloud.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::rig::good;
use crate::stream::{Mode, Stream};

/// An event with the id of its call.
type Event = (String, Value);
/// Who waits for the answer to which call.
type Waiting = HashMap<String, oneshot::Sender<Value>>;

/// The Runtime API: events go out to whoever asks for the next one, answers come back by their ids.
#[derive(Debug, Clone)]
struct Host {
    events: mpsc::Sender<Event>,
    next: Arc<tokio::sync::Mutex<mpsc::Receiver<Event>>>,
    waiting: Arc<Mutex<Waiting>>,
    /// How many events went out.
    taken: Arc<watch::Sender<usize>>,
}

/// A running function and the stream it writes to.
struct Function {
    host: Host,
    stream: Stream,
    _child: Child,
}

impl Function {
    async fn start(calls_max: usize) -> Self {
        let stream = Stream::start(Mode::Take).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (events, next) = mpsc::channel(1_000);
        let host = Host {
            events,
            next: Arc::new(tokio::sync::Mutex::new(next)),
            waiting: Arc::default(),
            taken: Arc::default(),
        };
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next_event))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .with_state(host.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let child = start(address, stream.address, calls_max);
        Self { host, stream, _child: child }
    }

    async fn call(&self, id: usize, event: Value) -> Value {
        let (answer, answered) = oneshot::channel();
        self.host.waiting.lock().unwrap().insert(id.to_string(), answer);
        self.host.events.send((id.to_string(), event)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), answered).await.expect("an answer in time").unwrap()
    }
}

fn start(runtime_api: SocketAddr, endpoint: SocketAddr, calls_max: usize) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ingest-lambda"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_string()),
        ("AWS_LAMBDA_FUNCTION_NAME", "ingest".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_MAX_CONCURRENCY", calls_max.to_string()),
        ("AWS_ENDPOINT_URL", format!("http://{endpoint}")),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ] {
        command.env(name, value);
    }
    command.spawn().expect("the function starts")
}

async fn next_event(State(host): State<Host>) -> Response {
    let Some((id, event)) = host.next.lock().await.recv().await else { return StatusCode::GONE.into_response() };
    host.taken.send_modify(|taken| *taken += 1);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", "9999999999999".to_owned()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:0:function:ingest".to_owned()),
    ];
    (headers, event.to_string()).into_response()
}

async fn answered(State(host): State<Host>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    let answer = serde_json::from_slice(&body).unwrap();
    if let Some(waiting) = host.waiting.lock().unwrap().remove(&id) {
        // The test may have given up.
        drop(waiting.send(answer));
    }
    StatusCode::ACCEPTED
}

fn event(path: &str, content_type: &str, body: &str) -> Value {
    json!({"version": "2.0", "rawPath": path, "rawQueryString": "", "headers": {"content-type": content_type},
        "requestContext": {"stage": "$default", "http": {"method": "POST"}}, "body": body, "isBase64Encoded": false})
}

#[tokio::test]
async fn an_environment_with_many_calls_at_once_aggregates_across_them() {
    const CALLS: usize = 32;
    let function = Function::start(CALLS).await;
    // The stream answers only when all calls wait for it: were calls served one by one, none would ever be answered.
    function.stream.set(Mode::Hold);
    let calls = (0..CALLS).map(|id| {
        let body = good(&id.to_string());
        function.call(id, event("/v1/ad_requests", "application/json", &body))
    });
    let release = async {
        let mut taken = function.host.taken.subscribe();
        let all_taken = tokio::time::timeout(Duration::from_secs(60), taken.wait_for(|taken| *taken == CALLS));
        all_taken.await.expect("all calls are taken at once").unwrap();
        function.stream.set(Mode::Take);
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(calls), release);
    assert!(answers.iter().all(|answer| answer["statusCode"] == 200), "{answers:?}");
    assert_eq!(function.stream.records().len(), CALLS);
    let kinesis_records = function.stream.kinesis_records();
    assert!(kinesis_records <= CALLS / 2, "{kinesis_records} records for {CALLS} calls");
}

#[tokio::test]
async fn the_lines_of_a_batch_share_records_and_are_there_before_the_answer() {
    for calls_max in [1, 4] {
        let function = Function::start(calls_max).await;
        let lines: Vec<_> = (0..500).map(|number| good(&number.to_string())).collect();
        let answer = function.call(0, event("/v1/events", "application/x-ndjson", &lines.join("\n"))).await;
        let results: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!((&answer["statusCode"], &results["accepted"]), (&json!(200), &json!(500)));
        assert_eq!(function.stream.records().len(), 500);
        let kinesis_records = function.stream.kinesis_records();
        assert!(kinesis_records < 50, "{kinesis_records} records with {calls_max} calls at once");
    }
}
