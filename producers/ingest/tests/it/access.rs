//! Keys, signatures, quotas and policies.

use axum::body::Body;
use hmac::{Hmac, Mac};
use http::Request;
use sha2::{Digest, Sha256};

use crate::rig::{Answer, GOOD, Rig};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(key: &str) -> String {
    hex(&Sha256::digest(key))
}

fn tenants() -> String {
    format!(
        r#"{{"tenants":[
        {{"tenant_id":"acme","keys_sha256":["{}","{}"],"notice_secret":"{}","policy":{{"openrtb_debug":true,"dooh_position_required":true}}}},
        {{"tenant_id":"off","keys_sha256":["{}"],"disabled":true}},
        {{"tenant_id":"small","keys_sha256":["{}"],"quota":{{"requests_per_s":2}}}},
        {{"tenant_id":"thin","keys_sha256":["{}"],"quota":{{"bytes_per_s":1}}}}]}}"#,
        sha256("old"),
        sha256("new"),
        "5a".repeat(32),
        sha256("off"),
        sha256("small"),
        sha256("thin"),
    )
}

async fn post(rig: &Rig, path: &str, header: Option<(&str, &str)>, body: &str) -> Answer {
    let mut request = Request::post(path);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    rig.call(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn a_key_names_its_tenant() {
    let rig = Rig::start_for(&tenants()).await;
    for header in [("authorization", "Bearer old"), ("authorization", "bearer new"), ("x-api-key", "new")] {
        for path in ["/v1/ad_requests", "/v1/events"] {
            assert_eq!(post(&rig, path, Some(header), GOOD).await.status, 200, "{path} {header:?}");
        }
    }
    let records = rig.stream.records();
    assert!(records.iter().all(|record| String::from_utf8_lossy(record).contains(r#""tenant_id":"acme""#)));
    for header in [None, Some(("x-api-key", "wrong")), Some(("authorization", "Basic b2xk")), Some(("x-api-key", ""))] {
        for path in ["/v1/ad_requests", "/v1/events", "/v1/notices/nurl"] {
            let answer = post(&rig, path, header, GOOD).await;
            answer.check_problem(401, "unknown-key");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
        let answer = post(&rig, "/openrtb2/auction", header, GOOD).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (401, ""));
    }
    post(&rig, "/v1/ad_requests", Some(("x-api-key", "off")), GOOD).await.check_problem(403, "tenant-disabled");
    assert_eq!(rig.ingest.counters().denied, 17);
    let health = rig.call(Request::get("/health").body(Body::empty()).unwrap()).await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn policies_are_a_tenants_own() {
    let rig = Rig::start_for(&tenants()).await;
    let nowhere = GOOD.replace(r#","device":{"geo":{"lat":52.5,"lon":13.4}}"#, "");
    assert_ne!(nowhere, GOOD);
    let problem = post(&rig, "/openrtb2/auction", Some(("x-api-key", "new")), &nowhere).await;
    let problem = problem.check_problem(400, "invalid-request");
    assert_eq!(problem["errors"][0]["code"], "geo.dooh");
    let answer = post(&rig, "/v1/ad_requests", Some(("x-api-key", "small")), &nowhere).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["warnings"][0]["code"]), (200, &"geo.dooh".into()));
}

#[tokio::test]
async fn quotas_answer_429_with_the_time_to_wait() {
    let rig = Rig::start_for(&tenants()).await;
    let mut answers = Vec::new();
    for _ in 0..30 {
        answers.push(post(&rig, "/v1/ad_requests", Some(("x-api-key", "small")), GOOD).await);
    }
    let over: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(over.len() > 5 && over.len() < 29, "{}", over.len());
    for answer in &over {
        answer.check_problem(429, "over-quota");
        assert_eq!(answer.header("retry-after"), "1");
    }
    assert_eq!(rig.ingest.counters().over_quota, u64::try_from(over.len()).unwrap());
    // Bytes have a burst of the largest batch that any settings allow.
    let batch = " ".repeat(4 << 20);
    let mut refused = None;
    for _ in 0..10 {
        let answer = post(&rig, "/v1/events", Some(("x-api-key", "thin")), &batch).await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("more than the burst was sent");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 60);
}

#[tokio::test]
async fn notices_may_be_signed() {
    let rig = Rig::start_for(&tenants()).await;
    let get = async |uri: &str| rig.call(Request::get(uri).body(Body::empty()).unwrap()).await;
    let path = "/v1/notices/burl?tenant=acme&auction_id=a&imp_id=1&auction_price=1";
    let mut hmac = Hmac::<Sha256>::new_from_slice(&[0x5a; 32]).unwrap();
    hmac.update(path.as_bytes());
    let signature = hex(&hmac.finalize().into_bytes());
    assert_eq!(get(&format!("{path}&sig={signature}")).await.status, 204);
    let key = get("/v1/notices/nurl?key=new&auction_id=a").await;
    assert_eq!(key.status, 204);
    for (_, body) in rig.events() {
        assert!(!body.contains("sig=") && !body.contains("key"), "{body}");
    }
    for uri in [
        format!("{path}0&sig={signature}"),
        format!("{path}&sig={}", signature.replace('a', "b")),
        format!("{}&sig={signature}", path.replace("acme", "small")),
        format!("{path}&sig="),
    ] {
        get(&uri).await.check_problem(401, "bad-signature");
    }
    get(path).await.check_problem(401, "unknown-key");
    assert_eq!(rig.events().len(), 2);
}
