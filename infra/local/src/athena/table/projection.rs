//! Partition projection: partitions computed from the table's parameters, whatever the catalog says.
//!
//! `date`, `integer` and `enum` columns. The ranges are walked whole; the query's filters choose among the result.

use arrow::datatypes::{DataType, Field};
use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use serde_json::Value;

use super::definition::text;

/// The most partitions that a projection makes; Athena reads at most a million a scan.
const MAX_PARTITIONS: usize = 1_000_000;

/// A projection of all partition keys of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::athena) struct Projection {
    columns: Vec<Column>,
    template: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Column {
    name: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Integer { first: i64, last: i64, interval: i64, digits: usize },
    Enum(Vec<String>),
    Date { first: String, last: String, format: String, interval: u32, unit: DateUnit, is_date: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DateUnit {
    Year,
    Month,
    Day,
    Hour,
    Minute,
}

/// A computed partition: its values, and its location if the table has a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::athena) struct Projected {
    pub(in crate::athena) values: Vec<String>,
    pub(in crate::athena) location: Option<String>,
}

impl Projection {
    /// Reads the parameters; `None` when the table has no projection.
    pub(in crate::athena) fn read(parameters: &Value, keys: &[Field]) -> Result<Option<Self>, String> {
        let get = |name: &str| text(parameters, name);
        if !get("projection.enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let mut columns = Vec::new();
        for key in keys {
            let name = key.name();
            let of = |setting: &str| get(&format!("projection.{name}.{setting}"));
            let need = |setting: &str| of(setting).ok_or_else(|| format!("projection.{name}.{setting} is missing"));
            let kind = match need("type")? {
                "integer" => {
                    let (first, last) = range(need("range")?)?;
                    let number =
                        |text: &str| text.parse::<i64>().map_err(|error| format!("projection.{name}: {error}"));
                    Kind::Integer {
                        first: number(first)?,
                        last: number(last)?,
                        interval: number(of("interval").unwrap_or("1"))?.max(1),
                        digits: of("digits").map_or(Ok(0), str::parse).map_err(|error| format!("digits: {error}"))?,
                    }
                }
                "enum" => Kind::Enum(need("values")?.split(',').map(|value| value.trim().to_owned()).collect()),
                "date" => {
                    date_column(name, need("range")?, need("format")?, (of("interval"), of("interval.unit")), key)?
                }
                other => return Err(format!("projection of type {other} is not supported by the local Athena")),
            };
            columns.push(Column { name: name.clone(), kind });
        }
        Ok(Some(Self { columns, template: get("storage.location.template").map(str::to_owned) }))
    }

    /// All partitions. `now` is what `NOW` in a range means.
    pub(in crate::athena) fn partitions(&self, now: DateTime<Utc>) -> Result<Vec<Projected>, String> {
        let mut rows: Vec<Vec<String>> = vec![Vec::new()];
        for column in &self.columns {
            let values = column.kind.values(now)?;
            if rows.len().saturating_mul(values.len()) > MAX_PARTITIONS {
                return Err(format!("the projection makes more than {MAX_PARTITIONS} partitions"));
            }
            rows = rows
                .iter()
                .flat_map(|row| values.iter().map(move |value| row.iter().chain([value]).cloned().collect()))
                .collect();
        }
        Ok(rows.into_iter().map(|values| Projected { location: self.location(&values), values }).collect())
    }

    fn location(&self, values: &[String]) -> Option<String> {
        let template = self.template.clone()?;
        let filled = self.columns.iter().zip(values);
        Some(filled.fold(template, |text, (column, value)| text.replace(&format!("${{{}}}", column.name), value)))
    }
}

impl Kind {
    fn values(&self, now: DateTime<Utc>) -> Result<Vec<String>, String> {
        match self {
            Self::Enum(values) => Ok(values.clone()),
            Self::Integer { first, last, interval, digits } => {
                let count = last.saturating_sub(*first) / interval;
                if usize::try_from(count).is_ok_and(|count| count > MAX_PARTITIONS) {
                    return Err(format!("the projection makes more than {MAX_PARTITIONS} partitions"));
                }
                let step = usize::try_from(*interval).map_err(|error| error.to_string())?;
                Ok((*first..=*last).step_by(step).map(|value| format!("{value:0digits$}")).collect())
            }
            Self::Date { first, last, format, interval, unit, is_date } => {
                let format = chrono_format(format)?;
                let (mut at, last) = (moment(first, &format, now)?, moment(last, &format, now)?);
                let mut values = Vec::new();
                while at <= last {
                    if values.len() == MAX_PARTITIONS {
                        return Err(format!("the projection makes more than {MAX_PARTITIONS} partitions"));
                    }
                    values.push(if *is_date { at.format("%Y-%m-%d") } else { at.format(&format) }.to_string());
                    at = unit.add(at, *interval).ok_or("a date of the projection is out of range")?;
                }
                Ok(values)
            }
        }
    }
}

impl DateUnit {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().trim_end_matches('S') {
            "YEAR" => Self::Year,
            "MONTH" => Self::Month,
            "DAY" => Self::Day,
            "HOUR" => Self::Hour,
            "MINUTE" => Self::Minute,
            _ => return None,
        })
    }

    fn add(self, at: NaiveDateTime, times: u32) -> Option<NaiveDateTime> {
        match self {
            Self::Year => at.checked_add_months(Months::new(times.checked_mul(12)?)),
            Self::Month => at.checked_add_months(Months::new(times)),
            Self::Day => at.checked_add_days(Days::new(times.into())),
            Self::Hour => at.checked_add_signed(TimeDelta::hours(times.into())),
            Self::Minute => at.checked_add_signed(TimeDelta::minutes(times.into())),
        }
    }
}

fn range(text: &str) -> Result<(&str, &str), String> {
    let (first, last) = text.split_once(',').ok_or("a range is two values with a comma between")?;
    Ok((first.trim(), last.trim()))
}

fn date_column(
    name: &str,
    given_range: &str,
    format: &str,
    (interval, unit): (Option<&str>, Option<&str>),
    key: &Field,
) -> Result<Kind, String> {
    let (first, last) = range(given_range)?;
    let unit = match unit {
        Some(unit) => DateUnit::named(unit).ok_or_else(|| format!("{unit} is not a unit of time"))?,
        // Without one the step is that of the format's finest field, which must then be a day or more.
        None if format.contains("HH") => return Err(format!("projection.{name}.interval.unit is missing")),
        None if format.contains("dd") => DateUnit::Day,
        None if format.contains("MM") => DateUnit::Month,
        None => DateUnit::Year,
    };
    let interval = interval.unwrap_or("1").parse::<u32>().map_err(|error| format!("interval: {error}"))?;
    let is_date = *key.data_type() == DataType::Date32;
    Ok(Kind::Date {
        first: first.to_owned(),
        last: last.to_owned(),
        format: format.to_owned(),
        interval: interval.max(1),
        unit,
        is_date,
    })
}

/// `NOW`, `NOW-3DAYS`, or a value of the format.
fn moment(text: &str, format: &str, now: DateTime<Utc>) -> Result<NaiveDateTime, String> {
    let wrong = || format!("{text} is not a bound of a date range");
    if let Some(shift) = text.to_ascii_uppercase().strip_prefix("NOW") {
        let shift: String = shift.chars().filter(|next| !next.is_whitespace()).collect();
        let now = truncated(now.naive_utc(), format);
        if shift.is_empty() {
            return Ok(now);
        }
        let (sign, rest) = shift.split_at_checked(1).ok_or_else(wrong)?;
        let unit_at = rest.find(|next: char| !next.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, unit) = rest.split_at_checked(unit_at).ok_or_else(wrong)?;
        let count: u32 = count.parse().map_err(|_not_a_number| wrong())?;
        let unit = DateUnit::named(unit).ok_or_else(wrong)?;
        let forward = unit.add(now, count).ok_or_else(wrong)?;
        return match sign {
            "+" => Ok(forward),
            "-" => match unit {
                DateUnit::Year | DateUnit::Month => {
                    let months = if unit == DateUnit::Year { count.saturating_mul(12) } else { count };
                    now.checked_sub_months(Months::new(months)).ok_or_else(wrong)
                }
                DateUnit::Day | DateUnit::Hour | DateUnit::Minute => Ok(now - (forward - now)),
            },
            _ => Err(wrong()),
        };
    }
    if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
        return Ok(at);
    }
    // A format without all fields: the missing ones are the first of their kind.
    let padded = [("%Y-%m-%d %H", "-01-01 00"), ("%Y-%m-%d %H", "-01 00")];
    let date = NaiveDate::parse_from_str(text, format).ok().and_then(|date| date.and_hms_opt(0, 0, 0));
    let hour = || NaiveDateTime::parse_from_str(&format!("{text} 00"), &format!("{format} %M")).ok();
    let partial = || {
        padded.iter().find_map(|(whole, rest)| {
            let full = NaiveDateTime::parse_from_str(&format!("{text}{rest} 00"), &format!("{whole} %M")).ok()?;
            Some(full)
        })
    };
    date.or_else(hour).or_else(partial).ok_or_else(wrong)
}

/// Cuts `NOW` to the format's finest field, as its values are.
fn truncated(now: NaiveDateTime, format: &str) -> NaiveDateTime {
    let date = now.date();
    let date = if format.contains("%d") { Some(date) } else { date.with_day(1) };
    let date = date.and_then(|date| if format.contains("%m") { Some(date) } else { date.with_month(1) });
    let hour = if format.contains("%H") { chrono::Timelike::hour(&now) } else { 0 };
    let minute = if format.contains("%M") { chrono::Timelike::minute(&now) } else { 0 };
    date.and_then(|date| date.and_hms_opt(hour, minute, 0)).unwrap_or(now)
}

/// Java's letters to chrono's specifiers, as far as partitions use them.
fn chrono_format(format: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut characters = format.chars().peekable();
    while let Some(first) = characters.next() {
        if first == '\'' {
            out.extend(characters.by_ref().take_while(|next| *next != '\''));
            continue;
        }
        if !first.is_ascii_alphabetic() {
            out.push(first);
            continue;
        }
        let mut letters = first.to_string();
        while let Some(same) = characters.next_if_eq(&first) {
            letters.push(same);
        }
        out.push_str(match letters.as_str() {
            "yyyy" => "%Y",
            "MM" => "%m",
            "dd" => "%d",
            "HH" => "%H",
            "mm" => "%M",
            _ => return Err(format!("{letters} in the format of a projection is not supported by the local Athena")),
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use chrono::{TimeZone as _, Utc};
    use serde_json::{Value, json};

    use super::Projection;

    fn partitions(kind: DataType, settings: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let mut parameters = json!({ "projection.enabled": "true", "storage.location.template": "s3://b/x=${x}/" });
        for (name, value) in settings {
            parameters[format!("projection.x.{name}")] = Value::String((*value).to_owned());
        }
        let now = Utc.with_ymd_and_hms(2026, 3, 2, 5, 6, 7).unwrap();
        let projection = Projection::read(&parameters, &[Field::new("x", kind, true)])?.unwrap();
        let found = projection.partitions(now)?;
        if let Some(first) = found.first() {
            assert_eq!(first.location, Some(format!("s3://b/x={}/", first.values[0])));
        }
        Ok(found.into_iter().map(|partition| partition.values.join("/")).collect())
    }

    #[test]
    fn columns_are_walked() {
        let check = |settings: &[(&str, &str)], expected: Result<&[&str], &str>| {
            let expected = expected.map(|all| all.iter().map(|one| (*one).to_owned()).collect()).map_err(str::to_owned);
            assert_eq!(partitions(DataType::Utf8, settings), expected, "{settings:?}");
        };
        check(&[("type", "integer"), ("range", "8,10"), ("digits", "2")], Ok(&["08", "09", "10"]));
        check(&[("type", "integer"), ("range", "0,10"), ("interval", "5")], Ok(&["0", "5", "10"]));
        check(&[("type", "enum"), ("values", "a, b")], Ok(&["a", "b"]));
        let day = ("format", "yyyy-MM-dd");
        check(
            &[("type", "date"), day, ("range", "2026-02-27,2026-03-01")],
            Ok(&["2026-02-27", "2026-02-28", "2026-03-01"]),
        );
        check(&[("type", "date"), day, ("range", "NOW-1DAYS,NOW")], Ok(&["2026-03-01", "2026-03-02"]));
        check(
            &[("type", "date"), ("format", "yyyy/MM"), ("range", "NOW-2MONTHS,NOW")],
            Ok(&["2026/01", "2026/02", "2026/03"]),
        );
        let hour = [("type", "date"), ("format", "yyyy-MM-dd-HH"), ("range", "NOW-1HOURS,NOW")];
        check(&hour, Err("projection.x.interval.unit is missing"));
        check(&[hour[0], hour[1], hour[2], ("interval.unit", "HOURS")], Ok(&["2026-03-02-04", "2026-03-02-05"]));
        check(&[("type", "injected")], Err("projection of type injected is not supported by the local Athena"));
        check(
            &[("type", "integer"), ("range", "0,99999999")],
            Err("the projection makes more than 1000000 partitions"),
        );
        check(&[("type", "integer")], Err("projection.x.range is missing"));
    }

    #[test]
    fn a_date_key_is_a_date() {
        let found =
            partitions(DataType::Date32, &[("type", "date"), ("format", "yyyyMMdd"), ("range", "20260301,20260301")]);
        assert_eq!(found, Ok(vec!["2026-03-01".to_owned()]));
    }
}
