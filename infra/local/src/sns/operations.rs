//! SNS' API in the query protocol: forms in, XML out.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::notification::Publication;
use super::{
    MESSAGE_BYTES_DEFAULT, SUBSCRIPTIONS_MAX, Sns, SnsError, Subscription, TOPICS_MAX, Topic, is_topic_arn, topic_arn,
};
use crate::kinesis::ACCOUNT;
use crate::sqs::{AttributeValue, queue_name};
use crate::wire::xml_text;

/// The version of the API that its requests name.
pub(crate) const VERSION: &str = "2010-03-31";
/// Of the XML.
pub(crate) const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
/// Entries in one page of a list.
const PAGE: usize = 100;

/// The fields of a request.
type Form = BTreeMap<String, String>;

impl Sns {
    /// Answers a call: the XML of its answer.
    ///
    /// # Errors
    /// The service's errors, by its names.
    pub(crate) async fn call(&self, action: &str, form: &Form) -> Result<String, SnsError> {
        let result = match action {
            "CreateTopic" => self.create_topic(form).await?,
            "DeleteTopic" => self.delete_topic(form).await?,
            "ListTopics" => self.list_topics(form),
            "GetTopicAttributes" => self.topic_attributes(form)?,
            "Publish" => self.publish_form(form).await?,
            "Subscribe" => self.subscribe(form).await?,
            "Unsubscribe" => self.unsubscribe(form).await?,
            "ListSubscriptions" => self.list_subscriptions(form, None),
            "ListSubscriptionsByTopic" => {
                let arn = need(form, "TopicArn")?;
                self.topics().topics.get(arn).ok_or_else(|| SnsError::not_found("Topic"))?;
                self.list_subscriptions(form, Some(arn))
            }
            other => {
                let message = format!("SNS {other} is not implemented by the Millrace local cloud");
                return Err(SnsError { status: 400, code: "InvalidAction", message });
            }
        };
        Ok(format!(
            "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>{}\
             </RequestId></ResponseMetadata></{action}Response>",
            Uuid::new_v4()
        ))
    }

    async fn create_topic(&self, form: &Form) -> Result<String, SnsError> {
        let name = need(form, "Name")?;
        if name.ends_with(".fifo") {
            return Err(SnsError::not_here("FIFO topics"));
        }
        let arn = topic_arn(name);
        if !is_topic_arn(&arn) {
            return Err(SnsError::invalid("Topic Name"));
        }
        let mut message_bytes_max = MESSAGE_BYTES_DEFAULT;
        for (name, value) in pairs(form, "Attributes.entry", "key", "value") {
            message_bytes_max = match (name.as_str(), value.parse()) {
                ("MaximumMessageSize", Ok(bytes @ 1_024..=1_048_576)) => bytes,
                ("MaximumMessageSize", _) => return Err(SnsError::invalid("MaximumMessageSize is 1024 to 1048576")),
                (other, _) => return Err(SnsError::not_here(&format!("topic attribute {other}"))),
            };
        }
        if form.keys().any(|key| key.starts_with("Tags.") || key == "DataProtectionPolicy") {
            return Err(SnsError::not_here("tags and data protection of topics"));
        }
        let made = arn.clone();
        self.change(move |topics| {
            if let Some(held) = topics.topics.get(&made) {
                return if held.message_bytes_max == message_bytes_max {
                    Ok(())
                } else {
                    Err(SnsError::invalid("Attributes Reason: Topic already exists with different attributes"))
                };
            }
            if topics.topics.len() >= TOPICS_MAX {
                let message = format!("This local cloud holds at most {TOPICS_MAX} topics");
                return Err(SnsError { status: 403, code: "TopicLimitExceeded", message });
            }
            topics.topics.insert(made, Topic { message_bytes_max });
            Ok(())
        })
        .await?;
        Ok(element("TopicArn", &arn))
    }

    async fn delete_topic(&self, form: &Form) -> Result<String, SnsError> {
        let arn = need(form, "TopicArn")?.to_owned();
        if !is_topic_arn(&arn) {
            return Err(SnsError::invalid("TopicArn"));
        }
        // One that is not there is no error.
        self.change(move |topics| {
            topics.topics.remove(&arn);
            topics.subscriptions.retain(|_, subscription| subscription.topic != arn);
            Ok(())
        })
        .await?;
        Ok(String::new())
    }

    fn list_topics(&self, form: &Form) -> String {
        let topics = self.topics();
        let member = |arn: &String| format!("<member>{}</member>", element("TopicArn", arn));
        let (members, next) = page(topics.topics.keys(), form, member);
        format!("<Topics>{members}</Topics>{next}")
    }

    fn topic_attributes(&self, form: &Form) -> Result<String, SnsError> {
        let arn = need(form, "TopicArn")?;
        let topics = self.topics();
        let topic = topics.topics.get(arn).ok_or_else(|| SnsError::not_found("Topic"))?;
        let confirmed = topics.subscriptions.values().filter(|subscription| subscription.topic == arn).count();
        let attributes = [
            ("TopicArn", arn.to_owned()),
            ("Owner", ACCOUNT.to_owned()),
            ("MaximumMessageSize", topic.message_bytes_max.to_string()),
            ("SubscriptionsConfirmed", confirmed.to_string()),
            ("SubscriptionsPending", "0".to_owned()),
            ("SubscriptionsDeleted", "0".to_owned()),
        ];
        let entry = |(name, value): (&str, String)| {
            format!("<entry>{}{}</entry>", element("key", name), element("value", &value))
        };
        Ok(format!("<Attributes>{}</Attributes>", attributes.map(entry).concat()))
    }

    async fn publish_form(&self, form: &Form) -> Result<String, SnsError> {
        if form.contains_key("PhoneNumber") {
            return Err(SnsError::not_here("publishing to a phone"));
        }
        let arn = form.get("TopicArn").or_else(|| form.get("TargetArn"));
        let arn =
            arn.ok_or_else(|| SnsError::invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
        if form.contains_key("MessageDeduplicationId") || form.contains_key("MessageGroupId") {
            return Err(SnsError::not_here("groups and deduplication of messages"));
        }
        let message = need(form, "Message")?.to_owned();
        if message.is_empty() {
            return Err(SnsError::invalid("Empty message"));
        }
        let message = match form.get("MessageStructure").map(String::as_str) {
            None | Some("") => message,
            Some("json") => structured(&message)?,
            Some(_) => return Err(SnsError::invalid("MessageStructure")),
        };
        let subject = form.get("Subject").cloned();
        if subject
            .as_ref()
            .is_some_and(|text| !(1..=100).contains(&text.chars().count()) || text.contains(['\n', '\r']))
        {
            return Err(SnsError::invalid("Subject"));
        }
        let attributes = attributes(form)?;
        let id = self.publish(arn, &Publication { message, subject, attributes }).await?;
        Ok(element("MessageId", &id.to_string()))
    }

    async fn subscribe(&self, form: &Form) -> Result<String, SnsError> {
        let (topic, protocol) = (need(form, "TopicArn")?.to_owned(), need(form, "Protocol")?);
        if protocol != "sqs" {
            return Err(SnsError::not_here(&format!("protocol {protocol}; sqs is")));
        }
        let endpoint = need(form, "Endpoint")?.to_owned();
        if queue_name(&endpoint).is_none() {
            return Err(SnsError::invalid("SQS endpoint ARN"));
        }
        let mut is_raw = false;
        for (name, value) in pairs(form, "Attributes.entry", "key", "value") {
            is_raw = match (name.as_str(), value.as_str()) {
                ("RawMessageDelivery", "true") => true,
                ("RawMessageDelivery", "false") => false,
                ("RawMessageDelivery", _) => return Err(SnsError::invalid("Attributes Reason: RawMessageDelivery")),
                (other, _) => return Err(SnsError::not_here(&format!("subscription attribute {other}"))),
            };
        }
        let subscription = Subscription { topic, endpoint, is_raw };
        let arn = self.change(move |topics| {
            topics.topics.get(&subscription.topic).ok_or_else(|| SnsError::not_found("Topic"))?;
            let is_same =
                |held: &Subscription| held.topic == subscription.topic && held.endpoint == subscription.endpoint;
            if let Some((arn, held)) = topics.subscriptions.iter().find(|(_, held)| is_same(held)) {
                return if *held == subscription {
                    Ok(arn.clone())
                } else {
                    Err(SnsError::invalid("Attributes Reason: Subscription already exists with different attributes"))
                };
            }
            if topics.subscriptions.len() >= SUBSCRIPTIONS_MAX {
                let message = format!("This local cloud holds at most {SUBSCRIPTIONS_MAX} subscriptions");
                return Err(SnsError { status: 403, code: "SubscriptionLimitExceeded", message });
            }
            let arn = format!("{}:{}", subscription.topic, Uuid::new_v4());
            topics.subscriptions.insert(arn.clone(), subscription);
            Ok(arn)
        });
        Ok(element("SubscriptionArn", &arn.await?))
    }

    async fn unsubscribe(&self, form: &Form) -> Result<String, SnsError> {
        let arn = need(form, "SubscriptionArn")?.to_owned();
        self.change(move |topics| match topics.subscriptions.remove(&arn) {
            Some(_) => Ok(()),
            None => Err(SnsError::not_found("Subscription")),
        })
        .await?;
        Ok(String::new())
    }

    fn list_subscriptions(&self, form: &Form, topic: Option<&str>) -> String {
        let topics = self.topics();
        let is_meant = |(_, held): &(&String, &Subscription)| topic.is_none_or(|topic| held.topic == topic);
        let member = |arn: &String| {
            let Some(held) = topics.subscriptions.get(arn) else { return String::new() };
            let fields = [
                ("SubscriptionArn", arn.as_str()),
                ("Owner", ACCOUNT),
                ("Protocol", "sqs"),
                ("Endpoint", &held.endpoint),
                ("TopicArn", &held.topic),
            ];
            format!("<member>{}</member>", fields.map(|(name, value)| element(name, value)).concat())
        };
        let arns = topics.subscriptions.iter().filter(is_meant).map(|(arn, _)| arn);
        let (members, next) = page(arns, form, member);
        format!("<Subscriptions>{members}</Subscriptions>{next}")
    }
}

/// One page of a list, and where the next begins.
fn page<'a>(
    arns: impl Iterator<Item = &'a String>,
    form: &Form,
    member: impl Fn(&String) -> String,
) -> (String, String) {
    let mut arns = arns.filter(|arn| form.get("NextToken").is_none_or(|token| *arn > token));
    let given: Vec<&String> = arns.by_ref().take(PAGE).collect();
    let next = arns.next().and(given.last()).map(|last| element("NextToken", last)).unwrap_or_default();
    (given.into_iter().map(member).collect(), next)
}

fn need<'a>(form: &'a Form, name: &str) -> Result<&'a str, SnsError> {
    form.get(name).map(String::as_str).ok_or_else(|| SnsError::invalid(format!("{name} Reason: no value given")))
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", xml_text(text))
}

/// The pairs of a map in a form, which are numbered from 1 on.
fn pairs(form: &Form, prefix: &str, key: &str, value: &str) -> Vec<(String, String)> {
    let pair = |number: usize| {
        let name = form.get(&format!("{prefix}.{number}.{key}"))?;
        Some((name.clone(), form.get(&format!("{prefix}.{number}.{value}")).cloned().unwrap_or_default()))
    };
    (1..).map_while(pair).collect()
}

fn attributes(form: &Form) -> Result<BTreeMap<String, AttributeValue>, SnsError> {
    let names = pairs(form, "MessageAttributes.entry", "Name", "Value.DataType");
    let attribute = |(index, (name, data_type)): (usize, (String, String))| {
        let value = |kind: &str| form.get(&format!("MessageAttributes.entry.{}.Value.{kind}", index + 1)).cloned();
        let value =
            AttributeValue { data_type, string_value: value("StringValue"), binary_value: value("BinaryValue") };
        (name, value)
    };
    let found: BTreeMap<String, AttributeValue> = names.into_iter().enumerate().map(attribute).collect();
    let is_known = |value: &AttributeValue| {
        let kind = value.data_type.split('.').next().unwrap_or_default();
        let has_value = value.string_value.is_some() || value.binary_value.is_some();
        matches!(kind, "String" | "Number" | "Binary") && has_value
    };
    match found.iter().find(|(_, value)| !is_known(value)) {
        Some((name, value)) => {
            let message =
                format!("The message attribute '{name}' has an invalid type or no value: {}", value.data_type);
            Err(SnsError { status: 400, code: "ParameterValueInvalid", message })
        }
        None => Ok(found),
    }
}

/// The text that a queue gets of a message with a text for each protocol.
fn structured(message: &str) -> Result<String, SnsError> {
    let parsed: BTreeMap<String, Value> = serde_json::from_str(message)
        .map_err(|_not_json| SnsError::invalid("Message Structure - JSON message body failed to parse"))?;
    let text = |protocol: &str| parsed.get(protocol).and_then(Value::as_str);
    let default = text("default")
        .ok_or_else(|| SnsError::invalid("Message Structure - No default entry in JSON message body"))?;
    Ok(text("sqs").unwrap_or(default).to_owned())
}

#[cfg(test)]
mod tests {
    use crate::clock::Clock;
    use crate::faults::Faults;
    use crate::sqs::Sqs;

    use super::*;

    fn open(dir: &std::path::Path) -> (Sqs, Sns) {
        let (faults, clock) = (Faults::default(), Clock::standing_at(0));
        let sqs = Sqs::open(dir.join("sqs"), "http://cloud", faults.clone(), clock.clone()).unwrap();
        (sqs.clone(), Sns::open(&dir.join("sns"), sqs, faults, clock).unwrap())
    }

    fn form(pairs: &[(&str, &str)]) -> Form {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    async fn receive(sqs: &Sqs, queue: &str) -> Value {
        let body = format!(r#"{{"QueueUrl":"{queue}","MaxNumberOfMessages":10,"MessageAttributeNames":["All"]}}"#);
        serde_json::from_slice(&sqs.call("ReceiveMessage", body.as_bytes()).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_publication_is_in_every_queue_that_is_subscribed() {
        let dir = tempfile::tempdir().unwrap();
        let (sqs, sns) = open(dir.path());
        for queue in ["raw", "wrapped"] {
            sqs.call("CreateQueue", format!(r#"{{"QueueName":"{queue}"}}"#).as_bytes()).await.unwrap();
        }
        let arn = topic_arn("t");
        sns.call("CreateTopic", &form(&[("Name", "t")])).await.unwrap();
        let subscribe = async |queue: &str, raw: &str| {
            let endpoint = crate::sqs::queue_arn(queue);
            let given = [
                ("TopicArn", arn.as_str()),
                ("Protocol", "sqs"),
                ("Endpoint", &endpoint),
                ("Attributes.entry.1.key", "RawMessageDelivery"),
                ("Attributes.entry.1.value", raw),
            ];
            sns.call("Subscribe", &form(&given)).await
        };
        subscribe("raw", "true").await.unwrap();
        subscribe("wrapped", "false").await.unwrap();
        subscribe("gone", "true").await.unwrap();
        subscribe("raw", "true").await.unwrap();
        assert!(subscribe("raw", "false").await.unwrap_err().message.contains("different attributes"));

        let (sqs, sns) = open(dir.path());
        let given = [
            ("TopicArn", arn.as_str()),
            ("Message", r#"{"default":"d","sqs":"for queues"}"#),
            ("MessageStructure", "json"),
            ("MessageAttributes.entry.1.Name", "n"),
            ("MessageAttributes.entry.1.Value.DataType", "String"),
            ("MessageAttributes.entry.1.Value.StringValue", "v"),
        ];
        sns.call("Publish", &form(&given)).await.unwrap();
        let raw = receive(&sqs, "raw").await;
        assert_eq!(
            (&raw["Messages"][0]["Body"], raw["Messages"].as_array().unwrap().len()),
            (&Value::from("for queues"), 1)
        );
        assert_eq!(raw["Messages"][0]["MessageAttributes"]["n"]["StringValue"], "v");
        let wrapped = receive(&sqs, "wrapped").await;
        let body: Value = serde_json::from_str(wrapped["Messages"][0]["Body"].as_str().unwrap()).unwrap();
        assert_eq!((&body["Message"], &body["TopicArn"]), (&Value::from("for queues"), &Value::from(arn.as_str())));
        assert_eq!(sns.undelivered(), 1);
        let listed = sns.call("ListSubscriptionsByTopic", &form(&[("TopicArn", &arn)])).await.unwrap();
        assert_eq!(listed.matches("<member>").count(), 3);
        sns.call("DeleteTopic", &form(&[("TopicArn", &arn)])).await.unwrap();
        assert_eq!(sns.call("Publish", &form(&given)).await.unwrap_err().code, "NotFound");
    }

    #[tokio::test]
    async fn what_is_not_here_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (_sqs, sns) = open(dir.path());
        sns.call("CreateTopic", &form(&[("Name", "t")])).await.unwrap();
        let arn = topic_arn("t");
        let check = async |action: &str, pairs: &[(&str, &str)], code: &str, said: &str| {
            let error = sns.call(action, &form(pairs)).await.unwrap_err();
            assert!(error.code == code && error.message.contains(said), "{action}: {error}");
        };
        check("CreateTopic", &[("Name", "t.fifo")], "InvalidParameter", "FIFO topics").await;
        check("CreateTopic", &[("Name", "a b")], "InvalidParameter", "Topic Name").await;
        check("TagResource", &[], "InvalidAction", "TagResource is not implemented").await;
        let to_mail = [("TopicArn", arn.as_str()), ("Protocol", "email"), ("Endpoint", "a@b")];
        check("Subscribe", &to_mail, "InvalidParameter", "protocol email").await;
        check("Unsubscribe", &[("SubscriptionArn", "x")], "NotFound", "Subscription").await;
        let large = "x".repeat(MESSAGE_BYTES_DEFAULT + 1);
        check("Publish", &[("TopicArn", &arn), ("Message", &large)], "InvalidParameter", "too long").await;
        assert_eq!(sns.limits()[0].refused, Some(1));
    }
}
