//! One JSON object as a row of a table, as the `OpenX` and the Hive deserializer read it.
//!
//! Values are read from their text by the column's type: digits of decimals are kept, and nothing is parsed twice. A
//! value that is of another kind is turned where the deserializers turn it (a number into a string's text, a text into
//! a number); all else fails the record, and says so in the service's words.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Fields, TimeUnit};
use serde_json::value::RawValue;

use super::cell::Cell;
use super::instant::{Format, date_text, epoch_number, timestamp_text};

/// How deep values may nest; types nest less.
const MAX_DEPTH: usize = 20;

/// How keys of JSON become names of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// Keys are folded to lower case.
    pub(super) is_case_insensitive: bool,
    pub(super) dots_to_underscores: bool,
    /// JSON keys by the columns that they belong to.
    pub(super) keys: BTreeMap<String, String>,
    pub(super) formats: Vec<Format>,
}

/// Why a value does not fit its column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("For input string: \"{text}\"")]
    Number { text: String },
    #[error("{text} is out of the range of {kind}")]
    Range { text: String, kind: DataType },
    #[error("Data is not {wanted} but {text}")]
    Kind { wanted: &'static str, text: String },
    #[error("{text} is not a {what} that is read here")]
    Instant { text: String, what: &'static str },
    #[error("no columns of type {kind} are converted")]
    Type { kind: DataType },
    #[error("values nest deeper than {MAX_DEPTH} levels")]
    Depth,
}

/// The members of an object, with their values as they are written. Of equal keys the last one counts.
pub(super) type Object<'a> = BTreeMap<String, &'a RawValue>;

impl Reading {
    /// The row's cells, one for each column; columns that the object has not are null, other members are left out.
    pub(super) fn row(&self, object: Object<'_>, columns: &Fields) -> Result<Vec<Cell>, Mismatch> {
        let object = self.named(object);
        let cell = |name: &String, kind: &DataType| {
            let key = self.keys.get(name).map_or(name, |key| key);
            let key = if self.is_case_insensitive { &key.to_lowercase() } else { key };
            object.get(key).map_or(Ok(Cell::Null), |value| self.cell(value, kind, 0))
        };
        columns.iter().map(|column| cell(column.name(), column.data_type())).collect()
    }

    fn named<'a>(&self, object: Object<'a>) -> Object<'a> {
        if !self.is_case_insensitive && !self.dots_to_underscores {
            return object;
        }
        let name = |key: String| {
            let key = if self.is_case_insensitive { key.to_lowercase() } else { key };
            if self.dots_to_underscores { key.replace('.', "_") } else { key }
        };
        object.into_iter().map(|(key, value)| (name(key), value)).collect()
    }

    fn cell(&self, value: &RawValue, kind: &DataType, depth: usize) -> Result<Cell, Mismatch> {
        let json = value.get();
        if json == "null" {
            return Ok(Cell::Null);
        }
        if depth == MAX_DEPTH {
            return Err(Mismatch::Depth);
        }
        match kind {
            DataType::Utf8 => Ok(Cell::Text(text_of(json))),
            DataType::Boolean => boolean(json),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => integer(json, kind),
            DataType::Float32 | DataType::Float64 => float(json),
            DataType::Decimal128(precision, scale) => decimal(json, (*precision, *scale), kind),
            DataType::Date32 => {
                let found = date_text(&text_of(json)).map(Cell::Date);
                found.ok_or_else(|| Mismatch::Instant { text: text_of(json), what: "date" })
            }
            DataType::Timestamp(TimeUnit::Millisecond, None) => self.timestamp(json),
            DataType::Binary => {
                let text = text_of(json);
                let bytes = base64_simd::STANDARD.decode_to_vec(text.as_bytes()).map(Cell::Bytes);
                bytes.map_err(|_not_base64| Mismatch::Kind { wanted: "base64", text })
            }
            DataType::List(item) => {
                let wrong = || Mismatch::Kind { wanted: "JSONArray", text: json.to_owned() };
                let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|_not_one| wrong())?;
                let cells: Result<_, _> =
                    items.into_iter().map(|value| self.cell(value, item.data_type(), depth + 1)).collect();
                Ok(Cell::List(cells?))
            }
            DataType::Struct(fields) => {
                let object = self.named(members(json)?);
                let cell = |name: &String, kind: &DataType| {
                    let name = if self.is_case_insensitive { &name.to_lowercase() } else { name };
                    object.get(name).map_or(Ok(Cell::Null), |value| self.cell(value, kind, depth + 1))
                };
                let cells: Result<_, _> = fields.iter().map(|field| cell(field.name(), field.data_type())).collect();
                Ok(Cell::Struct(cells?))
            }
            DataType::Map(entries, _) => self.map(json, entries.data_type(), depth),
            other => Err(Mismatch::Type { kind: other.clone() }),
        }
    }

    /// A map's keys are as they are written, whatever their case.
    fn map(&self, json: &str, entries: &DataType, depth: usize) -> Result<Cell, Mismatch> {
        let DataType::Struct(fields) = entries else { return Err(Mismatch::Type { kind: entries.clone() }) };
        let [key_field, value_field] = fields.as_ref() else {
            return Err(Mismatch::Type { kind: entries.clone() });
        };
        let mut cells = Vec::new();
        for (key, value) in members(json)? {
            let quoted = serde_json::to_string(&key).unwrap_or_default();
            let quoted = RawValue::from_string(quoted).map_err(|_text| Mismatch::Number { text: key.clone() })?;
            let key = self.cell(&quoted, key_field.data_type(), depth + 1)?;
            cells.push((key, self.cell(value, value_field.data_type(), depth + 1)?));
        }
        Ok(Cell::Map(cells))
    }

    fn timestamp(&self, json: &str) -> Result<Cell, Mismatch> {
        let text = text_of(json);
        let is_number = !json.starts_with(['"', '{', '[']);
        let found = match (is_number, self.formats.is_empty()) {
            (true, true) => text.parse().ok().and_then(epoch_number),
            _ => timestamp_text(&text, &self.formats),
        };
        found.map(Cell::Timestamp).ok_or(Mismatch::Instant { text, what: "timestamp" })
    }
}

/// The members of an object's text.
fn members(json: &str) -> Result<Object<'_>, Mismatch> {
    serde_json::from_str(json).map_err(|_not_one| Mismatch::Kind { wanted: "JSONObject", text: json.to_owned() })
}

/// A string's text; of anything else its JSON.
fn text_of(json: &str) -> String {
    if json.starts_with('"') {
        serde_json::from_str(json).unwrap_or_else(|_error| json.to_owned())
    } else {
        json.to_owned()
    }
}

fn boolean(json: &str) -> Result<Cell, Mismatch> {
    match text_of(json).to_ascii_lowercase().as_str() {
        "true" => Ok(Cell::Boolean(true)),
        "false" => Ok(Cell::Boolean(false)),
        _ => Err(Mismatch::Kind { wanted: "Boolean", text: json.to_owned() }),
    }
}

/// An integer; a number with a fraction loses it, as it does in Java.
fn integer(json: &str, kind: &DataType) -> Result<Cell, Mismatch> {
    let text = text_of(json);
    let is_string = json.starts_with('"');
    let number = match text.parse::<i64>() {
        Ok(number) => number,
        Err(_) if is_string => return Err(Mismatch::Number { text }),
        Err(_) => whole_part(&text).ok_or_else(|| Mismatch::Number { text: text.clone() })?,
    };
    let fits = match kind {
        DataType::Int8 => i8::try_from(number).is_ok(),
        DataType::Int16 => i16::try_from(number).is_ok(),
        DataType::Int32 => i32::try_from(number).is_ok(),
        _ => true,
    };
    if fits { Ok(Cell::Integer(number)) } else { Err(Mismatch::Range { text, kind: kind.clone() }) }
}

fn whole_part(text: &str) -> Option<i64> {
    let number = text.parse::<f64>().ok()?.trunc();
    let is_in_range = number.abs() < 9.2e18;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
    is_in_range.then_some(number as i64)
}

fn float(json: &str) -> Result<Cell, Mismatch> {
    let text = text_of(json);
    text.trim().parse().map(Cell::Float).map_err(|_not_one| Mismatch::Number { text })
}

/// A decimal with all its digits; those behind the scale are rounded, half up.
fn decimal(json: &str, (precision, scale): (u8, i8), kind: &DataType) -> Result<Cell, Mismatch> {
    let text = text_of(json);
    let number = || Mismatch::Number { text: text.clone() };
    let range = || Mismatch::Range { text: text.clone(), kind: kind.clone() };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_error| number())?),
        None => (text.as_str(), 0),
    };
    let (is_negative, unsigned) = match mantissa.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(number());
    }
    let significant = digits.trim_start_matches('0');
    // How many digits stand before the last one that is kept.
    let point =
        i64::try_from(whole.len()).unwrap_or(i64::MAX) - i64::try_from(digits.len() - significant.len()).unwrap_or(0);
    let kept = point.saturating_add(exponent).saturating_add(i64::from(scale));
    if significant.is_empty() || kept < 0 {
        return Ok(Cell::Decimal(0));
    }
    if kept > i64::from(precision) {
        return Err(range());
    }
    let kept = usize::try_from(kept).unwrap_or(0);
    let digit_at = |index: usize| significant.as_bytes().get(index).map_or(0, |digit| i128::from(digit - b'0'));
    let mut value: i128 = (0..kept).fold(0, |value, index| value * 10 + digit_at(index));
    value += i128::from(digit_at(kept) >= 5);
    if value >= 10_i128.pow(u32::from(precision)) {
        return Err(range());
    }
    Ok(Cell::Decimal(if is_negative { -value } else { value }))
}

#[cfg(test)]
mod tests;
