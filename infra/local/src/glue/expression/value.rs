//! Values of partition keys: text on the wire, typed when they are compared.

use std::cmp::Ordering;

use chrono::{NaiveDate, NaiveDateTime};

/// How the text of a key's value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::glue) enum KeyType {
    Text,
    Integer,
    Decimal,
    Float,
    Date,
    Timestamp,
}

impl KeyType {
    /// The type by its name in Glue; `None` for one that a partition key cannot usefully have.
    pub(in crate::glue) fn named(name: &str) -> Option<Self> {
        let base = name.split_once('(').map_or(name, |(base, _)| base).trim().to_ascii_lowercase();
        match base.as_str() {
            "string" | "varchar" | "char" => Some(Self::Text),
            "tinyint" | "smallint" | "int" | "integer" | "bigint" | "long" => Some(Self::Integer),
            "decimal" => Some(Self::Decimal),
            "float" | "double" => Some(Self::Float),
            "date" => Some(Self::Date),
            "timestamp" => Some(Self::Timestamp),
            _ => None,
        }
    }

    pub(super) fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Integer => text.trim().parse().ok().map(Value::Integer),
            Self::Decimal => read_decimal(text.trim()).map(Value::Decimal),
            Self::Float => text.trim().parse().ok().filter(|number: &f64| !number.is_nan()).map(Value::Float),
            Self::Date => text.trim().parse().ok().map(Value::Date),
            Self::Timestamp => read_timestamp(text.trim()).map(Value::Timestamp),
        }
    }
}

/// A partition key of a table, as the filter needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::glue) struct PartitionKey {
    pub(in crate::glue) name: String,
    /// The type's name in Glue.
    pub(in crate::glue) kind: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    /// In units of 10⁻¹⁸.
    Decimal(i128),
    Float(f64),
    Date(NaiveDate),
    Timestamp(NaiveDateTime),
}

impl Value {
    /// `None` for values of different kinds, which one key never gives.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Integer(one), Self::Integer(other)) | (Self::Decimal(one), Self::Decimal(other)) => {
                Some(one.cmp(other))
            }
            (Self::Float(one), Self::Float(other)) => one.partial_cmp(other),
            (Self::Date(one), Self::Date(other)) => Some(one.cmp(other)),
            (Self::Timestamp(one), Self::Timestamp(other)) => Some(one.cmp(other)),
            (
                Self::Text(_)
                | Self::Integer(_)
                | Self::Decimal(_)
                | Self::Float(_)
                | Self::Date(_)
                | Self::Timestamp(_),
                _,
            ) => None,
        }
    }
}

/// Up to 18 places behind the point and 20 before it.
fn read_decimal(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || whole.len() > 20 || fraction.len() > 18 {
        return None;
    }
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let units: i128 = format!("{whole}{fraction:0<18}").parse().ok()?;
    Some(if negative { -units } else { units })
}

fn read_timestamp(text: &str) -> Option<NaiveDateTime> {
    let full = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f");
    full.ok().or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0))
}
