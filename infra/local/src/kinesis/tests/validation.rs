//! What is refused, and in which words.

use super::*;

async fn check(fixture: &Fixture, operation: &str, body: &str, expected: &str) {
    let error = fixture.cloud.kinesis().call(operation, body.as_bytes()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(expected), "{operation} {}: {text}", body.chars().take(200).collect::<String>());
    assert_eq!(error.status, 400);
}

#[tokio::test]
async fn bad_puts_are_refused_whole() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let put = |records: &str| format!(r#"{{"StreamName":"s","Records":[{records}]}}"#);
    let record = |data: &str, key: &str| format!(r#"{{"Data":"{data}","PartitionKey":"{key}"}}"#);
    let hashed = |hash_key: &str| put(&format!(r#"{{"Data":"","PartitionKey":"k","ExplicitHashKey":"{hash_key}"}}"#));
    let large = |bytes: usize| base64_simd::STANDARD.encode_to_string(vec![0; bytes]);
    let good = record("aGVsbG8=", "k");
    let cases = [
        (put(""), "ValidationException: 1 validation error detected: Value '[]' at 'records'"),
        (put(&vec![good.clone(); 501].join(",")), "Member must have length less than or equal to 500"),
        (put(&[good.clone(), record("aGVs", "")].join(",")), "at 'records.2.member.partitionKey'"),
        (put(&record("aGVs", &"k".repeat(257))), "Member must have length less than or equal to 256"),
        (put(r#"{"PartitionKey":"k"}"#), "Value null at 'records.1.member.data'"),
        (put(r#"{"Data":"aGVs"}"#), "Value null at 'records.1.member.partitionKey'"),
        (put(&[good.clone(), record("aGVs*", "k")].join(",")), "SerializationException: Data is not base64"),
        (put(&record(&large(1_048_577), "k")), "Member must have length less than or equal to 1048576"),
        (put(&record(&large(1_048_576), "k")), "over the stream's 1048576"),
        (put(&vec![record(&large(1_000_000), "k"); 11].join(",")), "Records size exceeds 10 MB limit"),
        (hashed("01"), "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})"),
        (hashed("340282366920938463463374607431768211456"), "Invalid ExplicitHashKey."),
        (r#"{"StreamName":"s"}"#.to_owned(), "Value null at 'records'"),
        (r#"{"Records":[]}"#.to_owned(), "Value '[]' at 'records'"),
        (r#"{"StreamName":"none","Records":[]}"#.to_owned(), "Value '[]' at 'records'"),
        (format!(r#"{{"Records":[{good}]}}"#), "Either StreamName or StreamARN must be given."),
        (format!(r#"{{"StreamName":"none","Records":[{good}]}}"#), "Stream none under account 000000000000 not found."),
        (
            format!(r#"{{"StreamName":"a b","Records":[{good},{{"PartitionKey":""}}]}}"#),
            "ValidationException: 2 validation errors detected: Value 'a b' at 'streamName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; Value null at \
             'records.2.member.data' failed to satisfy constraint: Member must not be null",
        ),
        (put(r#"{"Data":"aGVs","PartitionKey":"k"}],"DryRun":true,"Other":[1"#), "DryRunOperationException"),
        (r#"{"StreamName":"s","Records":7}"#.to_owned(), "SerializationException"),
        (r#"{"StreamName":"s","Records":[{"Data":5}]}"#.to_owned(), "SerializationException"),
        (String::new(), "Value null at 'records'"),
        ("[[[[".to_owned(), "SerializationException"),
    ];
    for (body, expected) in &cases {
        check(&fixture, "PutRecords", body, expected).await;
    }
    check(&fixture, "PutRecord", r#"{"StreamName":"s","Data":"aGVs"}"#, "Value null at 'partitionKey'").await;
    let (records, _) = read_shard(&fixture, "shardId-000000000000").await;
    assert!(records.is_empty());
}

#[tokio::test]
async fn escapes_in_a_body_are_understood() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let body = r#"{"StreamName":"\u0073","Records":[{"Data":"aGVs\/A==","PartitionKey":"k\u00e9\n","Other":[1]}]}"#;
    fixture.cloud.kinesis().call("PutRecords", body.as_bytes()).await.unwrap();
    let (records, _) = read_shard(&fixture, "shardId-000000000000").await;
    assert_eq!((records[0].1.as_str(), records[0].2.as_slice()), ("ké\n", b"hel\xfc".as_slice()));
}

#[tokio::test]
async fn bad_reads_are_refused() {
    let fixture = Fixture::new().await;
    fixture.create(1).await;
    let iterator = |rest: &str| format!(r#"{{"StreamName":"s","ShardId":"shardId-000000000000",{rest}}}"#);
    let foreign = "49170000000100000000000000000000000000000001000000000000";
    let at = format!(r#""ShardIteratorType":"AT_SEQUENCE_NUMBER","StartingSequenceNumber":"{foreign}""#);
    let future = r#""ShardIteratorType":"AT_TIMESTAMP","Timestamp":1700000001.5"#;
    let cases = [
        ("GetShardIterator", iterator(r#""ShardIteratorType":"SOMEWHERE""#), "Member must satisfy enum value set"),
        ("GetShardIterator", iterator(r#""ShardIteratorType":"AT_SEQUENCE_NUMBER""#), "InvalidArgumentException"),
        ("GetShardIterator", iterator(&at), "because it did not come from this stream"),
        ("GetShardIterator", iterator(r#""ShardIteratorType":"AT_TIMESTAMP""#), "InvalidArgumentException"),
        ("GetShardIterator", iterator(future), "cannot be greater than the currentTimestampInMillis"),
        (
            "GetShardIterator",
            r#"{"StreamName":"s","ShardIteratorType":"LATEST"}"#.to_owned(),
            "Value null at 'shardId'",
        ),
        (
            "GetShardIterator",
            r#"{"StreamName":"s","ShardId":"shardId-000000000009","ShardIteratorType":"LATEST"}"#.to_owned(),
            "ResourceNotFoundException: Could not find shard shardId-000000000009",
        ),
        ("GetRecords", r#"{"ShardIterator":"garbage"}"#.to_owned(), "Invalid ShardIterator."),
        ("GetRecords", r#"{"ShardIterator":"x","Limit":10001}"#.to_owned(), "InvalidArgumentException"),
        ("GetRecords", r#"{"ShardIterator":"x","Limit":0}"#.to_owned(), "greater than or equal to 1"),
        ("GetRecords", "{}".to_owned(), "Value null at 'shardIterator'"),
    ];
    for (operation, body, expected) in &cases {
        check(&fixture, operation, body, expected).await;
    }
}

#[tokio::test]
async fn bad_streams_and_reshards_are_refused() {
    let fixture = Fixture::new().await;
    fixture.create(3).await;
    let long = format!(r#"{{"StreamName":"{}","ShardCount":1}}"#, "a".repeat(129));
    let split =
        |at: &str| format!(r#"{{"StreamName":"s","ShardToSplit":"shardId-000000000000","NewStartingHashKey":"{at}"}}"#);
    let merge = |one: u8, other: u8| {
        let (one, other) = (format!("shardId-{one:012}"), format!("shardId-{other:012}"));
        format!(r#"{{"StreamName":"s","ShardToMerge":"{one}","AdjacentShardToMerge":"{other}"}}"#)
    };
    let cases = [
        ("CreateStream", r#"{"StreamName":"a b","ShardCount":1}"#.to_owned(), "[a-zA-Z0-9_.-]+"),
        ("CreateStream", long, "less than or equal to 128"),
        ("CreateStream", r#"{"StreamName":"x","ShardCount":0}"#.to_owned(), "greater than or equal to 1"),
        ("CreateStream", r#"{"StreamName":"x","ShardCount":1001}"#.to_owned(), "LimitExceededException"),
        ("CreateStream", r#"{"StreamName":"x"}"#.to_owned(), "ShardCount must be given"),
        ("CreateStream", r#"{"StreamName":"x","StreamModeDetails":{"StreamMode":"A"}}"#.to_owned(), "enum value set"),
        ("SplitShard", split("0"), "is not both greater than one plus the shard's StartingHashKey 0"),
        ("SplitShard", split("340282366920938463463374607431768211455"), "is not both greater"),
        ("SplitShard", split("x"), "at 'newStartingHashKey' failed to satisfy constraint"),
        ("MergeShards", merge(0, 2), "are not an adjacent pair"),
        ("MergeShards", merge(0, 0), "are not an adjacent pair"),
        ("MergeShards", merge(0, 7), "ResourceNotFoundException"),
        ("ListShards", r#"{"StreamName":"s","NextToken":"x"}"#.to_owned(), "cannot be provided together"),
        ("ListShards", r#"{"NextToken":"x"}"#.to_owned(), "NextToken is invalid."),
        ("ListShards", r#"{"StreamName":"s","ShardFilter":{"Type":"X"}}"#.to_owned(), "enum value set"),
        ("UpdateShardCount", "{}".to_owned(), "2 validation errors detected: Value null at 'targetShardCount'"),
        ("CreateQueue", "{}".to_owned(), "Kinesis CreateQueue is not implemented by the Millrace local cloud"),
        ("ListChannels", "{}".to_owned(), "Kinesis ListChannels is not implemented by the Millrace local cloud"),
    ];
    for (operation, body, expected) in &cases {
        check(&fixture, operation, body, expected).await;
    }
}
