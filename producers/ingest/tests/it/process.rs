//! The server as a process: started, called, asked to end.

use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::rig::{GOOD, call_on};
use crate::stream::{Mode, Stream};

/// Longest wait for anything in here; it is only reached when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The real binary.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    pub(crate) async fn start(stream: &Stream, settings: &[(&str, String)]) -> Self {
        // Free now, and used at once: nobody else on this machine takes it in between, or the test fails loudly.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_ingest-server"))
            .env("AWS_ENDPOINT_URL", format!("http://{}", stream.address))
            .envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "t"), ("AWS_SECRET_ACCESS_KEY", "t")])
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("MILLRACE_LISTEN", address.to_string())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut process = Self { child, address };
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                assert!(process.child.try_wait().unwrap().is_none(), "the server ended");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.unwrap();
        process
    }

    /// Status and body of one call on a connection of its own.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let connection = TcpStream::connect(self.address).await.unwrap();
        let (head, body) = call_on(connection, method, path, body).await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    pub(crate) async fn sink_health(&self) -> (u16, serde_json::Value) {
        let (status, body) = self.call("GET", "/sink-health", "").await;
        (status, serde_json::from_str(&body).unwrap())
    }

    /// Asks it to end, and says how it did.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        let ended = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.unwrap()
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn sigterm_answers_what_is_open_and_ends_in_order() {
    let stream = Stream::start(Mode::Hold).await;
    let process = Process::start(&stream, &[]).await;
    let mut open = TcpStream::connect(process.address).await.unwrap();
    let head = format!("POST /v1/ad_requests HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", GOOD.len());
    open.write_all((head + GOOD).as_bytes()).await.unwrap();
    let waits = async {
        while !process.call("GET", "/metrics", "").await.1.contains("\nevents_waiting 1\n") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap();
    let address = process.address;
    let ending = tokio::spawn(process.terminate());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    stream.set(Mode::Take);
    let mut answer = String::new();
    open.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(ending.await.unwrap().success());
    assert_eq!(stream.records().len(), 1);
}
