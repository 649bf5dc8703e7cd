//! Instants, numbers and zones: `from_unixtime`, `to_unixtime`, `at_timezone`, `from_iso8601_timestamp`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMillisecondType};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use datafusion::common::{exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ScalarFunctionArgs;

use super::{Function, argument, moment, text, wrong_count, zoned};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("from_unixtime", takes_number, |_| Ok(utc_ms()), from_unixtime),
        Function::new("to_unixtime", takes_timestamp, |_| Ok(DataType::Float64), to_unixtime),
        Function::new("at_timezone", takes_zone, |_| Ok(zoned::zoned_type()), at_timezone),
        Function::new("from_iso8601_timestamp", takes_text, |_| Ok(utc_ms()), from_iso8601_timestamp),
        Function::new("from_iso8601_date", takes_text, |_| Ok(DataType::Date32), from_iso8601_date),
    ]
}

/// `timestamp(3) with time zone`, in the session's zone.
fn utc_ms() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn takes_number(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [kind] if kind.is_numeric() || *kind == DataType::Null => Ok(vec![DataType::Float64]),
        [_, _] => plan_err!("from_unixtime with a zone is not supported by the local Athena; use at_timezone"),
        given => wrong_count("from_unixtime", given),
    }
}

fn takes_timestamp(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] => Ok(vec![moment("to_unixtime", one)?]),
        given => wrong_count("to_unixtime", given),
    }
}

fn takes_zone(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [DataType::Date32, _] => plan_err!("Unexpected parameters (date) for function at_timezone"),
        [one, zone] => Ok(vec![moment("at_timezone", one)?, text("at_timezone", zone)?]),
        given => wrong_count("at_timezone", given),
    }
}

fn takes_text(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] => Ok(vec![text("from_iso8601_timestamp", one)?]),
        given => wrong_count("from_iso8601_timestamp", given),
    }
}

fn from_unixtime(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let seconds = argument(columns, 0)?.as_primitive::<Float64Type>();
    // Through whole microseconds, so that 1.001 s is 1001 ms whatever a double makes of it.
    let millis = seconds.unary::<_, Float64Type>(|seconds| (seconds * 1_000.0).round());
    let millis = cast(&millis, &DataType::Int64)?;
    Ok(cast(&millis, &utc_ms())?)
}

fn to_unixtime(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let instants = zoned::instants_ms(argument(columns, 0)?)?;
    let millis = cast(&cast(&instants, &DataType::Int64)?, &DataType::Float64)?;
    Ok(Arc::new(millis.as_primitive::<Float64Type>().unary::<_, Float64Type>(|millis| millis / 1_000.0)))
}

fn at_timezone(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    zoned::zoned(argument(columns, 0)?, argument(columns, 1)?)
}

fn from_iso8601_timestamp(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = argument(columns, 0)?.as_string::<i32>();
    let millis = texts.iter().map(|text| text.map(iso_millis).transpose()).collect::<Result<Vec<_>>>()?;
    let millis: PrimitiveArray<TimestampMillisecondType> = millis.into_iter().collect();
    Ok(Arc::new(millis.with_timezone("UTC")))
}

/// A text without an offset is in the session's zone, UTC.
fn iso_millis(text: &str) -> Result<i64> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        // The result's column has one zone: another offset would be shown, and its fields read, in the wrong one.
        if at.offset().local_minus_utc() != 0 {
            return exec_err!(
                "from_iso8601_timestamp with an offset other than Z is not supported by the local Athena"
            );
        }
        return Ok(at.timestamp_millis());
    }
    let naive = NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%dT%H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text.trim_end_matches('Z'), "%Y-%m-%dT%H:%M"))
        .ok()
        .or_else(|| text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0));
    naive
        .map(|at| at.and_utc().timestamp_millis())
        .ok_or_else(|| exec_datafusion_err!("Invalid format: \"{text}\" is not an ISO 8601 timestamp"))
}

fn from_iso8601_date(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let texts = argument(columns, 0)?.as_string::<i32>();
    for text in texts.iter().flatten() {
        text.parse::<NaiveDate>()
            .map_err(|_invalid| exec_datafusion_err!("Invalid format: \"{text}\" is not an ISO 8601 date"))?;
    }
    Ok(cast(argument(columns, 0)?, &DataType::Date32)?)
}
