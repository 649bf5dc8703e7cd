//! Queues over their API: what is acknowledged outlives the process, and waits end when something comes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::faults::{FaultKind, FaultRule};

use super::*;

struct Fixture {
    dir: tempfile::TempDir,
    faults: Faults,
    clock: Clock,
    sqs: Sqs,
}

impl Fixture {
    fn new() -> Self {
        let (dir, faults) = (tempfile::tempdir().unwrap(), Faults::default());
        let clock = Clock::standing_at(1_700_000_000_000);
        let sqs = Sqs::open(dir.path().join("sqs"), "http://cloud", faults.clone(), clock.clone()).unwrap();
        Self { dir, faults, clock, sqs }
    }

    /// As after a kill: nothing is closed.
    fn restarted(&self) -> Sqs {
        Sqs::open(self.dir.path().join("sqs"), "http://cloud", self.faults.clone(), self.clock.clone()).unwrap()
    }
}

async fn call(sqs: &Sqs, operation: &str, body: Value) -> Value {
    serde_json::from_slice(&sqs.call(operation, body.to_string().as_bytes()).await.unwrap()).unwrap()
}

async fn refused(sqs: &Sqs, operation: &str, body: Value) -> String {
    let error = sqs.call(operation, body.to_string().as_bytes()).await.unwrap_err();
    format!("{} {}", error.code, error.message)
}

fn bodies(received: &Value) -> Vec<&str> {
    let messages = received["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages.iter().map(|message| message["Body"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process() {
    let fixture = Fixture::new();
    let sqs = &fixture.sqs;
    let made = call(sqs, "CreateQueue", json!({ "QueueName": "q", "Attributes": { "VisibilityTimeout": "60" } })).await;
    let url = made["QueueUrl"].as_str().unwrap().to_owned();
    assert_eq!(url, "http://cloud/000000000000/q");
    for body in ["a", "b", "c"] {
        call(sqs, "SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await;
    }
    let all = json!({ "QueueUrl": url, "MaxNumberOfMessages": 10, "AttributeNames": ["All"] });
    let one = json!({ "QueueUrl": url });
    let received = call(sqs, "ReceiveMessage", one.clone()).await;
    assert_eq!(bodies(&received), ["a"]);
    let receipt = &received["Messages"][0]["ReceiptHandle"];
    call(sqs, "DeleteMessage", json!({ "QueueUrl": url, "ReceiptHandle": receipt })).await;
    assert_eq!(bodies(&call(sqs, "ReceiveMessage", one).await), ["b"]);

    let again = fixture.restarted();
    let received = call(&again, "ReceiveMessage", all.clone()).await;
    assert_eq!(bodies(&received), ["c"], "b is still held, a is gone");
    fixture.clock.jump(60_000);
    let received = call(&again, "ReceiveMessage", all.clone()).await;
    assert_eq!(bodies(&received), ["b", "c"]);
    let counts: Vec<&str> = received["Messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| message["Attributes"]["ApproximateReceiveCount"].as_str().unwrap())
        .collect();
    assert_eq!(counts, ["2", "2"]);
    let deleted = call(&again, "DeleteQueue", json!({ "QueueUrl": url })).await;
    assert_eq!(deleted, json!({}));
    assert!(refused(&again, "ReceiveMessage", all).await.starts_with("QueueDoesNotExist"));
    assert_eq!(fixture.restarted().names(), Vec::<String>::new());
    assert_eq!(again.shared.bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing() {
    let fixture = Fixture::new();
    let sqs = &fixture.sqs;
    call(sqs, "CreateQueue", json!({ "QueueName": "q" })).await;
    let url = "http://elsewhere:1/000000000000/q";
    call(sqs, "SendMessage", json!({ "QueueUrl": url, "MessageBody": "kept" })).await;
    fixture.faults.set(vec![FaultRule::new(FaultKind::DiskFull)], 0).unwrap();
    let send = json!({ "QueueUrl": url, "MessageBody": "lost" });
    assert!(refused(sqs, "SendMessage", send).await.contains("no space left"));
    let received = call(sqs, "ReceiveMessage", json!({ "QueueUrl": url, "MaxNumberOfMessages": 10 })).await;
    assert_eq!(bodies(&received), ["kept"], "what is there can be had");
    let receipt = &received["Messages"][0]["ReceiptHandle"];
    let delete = json!({ "QueueUrl": url, "ReceiptHandle": receipt });
    assert!(refused(sqs, "DeleteMessage", delete.clone()).await.contains("no space left"));
    fixture.faults.set(Vec::new(), 0).unwrap();
    call(sqs, "DeleteMessage", delete).await;
    assert_eq!(call(&fixture.restarted(), "ReceiveMessage", json!({ "QueueUrl": url })).await, json!({}));
}

#[tokio::test]
async fn a_wait_ends_when_a_message_comes() {
    let fixture = Fixture::new();
    call(&fixture.sqs, "CreateQueue", json!({ "QueueName": "q" })).await;
    let wait = json!({ "QueueUrl": "q", "WaitTimeSeconds": 20 });
    let waiting = tokio::spawn({
        let (sqs, wait) = (fixture.sqs.clone(), wait.clone());
        async move { call(&sqs, "ReceiveMessage", wait).await }
    });
    fixture.sqs.send("q", Content::of("here")).await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(bodies(&received), ["here"]);
    let short = json!({ "QueueUrl": "q", "WaitTimeSeconds": 1 });
    assert_eq!(call(&fixture.sqs, "ReceiveMessage", short).await, json!({}), "it ends without one as well");
}

#[tokio::test]
async fn what_is_received_too_often_goes_to_the_other_queue() {
    let fixture = Fixture::new();
    let sqs = &fixture.sqs;
    let policy = json!({ "deadLetterTargetArn": queue_arn("dead"), "maxReceiveCount": 1 }).to_string();
    let attributes = json!({ "RedrivePolicy": policy, "VisibilityTimeout": "0" });
    call(sqs, "CreateQueue", json!({ "QueueName": "q", "Attributes": attributes })).await;
    sqs.send("q", Content::of("bad")).await.unwrap();
    assert_eq!(bodies(&call(sqs, "ReceiveMessage", json!({ "QueueUrl": "q" })).await), ["bad"]);
    assert_eq!(call(sqs, "ReceiveMessage", json!({ "QueueUrl": "q" })).await, json!({}), "there is no other queue yet");
    call(sqs, "CreateQueue", json!({ "QueueName": "dead" })).await;
    fixture.clock.jump(30_000);
    assert_eq!(call(sqs, "ReceiveMessage", json!({ "QueueUrl": "q" })).await, json!({}));
    let asked = json!({ "QueueUrl": "dead", "MessageSystemAttributeNames": ["DeadLetterQueueSourceArn"] });
    let received = call(&fixture.restarted(), "ReceiveMessage", asked).await;
    assert_eq!(bodies(&received), ["bad"]);
    assert_eq!(received["Messages"][0]["Attributes"]["DeadLetterQueueSourceArn"], queue_arn("q"));
}

#[tokio::test]
async fn batches_say_what_failed_and_limits_are_counted() {
    let fixture = Fixture::new();
    let sqs = &fixture.sqs;
    call(sqs, "CreateQueue", json!({ "QueueName": "q" })).await;
    let send = |entries: Value| json!({ "QueueUrl": "q", "Entries": entries });
    let large = "x".repeat(1_048_577);
    let entries = json!([{ "Id": "good", "MessageBody": "x" }, { "Id": "empty", "MessageBody": "" }]);
    let sent = call(sqs, "SendMessageBatch", send(entries)).await;
    assert_eq!(
        (&sent["Successful"][0]["Id"], &sent["Failed"][0]["Code"]),
        (&json!("good"), &json!("MissingParameter"))
    );
    let twice = json!([{ "Id": "a", "MessageBody": "x" }, { "Id": "a", "MessageBody": "x" }]);
    for (entries, expected) in [
        (json!([]), "EmptyBatchRequest"),
        (twice, "BatchEntryIdsNotDistinct"),
        (json!([{ "Id": "a b", "MessageBody": "x" }]), "InvalidBatchEntryId"),
        (json!([{ "Id": "a", "MessageBody": large }]), "BatchRequestTooLong"),
        (
            json!((0..11).map(|id| json!({ "Id": id.to_string(), "MessageBody": "x" })).collect::<Vec<_>>()),
            "TooManyEntries",
        ),
    ] {
        let said = refused(sqs, "SendMessageBatch", send(entries)).await;
        assert!(said.starts_with(expected), "{said}");
    }
    let said = refused(sqs, "SendMessage", json!({ "QueueUrl": "q", "MessageBody": large })).await;
    assert!(said.contains("shorter than 1048576 bytes"), "{said}");
    assert!(refused(sqs, "CreateQueue", json!({ "QueueName": "q.fifo" })).await.contains("FIFO queues"));
    assert!(refused(sqs, "ListQueueTags", json!({})).await.contains("ListQueueTags is not implemented"));
    let limits = sqs.limits();
    let limit = limits.iter().find(|limit| limit.limit == "bytes of a message").unwrap();
    assert_eq!((limit.allowed, limit.peak, limit.refused), (1_048_576, 1_048_577, Some(1)));
    let all = limits.iter().find(|limit| limit.limit == "bytes of all messages").unwrap();
    assert_eq!((all.now, all.refused), (1, Some(0)));
}

#[tokio::test]
async fn making_a_queue_again_is_no_change_unless_it_differs() {
    let fixture = Fixture::new();
    let sqs = &fixture.sqs;
    let make = |seconds: &str| json!({ "QueueName": "q", "Attributes": { "VisibilityTimeout": seconds } });
    call(sqs, "CreateQueue", make("5")).await;
    call(sqs, "CreateQueue", make("5")).await;
    call(sqs, "CreateQueue", json!({ "QueueName": "q" })).await;
    assert!(refused(sqs, "CreateQueue", make("6")).await.starts_with("QueueNameExists"));
    call(sqs, "SetQueueAttributes", json!({ "QueueUrl": "q", "Attributes": { "VisibilityTimeout": "7" } })).await;
    sqs.send("q", Content::of("x")).await.unwrap();
    let asked = json!({ "QueueUrl": "q", "AttributeNames": ["VisibilityTimeout", "ApproximateNumberOfMessages"] });
    let expected = json!({ "Attributes": { "VisibilityTimeout": "7", "ApproximateNumberOfMessages": "1" } });
    assert_eq!(call(&fixture.restarted(), "GetQueueAttributes", asked).await, expected);
    call(sqs, "PurgeQueue", json!({ "QueueUrl": "q" })).await;
    assert!(refused(sqs, "PurgeQueue", json!({ "QueueUrl": "q" })).await.starts_with("PurgeQueueInProgress"));
    assert_eq!(call(&fixture.restarted(), "ReceiveMessage", json!({ "QueueUrl": "q" })).await, json!({}));
}
