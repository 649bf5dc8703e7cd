//! `concat` and `substr` with Trino's meaning: null makes null, and positions count from either end.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::ScalarFunctionArgs;

use super::{Function, argument, integer, text, wrong_count};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("concat", takes_texts, |_| Ok(DataType::Utf8), concat),
        Function::new("substr", takes_substr, |_| Ok(DataType::Utf8), substr),
        Function::new("substring", takes_substr, |_| Ok(DataType::Utf8), substr),
    ]
}

fn takes_texts(given: &[DataType]) -> Result<Vec<DataType>> {
    if given.len() < 2 {
        return plan_err!("There must be two or more concatenation arguments");
    }
    given.iter().map(|kind| text("concat", kind)).collect()
}

fn takes_substr(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [value, start] => Ok(vec![text("substr", value)?, integer("substr", start)?]),
        [value, start, length] => {
            Ok(vec![text("substr", value)?, integer("substr", start)?, integer("substr", length)?])
        }
        given => wrong_count("substr", given),
    }
}

fn concat(columns: &[ArrayRef], args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let mut rows: Vec<Option<String>> = vec![Some(String::new()); args.number_rows];
    for column in columns {
        for (row, piece) in rows.iter_mut().zip(column.as_string::<i32>()) {
            match (row.as_mut(), piece) {
                (Some(text), Some(piece)) => text.push_str(piece),
                (None, _) | (_, None) => *row = None,
            }
        }
    }
    Ok(Arc::new(StringArray::from(rows)))
}

fn substr(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = argument(columns, 0)?.as_string::<i32>();
    let starts = argument(columns, 1)?.as_primitive::<Int64Type>();
    let lengths = columns.get(2).map(|lengths| lengths.as_primitive::<Int64Type>());
    let mut cut = Vec::with_capacity(texts.len());
    for (row, (value, start)) in texts.iter().zip(starts).enumerate() {
        let length = match lengths {
            Some(lengths) if arrow::array::Array::is_null(lengths, row) => None,
            Some(lengths) => Some(lengths.value(row)),
            None => Some(i64::MAX),
        };
        cut.push(match (value, start, length) {
            (Some(value), Some(start), Some(length)) => Some(piece(value, start, length)),
            (None, _, _) | (_, None, _) | (_, _, None) => None,
        });
    }
    Ok(Arc::new(StringArray::from(cut)))
}

/// Positions begin at 1; a negative one counts from the end, and 0 or one outside gives nothing.
fn piece(value: &str, start: i64, length: i64) -> String {
    let count = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
    let first = if start < 0 { count + start } else { start - 1 };
    if first < 0 || first >= count || length <= 0 {
        return String::new();
    }
    let (first, length) = (usize::try_from(first).unwrap_or(usize::MAX), usize::try_from(length).unwrap_or(usize::MAX));
    value.chars().skip(first).take(length).collect()
}
