//! HTTPS with both versions of HTTP, and signatures as our own clients make them.

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_credential_types::Credentials;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStoreExt as _, PutPayload};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::clients::REGION;

async fn start(dir: &tempfile::TempDir, keys: Option<KeyRing>) -> Cloud {
    let doors = Doors { https_port: Some(0), keys };
    Cloud::start(CloudConfig { doors, ..config(dir) }).await.unwrap()
}

/// Connects as a client that trusts `authority` and speaks `protocol`.
async fn connect(cloud: &Cloud, authority: &Path, protocol: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let address: SocketAddr = cloud.https_endpoint().unwrap().trim_start_matches("https://").parse().unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::from(address.ip()), stream).await
}

fn list_streams() -> http::request::Builder {
    http::Request::post("https://localhost/").header("x-amz-target", "Kinesis_20131202.ListStreams")
}

#[tokio::test]
async fn https_carries_both_versions_of_http_to_those_who_trust_it() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = start(&dir, None).await;
    let authority = cloud.authority().unwrap().to_owned();
    assert!(authority.ends_with("tls/ca.pem"));

    let stream = connect(&cloud, &authority, "http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = list_streams().header("host", "localhost").body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.into_body().collect().await.unwrap().to_bytes().starts_with(b"{\"StreamNames\""));
    drop(sender);
    connection.await.unwrap().unwrap();

    let stream = connect(&cloud, &authority, "h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = list_streams().body(Full::new(Bytes::from_static(b"{}"))).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (http::StatusCode::OK, http::Version::HTTP_2));
    drop(sender);
    connection.await.unwrap().unwrap();

    let other = tempfile::tempdir().unwrap();
    let stranger = Identity::open(other.path(), cloud.address.ip(), crate::clock::now_ms()).unwrap();
    let refused = connect(&cloud, stranger.authority(), "h2").await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{refused}");
    // Who speaks plain HTTP to the HTTPS door gets no answer, and nobody else is disturbed.
    let address = cloud.https_endpoint().unwrap();
    let mut plain = TcpStream::connect(address.trim_start_matches("https://")).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _cut = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    connect(&cloud, &authority, "h2").await.unwrap();
    cloud.shutdown().await;
}

#[tokio::test]
async fn the_authority_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = start(&dir, None).await;
    let before = std::fs::read(cloud.authority().unwrap()).unwrap();
    cloud.shutdown().await;
    let cloud = start(&dir, None).await;
    assert_eq!(std::fs::read(cloud.authority().unwrap()).unwrap(), before);
    cloud.shutdown().await;
}

/// What a service says to a caller: nothing, or the code of its error.
async fn said(cloud: &Cloud, key: &str, secret: &str) -> Option<String> {
    let config = aws_sdk_kinesis::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(aws_sdk_kinesis::config::Region::new(REGION))
        .endpoint_url(cloud.endpoint())
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    let answer = aws_sdk_kinesis::Client::from_conf(config).list_streams().send().await;
    answer.err().map(|error| error.code().unwrap_or("no code").to_owned())
}

#[tokio::test]
async fn signatures_are_checked_when_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = start(&dir, Some(KeyRing::of([("AKID", "right")]))).await;
    assert_eq!(said(&cloud, "AKID", "right").await, None);
    assert_eq!(said(&cloud, "local", "local").await, None, "the pipeline's own stages");
    assert_eq!(said(&cloud, "AKID", "wrong").await.as_deref(), Some("InvalidSignatureException"));
    assert_eq!(said(&cloud, "OTHER", "right").await.as_deref(), Some("UnrecognizedClientException"));
    cloud.s3().create_bucket("bucket").await.unwrap();
    let put = async |secret: &str| {
        let builder = AmazonS3Builder::new().with_region(REGION).with_bucket_name("bucket").with_allow_http(true);
        let builder = builder.with_access_key_id("AKID").with_secret_access_key(secret);
        let store = builder.with_endpoint(cloud.endpoint()).build().unwrap();
        store.put(&"a key/with = signs".into(), PutPayload::from_static(b"x")).await.map_err(|error| error.to_string())
    };
    put("right").await.unwrap();
    let refused = put("wrong").await.unwrap_err();
    assert!(refused.contains("SignatureDoesNotMatch"), "{refused}");
    let unsigned = "POST / HTTP/1.1\r\nx-amz-target: Kinesis_20131202.ListStreams";
    let answer = exchange(&cloud, unsigned, "{}").await;
    assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");
    let answer = exchange(&cloud, "GET /bucket HTTP/1.1", "").await;
    assert!(answer.contains("403 ") && answer.contains("<Code>AccessDenied</Code>"), "{answer}");
    let answer = exchange(&cloud, "GET /2015-03-31/functions HTTP/1.1", "").await;
    assert!(answer.contains("403 ") && answer.contains("MissingAuthenticationTokenException"), "{answer}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn sts_says_who_everybody_is() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(config(&dir)).await.unwrap();
    let ask = async |body: &str| {
        let head = "POST / HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded; charset=utf-8";
        exchange(&cloud, head, body).await
    };
    let answer = ask("Action=GetCallerIdentity&Version=2011-06-15").await;
    assert!(answer.contains("200 OK") && answer.contains("<Account>000000000000</Account>"), "{answer}");
    let answer = ask("Version=2011-06-15&Action=Assume%3CRole").await;
    assert!(answer.contains("400 ") && answer.contains("Assume&lt;Role is not implemented"), "{answer}");
    cloud.shutdown().await;
}
