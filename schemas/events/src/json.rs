//! A JSON document as a tree that borrows from its text.
//!
//! Numbers keep their kind, object members keep their order and their repeats (the last one counts, as in most
//! readers), and nesting is bounded, so that a hostile body costs no more stack than an honest one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting that is read: real bid requests stay below 12; 40 is what the validator rules allow.
pub const DEPTH_MAX: usize = 40;

/// One value of a document.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string, borrowed where it has no escapes.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object, members in the order of the text.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("not UTF-8 at byte {}", .0.valid_up_to())]
    Utf8(#[from] std::str::Utf8Error),
    /// Nested deeper than [`DEPTH_MAX`].
    #[error(transparent)]
    Depth(serde_json::Error),
    /// A number beyond 64-bit floats.
    #[error(transparent)]
    NumberRange(serde_json::Error),
    /// Not one JSON document.
    #[error(transparent)]
    Syntax(serde_json::Error),
}

impl JsonError {
    /// The byte of `text` at which reading stopped, from 0.
    pub fn offset(&self, text: &[u8]) -> usize {
        match self {
            JsonError::Utf8(error) => error.valid_up_to(),
            JsonError::Depth(error) | JsonError::NumberRange(error) | JsonError::Syntax(error) => {
                let lines_before = text.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
                // A column counts the bytes read of its line, so the last of them is where reading stopped.
                lines_before.map(<[u8]>::len).sum::<usize>() + error.column().saturating_sub(1)
            }
        }
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        // The tree takes every type of value, so the only error of its own is the one of depth.
        if error.is_data() {
            return JsonError::Depth(error);
        }
        // serde_json has no class for it; the test below holds its words.
        if error.to_string().starts_with("number out of range") {
            return JsonError::NumberRange(error);
        }
        JsonError::Syntax(error)
    }
}

impl<'a> Json<'a> {
    /// Reads one document and nothing behind it but white space.
    ///
    /// # Errors
    /// Bytes that are not UTF-8, a syntax error, a number beyond 64-bit floats, nesting over [`DEPTH_MAX`].
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        Self::parse_text(std::str::from_utf8(text)?)
    }

    /// As [`Json::parse`], of what is known to be UTF-8.
    ///
    /// # Errors
    /// As there.
    pub fn parse_text(text: &'a str) -> Result<Self, JsonError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = Node { depth_left: DEPTH_MAX }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    /// The member of an object; the last one where a key is repeated. `null` counts as absent.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        let Json::Object(members) = self else { return None };
        let (_, value) = members.iter().rev().find(|(name, _)| name == key)?;
        (*value != Json::Null).then_some(value)
    }

    /// The value at a path of member names.
    pub fn at(&self, path: &[&str]) -> Option<&Json<'a>> {
        let mut value = self;
        for key in path {
            value = value.get(key)?;
        }
        Some(value)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        if let Json::Text(text) = self { Some(text) } else { None }
    }

    /// A whole number, also when written with a fraction of zero.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Json::Integer(number) => Some(*number),
            Json::Float(number) => whole(*number),
            Json::Null | Json::Bool(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "a 64-bit count as a float is what the caller asks for")]
            Json::Integer(number) => Some(*number as f64),
            Json::Float(number) => Some(*number),
            Json::Null | Json::Bool(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// The elements of an array; none for any other value.
    pub fn elements(&self) -> &[Json<'a>] {
        if let Json::Array(elements) = self { elements } else { &[] }
    }
}

/// A float that is a whole number within the range where floats are exact.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0; // 2^53
    let exact = number.fract() == 0.0 && number.abs() <= EXACT_MAX;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and within 2^53")]
    exact.then_some(number as i64)
}

#[derive(Clone, Copy)]
struct Node {
    depth_left: usize,
}

impl Node {
    fn child<E: serde::de::Error>(self) -> Result<Node, E> {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            return Err(E::custom(format_args!("nested deeper than {DEPTH_MAX} levels")));
        };
        Ok(Node { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Node {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node {
    type Value = Json<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        #[expect(clippy::cast_precision_loss, reason = "a number beyond 63 bits is only ever compared with limits")]
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Json::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        let child = self.child::<A::Error>()?;
        let mut elements = Vec::new();
        while let Some(element) = access.next_element_seed(child)? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json<'de>, A::Error> {
        /// Objects of bid requests have 2 to 12 members: most are done without growing, which costs as much as two reads.
        const MEMBERS_TYPICAL: usize = 8;
        let child = self.child::<A::Error>()?;
        let mut members = Vec::with_capacity(MEMBERS_TYPICAL);
        while let Some(key) = access.next_key_seed(Key)? {
            members.push((key, access.next_value_seed(child)?));
        }
        Ok(Json::Object(members))
    }
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(value.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<Json<'_>>) {
        let parsed = Json::parse(text.as_bytes()).ok();
        assert!(parsed == expect, "{text}: {parsed:?}, not {expect:?}");
        drop(expect);
    }

    #[test]
    fn values_keep_their_kind() {
        check("null", Some(Json::Null));
        check(" -7 ", Some(Json::Integer(-7)));
        check("7.0", Some(Json::Float(7.0)));
        check("18446744073709551615", Some(Json::Float(18_446_744_073_709_551_615.0)));
        check(r#""a""#, Some(Json::Text("a".into())));
        check(r#""\u00e9""#, Some(Json::Text("é".into())));
        check("[1,[]]", Some(Json::Array(vec![Json::Integer(1), Json::Array(vec![])])));
    }

    #[test]
    fn what_is_not_one_document_is_refused() {
        for text in ["", "{", "{}{}", "[1,]", "{\"a\":1,}", "1e999", "NaN", "nul", "\"\u{1}\"", "{'a':1}"] {
            check(text, None);
        }
        assert!(matches!(Json::parse(b"\"\xff\""), Err(JsonError::Utf8(_))));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        let error = Json::parse(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("nested deeper"), "{error}");
        assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn errors_tell_their_class_and_place() {
        let deep = "[".repeat(DEPTH_MAX + 1);
        for (text, class, offset) in [
            (deep.as_str(), "depth", DEPTH_MAX),
            ("1e999", "number", 4),
            ("{\"a\":\n -1e999}", "number", 12),
            ("{\"a\":1,}", "syntax", 7),
            ("{\n\"a\":1,\n}", "syntax", 9),
            ("", "syntax", 0),
            ("{", "syntax", 0),
            ("{}{}", "syntax", 2),
        ] {
            let error = Json::parse(text.as_bytes()).unwrap_err();
            let found = match error {
                JsonError::Utf8(_) => "utf-8",
                JsonError::Depth(_) => "depth",
                JsonError::NumberRange(_) => "number",
                JsonError::Syntax(_) => "syntax",
            };
            assert_eq!((found, error.offset(text.as_bytes())), (class, offset), "{text}: {error}");
        }
        let error = Json::parse(b"\"\xff\"").unwrap_err();
        assert_eq!(error.offset(b"\"\xff\""), 1);
    }

    #[test]
    fn the_last_of_repeated_keys_counts_and_null_is_absent() {
        let value = Json::parse(br#"{"a":1,"a":2,"b":null,"c":{"d":3}}"#).unwrap();
        assert_eq!(value.get("a").and_then(Json::as_i64), Some(2));
        assert_eq!(value.get("b"), None);
        assert_eq!(value.at(&["c", "d"]).and_then(Json::as_i64), Some(3));
        assert_eq!(value.at(&["c", "x", "y"]), None);
    }

    #[test]
    fn whole_floats_are_integers() {
        for (text, expect) in [("2.0", Some(2)), ("2.5", None), ("1e3", Some(1000)), ("1e300", None), ("\"2\"", None)] {
            assert_eq!(Json::parse(text.as_bytes()).unwrap().as_i64(), expect, "{text}");
        }
    }
}
