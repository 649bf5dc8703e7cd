//! The collection API's two fronts, the server and the function, answer alike: the same calls over HTTP, and as the
//! events of every source through the Lambda API and the Runtime API to the real binary.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use millrace::lambda::FunctionConfig;
use millrace::names;
use millrace::pipeline::Binaries;
use serde_json::{Value, json};

use crate::http::Http;
use crate::isolated::built;
use crate::running::Running;

const GOOD: &str = r#"{"id":"front","imp":[{"id":"1","banner":{}}],"dooh":{"id":"berlin-1"}}"#;

/// Headers of answers that senders act on. Others (`date`, `content-length`, `connection`) are the front's own.
const HEADERS: [&str; 6] =
    ["content-type", "allow", "retry-after", "www-authenticate", "accept-encoding", "x-openrtb-version"];

/// One call, as a sender makes it.
#[derive(Debug, Clone, Default)]
struct Case {
    method: &'static str,
    path: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    HttpApi,
    FunctionUrl,
    RestApi,
    Balancer,
    BalancerMultiValue,
}

const SOURCES: [Source; 5] =
    [Source::HttpApi, Source::FunctionUrl, Source::RestApi, Source::Balancer, Source::BalancerMultiValue];

fn post(path: &'static str, content_type: &'static str, body: impl Into<Vec<u8>>) -> Case {
    Case { method: "POST", path, headers: vec![("content-type", content_type)], body: body.into(), ..Case::default() }
}

fn encoded(encoding: &'static str, body: Vec<u8>) -> Case {
    let mut case = post("/v1/ad_requests", "application/json", body);
    case.headers.push(("content-encoding", encoding));
    case
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).expect("into memory");
    encoder.finish().expect("into memory")
}

fn cases() -> Vec<Case> {
    let json = "application/json";
    let get = |path, query| Case { method: "GET", path, query, ..Case::default() };
    let method = |method, path| Case { method, path, ..Case::default() };
    let ndjson = |body: &str| post("/v1/events", "application/x-ndjson", body);
    let mut twice = post("/v1/ad_requests", json, GOOD);
    twice.headers.extend([("content-encoding", "gzip"), ("content-encoding", "identity")]);
    vec![
        post("/v1/ad_requests", json, GOOD),
        post("/v1/ad_requests", "application/json; charset=utf-8", GOOD.replace("front", "é 😀")),
        Case { headers: vec![], ..post("/v1/ad_requests", json, GOOD) },
        post("/v1/ad_requests", json, GOOD.replace(r#""id":"front""#, r#""id":"front","at":3"#)),
        post("/v1/auctions", json, r#"{"auction_id":"a","imp_id":"1","status":"no_fill"}"#),
        post("/openrtb2/auction", json, GOOD),
        post("/openrtb2/auction", json, "{"),
        // 400
        post("/v1/ad_requests", json, ""),
        post("/v1/ad_requests", json, "{"),
        post("/v1/ad_requests", json, b"\xff\xfe{}".to_vec()),
        post("/v1/ad_requests", json, r#"{"id":"","imp":[],"site":{},"app":{}}"#),
        post("/v1/proof_of_plays", json, "{}"),
        Case { query: "type=nothing", ..ndjson(GOOD) },
        // 404, 405
        post("/v1/nothing", json, GOOD),
        post("/v1/ad_requests/", json, GOOD),
        get("/problems/too-large", ""),
        get("/problems/nothing", ""),
        get("/v1/ad_requests", ""),
        method("DELETE", "/v1/events"),
        method("PUT", "/v1/ad_requests"),
        method("OPTIONS", "/v1/ad_requests"),
        method("POST", "/health"),
        // 413, 414, 415
        post("/v1/ad_requests", json, vec![b' '; (4 << 20) + 1]),
        encoded("gzip", gzip(&vec![b' '; (4 << 20) + 1])),
        ndjson(&"1\n".repeat(10_001)),
        get("/v1/notices/burl", LONG_QUERY),
        post("/v1/ad_requests", "text/plain", GOOD),
        post("/v1/events", json, GOOD),
        encoded("compress", GOOD.into()),
        // Larger than a record: stored beside the stream.
        post(
            "/v1/ad_requests",
            json,
            GOOD.replace("\"imp\"", &format!(r#""ext":{{"x":"{}"}},"imp""#, "x".repeat(2 << 20))),
        ),
        // Compressed bodies, whole and damaged.
        encoded("gzip", gzip(GOOD.as_bytes())),
        encoded("GZIP", gzip(GOOD.as_bytes())),
        encoded("zstd", zstd::encode_all(GOOD.as_bytes(), 1).expect("into memory")),
        encoded("gzip", GOOD.into()),
        encoded("gzip", gzip(GOOD.as_bytes()).get(..20).expect("it is longer").to_vec()),
        encoded("br", GOOD.into()),
        twice,
        // Batches.
        ndjson(&format!("{GOOD}\n\n{{\r\n{}", GOOD.replace("front", "second"))),
        ndjson(""),
        Case { query: "type=auction", ..ndjson(r#"{"auction_id":"b","imp_id":"1","status":"no_fill"}"#) },
        // Notices.
        get("/v1/notices/burl", "auction_id=a%2F1+2&auction_imp_id=1&auction_price=2.5&x=%26y"),
        get("/v1/notices/nurl", "price=1"),
        get("/v1/notices/other", "auction_id=a"),
        Case { query: "id=a&loss=102", ..post("/v1/notices/lurl", "text/plain", "") },
        post("/v1/notices/burl", json, r#"{"auction_id":"a","imp_id":"1"}"#),
        // What else there is.
        get("/health", ""),
        method("HEAD", "/health"),
        get("/sink-health", ""),
        get("/openapi.json", ""),
    ]
}

/// Above 8,192 bytes.
const LONG_QUERY: &str = {
    const BYTES: [u8; 8_300] = {
        let mut bytes = [b'a'; 8_300];
        bytes[1] = b'=';
        bytes
    };
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => panic!("letters are UTF-8"),
    }
};

impl Case {
    fn repeats_a_header(&self) -> bool {
        let names: std::collections::BTreeSet<_> = self.headers.iter().map(|(name, _)| name).collect();
        names.len() < self.headers.len()
    }

    fn uri(&self) -> String {
        if self.query.is_empty() { self.path.to_owned() } else { format!("{}?{}", self.path, self.query) }
    }

    fn request(&self, http: &Http) -> http::Request<Full<Bytes>> {
        let mut request = http::Request::builder().method(self.method).uri(http.url(&self.uri()));
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(self.body.clone().into())).expect("a request")
    }

    /// The event that a source makes of the call.
    fn event(&self, source: Source) -> Value {
        let is_text = self.headers.iter().all(|(name, _)| *name != "content-encoding");
        let (body, is_base64) = match std::str::from_utf8(&self.body) {
            Ok(text) if is_text => (text.to_owned(), false),
            Ok(_) | Err(_) => (base64_simd::STANDARD.encode_to_string(&self.body), true),
        };
        let singles: BTreeMap<&str, &str> = self.headers.iter().copied().collect();
        let mut lists: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in &self.headers {
            lists.entry(name).or_default().push(value);
        }
        let joined: BTreeMap<&str, String> = lists.iter().map(|(name, values)| (*name, values.join(","))).collect();
        let raw: BTreeMap<&str, &str> = self.query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let decoded: BTreeMap<String, String> =
            url::form_urlencoded::parse(self.query.as_bytes()).into_owned().collect();
        let many = |map: &BTreeMap<String, String>| -> BTreeMap<String, Vec<String>> {
            map.iter().map(|(name, value)| (name.clone(), vec![value.clone()])).collect()
        };
        let raw_many: BTreeMap<&str, Vec<&str>> = raw.iter().map(|(name, value)| (*name, vec![*value])).collect();
        let elb = json!({"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:0:targetgroup/t/1"}});
        let (path, method) = (self.path, self.method);
        match source {
            Source::HttpApi => json!({"version": "2.0", "routeKey": "$default", "rawPath": format!("/live{path}"),
                "rawQueryString": self.query, "headers": joined, "body": body, "isBase64Encoded": is_base64,
                "requestContext": {"accountId": "0", "apiId": "a", "stage": "live", "http": {"method": method,
                    "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"}}}),
            Source::FunctionUrl => json!({"version": "2.0", "routeKey": "$default", "rawPath": path,
                "rawQueryString": self.query, "headers": joined, "body": body, "isBase64Encoded": is_base64,
                "requestContext": {"accountId": "anonymous", "domainName": "u.lambda-url.us-east-1.on.aws",
                    "stage": "$default", "http": {"method": method, "path": path}}}),
            Source::RestApi => json!({"resource": "/{proxy+}", "path": path, "httpMethod": method, "headers": singles,
                "multiValueHeaders": lists, "queryStringParameters": decoded, "body": body,
                "multiValueQueryStringParameters": many(&decoded), "isBase64Encoded": is_base64,
                "requestContext": {"accountId": "0", "stage": "live", "path": format!("/live{path}")}}),
            Source::Balancer => json!({"requestContext": elb, "httpMethod": method, "path": path, "headers": singles,
                "queryStringParameters": raw, "body": body, "isBase64Encoded": is_base64}),
            Source::BalancerMultiValue => json!({"requestContext": elb, "httpMethod": method, "path": path,
                "multiValueHeaders": lists, "multiValueQueryStringParameters": raw_many, "body": body,
                "isBase64Encoded": is_base64}),
        }
    }
}

fn answer_of(document: &Value) -> Answer {
    let header = |name: &'static str| {
        let single = document["headers"][name].as_str();
        let value = single.or(document["multiValueHeaders"][name][0].as_str());
        value.map(|value| (name, value.to_owned()))
    };
    assert_eq!(document["isBase64Encoded"], false);
    Answer {
        status: document["statusCode"].as_u64().and_then(|status| u16::try_from(status).ok()).expect("a status"),
        headers: HEADERS.into_iter().filter_map(header).collect(),
        body: document["body"].as_str().expect("a body").to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_and_the_function_answer_alike() {
    let Some(dir) = built() else { return };
    Binaries::in_dir(&dir).expect("they are there");
    let running = Running::start().await;
    let function = FunctionConfig {
        memory_mb: 1_769,
        timeout: std::time::Duration::from_secs(30),
        environment: [("RAW_STREAM", names::RAW_STREAM), ("CLAIM_CHECK_BUCKET", names::LAKE_BUCKET)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..FunctionConfig::new("ingest", dir.join("ingest-lambda"))
    };
    let cloud = running.pipeline.cloud();
    cloud.lambda().create_function(function).await.expect("it is created");
    let door = Http::new(cloud.endpoint().trim_start_matches("http://").parse().expect("an address"));
    let mut statuses = BTreeMap::new();
    for case in cases() {
        let served = running.http.send(case.request(&running.http)).await.expect("the server answers");
        let text = |name| served.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let served = Answer {
            status: served.status,
            headers: HEADERS.into_iter().filter_map(|name| Some((name, text(name)?))).collect(),
            body: String::from_utf8(served.body.to_vec()).expect("text"),
        };
        *statuses.entry(served.status).or_insert(0) += 1;
        for source in SOURCES {
            if source == Source::Balancer && case.repeats_a_header() {
                continue; // Such a target group hands on the last value only: nobody can tell.
            }
            let path = "/2015-03-31/functions/ingest/invocations";
            let invoked = door.post(path, "application/json", case.event(source).to_string()).await;
            assert_eq!(invoked.status, 200, "{source:?} {:.100}", case.uri());
            let answer = answer_of(&invoked.json());
            assert_eq!(answer, served, "{source:?} {} {:.100}", case.method, case.uri());
        }
    }
    for status in [200, 204, 400, 404, 405, 413, 414, 415] {
        assert!(statuses.contains_key(&status), "{status} is not among {statuses:?}");
    }
    let stats = cloud.lambda().function("ingest").expect("it is there").stats();
    assert_eq!((stats.errors, stats.throttles), (0, 0), "{stats:?}");
    // What both took is the same events, but for notices by URL: maps of parameters lose their order.
    running.drain().await;
    assert!(running.audit().await.balances);
    assert_eq!(running.number("SELECT count(*) FROM auctions").await, 2);
    assert_eq!(running.number("SELECT count(DISTINCT body) FROM ad_requests").await, 5);
    running.pipeline.stop().await.expect("it stops");
}
