//! A message: what may be in one, how large it counts, and the digests that clients check.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::wire::ServiceError;

use super::{invalid_value, missing};

/// The most attributes of a message.
const ATTRIBUTES_MAX: usize = 10;
const NAME_CHARS_MAX: usize = 256;
const TYPE_CHARS_MAX: usize = 256;

/// A message as it is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its text.
    pub body: String,
    /// What its sender says beside the text, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, AttributeValue>,
    /// The header of a trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_header: Option<String>,
}

/// The value of a message's attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AttributeValue {
    /// `String`, `Number` or `Binary`, with a suffix of the sender's after a dot if it likes.
    #[serde(default)]
    pub data_type: String,
    /// The value of a string or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// The value of a binary, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary_value: Option<String>,
}

impl AttributeValue {
    /// A string.
    pub fn string(value: impl Into<String>) -> Self {
        Self { data_type: "String".to_owned(), string_value: Some(value.into()), binary_value: None }
    }

    /// A number.
    pub fn number(value: &impl ToString) -> Self {
        Self { data_type: "Number".to_owned(), string_value: Some(value.to_string()), binary_value: None }
    }

    fn is_binary(&self) -> bool {
        self.data_type.split('.').next() == Some("Binary")
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        if self.is_binary() {
            base64_simd::STANDARD.decode_to_vec(self.binary_value.as_deref()?).ok()
        } else {
            self.string_value.clone().map(String::into_bytes)
        }
    }

    fn check(&self, name: &str) -> Result<(), ServiceError> {
        let invalid = |what: &str| invalid_value(format!("The message attribute '{name}' {what}"));
        let kind = self.data_type.split('.').next().unwrap_or_default();
        if self.data_type.len() > TYPE_CHARS_MAX || !matches!(kind, "String" | "Number" | "Binary") {
            let what =
                format!("has an invalid message attribute type '{}'; it is String, Number or Binary", self.data_type);
            return Err(invalid(&what));
        }
        match self.bytes() {
            None => Err(invalid(&format!("has no value of its type, or one that is not base64: {}", self.data_type))),
            Some(bytes) if bytes.is_empty() => Err(invalid("must contain a non-empty value")),
            Some(_)
                if kind == "Number" && self.string_value.as_ref().is_some_and(|text| text.parse::<f64>().is_err()) =>
            {
                Err(invalid("is not a number"))
            }
            Some(_) => Ok(()),
        }
    }
}

impl Content {
    /// A message with this text and nothing else.
    pub fn of(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::default() }
    }

    /// What counts against the limit: the text and all attributes, names and types included.
    pub fn size(&self) -> usize {
        let attribute = |(name, value): (&String, &AttributeValue)| {
            name.len() + value.data_type.len() + value.bytes().map_or(0, |bytes| bytes.len())
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    /// Whether it may be sent at all.
    pub(super) fn check(&self, bytes_max: usize) -> Result<(), ServiceError> {
        if self.body.is_empty() {
            return Err(missing("MessageBody"));
        }
        if !self.body.chars().all(is_allowed) {
            return Err(ServiceError::client("InvalidMessageContents", "Invalid characters found."));
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(invalid_value(format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
                self.attributes.len()
            )));
        }
        for (name, value) in &self.attributes {
            if !is_attribute_name(name) {
                return Err(invalid_value(format!("'{name}' is not a name of a message attribute")));
            }
            value.check(name)?;
        }
        if self.size() > bytes_max {
            let reason =
                format!("One or more parameters are invalid. Reason: Message must be shorter than {bytes_max} bytes.");
            return Err(invalid_value(reason));
        }
        Ok(())
    }

    /// The digest of the text.
    pub(super) fn body_md5(&self) -> String {
        hex(&Md5::digest(self.body.as_bytes()))
    }
}

/// What XML can hold.
fn is_allowed(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}

fn is_attribute_name(name: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_reserved = ["aws.", "amazon."].iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(is_char)
        && !name.starts_with('.')
        && !name.ends_with('.')
        && !name.contains("..")
        && !is_reserved
}

/// The digest of attributes as clients compute it: by name in order, each part with its length before it. None for no
/// attributes.
pub(super) fn attributes_md5<'a>(
    attributes: impl IntoIterator<Item = (&'a String, &'a AttributeValue)>,
) -> Option<String> {
    let mut digest = Md5::new();
    let mut is_empty = true;
    let part = |digest: &mut Md5, bytes: &[u8]| {
        digest.update(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        digest.update(bytes);
    };
    for (name, value) in attributes {
        is_empty = false;
        part(&mut digest, name.as_bytes());
        part(&mut digest, value.data_type.as_bytes());
        digest.update([if value.is_binary() { 2 } else { 1 }]);
        part(&mut digest, &value.bytes().unwrap_or_default());
    }
    (!is_empty).then(|| hex(&digest.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    crate::s3::hex(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(data_type: &str, string: Option<&str>, binary: Option<&str>) -> AttributeValue {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        AttributeValue { data_type: data_type.to_owned(), string_value: owned(string), binary_value: owned(binary) }
    }

    #[test]
    fn digests_are_those_that_others_compute() {
        assert_eq!(Content::of("hello").body_md5(), "5d41402abc4b2a76b9719d911017c592");
        // From the documentation of npm's aws-md5-of-message-attributes.
        let one = attribute("String", Some("attribValue 1"), None);
        let number = attribute("Number.float", Some("4563442423554324324264524243.32543234"), None);
        let binary = base64_simd::STANDARD.encode_to_string("Hello binary world!");
        let binary = attribute("Binary", None, Some(&binary));
        let named = |pairs: &[(&str, &AttributeValue)]| {
            let map: BTreeMap<String, AttributeValue> =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).clone())).collect();
            attributes_md5(&map).unwrap_or_default()
        };
        assert_eq!(named(&[("attribName1", &one)]), "19e27d4e946b072f3f58da80d94fd778");
        assert_eq!(named(&[("customNumberTypeAttrib", &number)]), "9fe1b90bbd9965bdf77bac517c7d2495");
        assert_eq!(named(&[("binaryAttribute", &binary)]), "31a92b15d92f8db860eda32aceb656c3");
        let all = [("attribName1", &one), ("customNumberTypeAttrib", &number), ("binaryAttribute", &binary)];
        assert_eq!(named(&all), "c932db14a896c663f83c260297d594ff");
        assert_eq!(attributes_md5(&BTreeMap::new()), None);
    }

    #[test]
    fn what_may_not_be_sent_is_refused() {
        let check = |content: Content, expected: &str| {
            let error = content.check(1_024).unwrap_err();
            assert!(format!("{}: {}", error.code, error.message).contains(expected), "{error:?}");
        };
        let with = |name: &str, value: AttributeValue| Content {
            attributes: [(name.to_owned(), value)].into(),
            ..Content::of("x")
        };
        check(Content::of(""), "MissingParameterException");
        check(Content::of("a\u{1}"), "InvalidMessageContents");
        check(Content::of("x".repeat(1_025)), "shorter than 1024 bytes");
        check(with("n", AttributeValue::string("x".repeat(1_020))), "shorter than 1024 bytes");
        check(with("a..b", AttributeValue::string("x")), "not a name");
        check(with("AWS.x", AttributeValue::string("x")), "not a name");
        check(with("n", AttributeValue::string("")), "non-empty");
        check(with("n", AttributeValue::number(&"seven")), "not a number");
        check(with("n", attribute("Text", Some("x"), None)), "type 'Text'");
        check(with("n", attribute("Binary", None, Some("?"))), "base64");
        let many = (0..11).map(|number| (format!("n{number}"), AttributeValue::string("x"))).collect();
        check(Content { attributes: many, ..Content::of("x") }, "[11]");
        with("n.m-1", AttributeValue::number(&7)).check(1_024).unwrap();
        assert_eq!(with("n", AttributeValue::number(&7)).size(), 1 + 1 + 6 + 1);
    }
}
