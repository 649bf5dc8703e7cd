//! Values as Athena writes them into a result: everything is text, and null is nothing.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, TimeUnit, TimestampMillisecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::DateTime;
use datafusion::common::{DataFusionError, exec_datafusion_err};

use super::zoned;

/// Writes the value at `row`; `None` for null.
pub(super) fn text(values: &ArrayRef, row: usize) -> Result<Option<String>, DataFusionError> {
    if values.is_null(row) || *values.data_type() == DataType::Null {
        return Ok(None);
    }
    let written = match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => values.as_string::<i64>().value(row).to_owned(),
        DataType::Utf8View => values.as_string_view().value(row).to_owned(),
        DataType::Float64 => java_double(values.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => java_float(values.as_primitive::<Float32Type>().value(row)),
        DataType::Timestamp(_, zone) => {
            let instant = zoned::instants_ms(&values.slice(row, 1))?.value(0);
            let zone = zone.as_deref().map(zone_name);
            timestamp(instant, zone)?
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            let bytes = cast(&values.slice(row, 1), &DataType::Binary)?;
            spaced_hex(bytes.as_binary::<i32>().value(0))
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => list(values, row)?,
        DataType::Map(..) => map(values, row)?,
        kind @ DataType::Struct(_) if zoned::is_zoned(kind) => zoned_text(values, row)?,
        DataType::Struct(_) => record(values, row)?,
        DataType::Duration(_) => {
            let unit = DataType::Duration(TimeUnit::Millisecond);
            let millis = cast(&cast(&values.slice(row, 1), &unit)?, &DataType::Int64)?;
            day_to_second(millis.as_primitive::<arrow::datatypes::Int64Type>().value(0))
        }
        DataType::Interval(unit) => interval(values, row, *unit)?,
        DataType::Dictionary(_, value) => return text(&cast(&values.slice(row, 1), value)?, 0),
        _ => ArrayFormatter::try_new(values, &FormatOptions::default())?.value(row).to_string(),
    };
    Ok(Some(written))
}

/// A nested value: null is said as `null` there.
fn nested(values: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    Ok(text(values, row)?.unwrap_or_else(|| "null".to_owned()))
}

fn list(values: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    let items = match values.data_type() {
        DataType::List(_) => values.as_list::<i32>().value(row),
        DataType::LargeList(_) => values.as_list::<i64>().value(row),
        _ => values.as_fixed_size_list().value(row),
    };
    let written = (0..items.len()).map(|item| nested(&items, item)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[{}]", written.join(", ")))
}

fn map(values: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    let entries = values.as_map().value(row);
    let mut written = Vec::with_capacity(entries.len());
    for entry in 0..entries.len() {
        let (key, value) = (nested(entries.column(0), entry)?, nested(entries.column(1), entry)?);
        written.push(format!("{key}={value}"));
    }
    Ok(format!("{{{}}}", written.join(", ")))
}

fn record(values: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    let record = values.as_struct();
    let mut written = Vec::with_capacity(record.num_columns());
    for (field, column) in record.fields().iter().zip(record.columns()) {
        written.push(format!("{}={}", field.name(), nested(column, row)?));
    }
    Ok(format!("{{{}}}", written.join(", ")))
}

fn zoned_text(values: &ArrayRef, row: usize) -> Result<String, DataFusionError> {
    let one = values.slice(row, 1);
    let local = zoned::locals(&one)?;
    let zone = zoned::zones(one.as_struct()).map(|zones| zones.value(0).to_owned());
    timestamp_text(local.as_primitive::<TimestampMillisecondType>().value(0), zone.as_deref())
}

/// An instant in its zone's clock; without a zone, as it is.
fn timestamp(instant_ms: i64, zone: Option<&str>) -> Result<String, DataFusionError> {
    let local = match zone {
        Some(zone) => zoned::read_zone(zone)?.local_ms(instant_ms).unwrap_or(instant_ms),
        None => instant_ms,
    };
    timestamp_text(local, zone)
}

fn timestamp_text(local_ms: i64, zone: Option<&str>) -> Result<String, DataFusionError> {
    let local = DateTime::from_timestamp_millis(local_ms)
        .ok_or_else(|| exec_datafusion_err!("timestamp {local_ms} is out of range"))?;
    let mut written = local.format("%Y-%m-%d %H:%M:%S%.3f").to_string();
    if let Some(zone) = zone {
        written.push(' ');
        written.push_str(zone);
    }
    Ok(written)
}

/// Arrow writes UTC as an offset, Athena by its name.
fn zone_name(zone: &str) -> &str {
    if matches!(zone, "+00:00" | "Z") { "UTC" } else { zone }
}

fn interval(values: &ArrayRef, row: usize, unit: IntervalUnit) -> Result<String, DataFusionError> {
    match unit {
        IntervalUnit::YearMonth => Ok(year_to_month(values.as_primitive::<IntervalYearMonthType>().value(row).into())),
        IntervalUnit::DayTime => {
            let value = values.as_primitive::<IntervalDayTimeType>().value(row);
            Ok(day_to_second(i64::from(value.days) * 86_400_000 + i64::from(value.milliseconds)))
        }
        IntervalUnit::MonthDayNano => {
            let value = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
            match (value.months, value.days, value.nanoseconds) {
                (months, 0, 0) if months != 0 => Ok(year_to_month(months.into())),
                (0, days, nanoseconds) => Ok(day_to_second(i64::from(days) * 86_400_000 + nanoseconds / 1_000_000)),
                _ => Err(exec_datafusion_err!("an interval of months and days together is not a type of Athena")),
            }
        }
    }
}

fn year_to_month(months: i64) -> String {
    let sign = if months < 0 { "-" } else { "" };
    format!("{sign}{}-{}", months.abs() / 12, months.abs() % 12)
}

fn day_to_second(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let (seconds, millis) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    format!("{sign}{days} {hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

fn spaced_hex(bytes: &[u8]) -> String {
    bytes.iter().enumerate().fold(String::with_capacity(bytes.len() * 3), |mut written, (place, byte)| {
        let space = if place == 0 { "" } else { " " };
        write!(written, "{space}{byte:02x}").expect("writing to a String cannot fail");
        written
    })
}

/// A number as Java writes it: the shortest digits, in scientific notation outside 10⁻³ to 10⁷.
pub(super) fn java_double(value: f64) -> String {
    java(&format!("{value:e}"))
}

fn java_float(value: f32) -> String {
    java(&format!("{value:e}"))
}

fn java(scientific: &str) -> String {
    let sign = if scientific.starts_with('-') { "-" } else { "" };
    match scientific.trim_start_matches('-') {
        "NaN" => return "NaN".to_owned(),
        "inf" => return format!("{sign}Infinity"),
        _ => {}
    }
    let (mantissa, exponent) = scientific.trim_start_matches('-').split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if digits == "0" {
        return format!("{sign}0.0");
    }
    let point = |whole: &str, fraction: &str| {
        let fraction = if fraction.is_empty() { "0" } else { fraction };
        format!("{sign}{whole}.{fraction}")
    };
    match (usize::try_from(exponent), exponent) {
        (Ok(places), ..7) => {
            let padded = format!("{digits:0<width$}", width = places + 1);
            let (whole, fraction) = padded.split_at_checked(places + 1).unwrap_or((&padded, ""));
            point(whole, fraction)
        }
        (Err(_), -3..) => {
            let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or_default());
            point("0", &format!("{zeros}{digits}"))
        }
        _ => {
            let (first, others) = digits.split_at_checked(1).unwrap_or((&digits, ""));
            format!("{}E{exponent}", point(first, others))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMillisecondArray, Float32Array,
        Int64Array, ListArray, NullArray, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    };
    use arrow::datatypes::Int32Type;

    use super::{java_double, text};

    #[test]
    fn doubles_as_java_writes_them() {
        let check = |value: f64, expected: &str| assert_eq!(java_double(value), expected);
        check(0.0, "0.0");
        check(-0.0, "-0.0");
        check(1.0, "1.0");
        check(-1.5, "-1.5");
        check(100.0, "100.0");
        check(123_456.789, "123456.789");
        check(9_999_999.0, "9999999.0");
        check(1e7, "1.0E7");
        check(1.25e10, "1.25E10");
        check(0.001, "0.001");
        check(0.012_5, "0.0125");
        check(0.000_9, "9.0E-4");
        check(-1.5e-10, "-1.5E-10");
        check(1.0 / 3.0, "0.3333333333333333");
        check(f64::MAX, "1.7976931348623157E308");
        check(f64::NAN, "NaN");
        check(f64::NEG_INFINITY, "-Infinity");
    }

    #[test]
    fn values_as_athena_writes_them() {
        let check = |values: ArrayRef, expected: Option<&str>| {
            assert_eq!(text(&values, 0).unwrap().as_deref(), expected, "{:?}", values.data_type());
        };
        check(Arc::new(StringArray::from(vec![Some("a\"b")])), Some("a\"b"));
        check(Arc::new(StringArray::from(vec![None::<&str>])), None);
        check(Arc::new(NullArray::new(1)), None);
        check(Arc::new(BooleanArray::from(vec![true])), Some("true"));
        check(Arc::new(Int64Array::from(vec![-7])), Some("-7"));
        check(Arc::new(Float32Array::from(vec![0.1])), Some("0.1"));
        check(Arc::new(Date32Array::from(vec![20_413])), Some("2025-11-21"));
        check(Arc::new(Decimal128Array::from(vec![1_500]).with_precision_and_scale(9, 3).unwrap()), Some("1.500"));
        check(Arc::new(TimestampMillisecondArray::from(vec![1_000])), Some("1970-01-01 00:00:01.000"));
        check(Arc::new(TimestampMicrosecondArray::from(vec![1_234])), Some("1970-01-01 00:00:00.001"));
        let utc = TimestampMillisecondArray::from(vec![0]).with_timezone("+00:00");
        check(Arc::new(utc), Some("1970-01-01 00:00:00.000 UTC"));
        let zoned = TimestampMillisecondArray::from(vec![0]).with_timezone("America/New_York");
        check(Arc::new(zoned), Some("1969-12-31 19:00:00.000 America/New_York"));
        check(Arc::new(BinaryArray::from_vec(vec![b"abc"])), Some("61 62 63"));
        check(Arc::new(DurationMillisecondArray::from(vec![90_061_500])), Some("1 01:01:01.500"));
        check(Arc::new(DurationMillisecondArray::from(vec![-1])), Some("-0 00:00:00.001"));
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None, Some(3)])]);
        check(Arc::new(list), Some("[1, null, 3]"));
    }
}
