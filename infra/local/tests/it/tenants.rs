//! Tenants from Secrets Manager and the Parameter Store, read by the real function with its signed calls.

use millrace::lambda::FunctionConfig;
use millrace::names;
use serde_json::{Value, json};

use crate::http::Http;
use crate::isolated::built;
use crate::running::Running;

/// One tenant with the key `secret-key`, by its SHA-256.
const TENANTS: &str = r#"{"tenants":[{"tenant_id":"acme","keys_sha256":["85dbe15d75ef9308c7ae0f33c7a324cc6f4bf519a2ed2f3027bd33c140a4f9aa"]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_function_knows_the_tenants_of_a_secret_or_a_parameter() {
    let Some(dir) = built() else { return };
    let running = Running::start().await;
    let cloud = running.pipeline.cloud();
    let door = Http::new(cloud.endpoint().trim_start_matches("http://").parse().expect("an address"));
    let put = json!({"Name": "adx/tenants", "SecretString": TENANTS});
    assert_eq!(door.target("secretsmanager.CreateSecret", &put).await.status, 200);
    let put = json!({"Name": "/adx/tenants", "Value": TENANTS, "Type": "SecureString"});
    assert_eq!(door.target("AmazonSSM.PutParameter", &put).await.status, 200);
    for (function, variable, value) in [
        ("by-secret", "TENANTS_SECRET_ID", "adx/tenants"),
        ("by-parameter", "TENANTS_SSM_PARAMETER", "/adx/tenants"),
        ("by-nothing", "TENANTS_SECRET_ID", "other"),
    ] {
        let config = FunctionConfig {
            memory_mb: 1_769,
            timeout: std::time::Duration::from_secs(30),
            environment: [("RAW_STREAM", names::RAW_STREAM), (variable, value)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..FunctionConfig::new(function, dir.join("ingest-lambda"))
        };
        cloud.lambda().create_function(config).await.expect("it is created");
    }
    for function in ["by-secret", "by-parameter"] {
        assert_eq!(status(&door, function, Some("secret-key")).await, 200, "{function}");
        assert_eq!(status(&door, function, Some("other-key")).await, 401, "{function}");
        assert_eq!(status(&door, function, None).await, 401, "{function}");
    }
    // Without its tenants it does not start: nobody is served by mistake.
    let answer = invoke(&door, "by-nothing", None).await;
    assert!(answer["statusCode"].is_null() && answer.to_string().contains("error"), "{answer}");
    running.drain().await;
    assert_eq!(running.number("SELECT count(*) FROM ad_requests WHERE tenant_id = 'acme'").await, 1);
    running.pipeline.stop().await.expect("it stops");
}

async fn status(door: &Http, function: &str, key: Option<&str>) -> u64 {
    let answer = invoke(door, function, key).await;
    answer["statusCode"].as_u64().unwrap_or_else(|| panic!("{function}: {answer}"))
}

async fn invoke(door: &Http, function: &str, key: Option<&str>) -> Value {
    let mut headers = json!({"content-type": "application/json"});
    if let Some(key) = key {
        headers["x-api-key"] = json!(key);
    }
    let body = r#"{"id":"a","imp":[{"id":"1","banner":{}}],"dooh":{"id":"berlin-1"}}"#;
    let event = json!({"version": "2.0", "rawPath": "/v1/ad_requests", "headers": headers, "body": body,
        "requestContext": {"stage": "$default", "http": {"method": "POST"}}});
    let path = format!("/2015-03-31/functions/{function}/invocations");
    door.post(&path, "application/json", event.to_string()).await.json()
}
