//! A collection API over the small Kinesis, and calls of it.

use std::time::Duration;

use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use axum::Router;
use axum::body::Body;
use events::envelope::{Event, EventType};
use events::failed::Refusal;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use ingest::{Ingest, Settings, app};
use kinesis_producer::Producer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

use crate::stream::{Mode, Stream};

pub(crate) const NOW_MS: i64 = 1_795_000_000_123;

pub(crate) const GOOD: &str = r#"{"id":"r-1","imp":[{"id":"1","tagid":"unit-7","video":{"mimes":["video/mp4"]}}],"dooh":{"id":"s"},"device":{"geo":{"lat":52.5,"lon":13.4}}}"#;

/// The head and the body of the answer to one call on a connection, which it ends.
pub(crate) async fn call_on(mut connection: TcpStream, method: &str, path: &str, body: &str) -> (String, String) {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    connection.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// One collection API.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) stream: Stream,
    pub(crate) producer: Producer,
    pub(crate) ingest: Ingest,
    pub(crate) app: Router,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Rig {
    pub(crate) async fn start(mode: Mode) -> Self {
        Self::start_with(mode, |_| {}, |_| {}).await
    }

    pub(crate) async fn start_with(
        mode: Mode,
        change_producer: impl FnOnce(&mut kinesis_producer::Config),
        change_settings: impl FnOnce(&mut Settings),
    ) -> Self {
        let stream = Stream::start(mode).await;
        let sdk = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(format!("http://{}", stream.address))
            .build();
        let mut config = kinesis_producer::Config::new("ad-events");
        config.linger = Duration::from_millis(1);
        change_producer(&mut config);
        let producer = Producer::start(config, aws_sdk_kinesis::Client::from_conf(sdk)).await.unwrap();
        let mut settings = Settings { clock_ms: || NOW_MS, ..Settings::default() };
        change_settings(&mut settings);
        let ingest = Ingest::new(producer.clone(), settings);
        let app = app(ingest.clone());
        Self { stream, producer, ingest, app }
    }

    pub(crate) async fn call(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.app.clone().oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: head.status, headers: head.headers, text }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.call(post(path, body)).await
    }

    /// The events on the stream, as ids and original bodies; without those that were refused.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let accepted = self.typed_events().into_iter().filter(|(event_type, ..)| *event_type != EventType::FailedEvent);
        accepted.map(|(_, id, body)| (id, body)).collect()
    }

    /// All events on the stream, as types, ids and bodies.
    pub(crate) fn typed_events(&self) -> Vec<(EventType, String, String)> {
        let read = |record: &axum::body::Bytes| {
            let event = Event::read(record).unwrap();
            let id = event.envelope.event_id.to_string();
            (event.envelope.event_type, id, event.original_body().unwrap().into_owned())
        };
        self.stream.records().iter().map(read).collect()
    }

    /// The refused events on the stream: first rule broken, and the bytes.
    pub(crate) fn refused(&self) -> Vec<(String, Vec<u8>)> {
        let refused = self.typed_events().into_iter().filter(|(event_type, ..)| *event_type == EventType::FailedEvent);
        let read = |body: String| {
            let refusal: Refusal<'_> = serde_json::from_str(&body).unwrap();
            let payload = base64_simd::STANDARD.decode_to_vec(refusal.payload.as_bytes()).unwrap();
            (refusal.error_code.into_owned(), payload)
        };
        refused.map(|(_, _, body)| read(body)).collect()
    }

    /// A collection API for the tenants of a file.
    pub(crate) async fn start_for(tenants: &str) -> Self {
        let rig = Self::start(Mode::Take).await;
        let (sender, receiver) = tokio::sync::watch::channel(std::sync::Arc::default());
        ingest::tenants::reload(tenants.as_bytes(), &sender).unwrap();
        let settings = Settings { clock_ms: || NOW_MS, ..Settings::default() };
        let ingest = Ingest::with_tenants(rig.producer.clone(), settings, receiver);
        let app = app(ingest.clone());
        Self { ingest, app, ..rig }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the shape that all problems share.
    pub(crate) fn check_problem(&self, status: u16, page: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("/problems/{page}"));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        let is_for_later = matches!(status, 429 | 503);
        assert_eq!(!self.header("retry-after").is_empty(), is_for_later);
        problem
    }
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).body(body.into()).unwrap()
}

pub(crate) fn good(id: &str) -> String {
    GOOD.replace("r-1", id)
}
