//! TLS from outside: both protocols by ALPN, a renewed certificate, and senders that do not speak it.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ingest::Server;
use ingest::server::{Drained, Limits};
use ingest::tls::{Tls, TlsFiles};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use crate::rig::{GOOD, Rig};
use crate::stream::Mode;

fn fixtures() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Shakes hands as a client that trusts one certificate and offers these protocols.
async fn connect(
    address: std::net::SocketAddr,
    trusted: &str,
    offered: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixtures().join(trusted)).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

#[tokio::test]
async fn both_protocols_are_served_encrypted_and_nothing_else_is() {
    let rig = Rig::start(Mode::Take).await;
    let (tls, _renewal) =
        Tls::read(TlsFiles { cert: fixtures().join("one.pem"), key: fixtures().join("one.key") }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = Limits { head_timeout: Duration::from_millis(500), ..Limits::default() };
    let server = Server { ingest: rig.ingest.clone(), limits, tls: Some(tls) };
    let running = tokio::spawn(ingest::run(listener, server, async move { stopped.await.unwrap_or(()) }));

    for offered in [&["http/1.1"][..], &[]] {
        let stream = connect(address, "one.pem", offered).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driving = tokio::spawn(connection);
        let request = Request::post("/v1/ad_requests").header("host", "localhost").body(GOOD.to_owned()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
        drop(sender);
        driving.await.unwrap().unwrap();
    }
    let stream = connect(address, "one.pem", &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driving = tokio::spawn(connection);
    let request = Request::post("https://localhost/v1/ad_requests").body(GOOD.to_owned()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    drop(sender);
    driving.await.unwrap().unwrap();

    assert!(connect(address, "two.pem", &["h2"]).await.is_err(), "another certificate is not trusted");
    // Neither plain HTTP nor silence is served.
    for first in ["GET /health HTTP/1.1\r\nhost: x\r\n\r\n", ""] {
        let mut plain = TcpStream::connect(address).await.unwrap();
        plain.write_all(first.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset is an end too.
        drop(plain.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    }
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap(), Drained::Whole);
    assert_eq!(rig.events().len(), 3);
}
