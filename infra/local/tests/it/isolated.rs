//! The functions as they are deployed: the real binaries, through the Runtime API and the Lambda API.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http_body_util::Full;
use millrace::lambda::{Function, FunctionConfig};
use millrace::names;
use millrace::pipeline::{Binaries, Options, Pipeline};
use serde_json::{Value, json};

use crate::http::Http;
use crate::running::options;

/// The folder of a build's binaries: above the one of this test.
pub(crate) fn built() -> Option<PathBuf> {
    let dir = std::env::current_exe().expect("a path").parent()?.parent()?.to_owned();
    if Binaries::in_dir(&dir).is_ok() && dir.join("ingest-lambda").is_file() {
        return Some(dir);
    }
    println!("skipped: the functions are not built; cargo build --workspace --bins builds them");
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployed_binaries_carry_an_event_from_the_api_to_sql() {
    let Some(dir) = built() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let binaries = Some(Binaries::in_dir(&dir).expect("they are there"));
    let pipeline = Pipeline::start(Options { binaries, ..options(data.path()) }).await.expect("it starts");
    let api = Http::new(pipeline.ingest());
    for number in 0..20 {
        let body = format!(r#"{{"id":"a{number}","imp":[{{"id":"1","banner":{{}}}}],"dooh":{{"id":"berlin-1"}}}}"#);
        assert_eq!(api.post("/v1/ad_requests", "application/json", body).await.status, 200);
    }
    // The third function, as API Gateway would call it.
    let ingest = FunctionConfig {
        memory_mb: 1_769,
        timeout: std::time::Duration::from_secs(30),
        environment: [("RAW_STREAM".to_owned(), names::RAW_STREAM.to_owned())].into(),
        ..FunctionConfig::new("ingest", dir.join("ingest-lambda"))
    };
    pipeline.cloud().lambda().create_function(ingest).await.expect("it is created");
    let door = Http::new(pipeline.cloud().endpoint().trim_start_matches("http://").parse().expect("an address"));
    let body = r#"{"id":"through-lambda","imp":[{"id":"1","banner":{}}],"dooh":{"id":"kathmandu-1"}}"#;
    let answer = door.post("/2015-03-31/functions/ingest/invocations", "application/json", gateway(body)).await;
    assert_eq!((answer.status, answer.json()["statusCode"].as_u64()), (200, Some(200)), "{}", answer.json());
    let answer = door.post("/2015-03-31/functions/ingest/invocations", "application/json", gateway("{")).await;
    assert_eq!((answer.status, answer.json()["statusCode"].as_u64()), (200, Some(400)), "{}", answer.json());

    pipeline.drain().await.expect("everything gets into the tables");
    let athena = names::athena(pipeline.aws());
    let sql = "SELECT count(*), count(DISTINCT auction_id) FROM imps WHERE screen_known";
    let rows = athena.run(sql).await.expect("an answer").rows;
    assert_eq!(rows, [[Some("21".to_owned()), Some("21".to_owned())]]);
    for name in ["enrich", "stage", "ingest"] {
        let stats = pipeline.cloud().lambda().function(name).expect("it is there").stats();
        assert!(stats.invocations > 0 && stats.errors == 0, "{name}: {stats:?}");
        said_in_json(&pipeline.cloud().lambda().function(name).expect("it is there"), &data.path().join("lambda-logs"))
            .await;
    }
    let statistics = json!({
        "Namespace": "Millrace", "MetricName": "EventsOut", "StartTime": 0, "EndTime": 4_000_000_000_u64,
        "Period": 86_400, "Statistics": ["Sum"], "Dimensions": [{ "Name": "Stage", "Value": "enrich" }],
    });
    let target = "GraniteServiceVersion20100801.GetMetricStatistics";
    let mut answer = Value::Null;
    let mut sum = 0.0;
    // What was printed last may still be on its way through the pipe.
    for _ in 0..1_000 {
        let request = http::Request::post(pipeline.cloud().endpoint()).header("x-amz-target", target);
        let request = request.body(Full::new(Bytes::from(statistics.to_string()))).expect("a request");
        answer = door.send(request).await.expect("an answer").json();
        let points = answer["Datapoints"].as_array().expect("points");
        sum = points.iter().filter_map(|point| point["Sum"].as_f64()).sum::<f64>();
        if sum > 20.5 {
            break;
        }
    }
    assert!((sum - 21.0).abs() < 0.5, "what the function said of itself is a metric: {answer}");
    pipeline.stop().await.expect("it stops");
}

/// Every line that a function prints is JSON, and no line is coloured.
async fn said_in_json(function: &Function, logs: &Path) {
    function.flush_log().await;
    let file = logs.join(format!("{}.ndjson", function.config().name));
    let text = std::fs::read_to_string(&file).expect("its log");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("the log is JSON"));
    let said: Vec<String> = lines
        .filter(|line| line["type"] == "function")
        .map(|line| line["message"].as_str().expect("a message").to_owned())
        .collect();
    for line in said {
        assert!(serde_json::from_str::<Value>(&line).is_ok() && !line.contains('\u{1b}'), "{line}");
    }
}

/// A request as API Gateway's HTTP API hands it to a function.
fn gateway(body: &str) -> String {
    let event: Value = json!({
        "version": "2.0",
        "routeKey": "POST /v1/ad_requests",
        "rawPath": "/v1/ad_requests",
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "api.example" },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "local",
            "domainName": "api.example",
            "http": {
                "method": "POST",
                "path": "/v1/ad_requests",
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "test"
            },
            "requestId": "1",
            "routeKey": "POST /v1/ad_requests",
            "stage": "$default",
            "time": "22/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_348_800_000_i64
        },
        "body": body,
        "isBase64Encoded": false
    });
    event.to_string()
}
