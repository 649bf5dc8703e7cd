//! A pipeline for one test: its own directory, its own ports.

use std::path::{Path, PathBuf};
use std::time::Duration;

use millrace::audit::{self, Audit};
use millrace::cloud::{Doors, STREAM_TRANSITION_DEFAULT};
use millrace::pipeline::{Options, Pipeline};
use millrace::{clock, names};
use tempfile::TempDir;

use crate::http::Http;

/// Two screens that requests of the tests name.
pub(crate) const SCREENS: &str = concat!(
    r#"{"adunit_id":"berlin-1","publisher_id":"pub-b","name":"Alexanderplatz","venuetype_id":10101,"city":"Berlin","country":"DEU","lat":52.52,"lon":13.41,"tz":"Europe/Berlin","width":1080,"height":1920,"slot_s":8,"multiplier":4}"#,
    "\n",
    r#"{"adunit_id":"kathmandu-1","publisher_id":"pub-k","name":"Thamel","venuetype_id":301,"city":"Kathmandu","country":"NPL","lat":27.71,"lon":85.31,"tz":"Asia/Kathmandu","width":1920,"height":1080,"slot_s":10,"multiplier":1.5}"#,
    "\n",
);

pub(crate) struct Running {
    pub(crate) pipeline: Pipeline,
    pub(crate) http: Http,
    _dir: Option<TempDir>,
}

pub(crate) fn options(data_dir: &Path) -> Options {
    let any = "127.0.0.1:0".parse().expect("an address");
    Options {
        data_dir: data_dir.to_owned(),
        cloud: any,
        doors: Doors::default(),
        stream_transition: STREAM_TRANSITION_DEFAULT,
        ingest: any,
        raw_shards: 2,
        screens: SCREENS.into(),
        publish_interval: Duration::from_secs(3_600),
        binaries: None,
        faults: Vec::new(),
    }
}

impl Running {
    /// A pipeline that publishes only when the test says so.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut running = Self::start_in(dir.path()).await;
        running._dir = Some(dir);
        running
    }

    pub(crate) async fn start_in(data_dir: &Path) -> Self {
        let pipeline = Pipeline::start(options(data_dir)).await.expect("the pipeline starts");
        let http = Http::new(pipeline.ingest());
        Self { pipeline, http, _dir: None }
    }

    pub(crate) async fn post(&self, body: &str) -> u16 {
        self.http.post("/v1/ad_requests", "application/json", body.to_owned()).await.status
    }

    /// Brings everything accepted into the tables.
    pub(crate) async fn drain(&self) {
        self.pipeline.drain().await.expect("everything gets into the tables");
    }

    pub(crate) async fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        names::athena(self.pipeline.aws()).run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).rows
    }

    /// The single number of a query's answer.
    pub(crate) async fn number(&self, sql: &str) -> u64 {
        let rows = self.sql(sql).await;
        rows[0][0].as_deref().and_then(|cell| cell.parse().ok()).expect("a number")
    }

    pub(crate) async fn audit(&self) -> Audit {
        audit::run(self.pipeline.aws(), clock::now_ms()).await.expect("the audit runs")
    }
}

/// The corpus beside the project, where it is there.
pub(crate) fn corpus(file: &str) -> Option<String> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../../shared/corpus", file].iter().collect();
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(text),
        Err(_) => {
            println!("skipped: {} is not beside the project", path.display());
            None
        }
    }
}

/// Rows of `ad_requests`.
pub(crate) async fn number_of_rows(running: &Running) -> u64 {
    running.number("SELECT count(*) FROM ad_requests").await
}
