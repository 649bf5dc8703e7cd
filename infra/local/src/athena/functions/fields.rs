//! `year(x)` to `millisecond(x)`: one field of what the clock shows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::plan_err;
use datafusion::error::Result;

use super::{Function, argument, moment, wrong_count, zoned};

/// `hour` and finer: a date has none.
fn takes_time(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [DataType::Date32] => plan_err!("Unexpected parameters (date) for a function of the time of day"),
        given => takes_moment(given),
    }
}

fn takes_moment(given: &[DataType]) -> Result<Vec<DataType>> {
    match given {
        [one] => Ok(vec![moment("of a date's field", one)?]),
        given => wrong_count("of a date's field", given),
    }
}

fn bigint(_: &[DataType]) -> Result<DataType> {
    Ok(DataType::Int64)
}

macro_rules! field {
    ($name:literal, $takes:ident, $part:expr, $plus:literal) => {
        Function::new($name, $takes, bigint, |columns, _| part(argument(columns, 0)?, $part, $plus))
    };
}

pub(super) fn functions() -> Vec<Function> {
    vec![
        field!("year", takes_moment, DatePart::Year, 0),
        field!("quarter", takes_moment, DatePart::Quarter, 0),
        field!("month", takes_moment, DatePart::Month, 0),
        field!("week", takes_moment, DatePart::Week, 0),
        field!("week_of_year", takes_moment, DatePart::Week, 0),
        field!("day", takes_moment, DatePart::Day, 0),
        field!("day_of_month", takes_moment, DatePart::Day, 0),
        // Monday is 1 and Sunday 7.
        field!("day_of_week", takes_moment, DatePart::DayOfWeekMonday0, 1),
        field!("dow", takes_moment, DatePart::DayOfWeekMonday0, 1),
        field!("day_of_year", takes_moment, DatePart::DayOfYear, 0),
        field!("doy", takes_moment, DatePart::DayOfYear, 0),
        field!("year_of_week", takes_moment, DatePart::YearISO, 0),
        field!("yow", takes_moment, DatePart::YearISO, 0),
        field!("hour", takes_time, DatePart::Hour, 0),
        field!("minute", takes_time, DatePart::Minute, 0),
        field!("second", takes_time, DatePart::Second, 0),
        Function::new("millisecond", takes_time, bigint, |columns, _| {
            let instants = zoned::instants_ms(argument(columns, 0)?)?;
            Ok(Arc::new(instants.unary::<_, Int64Type>(|millis| millis.rem_euclid(1000))))
        }),
    ]
}

fn part(values: &ArrayRef, part: DatePart, plus: i64) -> Result<ArrayRef> {
    let found = date_part(&zoned::locals(values)?, part)?;
    let found = cast(&found, &DataType::Int64)?;
    Ok(Arc::new(found.as_primitive::<Int64Type>().unary::<_, Int64Type>(|field| field + plus)))
}
