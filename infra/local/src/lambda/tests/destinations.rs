//! Given-up records in queues and topics; those in buckets are tested beside the mappings.

use super::*;

#[tokio::test]
async fn queues_and_topics_are_told_where_given_up_records_lie() {
    let fixture = Fixture::new(1).await;
    fixture.put(numbers(0..2)).await;
    let sqs = &fixture.lambda.sinks.sqs;
    sqs.call("CreateQueue", br#"{"QueueName":"told"}"#).await.unwrap();
    let topic = crate::sns::topic_arn("t");
    let subscribe = [("TopicArn", topic.as_str()), ("Protocol", "sqs"), ("Endpoint", &crate::sqs::queue_arn("told"))];
    let form =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    fixture.lambda.sinks.sns.call("CreateTopic", &form(&[("Name", "t")])).await.unwrap();
    fixture.lambda.sinks.sns.call("Subscribe", &form(&subscribe)).await.unwrap();
    for (name, destination) in
        [("by queue", Destination::Queue { queue: "told".to_owned() }), ("by topic", Destination::Topic { topic })]
    {
        let mapping = EventSourceMapping {
            name: name.replace(' ', "-"),
            maximum_retry_attempts: Some(0),
            on_failure: Some(destination),
            ..mapping(6)
        };
        let got = Got::default();
        let mapping = fixture.lambda.map(mapping, function(&got, |_, _| anyhow::bail!("no"))).await.unwrap();
        mapping.drain(DEADLINE).await.unwrap();
        assert_eq!(mapping.progress().records_discarded, 2);
        let received = sqs.call("ReceiveMessage", br#"{"QueueUrl":"told","MaxNumberOfMessages":10}"#).await.unwrap();
        let received: serde_json::Value = serde_json::from_slice(&received).unwrap();
        let messages = received["Messages"].as_array().unwrap();
        assert_eq!(messages.len(), 1, "{name}: {received}");
        let mut body: serde_json::Value = serde_json::from_str(messages[0]["Body"].as_str().unwrap()).unwrap();
        if let Some(message) = body["Message"].as_str() {
            body = serde_json::from_str(message).unwrap();
        }
        assert_eq!(body["KinesisBatchInfo"]["batchSize"], 2, "{name}: {body}");
        assert_eq!(body["requestContext"]["condition"], "RetryAttemptsExhausted");
        assert!(body.get("payload").is_none(), "{name}: {body}");
    }
}
