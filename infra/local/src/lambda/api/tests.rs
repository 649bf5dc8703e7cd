//! The REST API's refusals and look-ups; real invocations are tested with the functions.

use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::Store;
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
    check(Method::POST, "/2015-03-31/functions", Route::Unknown);
    check(Method::POST, "/2015-03-31/functions/f/invocations/x", Route::Unknown);
}

/// A Lambda with a function `f` that no concurrency is left for.
async fn lambda(dir: &tempfile::TempDir) -> Lambda {
    let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
    let store = Store::open(Arc::clone(&data), Clock::default(), false).unwrap();
    let s3 = S3::open(data.join("s3")).await.unwrap();
    let lambda = Lambda::new(data, store, s3, "http://127.0.0.1:1".to_owned(), 1_000);
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
