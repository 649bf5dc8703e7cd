//! A function's log: what its environments print, and what the platform says about them, one JSON object a line.
//!
//! The file is bounded: past 64 MiB it is moved aside, over the one before. One thread writes; when it cannot keep up,
//! the environments wait for it, as they do at AWS. Lines that the disk does not take are dropped, and their count is
//! the next line that it takes: an invocation never fails or waits for a full disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{mpsc, oneshot};

use super::report::Metrics;
use crate::clock::Clock;
use crate::cloudwatch::CloudWatch;
use crate::faults::Faults;

/// The file is moved aside when it has grown past this.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// A log event of the service has at most 1 MB; here lines are cut well below.
const LINE_BYTES_MAX: usize = 256 * 1_024;
/// Lines on their way to the file.
const QUEUE_LINES: usize = 1_024;
/// Lines are written together, up to so many bytes.
const WRITE_BYTES: usize = 64 * 1_024;
/// What a caller may see of an invocation's log.
const TAIL_BYTES_MAX: usize = 4_096;

/// One line of the file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// ISO 8601, UTC, milliseconds.
    time: String,
    /// `function`, or `platform.` and what happened, as the Telemetry API names it.
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    log_stream: Arc<str>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Metrics>,
}

enum Command {
    Write(Entry),
    Flush(oneshot::Sender<()>),
}

/// The log of one function. Cheap to clone; the file is closed when the last clone is dropped.
#[derive(Debug, Clone)]
pub(super) struct LogGroup {
    sender: mpsc::Sender<Command>,
    clock: Clock,
    cloudwatch: Option<CloudWatch>,
}

impl LogGroup {
    /// Opens the file, or makes it, and starts the thread that writes. Blocks.
    pub(super) fn open(
        path: &Path,
        (faults, clock): (Faults, Clock),
        cloudwatch: Option<CloudWatch>,
    ) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = LogFile::open(path.to_owned(), (faults, clock.clone()))?;
        let (sender, mut receiver) = mpsc::channel(QUEUE_LINES);
        std::thread::Builder::new().name("function-log".to_owned()).spawn(move || {
            while let Some(command) = receiver.blocking_recv() {
                let is_last = receiver.is_empty();
                file.take(command, is_last);
            }
        })?;
        Ok(Self { sender, clock, cloudwatch })
    }

    /// Waits until all that was logged before is in the file.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.sender.send(Command::Flush(done)).await.is_ok() {
            // An error means that the writer has ended, and then nothing waits for it.
            let _ended = flushed.await;
        }
    }

    async fn write(&self, entry: Entry) {
        if self.sender.send(Command::Write(entry)).await.is_err() {
            tracing::debug!("a function's log was closed before its environment");
        }
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Whole lines that are not written yet.
    waiting: Vec<u8>,
    waiting_lines: u64,
    /// Lines that the disk did not take, since the last one that it took.
    dropped: u64,
    faults: Faults,
    clock: Clock,
}

impl LogFile {
    fn open(path: PathBuf, (faults, clock): (Faults, Clock)) -> io::Result<Self> {
        let (file, bytes) = open(&path)?;
        Ok(Self { path, file, bytes, waiting: Vec::new(), waiting_lines: 0, dropped: 0, faults, clock })
    }

    fn take(&mut self, command: Command, is_last: bool) {
        match command {
            Command::Write(entry) => {
                self.push(&entry);
                if is_last || self.waiting.len() >= WRITE_BYTES {
                    self.write();
                }
            }
            Command::Flush(done) => {
                self.write();
                // Whoever asked may have given up waiting.
                let _gone = done.send(());
            }
        }
    }

    fn push(&mut self, entry: &Entry) {
        let line = serde_json::to_vec(entry).expect("texts and numbers can be written as JSON");
        self.waiting.extend_from_slice(&line);
        self.waiting.push(b'\n');
        self.waiting_lines += 1;
    }

    /// Writes what waits, or drops it where the disk does not take it.
    fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let (mut lines, count) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.waiting_lines));
        if self.dropped > 0 {
            // Before the lines that can be written again, as those that are lost were.
            self.push(&Entry::dropped(self.dropped, self.clock.now_ms()));
            self.waiting.append(&mut lines);
            lines = std::mem::take(&mut self.waiting);
            self.waiting_lines = 0;
        }
        let written = self.faults.check_disk(self.clock.now_ms()).and_then(|()| self.file.write_all(&lines));
        match written {
            Ok(()) => {
                self.dropped = 0;
                self.bytes += u64::try_from(lines.len()).unwrap_or(0);
            }
            Err(error) => {
                if self.dropped == 0 {
                    tracing::error!(%error, file = %self.path.display(), "a function's log is not written for now");
                }
                self.dropped += count;
                // Half a line must not stay in the way of the next one.
                if let Err(error) = self.file.set_len(self.bytes) {
                    tracing::error!(%error, file = %self.path.display(), "half a line stays in a function's log");
                }
            }
        }
        if self.bytes > FILE_BYTES_MAX
            && let Err(error) = self.move_aside()
        {
            tracing::error!(%error, file = %self.path.display(), "a function's log grows past its size");
        }
    }

    fn move_aside(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("1.ndjson"))?;
        (self.file, self.bytes) = open(&self.path)?;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

impl Entry {
    /// What is said of lines that the disk did not take, by the Telemetry API's name.
    fn dropped(count: u64, now_ms: i64) -> Self {
        let message = format!("{count} lines of this log were not written: the disk did not take them");
        let (kind, request_id, metrics) = ("platform.logsDropped", None, None);
        Self { time: time_text(now_ms), kind, request_id, log_stream: "".into(), message, metrics }
    }
}

fn time_text(at_ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The log of one environment: notes which invocation a line belongs to.
#[derive(Debug)]
pub(super) struct LogStream {
    group: LogGroup,
    name: Arc<str>,
    /// Held for the copy of a line.
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    request_id: Option<String>,
    tail: String,
}

impl LogStream {
    pub(super) fn new(group: LogGroup, name: &str) -> Self {
        Self { group, name: name.into(), current: Mutex::default() }
    }

    /// From here on, lines belong to this invocation.
    pub(super) fn begin(&self, request_id: &str) {
        *self.current() = Current { request_id: Some(request_id.to_owned()), tail: String::new() };
    }

    /// The last 4 KB of the invocation's log.
    pub(super) fn tail(&self) -> String {
        self.current().tail.clone()
    }

    /// Logs what the platform has to say.
    pub(super) async fn platform(&self, kind: &'static str, message: String, metrics: Option<Metrics>) {
        self.log(kind, message, metrics).await;
    }

    /// Copies what the function prints, line by line, until it closes the pipe.
    pub(super) async fn copy(&self, mut pipe: impl AsyncRead + Unpin) {
        let mut lines = Lines::default();
        let mut buffer = vec![0; 16 * 1_024];
        loop {
            let read = match pipe.read(&mut buffer).await {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(%error, "cannot read what a function prints");
                    break;
                }
            };
            for line in lines.push(buffer.get(..read).unwrap_or_default()) {
                self.said(line).await;
            }
        }
        if let Some(line) = lines.rest() {
            self.said(line).await;
        }
    }

    /// A line of the function: to the log, and what it has of metrics to the metrics.
    async fn said(&self, line: String) {
        if let Some(cloudwatch) = &self.group.cloudwatch {
            cloudwatch.record_line(&line);
        }
        self.log("function", line, None).await;
    }

    async fn log(&self, kind: &'static str, message: String, metrics: Option<Metrics>) {
        let request_id = {
            let mut current = self.current();
            append_tail(&mut current.tail, &message);
            current.request_id.clone()
        };
        let time = time_text(self.group.clock.now_ms());
        self.group.write(Entry { time, kind, request_id, log_stream: Arc::clone(&self.name), message, metrics }).await;
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append_tail(tail: &mut String, line: &str) {
    tail.push_str(line);
    tail.push('\n');
    let mut cut = tail.len().saturating_sub(TAIL_BYTES_MAX);
    while !tail.is_char_boundary(cut) {
        cut += 1;
    }
    tail.drain(..cut);
}

/// Cuts a stream of bytes into lines, and lines that are too long into pieces.
#[derive(Debug, Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.partial.len() >= LINE_BYTES_MAX {
                lines.extend(self.rest());
            }
        }
        lines
    }

    /// What was begun; nothing for an empty line.
    fn rest(&mut self) -> Option<String> {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end_matches(['\r', '\n']);
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use crate::faults::{FaultKind, FaultRule};

    use super::*;

    #[test]
    fn lines_survive_any_cut() {
        let text = b"one\ntwo \xe2\x82\xac\r\n\nfour";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            let mut found = lines.push(&text[..cut]);
            found.extend(lines.push(&text[cut..]));
            found.extend(lines.rest());
            assert_eq!(found, ["one", "two €", "four"], "{cut}");
        }
        let mut lines = Lines::default();
        let long = vec![b'x'; LINE_BYTES_MAX + 3];
        let first = lines.push(&long[..LINE_BYTES_MAX]);
        assert_eq!(first.len(), 1, "a line without end is cut, not kept");
        assert_eq!(lines.push(&long[LINE_BYTES_MAX..]), Vec::<String>::new());
        assert_eq!(lines.rest().unwrap(), "xxx");
    }

    #[test]
    fn a_tail_keeps_the_end_in_whole_characters() {
        let mut tail = String::new();
        for _ in 0..2_000 {
            append_tail(&mut tail, "€");
        }
        assert!((TAIL_BYTES_MAX - 4..=TAIL_BYTES_MAX).contains(&tail.len()), "{}", tail.len());
        append_tail(&mut tail, "end");
        assert!(tail.ends_with("€\nend\n"));
    }

    #[tokio::test]
    async fn a_log_is_one_object_a_line_and_is_moved_aside_when_large() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/f.ndjson");
        let rim = (Faults::default(), Clock::standing_at(1_700_000_000_123));
        let group = LogGroup::open(&path, rim, None).unwrap();
        let stream = LogStream::new(group.clone(), "s");
        stream.begin("7");
        stream.copy(&b"hello\n\"you\"\n"[..]).await;
        group.flush().await;
        let text = fs::read_to_string(&path).unwrap();
        expect_test::expect![[r#"
            {"time":"2023-11-14T22:13:20.123Z","type":"function","requestId":"7","logStream":"s","message":"hello"}
            {"time":"2023-11-14T22:13:20.123Z","type":"function","requestId":"7","logStream":"s","message":"\"you\""}
        "#]]
        .assert_eq(&text);
        assert_eq!(stream.tail(), "hello\n\"you\"\n");
        let line = "x".repeat(LINE_BYTES_MAX - 1);
        for _ in 0..=FILE_BYTES_MAX / 1_024 / 256 {
            stream.platform("platform.start", line.clone(), None).await;
        }
        group.flush().await;
        assert!(path.with_extension("1.ndjson").exists());
        assert!(fs::metadata(&path).unwrap().len() < FILE_BYTES_MAX);
    }
    #[tokio::test]
    async fn a_full_disk_drops_lines_and_says_how_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.ndjson");
        let faults = Faults::default();
        let group = LogGroup::open(&path, (faults.clone(), Clock::standing_at(0)), None).unwrap();
        let stream = LogStream::new(group.clone(), "s");
        stream.copy(&b"before\n"[..]).await;
        group.flush().await;
        faults.set(vec![FaultRule::new(FaultKind::DiskFull)], 0).unwrap();
        // More than the queue holds: whoever logs is not held up.
        for _ in 0..2 * QUEUE_LINES {
            stream.copy(&b"meanwhile\n"[..]).await;
        }
        group.flush().await;
        faults.set(Vec::new(), 0).unwrap();
        stream.copy(&b"after\n"[..]).await;
        group.flush().await;
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let said: Vec<String> = lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect();
        let dropped = format!("{} lines of this log were not written: the disk did not take them", 2 * QUEUE_LINES);
        assert_eq!(said, ["before", &dropped, "after"]);
    }
}
