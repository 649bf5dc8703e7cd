//! The REST API's refusals and look-ups; real invocations are tested with the functions.

use std::sync::Arc;

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::Store;
use crate::lambda::FunctionConfig;
use crate::lambda::code::tests::{File, archive};
use crate::s3::S3;

use super::*;

#[test]
fn routes() {
    let check = |method: Method, path: &str, expected: Route<'_>| {
        assert_eq!(Route::of(&method, path), expected, "{method} {path}");
    };
    check(Method::POST, "/2015-03-31/functions/f/invocations", Route::Invoke("f"));
    check(Method::GET, "/2015-03-31/functions/f", Route::GetFunction("f"));
    check(Method::GET, "/2015-03-31/functions/", Route::ListFunctions);
    check(Method::GET, "/2015-03-31/functions", Route::ListFunctions);
    check(Method::GET, "/2015-03-31/functions/f/invocations", Route::Unknown);
    check(Method::POST, "/2015-03-31/functions", Route::CreateFunction);
    check(Method::PUT, "/2015-03-31/functions/f/code", Route::UpdateFunctionCode("f"));
    check(Method::PUT, "/2017-10-31/functions/f/concurrency", Route::PutConcurrency("f"));
    check(Method::PUT, "/2015-03-31/functions/f/concurrency", Route::Unknown);
    check(Method::GET, "/2019-09-25/functions/f/event-invoke-config/list", Route::ListEventInvokes("f"));
    check(Method::POST, "/2015-03-31/functions/f/invocations/x", Route::Unknown);
}

/// A Lambda with a function `f` that no concurrency is left for.
async fn lambda(dir: &tempfile::TempDir) -> Lambda {
    let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
    let store = Store::open(Arc::clone(&data), Clock::default(), false).unwrap();
    let s3 = S3::open(data.join("s3")).await.unwrap();
    let lambda = Lambda::open_in(data, store, s3, 1_000).await;
    let config = FunctionConfig { reserved_concurrency: Some(0), ..FunctionConfig::new("f", "/bin/sh") };
    lambda.create_function(config).await.unwrap();
    lambda
}

#[tokio::test]
async fn refusals_are_the_service_s() {
    let dir = tempfile::tempdir().unwrap();
    let lambda = lambda(&dir).await;
    let check = async |name: &str, kind: &str, body: Bytes, expected: (u16, &str, &str)| {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-invocation-type", HeaderValue::from_str(kind).unwrap());
        let (parts, body) = lambda.handle(&Method::POST, &path, &headers, body).await.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap_or_default();
        let code = parts.headers.get(ERROR_TYPE).map_or("", |code| code.to_str().unwrap());
        assert_eq!((parts.status.as_u16(), code), (expected.0, expected.1), "{name} {kind} {body}");
        assert!(body.to_string().contains(expected.2), "{body}");
        assert!(parts.headers.contains_key(REQUEST_ID));
    };
    let json = || Bytes::from_static(b"{}");
    let large = |bytes: usize| Bytes::from(format!("\"{}\"", "x".repeat(bytes)));
    check("none", "RequestResponse", json(), (404, "ResourceNotFoundException", "function:none")).await;
    check("a:b", "RequestResponse", json(), (404, "ResourceNotFoundException", "Function not found")).await;
    let throttled = (429, "TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded");
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for name in ["f", "f:$LATEST", "f%3A%24LATEST", arn, "000000000000:function:f"] {
        check(name, "RequestResponse", json(), throttled).await;
    }
    check("f", "RequestResponse", Bytes::from_static(b"{"), (400, "InvalidRequestContentException", "parse")).await;
    check("f", "RequestResponse", large(PAYLOAD_BYTES_MAX), (413, "RequestTooLargeException", "too large")).await;
    check("f", "Event", large(EVENT_BYTES_MAX), (413, "RequestTooLargeException", "too large")).await;
    check("f", "Event", json(), (202, "", "null")).await;
    check("f", "DryRun", json(), (204, "", "null")).await;
    check("f", "Later", json(), (400, "InvalidParameterValueException", "Later")).await;
    lambda.stop().await;
}

#[tokio::test]
async fn functions_are_listed_and_described() {
    let dir = tempfile::tempdir().unwrap();
    let lambda = lambda(&dir).await;
    let get = async |path: &str| {
        let answer = lambda.handle(&Method::GET, path, &HeaderMap::new(), Bytes::new()).await;
        let (parts, body) = answer.into_parts();
        let body: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        (parts.status.as_u16(), body)
    };
    let (status, list) = get("/2015-03-31/functions").await;
    assert_eq!((status, list["Functions"][0]["FunctionName"].as_str()), (200, Some("f")));
    let (status, one) = get("/2015-03-31/functions/f").await;
    assert_eq!((status, one["Configuration"]["Timeout"].as_u64()), (200, Some(3)));
    let (status, unknown) = get("/2015-03-31/layers").await;
    assert_eq!(status, 404);
    assert!(unknown["message"].as_str().unwrap().contains("not implemented"), "{unknown}");
}

/// A request of the API and its answer: the status and the body.
async fn ask(lambda: &Lambda, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let (parts, body) = lambda.handle(&method, path, &HeaderMap::new(), body).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
}

fn zipped(files: &[File<'_>]) -> String {
    base64_simd::STANDARD.encode_to_string(archive(files))
}

fn creation(name: &str, code: &Value) -> Value {
    json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Timeout": 7,
        "Role": "arn:aws:iam::000000000000:role/r", "Code": code, "Environment": { "Variables": { "COLOUR": "red" } },
    })
}

#[tokio::test]
async fn a_function_from_an_archive_outlives_a_restart() {
    const FUNCTIONS: &str = "/2015-03-31/functions";
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
    let store = Store::open(Arc::clone(&data), Clock::standing_at(1_700_000_000_000), false).unwrap();
    let s3 = S3::open(data.join("s3")).await.unwrap();
    let open = || Lambda::open_in(Arc::clone(&data), store.clone(), s3.clone(), 1_000);
    let first = open().await;
    let code = json!({ "ZipFile": zipped(&[("bootstrap", 0o644, b"#!/bin/sh\n")]) });
    let (status, made) = ask(&first, Method::POST, FUNCTIONS, &creation("g", &code)).await;
    assert_eq!(
        (status, &made["State"], &made["LastUpdateStatus"]),
        (201, &json!("Pending"), &json!("Successful")),
        "{made}"
    );
    let one = format!("{FUNCTIONS}/g");
    let invocations = format!("{one}/invocations");
    assert_eq!(ask(&first, Method::POST, &invocations, &json!({})).await.0, 409, "it is pending");
    assert_eq!(ask(&first, Method::POST, FUNCTIONS, &creation("g", &code)).await.0, 409);
    store.clock().jump(200);
    // It is not executable, as its archive says.
    let (status, answer) = ask(&first, Method::POST, &invocations, &json!({})).await;
    assert_eq!((status, &answer["errorType"]), (200, &json!("Runtime.InvalidEntrypoint")), "{answer}");

    let changes = json!({ "MemorySize": 256, "Environment": { "Variables": { "COLOUR": "blue" } } });
    let (status, changed) = ask(&first, Method::PUT, &format!("{one}/configuration"), &changes).await;
    assert_eq!(
        (status, &changed["LastUpdateStatus"], &changed["MemorySize"]),
        (200, &json!("InProgress"), &json!(256))
    );
    let new_code = json!({ "ZipFile": zipped(&[("bootstrap", 0o755, b"#!/bin/sh\nexit 3\n")]) });
    assert_eq!(ask(&first, Method::PUT, &format!("{one}/code"), &new_code).await.0, 409, "a change is in progress");
    store.clock().jump(200);
    let (status, changed) = ask(&first, Method::PUT, &format!("{one}/code"), &new_code).await;
    assert_eq!(status, 200, "{changed}");
    assert_ne!(changed["CodeSha256"], made["CodeSha256"]);
    let (_, answer) = ask(&first, Method::POST, &invocations, &json!({})).await;
    assert!(answer["errorMessage"].as_str().unwrap().ends_with("exit status 3"), "{answer}");
    let concurrency = "/2017-10-31/functions/g/concurrency";
    let reserve = |most: u64| json!({ "ReservedConcurrentExecutions": most });
    assert_eq!(ask(&first, Method::PUT, concurrency, &reserve(901)).await.0, 400);
    assert_eq!(ask(&first, Method::PUT, concurrency, &reserve(900)).await, (200, reserve(900)));
    first.stop().await;
    drop(first);

    let second = open().await;
    let (status, found) = ask(&second, Method::GET, &one, &Value::Null).await;
    let configuration = &found["Configuration"];
    assert_eq!((status, &configuration["State"], &configuration["Timeout"]), (200, &json!("Active"), &json!(7)));
    assert_eq!(configuration["Environment"]["Variables"]["COLOUR"], "blue");
    assert_eq!(configuration["CodeSha256"], changed["CodeSha256"]);
    assert_eq!(found["Concurrency"], reserve(900), "and holds its concurrency");
    assert_eq!(ask(&second, Method::DELETE, &one, &Value::Null).await.0, 204);
    assert_eq!(ask(&second, Method::GET, &one, &Value::Null).await.0, 404);
    let (_, account) = ask(&second, Method::GET, "/2016-08-19/account-settings", &Value::Null).await;
    assert_eq!(account["AccountLimit"]["UnreservedConcurrentExecutions"], 1_000);
    second.stop().await;
    drop(second);
    assert!(open().await.function("g").is_none());
    assert_eq!(std::fs::read_dir(data.join("lambda-functions")).unwrap().count(), 1, "its code is gone with it");
}

#[tokio::test]
async fn what_is_no_function_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let lambda = lambda(&dir).await;
    let good = json!({ "ZipFile": zipped(&[("bootstrap", 0o755, b"x")]) });
    let check = async |change: &Value, expected: &str| {
        let mut body = creation("g", &good);
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, answer) = ask(&lambda, Method::POST, "/2015-03-31/functions", &body).await;
        assert!(status >= 400 && answer["message"].as_str().unwrap().contains(expected), "{change}: {status} {answer}");
    };
    check(&json!({ "Runtime": "python3.13" }), "provided.al2023 and provided.al2").await;
    check(&json!({ "Timeout": 901 }), "timeout must be").await;
    check(&json!({ "MemorySize": 127 }), "memory_mb must be").await;
    check(&json!({ "Environment": { "Variables": { "AA": "x".repeat(4_096) } } }), "environment must be").await;
    check(&json!({ "Environment": { "Variables": { "AWS_REGION": "x" } } }), "AWS_REGION").await;
    check(&json!({ "Layers": ["arn"] }), "Layers is not implemented").await;
    check(&json!({ "PackageType": "Image" }), "image").await;
    check(&json!({ "Code": { "S3Bucket": "none", "S3Key": "k" } }), "NoSuchBucket").await;
    check(&json!({ "Code": { "ZipFile": zipped(&[("../x", 0o644, b"x")]) } }), "lies outside").await;
    check(&json!({ "Code": {} }), "a source for function code").await;
    check(&json!({ "FunctionName": "f" }), "Function already exist").await;
    assert_eq!(std::fs::read_dir(lambda.data.join("lambda-functions")).unwrap().count(), 0, "nothing is left of them");
    let (status, answer) = ask(&lambda, Method::DELETE, "/2015-03-31/functions/f", &Value::Null).await;
    assert_eq!(status, 409, "{answer}");
    lambda.stop().await;
}

#[tokio::test]
async fn an_accepted_event_is_run_after_a_restart_and_given_up_to_its_destination() {
    let dir = tempfile::tempdir().unwrap();
    let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
    let store = Store::open(Arc::clone(&data), Clock::standing_at(1_700_000_000_000), false).unwrap();
    let s3 = S3::open(data.join("s3")).await.unwrap();
    let open = || Lambda::open_in(Arc::clone(&data), store.clone(), s3.clone(), 1_000);
    let first = open().await;
    let code = json!({ "ZipFile": zipped(&[("bootstrap", 0o755, b"#!/bin/sh\nexit 3\n")]) });
    assert_eq!(ask(&first, Method::POST, "/2015-03-31/functions", &creation("g", &code)).await.0, 201);
    store.clock().jump(200);
    first.sinks.sqs.call("CreateQueue", br#"{"QueueName":"failed"}"#).await.unwrap();
    let config = json!({
        "MaximumRetryAttempts": 1,
        "DestinationConfig": { "OnFailure": { "Destination": crate::sqs::queue_arn("failed") } },
    });
    let of_events = "/2019-09-25/functions/g/event-invoke-config";
    assert_eq!(ask(&first, Method::PUT, of_events, &json!({ "MaximumRetryAttempts": 3 })).await.0, 400);
    let (status, set) = ask(&first, Method::PUT, of_events, &config).await;
    assert_eq!((status, &set["MaximumRetryAttempts"]), (200, &json!(1)), "{set}");
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-invocation-type", HeaderValue::from_static("Event"));
    let path = "/2015-03-31/functions/g/invocations";
    let accepted = first.handle(&Method::POST, path, &headers, Bytes::from_static(br#"{"n":1}"#)).await;
    assert_eq!(accepted.status(), 202);
    let id = accepted.headers()[&REQUEST_ID].to_str().unwrap().to_owned();
    let function = first.function("g").unwrap();
    let attempted = async |function: &Function, times: u64| {
        let mut turns = 0;
        while function.stats().errors < times {
            tokio::task::yield_now().await;
            turns += 1;
            assert!(turns < 50_000_000, "it is not run");
        }
    };
    attempted(&function, 1).await;
    first.stop().await;
    drop(first);

    // A minute later, in another process.
    let second = open().await;
    let received = async || {
        let body = second.sinks.sqs.call("ReceiveMessage", br#"{"QueueUrl":"failed"}"#).await.unwrap();
        serde_json::from_slice::<Value>(&body).unwrap()
    };
    assert_eq!(received().await, json!({}));
    store.clock().jump(60_000);
    attempted(&second.function("g").unwrap(), 1).await;
    let mut message = json!({});
    for _ in 0..10_000 {
        message = received().await;
        if message != json!({}) {
            break;
        }
    }
    let record: Value = serde_json::from_str(message["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["requestContext"]["requestId"], json!(id), "{record}");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(record["requestPayload"], json!({ "n": 1 }));
    second.stop().await;
    drop(second);
    let third = open().await;
    assert_eq!(third.events.usage().events.now, 0, "it is done with");
    third.stop().await;
}
