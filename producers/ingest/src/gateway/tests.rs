//! Events of every source, by hand from the services' documents: what the router sees of them, and what goes back.

use expect_test::{Expect, expect};
use http::HeaderValue;
use serde_json::{Value, json};

use super::*;

/// Says what it was asked, with an answer that has a header twice.
fn echo() -> Router {
    Router::new().fallback(|request: Request<Body>| async move {
        let (head, body) = request.into_parts();
        let mut seen = format!("{} {}\n", head.method, head.uri);
        for (name, value) in &head.headers {
            seen.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("?")));
        }
        seen.push_str(&String::from_utf8_lossy(&body.collect().await.unwrap().to_bytes()));
        let mut response = http::Response::new(Body::from(seen));
        for value in ["a", "b"] {
            response.headers_mut().append("x-twice", HeaderValue::from_static(value));
        }
        response
    })
}

async fn answer(event: Value) -> Value {
    let event: Event = serde_json::from_value(event).unwrap();
    serde_json::to_value(call(echo(), event).await).unwrap()
}

async fn check(event: Value, expect: &Expect) {
    expect.assert_eq(answer(event).await["body"].as_str().unwrap());
}

#[tokio::test]
async fn http_apis_and_function_urls() {
    let event = |path: &str, query: &str, stage: &str| {
        json!({"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "cookies": ["a=b"], "headers": {"x-api-key": "k", "accept": "a,b"},
            "requestContext": {"accountId": "0", "stage": stage, "http": {"method": "POST", "path": path, "sourceIp": "1"}},
            "body": "hello", "isBase64Encoded": false})
    };
    check(
        event("/v1/events", "type=auction&x=%26+%20", "$default"),
        &expect![[r#"
            POST /v1/events?type=auction&x=%26+%20
            accept: a,b
            x-api-key: k
            hello"#]],
    )
    .await;
    for (path, stage, expect) in [
        ("/prod/v1/events", "prod", "POST /v1/events"),
        ("/prod", "prod", "POST /"),
        ("/product/x", "prod", "POST /product/x"),
        ("/prod/x", "$default", "POST /prod/x"),
        ("/a b/é\"{}", "$default", "POST /a%20b/%C3%A9%22%7B%7D"),
        ("/a%2Fb", "$default", "POST /a%2Fb"),
        ("", "$default", "POST /"),
        ("//x:y@z/..", "$default", "POST //x:y@z/.."),
    ] {
        let answer = answer(event(path, "", stage)).await;
        assert_eq!(answer["body"].as_str().unwrap().lines().next(), Some(expect), "{path}");
        assert_eq!(answer["headers"]["x-twice"], "a, b");
        assert_eq!((&answer["multiValueHeaders"], &answer["statusDescription"]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn rest_apis() {
    let event = json!({"resource": "/{proxy+}", "path": "/v1/notices/burl", "httpMethod": "GET",
        "headers": {"Accept": "b", "Content-Encoding": "gzip"},
        "multiValueHeaders": {"accept": ["a", "b"], "content-encoding": ["br", "gzip"]},
        "queryStringParameters": {"tenant": "t", "sig": "s", "a": "y z"},
        "multiValueQueryStringParameters": {"tenant": ["t"], "sig": ["s"], "a": ["x&=", "y z"]},
        "pathParameters": null, "stageVariables": null,
        "requestContext": {"accountId": "0", "stage": "prod", "path": "/prod/v1/notices/burl", "httpMethod": "GET"},
        "body": null, "isBase64Encoded": false});
    check(
        event.clone(),
        &expect![[r#"
            GET /v1/notices/burl?a=x%26%3D&a=y+z&tenant=t&sig=s
            accept: a
            accept: b
            content-encoding: br
            content-encoding: gzip
        "#]],
    )
    .await;
    let answer = answer(event).await;
    assert_eq!(answer["multiValueHeaders"]["x-twice"], json!(["a", "b"]));
    assert_eq!((&answer["statusCode"], &answer["headers"]), (&json!(200), &Value::Null));
}

#[tokio::test]
async fn balancers() {
    let elb = json!({"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:0:targetgroup/t/1"}});
    let singles = json!({"requestContext": elb, "httpMethod": "GET", "path": "/v1/notices/nurl",
        "queryStringParameters": {"b": "x%26y", "a": "1+2"}, "headers": {"x-api-key": "k"}, "body": "", "isBase64Encoded": false});
    check(
        singles.clone(),
        &expect![[r#"
            GET /v1/notices/nurl?a=1+2&b=x%26y
            x-api-key: k
        "#]],
    )
    .await;
    let answer_of = answer(singles).await;
    assert_eq!((&answer_of["statusDescription"], &answer_of["headers"]["x-twice"]), (&json!("200 OK"), &json!("a, b")));
    let lists = json!({"requestContext": elb, "httpMethod": "GET", "path": "/",
        "multiValueQueryStringParameters": {"a": ["1", "2"]}, "multiValueHeaders": {"x": ["k", "l"]}, "body": "",
        "isBase64Encoded": false});
    check(
        lists.clone(),
        &expect![[r#"
            GET /?a=1&a=2
            x: k
            x: l
        "#]],
    )
    .await;
    assert_eq!(answer(lists).await["multiValueHeaders"]["x-twice"], json!(["a", "b"]));
}

#[tokio::test]
async fn bodies_come_and_go_byte_for_byte() {
    let app = || Router::new().fallback(|body: axum::body::Bytes| async move { body });
    for bytes in [&b""[..], b"text", "\u{e9}\u{1f600}\0".as_bytes(), b"\x1f\x8b\xff\x00"] {
        let event: Event = serde_json::from_value(json!({"httpMethod": "POST", "path": "/",
            "body": base64_simd::STANDARD.encode_to_string(bytes), "isBase64Encoded": true}))
        .unwrap();
        let answer = serde_json::to_value(call(app(), event).await).unwrap();
        let body = answer["body"].as_str().unwrap();
        let back = match answer["isBase64Encoded"].as_bool().unwrap() {
            true => base64_simd::STANDARD.decode_to_vec(body).unwrap(),
            false => body.as_bytes().to_vec(),
        };
        assert_eq!(back, bytes);
    }
}

#[tokio::test]
async fn what_is_no_request_is_answered() {
    for event in [
        json!({}),
        json!({"httpMethod": "GE T", "path": "/"}),
        json!({"httpMethod": "GET", "path": "/", "headers": {"a b": "c"}}),
        json!({"httpMethod": "GET", "path": "/", "headers": {"a": "c\n"}}),
        json!({"httpMethod": "GET", "path": "/", "body": "%", "isBase64Encoded": true}),
        json!({"version": "2.0", "rawPath": "/", "rawQueryString": "a b", "requestContext": {"http": {"method": "GET"}}}),
        json!({"httpMethod": "GET", "path": "/".repeat(70_000)}),
        json!({"requestContext": null, "headers": null, "body": null}),
    ] {
        assert_eq!(answer(event.clone()).await["statusCode"], 400, "{event}");
    }
}

proptest::proptest! {
    /// Whatever stands in an event, there is an answer.
    #[test]
    fn no_event_is_a_panic(path in ".*", query in ".*", host in ".*", body in ".*", stage in ".{0,3}", form in 0..3) {
        let event = match form {
            0 => json!({"version": "2.0", "rawPath": path, "rawQueryString": query, "headers": {"host": host},
                "requestContext": {"stage": stage, "http": {"method": "POST"}}, "body": body, "isBase64Encoded": true}),
            1 => json!({"path": path, "httpMethod": "POST", "headers": {"host": host}, "body": body,
                "queryStringParameters": {query.clone(): query}, "requestContext": {"stage": stage}}),
            _ => json!({"path": path, "httpMethod": "POST", "multiValueHeaders": {"host": [host]}, "body": body,
                "multiValueQueryStringParameters": {query.clone(): [query]}, "requestContext": {"elb": {}}}),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let status = runtime.block_on(answer(event))["statusCode"].as_u64().unwrap();
        proptest::prop_assert!(status == 200 || status == 400);
    }
}
