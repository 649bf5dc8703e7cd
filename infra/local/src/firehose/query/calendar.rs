//! JQ's functions of time, in UTC. Broken-down times are its arrays: year, month from 0, day, hour, minute, second, weekday
//! and day of the year from 0.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Timelike as _, Utc};
use jaq_core::data::JustLut;
use jaq_core::native::{Filter, Fun, bome, run, unary, v};
use jaq_core::{Error, RunPtr, ValR};
use jaq_json::Val;
use jaq_std::ValT as _;

type Native = Filter<RunPtr<JustLut<Val>>>;

/// The functions, by their names.
pub(super) fn functions() -> impl Iterator<Item = Fun<JustLut<Val>>> {
    let all: [Native; 6] = [
        ("strftime", v(1), |cv| unary(cv, |value, format| strftime(&value, &format))),
        ("strptime", v(1), |cv| unary(cv, |value, format| strptime(&value, &format))),
        ("mktime", v(0), |cv| bome(instant(&cv.1).map(|at| seconds(&at)))),
        ("gmtime", v(0), |cv| bome(instant(&cv.1).map(broken_down))),
        ("fromdateiso8601", v(0), |cv| bome(from_iso(&cv.1))),
        ("todateiso8601", v(0), |cv| {
            bome(instant(&cv.1).map(|at| Val::from(at.format("%Y-%m-%dT%H:%M:%SZ").to_string())))
        }),
    ];
    all.into_iter().map(|(name, arguments, function)| run::<JustLut<Val>>((name, arguments, function)))
}

fn strftime(value: &Val, format: &Val) -> ValR<Val> {
    let (at, format) = (instant(value)?, text(format)?);
    let mut formatted = String::new();
    write!(formatted, "{}", at.format(&format))
        .map_err(|_error| Error::str(format!("{format} is not a format of time")))?;
    Ok(Val::from(formatted))
}

fn strptime(value: &Val, format: &Val) -> ValR<Val> {
    let (value, format) = (text(value)?, text(format)?);
    let found = NaiveDateTime::parse_from_str(&value, &format).or_else(|_error| {
        NaiveDate::parse_from_str(&value, &format).map(|date| date.and_hms_opt(0, 0, 0).unwrap_or_default())
    });
    let found = found.map_err(|_error| Error::str(format!("{value} does not match the format {format}")))?;
    Ok(broken_down(found.and_utc()))
}

fn from_iso(value: &Val) -> ValR<Val> {
    let value = text(value)?;
    let found =
        DateTime::parse_from_rfc3339(&value).map_err(|_error| Error::str(format!("{value} is not in ISO 8601")))?;
    Ok(seconds(&found.to_utc()))
}

/// Seconds since the epoch, or a broken-down time, as an instant.
fn instant(value: &Val) -> Result<DateTime<Utc>, Error<Val>> {
    let none = || Error::str(format!("{value} is not a time"));
    let number = |value: &Val| value.as_f64().ok_or_else(none);
    let Val::Arr(parts) = value else { return at_seconds(number(value)?).ok_or_else(none) };
    let parts: Vec<f64> = parts.iter().map(number).collect::<Result<_, _>>()?;
    let [year, month, day, hour, minute, second, ..] = parts.as_slice() else { return Err(none()) };
    let months = year * 12.0 + month;
    let first = whole(months).and_then(|months| {
        let month = u32::try_from(months.rem_euclid(12)).ok()?;
        NaiveDate::from_ymd_opt(i32::try_from(months.div_euclid(12)).ok()?, month + 1, 1)
    });
    let first = first.and_then(|first| first.and_hms_opt(0, 0, 0)).ok_or_else(none)?;
    let behind = (day - 1.0) * 86_400.0 + hour * 3_600.0 + minute * 60.0 + second;
    let behind = whole(behind).and_then(chrono::TimeDelta::try_seconds).ok_or_else(none)?;
    first.and_utc().checked_add_signed(behind).ok_or_else(none)
}

fn at_seconds(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(whole(seconds * 1_000.0)?)
}

fn whole(number: f64) -> Option<i64> {
    let is_in_range = number.abs() < 9.0e15;
    #[expect(clippy::cast_possible_truncation, reason = "it is far within the range of an i64")]
    is_in_range.then(|| number.floor() as i64)
}

fn seconds(at: &DateTime<Utc>) -> Val {
    isize::try_from(at.timestamp()).map_or(Val::Null, Val::from)
}

fn broken_down(at: DateTime<Utc>) -> Val {
    let date = [i64::from(at.year()), i64::from(at.month0()), i64::from(at.day())];
    let time = [i64::from(at.hour()), i64::from(at.minute()), i64::from(at.second())];
    let days = [i64::from(at.weekday().num_days_from_sunday()), i64::from(at.ordinal0())];
    let all = date.into_iter().chain(time).chain(days);
    all.map(|number| isize::try_from(number).map_or(Val::Null, Val::from)).collect()
}

fn text(value: &Val) -> Result<String, Error<Val>> {
    let bytes = value.as_utf8_bytes().ok_or_else(|| Error::str(format!("{value} is not a string")))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}
