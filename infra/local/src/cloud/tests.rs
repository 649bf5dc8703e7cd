//! The door: which service answers, what is refused, and start and stop.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

mod doors;

fn config(dir: &tempfile::TempDir) -> CloudConfig {
    CloudConfig::new(dir.path().join("data"), SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// One request over a connection of its own; the answer's head and body.
async fn exchange(cloud: &Cloud, head: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(cloud.address).await.unwrap();
    let request =
        format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn requests_find_their_service() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(config(&dir)).await.unwrap();
    let check = async |head: &str, body: &str, expected: &[&str]| {
        let answer = exchange(&cloud, head, body).await;
        for text in expected {
            assert!(answer.contains(text), "{text} in {answer}");
        }
    };
    let kinesis = |operation: &str| format!("POST / HTTP/1.1\r\nx-amz-target: Kinesis_20131202.{operation}");
    let json = "\r\ncontent-type: application/x-amz-json-1.1";
    check(&(kinesis("ListStreams") + json), "{}", &["200 OK", "x-amzn-requestid: ", "\"StreamNames\":[]", json]).await;
    check(
        &kinesis("CreateChannel"),
        "{}",
        &["400 Bad", "x-amzn-errortype: UnknownOperationException", "Kinesis CreateChannel is not implemented"],
    )
    .await;
    check(&kinesis("ListStreams"), "{", &["400 Bad", "\"__type\":\"SerializationException\""]).await;
    let cbor = "\r\ncontent-type: application/x-amz-cbor-1.1";
    check(&(kinesis("PutRecord") + cbor), "x", &["400 Bad", "x-amzn-errortype: SerializationException", cbor]).await;
    let glue = "POST / HTTP/1.1\r\nx-amz-target: AWSGlue.GetDatabases".to_owned();
    check(&(glue + cbor), "", &["415 ", "not in CBOR"]).await;
    check("POST / HTTP/1.1\r\nx-amz-target: Nothing_1.Do", "{}", &["400 Bad", "Nothing_1 Do is not implemented"]).await;
    check("POST / HTTP/1.1\r\nx-amz-target: nothing", "{}", &["400 Bad", "names no service"]).await;
    check("GET / HTTP/1.1\r\nx-amz-target: Kinesis_20131202.ListStreams", "", &["400 Bad", "GET is not POST"]).await;
    check("POST / HTTP/1.1\r\nx-amz-target: AWSGlue.GetDatabases", "{}", &["200 OK", "DatabaseList"]).await;
    check("POST / HTTP/1.1\r\nx-amz-target: Firehose_20150804.ListDeliveryStreams", "{}", &["200 OK"]).await;
    check("POST / HTTP/1.1\r\nx-amz-target: AmazonAthena.ListWorkGroups", "{}", &["WorkGroups"]).await;
    check("GET / HTTP/1.1", "", &["200 OK", "ListAllMyBucketsResult"]).await;
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(config(&dir)).await.unwrap();
    let head = "POST / HTTP/1.1\r\nx-amz-target: Kinesis_20131202.PutRecords";
    let mut stream = TcpStream::connect(cloud.address).await.unwrap();
    let request = format!("{head}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 20000000\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 1_024];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = std::str::from_utf8(&answer[..length]).unwrap();
    assert!(answer.contains("413 "), "{answer}");
    cloud.shutdown().await;
}

#[tokio::test]
async fn a_busy_port_and_a_busy_directory_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(config(&dir)).await.unwrap();
    let error = Cloud::start(config(&dir)).await.unwrap_err();
    assert!(matches!(error, CloudError::DataDir(DataDirError::InUse { .. })), "{error}");
    let other = tempfile::tempdir().unwrap();
    let error = Cloud::start(CloudConfig { listen: cloud.address, ..config(&other) }).await.unwrap_err();
    assert!(matches!(error, CloudError::Busy { address } if address == cloud.address), "{error}");
    assert!(error.to_string().contains(&cloud.address.to_string()));
    cloud.shutdown().await;
    Cloud::start(config(&dir)).await.unwrap().shutdown().await;
}
