//! A plain HTTP client for the tests.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the answer is JSON")
    }
}

/// A client that keeps its connections.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
}

impl Http {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address }
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header(http::header::CONTENT_TYPE, content_type)
            .body(Full::new(body.into()))
            .expect("a request");
        self.send(request).await.expect("the server answers")
    }

    /// Where a path is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A call of a JSON service.
    pub(crate) async fn target(&self, target: &str, body: &serde_json::Value) -> Answer {
        let request = http::Request::post(self.url("/"))
            .header("x-amz-target", target)
            .header(http::header::CONTENT_TYPE, "application/x-amz-json-1.1")
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        self.send(request).await.expect("the service answers")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = http::Request::get(format!("http://{}{path}", self.address)).body(Full::default());
        self.send(request.expect("a request")).await.expect("the server answers")
    }

    /// Sends a request; an error when the connection ends first.
    pub(crate) async fn send(
        &self,
        request: http::Request<Full<Bytes>>,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let (parts, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }
}
