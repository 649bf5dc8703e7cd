//! The catalog through its operations, and after a restart.

use serde_json::{Value, json};

use super::Glue;

async fn call(glue: &Glue, operation: &str, request: Value) -> Result<Value, String> {
    match glue.call(operation, request.to_string().as_bytes()).await {
        Ok(body) => Ok(serde_json::from_slice(&body).unwrap()),
        Err(error) => Err(error.code.to_owned()),
    }
}

async fn open() -> (tempfile::TempDir, Glue) {
    let directory = tempfile::tempdir().unwrap();
    let glue = Glue::open(directory.path().join("glue")).await.unwrap();
    call(&glue, "CreateDatabase", json!({ "DatabaseInput": { "Name": "AdX", "Description": "ads" } })).await.unwrap();
    let input = json!({
        "Name": "Imps", "Owner": "me", "Unknown": { "kept": [1, 2] },
        "PartitionKeys": [{ "Name": "event_date", "Type": "date" }, { "Name": "hour", "Type": "int" }],
        "StorageDescriptor": { "Columns": [{ "Name": "id", "Type": "string" }], "Location": "s3://b/imps/" },
    });
    call(&glue, "CreateTable", json!({ "DatabaseName": "adx", "TableInput": input })).await.unwrap();
    (directory, glue)
}

fn partition(day: &str, hour: u32) -> Value {
    json!({ "Values": [day, hour.to_string()], "StorageDescriptor": { "Columns": [], "Location": format!("s3://b/{day}/{hour}") } })
}

#[expect(clippy::needless_pass_by_value, reason = "reads better at the many calls")]
fn of(fields: Value) -> Value {
    let mut request = json!({ "DatabaseName": "adx", "TableName": "imps" });
    request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    request
}

#[tokio::test]
async fn objects_come_back_whole_after_a_restart() {
    let (directory, glue) = open().await;
    call(&glue, "CreatePartition", of(json!({ "PartitionInput": partition("2026-11-01", 5) }))).await.unwrap();
    drop(glue);
    let glue = Glue::open(directory.path().join("glue")).await.unwrap();
    let found = call(&glue, "GetDatabase", json!({ "Name": "ADX" })).await.unwrap();
    assert_eq!((&found["Database"]["Name"], &found["Database"]["Description"]), (&json!("adx"), &json!("ads")));
    let found = call(&glue, "GetTable", json!({ "DatabaseName": "adx", "Name": "IMPS" })).await.unwrap();
    assert_eq!((&found["Table"]["Unknown"], &found["Table"]["VersionId"]), (&json!({ "kept": [1, 2] }), &json!("0")));
    let found = call(&glue, "GetPartition", of(json!({ "PartitionValues": ["2026-11-01", "5"] }))).await.unwrap();
    assert_eq!(found["Partition"]["StorageDescriptor"]["Location"], "s3://b/2026-11-01/5");
    assert_eq!(found["Partition"]["TableName"], "imps");
}

#[tokio::test]
async fn errors_have_their_names() {
    let (_directory, glue) = open().await;
    let check = async |operation: &str, request: Value, expected: &str| {
        assert_eq!(call(&glue, operation, request).await.unwrap_err(), expected, "{operation}");
    };
    let input = partition("2026-11-01", 5);
    call(&glue, "CreatePartition", of(json!({ "PartitionInput": input }))).await.unwrap();
    check("CreateDatabase", json!({ "DatabaseInput": { "Name": "adx" } }), "AlreadyExistsException").await;
    check("GetDatabase", json!({ "Name": "none" }), "EntityNotFoundException").await;
    check("CreateTable", json!({ "DatabaseName": "adx", "TableInput": { "Name": "imps" } }), "AlreadyExistsException")
        .await;
    check("CreateTable", json!({ "DatabaseName": "none", "TableInput": { "Name": "t" } }), "EntityNotFoundException")
        .await;
    check("CreateTable", json!({ "DatabaseName": "adx", "TableInput": { "Name": "../x" } }), "InvalidInputException")
        .await;
    check("GetTable", json!({ "DatabaseName": "adx", "Name": "none" }), "EntityNotFoundException").await;
    check("CreatePartition", of(json!({ "PartitionInput": input })), "AlreadyExistsException").await;
    check("CreatePartition", of(json!({ "PartitionInput": { "Values": ["1"] } })), "InvalidInputException").await;
    check("GetPartition", of(json!({ "PartitionValues": ["x", "y"] })), "EntityNotFoundException").await;
    check("DeletePartition", of(json!({ "PartitionValues": ["x", "y"] })), "EntityNotFoundException").await;
    check("GetPartitions", of(json!({ "Expression": "colour = 1" })), "InvalidInputException").await;
    check("GetPartitions", of(json!({ "MaxResults": 1001 })), "InvalidInputException").await;
    check("GetPartitions", of(json!({ "NextToken": "?" })), "InvalidInputException").await;
    check(
        "BatchCreatePartition",
        of(json!({ "PartitionInputList": vec![input.clone(); 101] })),
        "InvalidInputException",
    )
    .await;
    check(
        "BatchDeletePartition",
        of(json!({ "PartitionsToDelete": vec![json!({ "Values": ["a"] }); 26] })),
        "InvalidInputException",
    )
    .await;
    check("StartCrawler", json!({}), "UnknownOperationException").await;
    check("GetTable", json!({ "Name": 1 }), "SerializationException").await;
}

#[tokio::test]
async fn a_stale_version_does_not_overwrite() {
    let (_directory, glue) = open().await;
    let update = |version: Option<&str>, owner: &str| json!({ "DatabaseName": "adx", "TableInput": { "Name": "imps", "Owner": owner }, "VersionId": version });
    call(&glue, "UpdateTable", update(Some("0"), "one")).await.unwrap();
    let stale = call(&glue, "UpdateTable", update(Some("0"), "two")).await;
    assert_eq!(stale.unwrap_err(), "ConcurrentModificationException");
    call(&glue, "UpdateTable", update(None, "three")).await.unwrap();
    let found = call(&glue, "GetTable", json!({ "DatabaseName": "adx", "Name": "imps" })).await.unwrap();
    assert_eq!((&found["Table"]["Owner"], &found["Table"]["VersionId"]), (&json!("three"), &json!("2")));
}

#[tokio::test]
async fn batches_say_what_failed_and_do_the_rest() {
    let (_directory, glue) = open().await;
    let inputs: Vec<Value> = (0..24).map(|hour| partition("2026-11-01", hour)).collect();
    let create = |inputs: Vec<Value>| of(json!({ "PartitionInputList": inputs }));
    let made = call(&glue, "BatchCreatePartition", create(inputs[..23].to_vec())).await.unwrap();
    assert_eq!(made["Errors"], json!([]));
    let made = call(&glue, "BatchCreatePartition", create(inputs[22..].to_vec())).await.unwrap();
    assert_eq!(made["Errors"][0]["PartitionValues"], json!(["2026-11-01", "22"]));
    assert_eq!(made["Errors"][0]["ErrorDetail"]["ErrorCode"], "AlreadyExistsException");
    assert_eq!(made["Errors"].as_array().unwrap().len(), 1);

    let delete =
        json!({ "PartitionsToDelete": [{ "Values": ["2026-11-01", "0"] }, { "Values": ["2026-11-01", "99"] }] });
    let deleted = call(&glue, "BatchDeletePartition", of(delete)).await.unwrap();
    assert_eq!(deleted["Errors"][0]["ErrorDetail"]["ErrorCode"], "EntityNotFoundException");
    let get = json!({ "PartitionsToGet": [{ "Values": ["2026-11-01", "0"] }, { "Values": ["2026-11-01", "1"] }] });
    let found = call(&glue, "BatchGetPartition", of(get)).await.unwrap();
    assert_eq!(found["Partitions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn filtered_pages_join_to_the_whole() {
    let (_directory, glue) = open().await;
    for day in 1..=3 {
        let day = format!("2026-11-0{day}");
        let inputs: Vec<Value> = (0..24).map(|hour| partition(&day, hour)).collect();
        call(&glue, "BatchCreatePartition", of(json!({ "PartitionInputList": inputs }))).await.unwrap();
    }
    let all = async |fields: Value| {
        let (mut found, mut token) = (Vec::new(), Value::Null);
        loop {
            let mut request = of(fields.clone());
            request["NextToken"] = token;
            let page = call(&glue, "GetPartitions", request).await.unwrap();
            found.extend(page["Partitions"].as_array().unwrap().iter().map(|one| one["Values"].clone()));
            token = page["NextToken"].clone();
            if token.is_null() {
                return found;
            }
        }
    };
    assert_eq!(all(json!({})).await.len(), 72);
    assert_eq!(all(json!({ "MaxResults": 7 })).await, all(json!({})).await);
    let filtered =
        all(json!({ "Expression": "event_date >= '2026-11-02' AND hour BETWEEN 9 AND 10", "MaxResults": 1 })).await;
    assert_eq!(
        json!(filtered),
        json!([["2026-11-02", "10"], ["2026-11-02", "9"], ["2026-11-03", "10"], ["2026-11-03", "9"]])
    );
    let mut segments = Vec::new();
    for number in 0..3 {
        segments.extend(all(json!({ "Segment": { "SegmentNumber": number, "TotalSegments": 3 } })).await);
    }
    assert_eq!(segments.len(), 72);
}

#[tokio::test]
async fn an_update_moves_a_partition() {
    let (_directory, glue) = open().await;
    call(&glue, "CreatePartition", of(json!({ "PartitionInput": partition("2026-11-01", 5) }))).await.unwrap();
    let old = json!(["2026-11-01", "5"]);
    let request = json!({ "PartitionValueList": old, "PartitionInput": partition("2026-11-01", 6) });
    call(&glue, "UpdatePartition", of(request.clone())).await.unwrap();
    assert_eq!(call(&glue, "UpdatePartition", of(request)).await.unwrap_err(), "EntityNotFoundException");
    let found = call(&glue, "GetPartitions", of(json!({ "ExcludeColumnSchema": true }))).await.unwrap();
    assert_eq!(found["Partitions"][0]["Values"], json!(["2026-11-01", "6"]));
    assert_eq!(found["Partitions"][0]["StorageDescriptor"], json!({ "Location": "s3://b/2026-11-01/6" }));
    call(&glue, "DeleteTable", json!({ "DatabaseName": "adx", "Name": "imps" })).await.unwrap();
    assert_eq!(glue.table_names("adx").await.unwrap(), Some(Vec::new()));
}
