//! Moments as text: `date_format` (`MySQL`'s patterns), `format_datetime` (Joda's), and `CAST(… AS varchar)`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, TimestampMillisecondType};
use chrono::{DateTime, NaiveDateTime};
use datafusion::common::{exec_datafusion_err, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ScalarFunctionArgs, ScalarUDF};

use super::{Function, argument, moment, text, wrong_count, zoned};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("date_format", takes, |_| Ok(DataType::Utf8), |columns, _| written(columns, mysql)),
        Function::new("format_datetime", takes, |_| Ok(DataType::Utf8), |columns, _| written(columns, joda)),
    ]
}

/// `CAST(timestamp AS varchar)`: as Trino writes it, `2026-11-20 10:11:12.000`.
pub(in crate::athena) fn cast_timestamp() -> ScalarUDF {
    fn takes(given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }
    fn body(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
        let values = argument(columns, 0)?;
        let texts =
            (0..values.len()).map(|row| crate::athena::render::text(values, row)).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(StringArray::from(texts)))
    }
    Function::new("cast_to_varchar", takes, |_| Ok(DataType::Utf8), body).into_udf()
}

fn takes(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [value, pattern] => Ok(vec![moment("date_format", value)?, text("date_format", pattern)?]),
        given => wrong_count("date_format", given),
    }
}

fn written(columns: &[ArrayRef], translate: fn(&str) -> Result<String>) -> Result<ArrayRef> {
    let locals = zoned::instants_ms(&zoned::locals(argument(columns, 0)?)?)?;
    let patterns = argument(columns, 1)?.as_string::<i32>();
    let mut last: Option<(String, String)> = None;
    let mut texts = Vec::with_capacity(locals.len());
    for (local, pattern) in locals.iter().zip(patterns.iter()) {
        let (Some(local), Some(pattern)) = (local, pattern) else {
            texts.push(None);
            continue;
        };
        let translated = match &last {
            Some((same, translated)) if same == pattern => translated.clone(),
            _ => translate(pattern)?,
        };
        texts.push(Some(naive(local)?.format(&translated).to_string()));
        last = Some((pattern.to_owned(), translated));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

fn naive(millis: TimestampMillis) -> Result<NaiveDateTime> {
    let at = DateTime::from_timestamp_millis(millis).map(|at| at.naive_utc());
    at.ok_or_else(|| exec_datafusion_err!("timestamp {millis} is out of range"))
}

type TimestampMillis = <TimestampMillisecondType as arrow::datatypes::ArrowPrimitiveType>::Native;

/// `MySQL`'s specifiers to chrono's.
fn mysql(pattern: &str) -> Result<String> {
    let mut out = String::new();
    let mut characters = pattern.chars();
    while let Some(next) = characters.next() {
        if next != '%' {
            out.push(next);
            continue;
        }
        out.push_str(match characters.next() {
            Some('Y') => "%Y",
            Some('y') => "%y",
            Some('m') => "%m",
            Some('c') => "%-m",
            Some('d') => "%d",
            Some('e') => "%-d",
            Some('H') => "%H",
            Some('k') => "%-H",
            Some('h' | 'I') => "%I",
            Some('l') => "%-I",
            Some('i') => "%M",
            Some('s' | 'S') => "%S",
            Some('f') => "%6f",
            Some('p') => "%p",
            Some('T') => "%H:%M:%S",
            Some('r') => "%I:%M:%S %p",
            Some('a') => "%a",
            Some('W') => "%A",
            Some('b') => "%b",
            Some('M') => "%B",
            Some('j') => "%j",
            Some('v') => "%V",
            Some('x') => "%G",
            Some('%') => "%%",
            other => {
                let other = other.map(String::from).unwrap_or_default();
                return exec_err!("date_format: %{other} is not supported by the local Athena");
            }
        });
    }
    Ok(out)
}

/// Joda's letters to chrono's specifiers.
fn joda(pattern: &str) -> Result<String> {
    let mut out = String::new();
    let mut characters = pattern.chars().peekable();
    while let Some(first) = characters.next() {
        if first == '\'' {
            let literal: String = characters.by_ref().take_while(|next| *next != '\'').collect();
            out.push_str(&if literal.is_empty() { "'".to_owned() } else { literal.replace('%', "%%") });
            continue;
        }
        if !first.is_ascii_alphabetic() {
            out.push_str(if first == '%' { "%%" } else { "" });
            if first != '%' {
                out.push(first);
            }
            continue;
        }
        let mut letters = first.to_string();
        while let Some(same) = characters.next_if_eq(&first) {
            letters.push(same);
        }
        out.push_str(match letters.as_str() {
            "yyyy" | "YYYY" | "y" | "Y" => "%Y",
            "yy" | "YY" => "%y",
            "xxxx" => "%G",
            "ww" => "%V",
            "MMMM" => "%B",
            "MMM" => "%b",
            "MM" => "%m",
            "M" => "%-m",
            "dd" => "%d",
            "d" => "%-d",
            "DDD" => "%j",
            "EEEE" => "%A",
            "E" | "EE" | "EEE" => "%a",
            "e" => "%u",
            "HH" => "%H",
            "H" => "%-H",
            "hh" => "%I",
            "a" => "%p",
            "mm" => "%M",
            "ss" => "%S",
            "SSS" => "%3f",
            _ => return exec_err!("format_datetime: {letters} is not supported by the local Athena"),
        });
    }
    Ok(out)
}
