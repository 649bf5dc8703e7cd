//! The `OpenAPI` document against the router, both ways.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::rig::{GOOD, Rig};
use crate::stream::Mode;

async fn document(rig: &Rig) -> Value {
    rig.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await.json()
}

/// A path that the router takes for one of the document's.
fn concrete(path: &str) -> String {
    path.replace("{notice}", "nurl").replace("{problem}", "too-large")
}

#[tokio::test]
async fn every_route_is_there_and_nothing_else() {
    let rig = Rig::start(Mode::Take).await;
    let document = document(&rig).await;
    let mut listed = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let methods: BTreeSet<String> =
            operations.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let request = Request::builder().method(method.clone()).uri(concrete(path)).body(Body::empty()).unwrap();
            let is_routed = rig.call(request).await.status != 405;
            assert_eq!(is_routed, methods.contains(method.as_str()), "{method} {path}");
        }
        listed.extend(methods.into_iter().map(|method| format!("{method} {path}")));
    }
    // The router's own list, as it tells it to the lost.
    let problem = rig.post("/nowhere", "").await.check_problem(404, "unknown-route");
    let routes = problem["routes"].as_array().unwrap().iter().map(|route| route.as_str().unwrap().to_owned());
    assert_eq!(routes.collect::<BTreeSet<_>>(), listed);
    // Nothing refers to what is not there.
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}

/// Statuses that a call from outside brings about by itself; the others need time, tenants or a full process.
const PROVOKED: [u16; 8] = [200, 204, 400, 404, 413, 414, 415, 503];

#[tokio::test]
async fn every_status_is_there_and_nothing_else() {
    let rig = Rig::start_with(Mode::Take, |_| {}, |settings| settings.batch_bytes_max = 300_000).await;
    let document = document(&rig).await;
    let mut seen: BTreeMap<(String, String), BTreeSet<u16>> = BTreeMap::new();
    let bodies = [GOOD.to_owned(), "{".to_owned(), " ".repeat(400_000), good_of_each_type()];
    for mode in [Mode::Take, Mode::Refuse("ResourceNotFoundException")] {
        rig.stream.set(mode);
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                let mut uris = vec![concrete(path), format!("{}?x={}", concrete(path), "x".repeat(9_000))];
                uris.push(concrete(path).replace("nurl", "other").replace("too-large", "other"));
                uris.push(format!("{}?auction_id=a&imp_id=1", concrete(path)));
                uris.push(format!("{}?type=nothing", concrete(path)));
                let statuses = seen.entry((path.clone(), method.clone())).or_default();
                for uri in &uris {
                    for (content_type, body) in
                        bodies.iter().flat_map(|body| ["", "image/png"].map(|content_type| (content_type, body)))
                    {
                        let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(uri);
                        if !content_type.is_empty() {
                            request = request.header("content-type", content_type);
                        }
                        let answer = rig.call(request.body(Body::from(body.clone())).unwrap()).await;
                        statuses.insert(answer.status.as_u16());
                    }
                }
            }
        }
    }
    for ((path, method), statuses) in seen {
        let responses = document["paths"][&path][&method]["responses"].as_object().unwrap();
        let documented: BTreeSet<u16> = responses.keys().map(|status| status.parse().unwrap()).collect();
        // A URI above the limit is refused on every route, also where it carries nothing.
        let undocumented: Vec<_> =
            statuses.iter().filter(|status| !documented.contains(status) && **status != 414).collect();
        assert!(undocumented.is_empty(), "{method} {path}: {undocumented:?}");
        let is_silent = path == "/metrics" || (path.starts_with("/v1/notices") && method == "get");
        let missing: Vec<_> = documented
            .iter()
            .filter(|status| PROVOKED.contains(status) && !statuses.contains(status) && !is_silent)
            .collect();
        assert!(missing.is_empty(), "{method} {path}: {missing:?} never seen");
    }
}

/// One document that is a good event of every type but an ad request.
fn good_of_each_type() -> String {
    r#"{"auction_id":"a","imp_id":"1","dsp_id":"d","bid_id":"b","outcome":"nobid","status":"no_fill","adunit_id":"u","imp_ts":1795000000000,"play_status":"completed"}"#.to_owned()
}

#[tokio::test]
async fn who_may_not_call_is_told_as_the_document_says() {
    let hash = |key: &str| Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let tenants = json!({"tenants": [
        {"tenant_id": "off", "keys_sha256": [hash("off")], "disabled": true},
        {"tenant_id": "small", "keys_sha256": [hash("small")], "quota": {"requests_per_s": 1}},
    ]});
    let rig = Rig::start_for(&tenants.to_string()).await;
    let document = document(&rig).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let call = async |key: Option<&str>| {
                let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(concrete(path));
                if let Some(key) = key {
                    request = request.header("x-api-key", key);
                }
                rig.call(request.body(Body::from("{}")).unwrap()).await
            };
            let is_secured = operation["security"].is_array();
            for (key, status) in [(None, 401), (Some("wrong"), 401), (Some("off"), 403)] {
                assert_eq!(call(key).await.status == status, is_secured, "{method} {path} {key:?}");
            }
            // The quota is a request a second, of which the first may be the last one's.
            let mut over = 0;
            for _ in 0..8 {
                let answer = call(Some("small")).await;
                if answer.status == 429 {
                    assert_eq!(answer.header("retry-after"), "1");
                    over += 1;
                }
            }
            assert_eq!(over >= 4, is_secured, "{method} {path}: {over} of 8 over quota");
            for status in ["401", "403", "429"] {
                assert_eq!(operation["responses"][status].is_object(), is_secured, "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn the_schema_of_a_body_asks_for_what_the_rules_ask() {
    let rig = Rig::start(Mode::Take).await;
    let document = document(&rig).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let schema = &operations["post"]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let Some(name) = schema.as_str().and_then(|reference| reference.rsplit('/').next()) else { continue };
        let schema = &document["components"]["schemas"][name];
        // Each member that the schema requires is missed, by name, where the body is empty.
        let answer = rig.post(path, "{}").await;
        assert_eq!(answer.status, 400, "{path}");
        if path.starts_with("/openrtb2/") {
            continue;
        }
        let problem = answer.json();
        let errors = problem["errors"].as_array().unwrap().iter();
        let missed: BTreeSet<_> = errors
            .filter(|found| found["severity"] == "error" && found["path"] != "")
            .map(|found| found["path"].as_str().unwrap().trim_start_matches('/').to_owned())
            .collect();
        let required: BTreeSet<_> =
            schema["required"].as_array().unwrap().iter().map(|member| member.as_str().unwrap().to_owned()).collect();
        assert_eq!(missed, required, "{path}");
    }
}
