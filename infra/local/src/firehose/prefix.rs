//! The names of delivered objects: prefixes with `!{timestamp:…}` and `!{firehose:random-string}`, in UTC.

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// What is put behind a prefix that has no expression.
const DEFAULT_PATTERN: &str = "yyyy/MM/dd/HH/";
/// The longest prefix, in characters.
const MAX_PREFIX: usize = 1024;

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
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Time(Field),
    Random,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Year,
    ShortYear,
    Month,
    Day,
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
}

/// A prefix, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Vec<Piece>);

impl Prefix {
    pub(super) fn parse(text: &str) -> Result<Self, PrefixError> {
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
                _ => return Err(PrefixError::Expression { expression: expression.to_owned() }),
            }
            rest = behind;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        if pieces.len() == 1 {
            pieces.extend(time_pieces(DEFAULT_PATTERN)?);
        }
        Ok(Self(pieces))
    }

    /// The prefix for a buffer whose oldest record arrived at `at`. `random` is 32 hex digits that name the buffer.
    pub(super) fn eval(&self, at: DateTime<Utc>, random: &str) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                // Eleven characters, as AWS makes them; the end of a UUIDv7 is its random part.
                Piece::Random => text.extend(random.chars().skip(random.len().saturating_sub(11))),
                Piece::Time(field) => text.push_str(&field.of(at)),
            }
        }
        text
    }
}

impl Field {
    fn of(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Year => format!("{:04}", at.year()),
            Self::ShortYear => format!("{:02}", at.year().rem_euclid(100)),
            Self::Month => format!("{:02}", at.month()),
            Self::Day => format!("{:02}", at.day()),
            Self::DayOfYear => format!("{:03}", at.ordinal()),
            Self::Hour => format!("{:02}", at.hour()),
            Self::Minute => format!("{:02}", at.minute()),
            Self::Second => format!("{:02}", at.second()),
            Self::Millisecond => format!("{:03}", at.timestamp_subsec_millis()),
        }
    }
}

/// A pattern of Java's `DateTimeFormatter`, as far as prefixes use it.
fn time_pieces(pattern: &str) -> Result<Vec<Piece>, PrefixError> {
    let mut pieces = Vec::new();
    let mut characters = pattern.chars().peekable();
    while let Some(first) = characters.next() {
        if first == '\'' {
            let literal: String = characters.by_ref().take_while(|next| *next != '\'').collect();
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
        pieces.push(Piece::Time(match letters.as_str() {
            "yyyy" | "uuuu" => Field::Year,
            "yy" => Field::ShortYear,
            "MM" => Field::Month,
            "dd" => Field::Day,
            "DDD" => Field::DayOfYear,
            "HH" => Field::Hour,
            "mm" => Field::Minute,
            "ss" => Field::Second,
            "SSS" => Field::Millisecond,
            _ => return Err(PrefixError::Letters { letters }),
        }));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use chrono::{TimeZone as _, Utc};

    use super::Prefix;

    #[test]
    fn prefixes_are_evaluated() {
        let at = Utc.with_ymd_and_hms(2026, 3, 4, 5, 6, 7).unwrap() + chrono::TimeDelta::milliseconds(89);
        let check = |prefix: &str, expected: &str| {
            let found = match Prefix::parse(prefix) {
                Ok(prefix) => prefix.eval(at, "0123456789abcdef0123456789abcdef"),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{prefix}");
        };
        check("", "2026/03/04/05/");
        check("failed/", "failed/2026/03/04/05/");
        check("dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/", "dt=2026-03-04/hour=05/");
        check("!{timestamp:yy/DDD 'at' mm''ss.SSS}", "26/063 at 06'07.089");
        check("x/!{firehose:random-string}/", "x/56789abcdef/");
        check("x!{timestamp:yyyy", "!{ without } in a prefix");
        check("!{timestamp:YYYY}", "YYYY is not a field of time that prefixes have here");
        check("!{partitionKeyFromQuery:a}", "!{partitionKeyFromQuery:a} is not an expression that prefixes have here");
        check(
            "!{firehose:error-output-type}",
            "!{firehose:error-output-type} is not an expression that prefixes have here",
        );
        check(&"x".repeat(1025), "a prefix has at most 1,024 characters");
    }
}
