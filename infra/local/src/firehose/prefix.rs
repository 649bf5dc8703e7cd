//! The beginnings of objects' names: `!{timestamp:…}`, `!{firehose:…}` and `!{partitionKeyFromQuery:…}` in them.
//!
//! A prefix without an expression gets the hour behind it, one of failed records also the kind of failure. All times of
//! one prefix are of one instant, in UTC or the zone that was asked for.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use chrono_tz::Tz;

use field::Field;

mod field;
#[cfg(test)]
mod tests;

/// What is put behind a prefix that has no expression.
const DEFAULT_PATTERN: &str = "yyyy/MM/dd/HH/";
/// The longest prefix, in characters: as it is given, and evaluated.
const MAX_PREFIX: usize = 1024;
const MAX_EVALUATED: usize = 512;
/// Stands in an evaluated prefix for what each object gets anew. No key value and no pattern has it.
const RANDOM_MARK: &str = "\u{0}random\u{0}";
/// How many characters that is, as AWS makes them.
const RANDOM_CHARS: usize = 11;

/// Why a prefix cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PrefixError {
    #[error("a prefix has at most 1,024 characters")]
    TooLong,
    #[error("!{{ without }} in a prefix")]
    Unclosed,
    #[error("!{{{expression}}} is not an expression that prefixes have here")]
    Expression { expression: String },
    #[error("{letters} is not a field of time that prefixes have here")]
    Letters { letters: String },
    #[error("a quote in the pattern {pattern} is not closed")]
    Quote { pattern: String },
    #[error("Prefix can't contain !{{firehose:error-output-type}}")]
    OutputTypeInPrefix,
    #[error("ErrorOutputPrefix can't contain partition keys")]
    KeyInErrorPrefix,
    #[error("ErrorOutputPrefix must include at least one instance of !{{firehose:error-output-type}}")]
    NoOutputType,
    #[error("ErrorOutputPrefix can't be null when Prefix contains expressions")]
    NoErrorPrefix,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Time(Field),
    Random,
    OutputType,
    Key(String),
}

/// A prefix, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Vec<Piece>);

/// The two prefixes of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) data: Prefix,
    pub(super) failed: Prefix,
    pub(super) zone: Tz,
}

/// What a prefix is evaluated for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Instance<'a> {
    /// When the oldest record arrived, in milliseconds since the epoch.
    pub(super) arrival_ms: i64,
    /// The kind of failure, for the prefix of failed records.
    pub(super) output_type: &'a str,
    pub(super) keys: &'a BTreeMap<String, String>,
}

impl Prefixes {
    /// Reads both together, since what the one may be depends on the other.
    pub(super) fn parse(data: &str, failed: &str, zone: Tz) -> Result<Self, PrefixError> {
        let (data_pieces, failed_pieces) = (pieces(data)?, pieces(failed)?);
        if data_pieces.contains(&Piece::OutputType) {
            return Err(PrefixError::OutputTypeInPrefix);
        }
        if failed_pieces.iter().any(|piece| matches!(piece, Piece::Key(_))) {
            return Err(PrefixError::KeyInErrorPrefix);
        }
        let has_expression = |pieces: &[Piece]| pieces.iter().any(|piece| !matches!(piece, Piece::Text(_)));
        let failed_pieces = match (failed.is_empty(), has_expression(&data_pieces), has_expression(&failed_pieces)) {
            (true, true, _) => return Err(PrefixError::NoErrorPrefix),
            (true, false, _) => with_kind_and_hour(data)?,
            (false, _, false) => with_kind_and_hour(failed)?,
            (false, _, true) if failed_pieces.contains(&Piece::OutputType) => failed_pieces,
            (false, _, true) => return Err(PrefixError::NoOutputType),
        };
        let data_pieces = if has_expression(&data_pieces) {
            data_pieces
        } else {
            let mut pieces = data_pieces;
            pieces.extend(time_pieces(DEFAULT_PATTERN)?);
            pieces
        };
        Ok(Self { data: Prefix(data_pieces), failed: Prefix(failed_pieces), zone })
    }
}

impl Prefix {
    /// The keys that it takes from records.
    pub(super) fn keys(&self) -> BTreeSet<&str> {
        self.0.iter().filter_map(Piece::key).collect()
    }

    /// The prefix, but for its random strings: see [`with_random`]. A key without a value is left out.
    pub(super) fn eval(&self, instance: Instance<'_>, zone: Tz) -> String {
        let at = DateTime::from_timestamp_millis(instance.arrival_ms).unwrap_or_default().with_timezone(&zone);
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Random => text.push_str(RANDOM_MARK),
                Piece::OutputType => text.push_str(instance.output_type),
                Piece::Time(field) => text.push_str(&field.of(&at)),
                Piece::Key(key) => text.push_str(instance.keys.get(key).map_or("", String::as_str)),
            }
        }
        text
    }
}

impl Piece {
    fn key(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key),
            Self::Text(_) | Self::Time(_) | Self::Random | Self::OutputType => None,
        }
    }
}

/// Whether an evaluated prefix is one that the service takes.
pub(super) fn fits(evaluated: &str) -> bool {
    evaluated.chars().count() <= MAX_EVALUATED
}

/// An evaluated prefix with its random strings. `id` is 32 hex digits that name the buffer; the end of a `UUIDv7` is its
/// random part, so a delivery that is repeated gives the same name.
pub(super) fn with_random(evaluated: &str, id: &str) -> String {
    let random: String = id.chars().skip(id.len().saturating_sub(RANDOM_CHARS)).collect();
    evaluated.replace(RANDOM_MARK, &random)
}

fn with_kind_and_hour(text: &str) -> Result<Vec<Piece>, PrefixError> {
    let mut all = vec![Piece::Text(text.to_owned()), Piece::OutputType, Piece::Text("/".to_owned())];
    all.extend(time_pieces(DEFAULT_PATTERN)?);
    Ok(all)
}

fn pieces(text: &str) -> Result<Vec<Piece>, PrefixError> {
    if text.chars().count() > MAX_PREFIX {
        return Err(PrefixError::TooLong);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("!{") {
        let (expression, behind) = after.split_once('}').ok_or(PrefixError::Unclosed)?;
        pieces.push(Piece::Text(before.to_owned()));
        match expression.split_once(':') {
            Some(("timestamp", pattern)) => pieces.extend(time_pieces(pattern)?),
            Some(("firehose", "random-string")) => pieces.push(Piece::Random),
            Some(("firehose", "error-output-type")) => pieces.push(Piece::OutputType),
            Some(("partitionKeyFromQuery", key)) if !key.is_empty() => pieces.push(Piece::Key(key.to_owned())),
            _ => return Err(PrefixError::Expression { expression: expression.to_owned() }),
        }
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// A pattern of Java's `DateTimeFormatter`.
fn time_pieces(pattern: &str) -> Result<Vec<Piece>, PrefixError> {
    let mut pieces = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(first) = characters.next() {
        if first == '\'' {
            let mut literal = String::new();
            loop {
                match characters.next() {
                    Some('\'') => break,
                    Some(next) => literal.push(next),
                    None => return Err(PrefixError::Quote { pattern: pattern.to_owned() }),
                }
            }
            pieces.push(Piece::Text(if literal.is_empty() { "'".to_owned() } else { literal }));
            continue;
        }
        if !first.is_ascii_alphabetic() {
            pieces.push(Piece::Text(first.to_string()));
            continue;
        }
        let mut letters = first.to_string();
        while let Some(same) = characters.next_if_eq(&first) {
            letters.push(same);
        }
        let field = Field::read(first, letters.len()).ok_or(PrefixError::Letters { letters })?;
        pieces.push(Piece::Time(field));
    }
    Ok(pieces)
}
