//! Asking a running local cloud about itself: requests to what it serves under `/_millrace/`.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1_024 * 1_024;

/// The body of the answer to one request.
///
/// # Errors
/// When nothing listens at `endpoint` (said with what would), or it refuses: with its words.
pub(crate) async fn ask(endpoint: &str, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder().method(method).uri(format!("{}/_millrace/{path}", endpoint.trim_end_matches('/')));
    let request = request.body(Full::new(body)).context("make the request")?;
    let answer = client.request(request).await.with_context(|| {
        format!("reach a local cloud at {endpoint}: is `millrace up` running there? --endpoint names another")
    })?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed).context("read the answer")?.to_bytes();
    if !status.is_success() {
        bail!("the local cloud refuses: {}", String::from_utf8_lossy(&body));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_there_is_said_with_the_way_out() {
        // Bound and given back: nothing listens on it.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = ask(&format!("http://{address}"), Method::GET, "limits", Bytes::new()).await.unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains(&address.to_string()) && said.contains("`millrace up`"), "{said}");
    }
}
