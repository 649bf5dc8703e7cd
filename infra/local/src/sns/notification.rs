//! What is published, and what of it a queue gets: the message alone, or wrapped with where it comes from.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use uuid::Uuid;

use crate::sqs::{AttributeValue, Content};

/// Something to publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Publication {
    /// The text.
    pub message: String,
    /// A line about it, at most 100 characters.
    pub subject: Option<String>,
    /// What its sender says beside the text, by name.
    pub attributes: BTreeMap<String, AttributeValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Notification<'a> {
    #[serde(rename = "Type")]
    kind: &'static str,
    message_id: String,
    topic_arn: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    message: &'a str,
    timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    message_attributes: BTreeMap<&'a str, Attribute<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute<'a> {
    #[serde(rename = "Type")]
    kind: &'a str,
    value: &'a str,
}

impl Publication {
    /// A publication with this text and nothing else.
    pub fn of(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    pub(super) fn size(&self) -> usize {
        // They are counted alike.
        self.raw().size()
    }

    /// The message alone, its attributes as those of the queue's message.
    pub(super) fn raw(&self) -> Content {
        Content { body: self.message.clone(), attributes: self.attributes.clone(), trace_header: None }
    }

    /// The message in an envelope that says where it comes from; there is no signature in it.
    pub(super) fn notification(&self, topic_arn: &str, id: Uuid, now_ms: i64) -> Content {
        let attribute = |value: &'_ AttributeValue| -> Option<(String, String)> {
            let text = value.string_value.clone().or_else(|| value.binary_value.clone())?;
            Some((value.data_type.clone(), text))
        };
        let texts: BTreeMap<&str, (String, String)> =
            self.attributes.iter().filter_map(|(name, value)| Some((name.as_str(), attribute(value)?))).collect();
        let at = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let notification = Notification {
            kind: "Notification",
            message_id: id.to_string(),
            topic_arn,
            subject: self.subject.as_deref(),
            message: &self.message,
            timestamp: at.to_rfc3339_opts(SecondsFormat::Millis, true),
            message_attributes: texts.iter().map(|(name, (kind, value))| (*name, Attribute { kind, value })).collect(),
        };
        Content::of(serde_json::to_string_pretty(&notification).expect("texts can be written as JSON"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_is_the_service_s() {
        let publication = Publication {
            message: "{\"a\":1}".to_owned(),
            subject: Some("s".to_owned()),
            attributes: [("n".to_owned(), AttributeValue::number(&7))].into(),
        };
        expect_test::expect![[r#"
            {
              "Type": "Notification",
              "MessageId": "00000000-0000-0000-0000-000000000000",
              "TopicArn": "arn:t",
              "Subject": "s",
              "Message": "{\"a\":1}",
              "Timestamp": "2023-11-14T22:13:20.123Z",
              "MessageAttributes": {
                "n": {
                  "Type": "Number",
                  "Value": "7"
                }
              }
            }"#]]
        .assert_eq(&publication.notification("arn:t", Uuid::nil(), 1_700_000_000_123).body);
        assert_eq!(publication.raw().attributes, publication.attributes);
        assert_eq!(publication.size(), 7 + 1 + 6 + 1);
    }
}
