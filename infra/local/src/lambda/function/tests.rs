//! Functions as child processes: this test binary is the bootstrap, through a script that names [`bootstrap`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

/// A request of the runtime over a connection of its own: the answer's headers and body.
fn request(api: &str, head: &str, body: &str) -> (Vec<String>, String) {
    let mut stream = TcpStream::connect(api).unwrap();
    write!(
        stream,
        "{head} HTTP/1.1\r\nhost: {api}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() <= 2 {
            break;
        }
        headers.push(line.trim_end().to_owned());
    }
    let mut body = String::new();
    reader.read_to_string(&mut body).unwrap();
    (headers, body)
}

/// The function under test, when this process was started by the script. In an ordinary run there is nothing to do.
#[test]
fn bootstrap() {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let Some(api) = variables.get("AWS_LAMBDA_RUNTIME_API") else { return };
    if variables.contains_key("FAIL_INIT") {
        let error = r#"{"errorType":"Setup","errorMessage":"no table"}"#;
        request(api, "POST /2018-06-01/runtime/init/error", error);
        std::process::abort();
    }
    loop {
        let (headers, event) = request(api, "GET /2018-06-01/runtime/invocation/next", "");
        let id = headers.iter().find_map(|header| header.strip_prefix("lambda-runtime-aws-request-id: ")).unwrap();
        let event: Value = serde_json::from_str(&event).unwrap();
        let respond = |body: &str| request(api, &format!("POST /2018-06-01/runtime/invocation/{id}/response"), body);
        match event["do"].as_str() {
            Some("describe") => {
                let answer = json!({ "pid": std::process::id(), "headers": headers, "variables": variables });
                respond(&answer.to_string());
            }
            Some("fail") => {
                let error = r#"{"errorType":"Broken","errorMessage":"on purpose"}"#;
                request(api, &format!("POST /2018-06-01/runtime/invocation/{id}/error"), error);
            }
            Some("abort") => std::process::abort(),
            Some("hang") => loop {
                std::thread::park();
            },
            Some("answer at length") => drop(respond(&format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX)))),
            Some("print") => {
                println!("said: {}", event["text"]);
                eprintln!("said aside: {}", event["text"]);
                respond("{}");
            }
            _ => drop(respond(&event.to_string())),
        }
    }
}

/// A function with this binary behind it, in a directory of its own.
struct Fixture {
    dir: tempfile::TempDir,
    account: Account,
    faults: Faults,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let exe = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nexec '{}' --exact lambda::function::tests::bootstrap --nocapture --test-threads 1\n",
            exe.display()
        );
        let path = dir.path().join("bootstrap");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, account: Account::new(1_000, Clock::default()), faults: Faults::default() }
    }

    fn config(&self) -> FunctionConfig {
        let mut config = FunctionConfig::new("f", self.dir.path().join("bootstrap"));
        // A debug build of all tests is not small, and a loaded machine not quick.
        (config.memory_mb, config.timeout) = (10_240, Duration::from_secs(60));
        config
    }

    fn create(&self, config: FunctionConfig) -> Function {
        let logs = self.dir.path().join("logs");
        let host = Host { endpoint: "http://127.0.0.1:1".to_owned(), cloudwatch: None, faults: self.faults.clone() };
        Function::create(config, host, self.account.clone(), Clock::default(), &logs).unwrap()
    }

    fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.dir.path().join("logs/f.ndjson")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn call(event: &Value) -> Call {
    Call { payload: event.to_string().into(), ..Call::default() }
}

async fn invoke(function: &Function, event: Value) -> (bool, Value) {
    let invoked = function.invoke(call(&event)).await.unwrap();
    (invoked.is_error, serde_json::from_slice(&invoked.payload).unwrap())
}

/// Yields until something holds.
async fn until(mut holds: impl FnMut() -> bool, what: &str) {
    for _ in 0..20_000_000_u32 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{what}");
}

fn state(pid: &Value) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

#[tokio::test]
async fn an_environment_is_started_once_and_told_what_it_is() {
    let fixture = Fixture::new();
    let function = fixture.create(fixture.config());
    let (is_error, first) = invoke(&function, json!({ "do": "describe" })).await;
    assert!(!is_error);
    assert_eq!(first["variables"]["AWS_LAMBDA_FUNCTION_NAME"], "f");
    assert_eq!(first["variables"]["AWS_ENDPOINT_URL"], "http://127.0.0.1:1");
    assert_eq!(first["variables"]["HOME"], Value::Null, "nothing of ours is handed on");
    let headers: Vec<&str> = first["headers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for expected in [
        "lambda-runtime-deadline-ms: ",
        "lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:000000000000:function:f",
        "lambda-runtime-trace-id: Root=1-",
    ] {
        assert!(headers.iter().any(|header| header.starts_with(expected)), "{expected} in {headers:?}");
    }
    until(|| function.stats().idle_environments == 1, "the environment is kept").await;
    let (_, second) = invoke(&function, json!({ "do": "describe" })).await;
    assert_eq!(first["pid"], second["pid"]);
    until(|| function.stats().idle_environments == 1, "the environment is kept").await;
    let stats = function.stats();
    assert_eq!((stats.invocations, stats.errors, stats.cold_starts), (2, 0, 1));
    function.stop().await;
    assert_eq!(state(&first["pid"]), None, "it is gone with the function");
    assert!(matches!(function.invoke(call(&json!({}))).await, Err(InvokeError::Stopped)));
}

#[tokio::test]
async fn idle_environments_are_frozen_unless_asked_not_to() {
    let fixture = Fixture::new();
    let function = fixture.create(fixture.config());
    let (_, described) = invoke(&function, json!({ "do": "describe" })).await;
    until(|| state(&described["pid"]) == Some('T'), "it is stopped").await;
    // It is awake for the next event, and answers.
    assert_eq!(invoke(&function, json!({ "n": 1 })).await, (false, json!({ "n": 1 })));
    until(|| state(&described["pid"]) == Some('T'), "it is stopped again").await;
    let awake = fixture.create(FunctionConfig { is_frozen_when_idle: false, ..fixture.config() });
    let (_, described) = invoke(&awake, json!({ "do": "describe" })).await;
    until(|| awake.stats().idle_environments == 1, "the environment is kept").await;
    assert_ne!(state(&described["pid"]), Some('T'));
    function.stop().await;
    awake.stop().await;
}

#[tokio::test]
async fn failures_are_answers_and_the_dead_are_replaced() {
    let fixture = Fixture::new();
    let function = fixture.create(fixture.config());
    let broken = json!({ "errorType": "Broken", "errorMessage": "on purpose" });
    assert_eq!(invoke(&function, json!({ "do": "fail" })).await, (true, broken));
    // The answer comes before the environment rests; an invocation in between would get another.
    until(|| function.stats().idle_environments == 1, "the environment is kept").await;
    let (is_error, answer) = invoke(&function, json!({ "do": "answer at length" })).await;
    assert_eq!((is_error, answer["errorType"].as_str()), (true, Some("Function.ResponseSizeTooLarge")));
    until(|| function.stats().idle_environments == 1, "the environment is kept").await;
    assert_eq!(function.stats().cold_starts, 1, "errors are no reason to start anew");
    let (is_error, answer) = invoke(&function, json!({ "do": "abort" })).await;
    assert_eq!((is_error, answer["errorType"].as_str()), (true, Some("Runtime.ExitError")));
    assert!(answer["errorMessage"].as_str().unwrap().ends_with("Runtime exited with error: signal: aborted"));
    assert_eq!(invoke(&function, json!({ "n": 1 })).await, (false, json!({ "n": 1 })));
    assert_eq!(function.stats().cold_starts, 2);
    function.stop().await;
    let hasty = fixture.create(FunctionConfig { timeout: Duration::from_secs(2), ..fixture.config() });
    let (is_error, answer) = invoke(&hasty, json!({ "do": "hang" })).await;
    assert_eq!((is_error, answer["errorType"].as_str()), (true, Some("Sandbox.Timedout")));
    assert!(answer["errorMessage"].as_str().unwrap().ends_with("Task timed out after 2.00 seconds"), "{answer}");
    hasty.stop().await;
}

#[tokio::test]
async fn faults_kill_and_freeze_a_process() {
    let fixture = Fixture::new();
    let function = fixture.create(FunctionConfig { timeout: Duration::from_secs(2), ..fixture.config() });
    let struck = async |fate: FunctionFate| {
        let invoked = function.invoke(Call { fate: Some(fate), ..call(&json!({ "do": "hang" })) }).await.unwrap();
        serde_json::from_slice::<Value>(&invoked.payload).unwrap()
    };
    let killed = struck(FunctionFate::Kill(Duration::ZERO)).await;
    assert!(killed["errorMessage"].as_str().unwrap().ends_with("exited with error: signal: killed"), "{killed}");
    let frozen = struck(FunctionFate::Freeze(Duration::ZERO)).await;
    assert_eq!(frozen["errorType"], "Sandbox.Timedout");
    assert_eq!(invoke(&function, json!({ "n": 1 })).await, (false, json!({ "n": 1 })), "the next one is new");
    assert_eq!(function.stats().cold_starts, 3);
    let duration = function.usage().duration_ms;
    assert!(duration.0.peak >= 2_000 && duration.1 == 1, "the timeout was reached once: {duration:?}");
    function.stop().await;
}

#[tokio::test]
async fn a_failed_initialisation_is_repeated_once_and_said() {
    let fixture = Fixture::new();
    let environment = BTreeMap::from([("FAIL_INIT".to_owned(), "1".to_owned())]);
    let function = fixture.create(FunctionConfig { environment, ..fixture.config() });
    let answer = invoke(&function, json!({})).await;
    assert_eq!(answer, (true, json!({ "errorType": "Setup", "errorMessage": "no table" })));
    assert_eq!(function.stats().cold_starts, 2);
    function.stop().await;
    let reports = fixture.log().into_iter().filter(|entry| entry["type"] == "platform.initReport").count();
    assert_eq!(reports, 2);
}

#[tokio::test]
async fn a_bulkhead_throttles_what_is_beyond_it() {
    let fixture = Fixture::new();
    let config = FunctionConfig { reserved_concurrency: Some(1), timeout: Duration::from_secs(5), ..fixture.config() };
    let function = fixture.create(config);
    let busy = tokio::spawn({
        let function = function.clone();
        async move { invoke(&function, json!({ "do": "hang" })).await }
    });
    until(|| function.stats().cold_starts == 1, "the first is under way").await;
    let error = function.invoke(call(&json!({}))).await.unwrap_err();
    assert!(matches!(error, InvokeError::Throttled(Throttle::Reserved)), "{error}");
    assert_eq!(function.stats().throttles, 1);
    assert!(busy.await.unwrap().0);
    function.stop().await;
}

#[tokio::test]
async fn what_is_printed_and_reported_is_in_the_log() {
    let fixture = Fixture::new();
    let function = fixture.create(fixture.config());
    let event = Call { wants_log: true, ..call(&json!({ "do": "print", "text": "hello" })) };
    let invoked = function.invoke(event).await.unwrap();
    let id = &invoked.request_id;
    assert!(invoked.log_tail.contains(&format!("START RequestId: {id} Version: $LATEST\n")), "{}", invoked.log_tail);
    assert!(invoked.log_tail.contains(&format!("REPORT RequestId: {id}\tDuration: ")), "{}", invoked.log_tail);
    assert!(invoked.log_tail.contains("\tInit Duration: "), "{}", invoked.log_tail);
    function.stop().await;
    let said = |entry: &Value| entry["message"].as_str().unwrap().contains(": \"hello\"") && entry["requestId"] == *id;
    let mut lines = Vec::new();
    for _ in 0..100_000 {
        function.flush_log().await;
        lines = fixture.log();
        if lines.iter().filter(|entry| said(entry)).count() == 2 {
            break;
        }
    }
    assert_eq!(lines.iter().filter(|entry| said(entry)).count(), 2, "{lines:?}");
    let report = lines.iter().find(|entry| entry["type"] == "platform.report").unwrap();
    assert!(report["metrics"]["initDurationMs"].is_number(), "{report}");
    assert_eq!(report["metrics"]["memorySizeMB"], 10_240);
}

#[test]
fn bad_functions_are_refused() {
    let fixture = Fixture::new();
    let check = |config: FunctionConfig, expected: &str| {
        let logs = fixture.dir.path().join("logs");
        let host = Host { endpoint: "http://x".to_owned(), cloudwatch: None, faults: Faults::default() };
        let created = Function::create(config, host, fixture.account.clone(), Clock::default(), &logs);
        let error = created.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let good = fixture.config();
    check(FunctionConfig { name: "a/b".to_owned(), ..good.clone() }, "name must be");
    check(FunctionConfig { memory_mb: 127, ..good.clone() }, "memory_mb must be");
    check(FunctionConfig { timeout: Duration::from_secs(901), ..good.clone() }, "timeout must be");
    let environment = BTreeMap::from([("A".to_owned(), "x".repeat(VARIABLES_BYTES_MAX))]);
    check(FunctionConfig { environment, ..good.clone() }, "environment must be");
    let missing = FunctionConfig { bootstrap: PathBuf::from("/none/bootstrap"), ..good.clone() };
    assert!(missing.check_bootstrap().unwrap_err().to_string().contains("as its bootstrap"));
    let error = FunctionConfig { reserved_concurrency: Some(901), ..good };
    check(error, "function f");
}
