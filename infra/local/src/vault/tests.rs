//! Values are put, got, refused, and there after a restart.

use serde_json::{Value, json};

use super::*;

async fn call(vault: &Vault, target: &str, body: Value) -> Result<Value, ServiceError> {
    let body = body.to_string();
    let (service, operation) = target.split_once('.').unwrap();
    let answer = match service {
        "secretsmanager" => vault.call_secrets(operation, body.as_bytes()).await?,
        _ => vault.call_parameters(operation, body.as_bytes()).await?,
    };
    Ok(serde_json::from_slice(&answer).unwrap())
}

#[tokio::test]
async fn what_was_put_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(&dir.path().join("vault")).unwrap();
    let created =
        call(&vault, "secretsmanager.CreateSecret", json!({"Name": "s", "SecretString": "one"})).await.unwrap();
    let put = call(&vault, "secretsmanager.PutSecretValue", json!({"SecretId": created["ARN"], "SecretString": "two"}));
    assert_eq!(put.await.unwrap()["VersionStages"], json!(["AWSCURRENT"]));
    let put = json!({"Name": "/a/p", "Value": "one", "Type": "SecureString"});
    assert_eq!(call(&vault, "AmazonSSM.PutParameter", put).await.unwrap()["Version"], 1);
    let put = json!({"Name": "/a/p", "Value": "two", "Overwrite": true});
    assert_eq!(call(&vault, "AmazonSSM.PutParameter", put).await.unwrap()["Version"], 2);
    drop(vault);
    let vault = Vault::open(&dir.path().join("vault")).unwrap();
    for id in ["s", created["ARN"].as_str().unwrap()] {
        let got = call(&vault, "secretsmanager.GetSecretValue", json!({"SecretId": id})).await.unwrap();
        assert_eq!((&got["SecretString"], &got["Name"]), (&json!("two"), &json!("s")));
    }
    for name in ["/a/p", "arn:aws:ssm:us-east-1:000000000000:parameter/a/p"] {
        let got = call(&vault, "AmazonSSM.GetParameter", json!({"Name": name})).await.unwrap();
        assert_eq!((&got["Parameter"]["Value"], &got["Parameter"]["Type"]), (&json!("two"), &json!("SecureString")));
    }
}

#[tokio::test]
async fn refusals_have_the_services_names() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::open(&dir.path().join("vault")).unwrap();
    call(&vault, "secretsmanager.CreateSecret", json!({"Name": "s"})).await.unwrap();
    call(&vault, "AmazonSSM.PutParameter", json!({"Name": "p", "Value": "v", "Type": "String"})).await.unwrap();
    let long = "x".repeat(65_537);
    for (target, body, expect) in [
        ("secretsmanager.GetSecretValue", json!({"SecretId": "other"}), "ResourceNotFoundException"),
        ("secretsmanager.GetSecretValue", json!({"SecretId": "s"}), "ResourceNotFoundException"),
        ("secretsmanager.CreateSecret", json!({"Name": "s"}), "ResourceExistsException"),
        ("secretsmanager.CreateSecret", json!({"Name": "a b"}), "InvalidParameterException"),
        ("secretsmanager.PutSecretValue", json!({"SecretId": "s", "SecretString": long}), "InvalidParameterException"),
        ("secretsmanager.PutSecretValue", json!({"SecretId": "s", "SecretBinary": "%"}), "InvalidParameterException"),
        ("secretsmanager.PutSecretValue", json!({"SecretId": "o", "SecretString": ""}), "ResourceNotFoundException"),
        ("secretsmanager.RotateSecret", json!({"SecretId": "s"}), "UnknownOperationException"),
        ("AmazonSSM.GetParameter", json!({"Name": "other"}), "ParameterNotFound"),
        ("AmazonSSM.PutParameter", json!({"Name": "p", "Value": "v"}), "ParameterAlreadyExists"),
        ("AmazonSSM.PutParameter", json!({"Name": "q", "Value": "v"}), "ValidationException"),
        (
            "AmazonSSM.PutParameter",
            json!({"Name": "q", "Value": "x".repeat(4_097), "Type": "String"}),
            "ValidationException",
        ),
        ("AmazonSSM.PutParameter", json!({"Name": "q", "Value": "v", "Type": "Blob"}), "UnsupportedParameterType"),
        ("AmazonSSM.GetParameters", json!({}), "UnknownOperationException"),
        ("AmazonSSM.GetParameter", json!({}), "SerializationException"),
    ] {
        assert_eq!(call(&vault, target, body).await.unwrap_err().code, expect, "{target}");
    }
}
