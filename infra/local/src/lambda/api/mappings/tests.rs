//! Mappings over the REST API; what they do with records is tested with the mappings themselves.

use std::sync::Arc;

use http::HeaderMap;
use http_body_util::BodyExt as _;

use super::*;
use crate::clock::Clock;
use crate::data_dir::DataDir;
use crate::kinesis::{Store, StreamMode};
use crate::lambda::FunctionConfig;
use crate::s3::S3;

async fn lambda(dir: &tempfile::TempDir) -> Lambda {
    let data = Arc::new(DataDir::open(&dir.path().join("data")).unwrap());
    let store = Store::open(Arc::clone(&data), Clock::default(), false).unwrap();
    if store.stream("s").is_none() {
        store.create("s", StreamMode::Provisioned, 1).await.unwrap();
    }
    let s3 = S3::open(data.join("s3")).await.unwrap();
    Lambda::open_in(data, store, s3, 1_000).await
}

async fn ask(lambda: &Lambda, method: Method, path: &str, body: &str) -> (u16, Value) {
    let path = format!("/2015-03-31/event-source-mappings{path}");
    let answer = lambda.handle(&method, &path, &HeaderMap::new(), Bytes::from(body.to_owned())).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_mapping_lives_over_restarts_until_it_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let first = lambda(&dir).await;
    let function = FunctionConfig::new("f", "/bin/sh");
    first.create_function(function.clone()).await.unwrap();
    let body = format!(
        r#"{{"EventSourceArn":"{}","FunctionName":"f","StartingPosition":"LATEST","BatchSize":7,
            "FilterCriteria":{{"Filters":[{{"Pattern":"{{\"data\":{{\"a\":[1]}}}}"}}]}}}}"#,
        stream_arn("s")
    );
    let (status, made) = ask(&first, Method::POST, "", &body).await;
    assert_eq!((status, &made["State"], &made["BatchSize"]), (202, &json!("Enabled"), &json!(7)), "{made}");
    let uuid = made["UUID"].as_str().unwrap().to_owned();
    let one = format!("/{uuid}");
    assert_eq!(first.running().len(), 1);
    assert_eq!(ask(&first, Method::POST, "", &body).await.0, 409);
    let (status, listed) = ask(&first, Method::GET, "?FunctionName=f&MaxItems=1", "").await;
    assert_eq!((status, &listed["EventSourceMappings"][0]["UUID"]), (200, &json!(uuid)));
    let (_, listed) = ask(&first, Method::GET, "?FunctionName=other", "").await;
    assert_eq!(listed, json!({ "EventSourceMappings": [] }));
    let (status, changed) = ask(&first, Method::PUT, &one, r#"{"BatchSize":9,"MaximumRetryAttempts":2}"#).await;
    assert_eq!((status, &changed["BatchSize"], &changed["MaximumRetryAttempts"]), (202, &json!(9), &json!(2)));
    assert_eq!(ask(&first, Method::PUT, &one, r#"{"BatchSize":0}"#).await.0, 400);
    assert_eq!(first.running().len(), 1, "what cannot run leaves the old one running");
    first.stop().await;
    first.store.close().await;
    drop(first);

    let second = lambda(&dir).await;
    assert!(second.running().is_empty());
    second.create_function(function).await.unwrap();
    assert_eq!(second.running().len(), 1, "the function brings its mappings");
    let (_, found) = ask(&second, Method::GET, &one, "").await;
    assert_eq!((&found["BatchSize"], &found["StartingPosition"]), (&json!(9), &json!("LATEST")));
    let (_, disabled) = ask(&second, Method::PUT, &one, r#"{"Enabled":false}"#).await;
    assert_eq!(disabled["State"], "Disabled");
    assert!(second.running().is_empty());
    let (status, deleted) = ask(&second, Method::DELETE, &one, "").await;
    assert_eq!((status, &deleted["State"]), (202, &json!("Deleting")));
    assert_eq!(ask(&second, Method::GET, &one, "").await.0, 404);
    assert!(!second.data.join("lambda").join(&uuid).exists());
    second.stop().await;
}

#[tokio::test]
async fn refusals_name_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let lambda = lambda(&dir).await;
    lambda.create_function(FunctionConfig::new("f", "/bin/sh")).await.unwrap();
    let arn = stream_arn("s");
    let missing = stream_arn("none");
    let check = async |arn: &str, function: &str, more: &str, expected: (u16, &str)| {
        let body = format!(r#"{{"EventSourceArn":"{arn}","FunctionName":"{function}"{more}}}"#);
        let (status, answer) = ask(&lambda, Method::POST, "", &body).await;
        assert_eq!(status, expected.0, "{body}: {answer}");
        assert!(answer.to_string().contains(expected.1), "{body}: {answer}");
    };
    let start = r#","StartingPosition":"TRIM_HORIZON""#;
    check(&arn, "f", "", (400, "StartingPosition is required")).await;
    check(&arn, "f", r#","StartingPosition":"NOW""#, (400, "TRIM_HORIZON, LATEST or AT_TIMESTAMP")).await;
    check(&arn, "g", start, (404, "Function not found")).await;
    check(&missing, "f", start, (404, "there is no stream none")).await;
    check("arn:aws:sqs:us-east-1:0:q", "f", start, (400, "Unrecognized event source")).await;
    check(&arn, "f", &format!(r#"{start},"Topics":["t"]"#), (400, "Topics is not implemented")).await;
    check(&arn, "f", &format!(r#"{start},"ParallelizationFactor":11"#), (400, "1 to 10")).await;
    let filter = r#","FilterCriteria":{"Filters":[{"Pattern":"no JSON"}]}"#;
    check(&arn, "f", &format!("{start}{filter}"), (400, "a filter is not JSON")).await;
    assert!(lambda.running().is_empty());
    assert_eq!(ask(&lambda, Method::PUT, "/none", "{}").await.0, 404);
    assert_eq!(ask(&lambda, Method::POST, "", "{").await.0, 400);
}
