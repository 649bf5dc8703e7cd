//! `date_add`, `date_diff` and `date_trunc`: arithmetic by units of the calendar.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Datelike as _, Months, NaiveDateTime};
use datafusion::common::{ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::functions::datetime;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

use super::{Function, argument, delegate, integer, moment, text, wrong_count, zoned};

pub(super) fn functions() -> Vec<Function> {
    vec![
        Function::new("date_add", takes_add, third, date_add),
        Function::new("date_diff", takes_diff, |_| Ok(DataType::Int64), date_diff),
        Function::new("date_trunc", takes_trunc, second, date_trunc),
    ]
}

/// A unit of time, either of a fixed length or of months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Millis(i64),
    Months(i64),
}

impl Unit {
    fn named(name: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "millisecond" => Self::Millis(1),
            "second" => Self::Millis(1_000),
            "minute" => Self::Millis(60_000),
            "hour" => Self::Millis(3_600_000),
            "day" => Self::Millis(86_400_000),
            "week" => Self::Millis(7 * 86_400_000),
            "month" => Self::Months(1),
            "quarter" => Self::Months(3),
            "year" => Self::Months(12),
            _ => return exec_err!("'{name}' is not a valid time unit"),
        })
    }

    /// Whether a date can be moved by it.
    fn is_of_days(self) -> bool {
        match self {
            Self::Millis(length) => length >= 86_400_000,
            Self::Months(_) => true,
        }
    }
}

fn takes_add(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [_, _, zone] if zoned::is_zoned(zone) || matches!(zone, DataType::Timestamp(_, Some(_))) => {
            plan_err!("date_add of a timestamp with time zone is not supported by the local Athena")
        }
        [unit, amount, value] => {
            Ok(vec![text("date_add", unit)?, integer("date_add", amount)?, moment("date_add", value)?])
        }
        given => wrong_count("date_add", given),
    }
}

fn takes_diff(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [unit, from, to] => Ok(vec![text("date_diff", unit)?, moment("date_diff", from)?, moment("date_diff", to)?]),
        given => wrong_count("date_diff", given),
    }
}

fn takes_trunc(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [unit, value] => Ok(vec![text("date_trunc", unit)?, moment("date_trunc", value)?]),
        given => wrong_count("date_trunc", given),
    }
}

fn second(taken: &[DataType]) -> Result<DataType> {
    taken.get(1).cloned().ok_or_else(|| exec_datafusion_err!("two arguments are expected"))
}

fn third(taken: &[DataType]) -> Result<DataType> {
    taken.get(2).cloned().ok_or_else(|| exec_datafusion_err!("three arguments are expected"))
}

fn date_add(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let values = argument(columns, 2)?;
    let (units, amounts) =
        (argument(columns, 0)?.as_string::<i32>(), argument(columns, 1)?.as_primitive::<Int64Type>());
    let millis = zoned::instants_ms(values)?;
    let is_date = *values.data_type() == DataType::Date32;
    let mut moved = Vec::with_capacity(millis.len());
    for ((unit, amount), value) in units.iter().zip(amounts).zip(&millis) {
        let (Some(unit), Some(amount), Some(value)) = (unit, amount, value) else {
            moved.push(None);
            continue;
        };
        let step = Unit::named(unit)?;
        if is_date && !step.is_of_days() {
            return exec_err!("'{unit}' is not a valid DATE field");
        }
        moved.push(Some(add(step, amount, value)?));
    }
    // Digits finer than a millisecond are those of the value itself, which whole units do not change.
    let moved: ArrayRef = Arc::new(zoned::millis(moved));
    match values.data_type() {
        DataType::Timestamp(..) if *values.data_type() != zoned::TIMESTAMP_MS => finer(values, &millis, &moved),
        kind => Ok(cast(&moved, kind)?),
    }
}

/// Adds to each moved millisecond what its value had beyond the millisecond.
fn finer(values: &ArrayRef, millis: &arrow::array::TimestampMillisecondArray, moved: &ArrayRef) -> Result<ArrayRef> {
    let kind = values.data_type();
    let whole = cast(&cast(millis, kind)?, &DataType::Int64)?;
    let rest = arrow::compute::kernels::numeric::sub(&cast(values, &DataType::Int64)?, &whole)?;
    let moved = cast(&cast(moved, kind)?, &DataType::Int64)?;
    Ok(cast(&arrow::compute::kernels::numeric::add(&moved, &rest)?, kind)?)
}

fn add(unit: Unit, amount: i64, millis: i64) -> Result<i64> {
    let overflow = || exec_datafusion_err!("date_add: the result is out of range");
    match unit {
        Unit::Millis(length) => amount.checked_mul(length).and_then(|by| millis.checked_add(by)).ok_or_else(overflow),
        Unit::Months(length) => {
            let by = amount.checked_mul(length).ok_or_else(overflow)?;
            let months = Months::new(u32::try_from(by.unsigned_abs()).ok().ok_or_else(overflow)?);
            let at = naive(millis)?;
            let moved = if by < 0 { at.checked_sub_months(months) } else { at.checked_add_months(months) };
            Ok(moved.ok_or_else(overflow)?.and_utc().timestamp_millis())
        }
    }
}

fn date_diff(columns: &[ArrayRef], _: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (from, to) = (argument(columns, 1)?, argument(columns, 2)?);
    let units = argument(columns, 0)?.as_string::<i32>();
    let has_zone = |values: &ArrayRef| {
        zoned::is_zoned(values.data_type()) || matches!(values.data_type(), DataType::Timestamp(_, Some(_)))
    };
    let zoned_months = has_zone(from) || has_zone(to);
    let both_dates = *from.data_type() == DataType::Date32 && *to.data_type() == DataType::Date32;
    let (from, to) = (zoned::instants_ms(from)?, zoned::instants_ms(to)?);
    let mut differences = Vec::with_capacity(from.len());
    for ((unit, from), to) in units.iter().zip(&from).zip(&to) {
        let (Some(unit), Some(from), Some(to)) = (unit, from, to) else {
            differences.push(None);
            continue;
        };
        let step = Unit::named(unit)?;
        if both_dates && !step.is_of_days() {
            return exec_err!("'{unit}' is not a valid DATE field");
        }
        differences.push(Some(match step {
            Unit::Millis(length) => (to - from) / length,
            Unit::Months(_) if zoned_months => {
                return exec_err!("date_diff by {unit} with time zones is not supported by the local Athena");
            }
            Unit::Months(length) => whole_months(from, to)? / length,
        }));
    }
    Ok(Arc::new(differences.into_iter().collect::<arrow::array::Int64Array>()))
}

/// The months that have passed whole, negative when `to` lies before `from`.
fn whole_months(from: i64, to: i64) -> Result<i64> {
    if to < from {
        return Ok(-whole_months(to, from)?);
    }
    let (start, end) = (naive(from)?, naive(to)?);
    let month = |at: NaiveDateTime| i64::from(at.year()) * 12 + i64::from(at.month0());
    let months = month(end) - month(start);
    // The last day of a shorter month completes it: January 31 to February 28 is a month.
    let is_last_day = end.date().succ_opt().is_none_or(|next| next.month() != end.month());
    let day_reached = end.day() > start.day() || end.day() == start.day() && end.time() >= start.time();
    let clipped = is_last_day && start.day() > end.day() && end.time() >= start.time();
    Ok(if day_reached || clipped { months } else { months - 1 })
}

fn naive(millis: i64) -> Result<NaiveDateTime> {
    let at = DateTime::from_timestamp_millis(millis).map(|at| at.naive_utc());
    at.ok_or_else(|| exec_datafusion_err!("timestamp {millis} is out of range"))
}

fn date_trunc(columns: &[ArrayRef], args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let (units, values) = (argument(columns, 0)?, argument(columns, 1)?);
    let unit = match args.args.first() {
        Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(unit)))) => unit.to_ascii_lowercase(),
        Some(ColumnarValue::Array(_) | ColumnarValue::Scalar(_)) | None if units.len() == units.null_count() => {
            return Ok(arrow::array::new_null_array(values.data_type(), values.len()));
        }
        Some(ColumnarValue::Array(_) | ColumnarValue::Scalar(_)) | None => {
            return exec_err!("date_trunc by a unit that is not a constant is not supported by the local Athena");
        }
    };
    let step = Unit::named(&unit)?;
    if *values.data_type() == DataType::Date32 && !step.is_of_days() {
        return exec_err!("'{unit}' is not a valid DATE field");
    }
    if zoned::is_zoned(values.data_type()) {
        return exec_err!(
            "date_trunc of at_timezone(…) is not supported by the local Athena; cast it to timestamp first"
        );
    }
    let unit = ColumnarValue::Scalar(ScalarValue::Utf8(Some(unit)));
    let kind = values.data_type().clone();
    let moments = if kind == DataType::Date32 { cast(values, &zoned::TIMESTAMP_MS)? } else { Arc::clone(values) };
    let mut inner = args.clone();
    inner.return_field = Arc::new(arrow::datatypes::Field::new("date_trunc", moments.data_type().clone(), true));
    let truncated = delegate(&datetime::date_trunc(), vec![unit, ColumnarValue::Array(moments)], &inner)?;
    Ok(cast(&truncated, &kind)?)
}
