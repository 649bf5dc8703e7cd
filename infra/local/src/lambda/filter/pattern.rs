//! Event patterns: fields that must match, each by one of several matchers.
//!
//! `{"a": {"b": ["x", {"prefix": "y"}]}, "$or": [...]}`. All fields must match, any matcher of a field is enough. An
//! array in an event matches when one of its elements does; for elements that are objects, one object has to match the
//! whole pattern below it. An exact number matches the same kind of number: 300 is not 300.0.

use serde_json::{Map, Value};

/// Patterns in patterns.
const DEPTH_MAX: usize = 16;
/// Bounds of a number in a range, as the service has them.
const NUMBER_MAX: f64 = 5.0e9;

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter pattern: {at} {problem}")]
pub struct PatternError {
    /// The field, with dots.
    pub at: String,
    /// What is wrong there.
    pub problem: &'static str,
}

/// A pattern over an object.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    fields: Vec<(String, Field)>,
    /// One of each list must match.
    alternatives: Vec<Vec<Pattern>>,
}

#[derive(Debug, Clone)]
enum Field {
    Object(Pattern),
    Any(Vec<Matcher>),
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact(Value),
    Text(Text),
    Not(Vec<Matcher>),
    Numeric(Vec<(Comparison, f64)>),
    Exists(bool),
}

/// A test of a string.
#[derive(Debug, Clone)]
enum Text {
    Prefix(String),
    Suffix(String),
    /// Lowercase.
    IgnoreCase(String),
    PrefixIgnoreCase(String),
    SuffixIgnoreCase(String),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Pattern {
    /// Reads a pattern.
    pub(super) fn parse(value: &Value) -> Result<Self, PatternError> {
        parse_object(value, "pattern", 0)
    }

    /// Whether an event matches.
    pub(super) fn matches(&self, event: &Value) -> bool {
        let Value::Object(fields) = event else { return false };
        self.fields.iter().all(|(name, field)| field.matches(fields.get(name)))
            && self.alternatives.iter().all(|any| any.iter().any(|pattern| pattern.matches(event)))
    }
}

impl Field {
    fn matches(&self, value: Option<&Value>) -> bool {
        match (self, value) {
            (Self::Object(pattern), Some(Value::Array(items))) => items.iter().any(|item| pattern.matches(item)),
            (Self::Object(pattern), Some(value @ Value::Object(_))) => pattern.matches(value),
            // A pattern of absences matches what is not there at all.
            (Self::Object(pattern), _) => pattern.matches(&Value::Object(Map::new())),
            (Self::Any(matchers), value) => {
                let leaves = leaves(value);
                matchers.iter().any(|matcher| match matcher {
                    Matcher::Exists(is_there) => *is_there != leaves.is_empty(),
                    Matcher::Exact(_) | Matcher::Text(_) | Matcher::Not(_) | Matcher::Numeric(_) => {
                        leaves.iter().any(|leaf| matcher.matches(leaf))
                    }
                })
            }
        }
    }
}

/// The values of a field that a matcher looks at: itself, or its elements; objects are none.
fn leaves(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None | Some(Value::Object(_)) => Vec::new(),
        Some(Value::Array(items)) => items.iter().flat_map(|item| leaves(Some(item))).collect(),
        Some(leaf @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => vec![leaf],
    }
}

impl Matcher {
    fn matches(&self, leaf: &Value) -> bool {
        match self {
            Self::Exact(value) => value == leaf,
            Self::Text(text) => leaf.as_str().is_some_and(|leaf| text.matches(leaf)),
            Self::Not(matchers) => !matchers.iter().any(|matcher| matcher.matches(leaf)),
            Self::Numeric(ranges) => {
                leaf.as_f64().is_some_and(|number| ranges.iter().all(|(comparison, to)| comparison.holds(number, *to)))
            }
            Self::Exists(is_there) => *is_there,
        }
    }
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
            Self::IgnoreCase(other) => text.to_lowercase() == *other,
            Self::PrefixIgnoreCase(prefix) => text.to_lowercase().starts_with(prefix.as_str()),
            Self::SuffixIgnoreCase(suffix) => text.to_lowercase().ends_with(suffix.as_str()),
        }
    }
}

impl Comparison {
    fn holds(self, number: f64, to: f64) -> bool {
        let order = number.total_cmp(&to);
        match self {
            Self::Equal => order.is_eq(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

fn parse_object(value: &Value, at: &str, depth: usize) -> Result<Pattern, PatternError> {
    let error = |problem| PatternError { at: at.to_owned(), problem };
    let Value::Object(object) = value else { return Err(error("must be an object")) };
    if depth > DEPTH_MAX {
        return Err(error("is nested too deeply"));
    }
    if object.is_empty() {
        return Err(error("must not be empty"));
    }
    let mut pattern = Pattern { fields: Vec::new(), alternatives: Vec::new() };
    for (name, value) in object {
        let at = if depth == 0 { name.clone() } else { format!("{at}.{name}") };
        match value {
            Value::Array(items) if name == "$or" => {
                let any: Vec<Pattern> =
                    items.iter().map(|item| parse_object(item, &at, depth + 1)).collect::<Result<_, _>>()?;
                if any.len() < 2 {
                    return Err(PatternError { at, problem: "must have at least two alternatives" });
                }
                pattern.alternatives.push(any);
            }
            Value::Array(items) => {
                let matchers: Vec<Matcher> =
                    items.iter().map(|item| parse_matcher(item, &at)).collect::<Result<_, _>>()?;
                if matchers.is_empty() {
                    return Err(PatternError { at, problem: "must not be empty" });
                }
                pattern.fields.push((name.clone(), Field::Any(matchers)));
            }
            Value::Object(_) => {
                pattern.fields.push((name.clone(), Field::Object(parse_object(value, &at, depth + 1)?)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(PatternError { at, problem: "must be an array or an object" });
            }
        }
    }
    Ok(pattern)
}

fn parse_matcher(value: &Value, at: &str) -> Result<Matcher, PatternError> {
    let error = |problem| PatternError { at: at.to_owned(), problem };
    let Value::Object(object) = value else {
        return if value.is_array() { Err(error("must not have arrays in an array")) } else { Ok(exact(value)) };
    };
    let mut entries = object.iter();
    let (Some((name, argument)), None) = (entries.next(), entries.next()) else {
        return Err(error("must have one word in each matcher"));
    };
    match (name.as_str(), argument) {
        ("exists", Value::Bool(is_there)) => Ok(Matcher::Exists(*is_there)),
        ("exists", _) => Err(error("exists must be true or false")),
        ("numeric", argument) => parse_numeric(argument).map_err(error),
        ("anything-but", Value::Array(items)) if !items.is_empty() => {
            let is_plain = items.iter().all(|item| item.is_string() || item.is_number());
            if is_plain { Ok(Matcher::Not(items.iter().map(exact).collect())) } else { Err(error(ANYTHING_BUT)) }
        }
        ("anything-but", Value::String(_) | Value::Number(_)) => Ok(Matcher::Not(vec![exact(argument)])),
        ("anything-but", Value::Object(inner)) => {
            let mut entries = inner.iter();
            match (entries.next(), entries.next()) {
                (Some((word, argument)), None) => {
                    let arguments = argument.as_array().map_or(std::slice::from_ref(argument), Vec::as_slice);
                    let texts = arguments.iter().map(|argument| parse_text(word, argument).map(Matcher::Text));
                    let texts: Option<Vec<Matcher>> = texts.collect();
                    texts.filter(|texts| !texts.is_empty()).map(Matcher::Not).ok_or_else(|| error(ANYTHING_BUT))
                }
                _ => Err(error(ANYTHING_BUT)),
            }
        }
        ("anything-but", _) => Err(error(ANYTHING_BUT)),
        ("wildcard" | "cidr", _) => Err(error("has a matcher that is not in the Millrace local cloud")),
        (word, argument) => {
            parse_text(word, argument).map(Matcher::Text).ok_or_else(|| error("has an unknown matcher"))
        }
    }
}

const ANYTHING_BUT: &str =
    "anything-but takes a text, a number, a list of them, or a prefix, suffix or equals-ignore-case";

fn exact(value: &Value) -> Matcher {
    Matcher::Exact(value.clone())
}

/// A word about strings with its argument, which may itself ask to ignore case.
fn parse_text(word: &str, argument: &Value) -> Option<Text> {
    let plain = argument.as_str().map(str::to_owned);
    let folded = argument.get("equals-ignore-case").and_then(Value::as_str).map(str::to_lowercase);
    match word {
        "prefix" => plain.map(Text::Prefix).or(folded.map(Text::PrefixIgnoreCase)),
        "suffix" => plain.map(Text::Suffix).or(folded.map(Text::SuffixIgnoreCase)),
        "equals-ignore-case" => plain.map(|text| Text::IgnoreCase(text.to_lowercase())),
        _ => None,
    }
}

/// `[">", 0, "<=", 5]`: one comparison, or a lower and an upper bound.
fn parse_numeric(argument: &Value) -> Result<Matcher, &'static str> {
    let items = argument.as_array().ok_or("numeric takes a list")?;
    let mut ranges = Vec::new();
    for pair in items.chunks(2) {
        let [Value::String(sign), Value::Number(number)] = pair else {
            return Err("numeric takes signs and numbers in turn");
        };
        let comparison = match sign.as_str() {
            "=" => Comparison::Equal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return Err("numeric knows =, <, <=, > and >="),
        };
        let number = number.as_f64().filter(|number| number.abs() <= NUMBER_MAX);
        ranges.push((comparison, number.ok_or("numeric takes numbers from -5e9 to 5e9")?));
    }
    let is_range = match ranges.as_slice() {
        [_] => true,
        [(lower, from), (upper, to)] => {
            matches!(lower, Comparison::Greater | Comparison::GreaterOrEqual)
                && matches!(upper, Comparison::Less | Comparison::LessOrEqual)
                && from < to
        }
        _ => false,
    };
    if is_range {
        Ok(Matcher::Numeric(ranges))
    } else {
        Err("numeric takes one comparison, or a lower and an upper bound")
    }
}

#[cfg(test)]
mod tests;
