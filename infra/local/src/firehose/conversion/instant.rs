//! Timestamps and dates in JSON, in the spellings that the service's deserializers read.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

/// An epoch below this is in seconds, one from it on in milliseconds.
const FIRST_MILLIS: f64 = 1e12;

/// A format of `HiveJsonSerDe.TimestampFormats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    /// Milliseconds since the epoch.
    Millis,
    /// A pattern of Joda's, as `chrono` spells it, and whether it names a zone.
    Pattern { format: String, has_zone: bool, has_time: bool },
}

impl Format {
    /// Reads a format; `None` for letters that are not read here.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text == "millis" {
            return Some(Self::Millis);
        }
        let (mut format, mut has_zone, mut has_time) = (String::new(), false, false);
        let mut characters = text.chars().peekable();
        while let Some(first) = characters.next() {
            if first == '\'' {
                let literal: String = characters.by_ref().take_while(|next| *next != '\'').collect();
                format.push_str(&if literal.is_empty() { "'".to_owned() } else { literal.replace('%', "%%") });
                continue;
            }
            if !first.is_ascii_alphabetic() {
                format.push_str(if first == '%' { "%%" } else { "" });
                format.extend((first != '%').then_some(first));
                continue;
            }
            let mut width = 1;
            while characters.next_if_eq(&first).is_some() {
                width += 1;
            }
            has_zone |= first == 'Z';
            has_time |= matches!(first, 'H' | 'h' | 'm' | 's');
            // Fractions of any length are read by the same: what stands before the point is not part of it.
            if first == 'S' && format.ends_with('.') {
                format.pop();
                format.push_str("%.f");
                continue;
            }
            format.push_str(specifier(first, width)?);
        }
        Some(Self::Pattern { format, has_zone, has_time })
    }

    fn parse(&self, text: &str) -> Option<i64> {
        match self {
            Self::Millis => text.parse().ok(),
            Self::Pattern { format, has_zone: true, .. } => {
                Some(chrono::DateTime::parse_from_str(text, format).ok()?.timestamp_millis())
            }
            Self::Pattern { format, has_time: true, .. } => {
                Some(NaiveDateTime::parse_from_str(text, format).ok()?.and_utc().timestamp_millis())
            }
            Self::Pattern { format, .. } => Some(
                NaiveDate::parse_from_str(text, format).ok()?.and_time(NaiveTime::MIN).and_utc().timestamp_millis(),
            ),
        }
    }
}

fn specifier(letter: char, width: usize) -> Option<&'static str> {
    Some(match (letter, width) {
        ('y' | 'Y' | 'u', 4) => "%Y",
        ('y' | 'Y', 2) => "%y",
        ('M', 1 | 2) => "%m",
        ('M', 3) => "%b",
        ('M', 4) => "%B",
        ('d', 1 | 2) => "%d",
        ('D', 1..=3) => "%j",
        ('H', 1 | 2) => "%H",
        ('h', 1 | 2) => "%I",
        ('a', 1) => "%p",
        ('m', 1 | 2) => "%M",
        ('s', 1 | 2) => "%S",
        ('S', 3) => "%3f",
        ('E', 1..=3) => "%a",
        ('E', 4) => "%A",
        ('Z', 1) => "%z",
        ('Z', 2) => "%:z",
        _ => return None,
    })
}

/// Milliseconds since the epoch of a timestamp's text: the given formats, else an epoch, ISO 8601 or `yyyy-MM-dd HH:mm:ss`.
pub(super) fn timestamp_text(text: &str, formats: &[Format]) -> Option<i64> {
    let text = text.trim();
    if let Some(found) = formats.iter().find_map(|format| format.parse(text)) {
        return Some(found);
    }
    if let Ok(epoch) = text.parse::<f64>() {
        return epoch_number(epoch);
    }
    if let Ok(zoned) = chrono::DateTime::parse_from_rfc3339(text)
        && text.contains('T')
    {
        return Some(zoned.timestamp_millis());
    }
    // One digit where there could be two is read here, as Java's `Timestamp.valueOf` does, and not in ISO 8601.
    let (date, time) = text.split_once(' ')?;
    let (date, time) = (plain_date(date)?, time.trim());
    let time = NaiveTime::parse_from_str(time, "%H:%M:%S%.f").ok()?;
    Some(date.and_time(time).and_utc().timestamp_millis())
}

/// Milliseconds since the epoch of an epoch in seconds or, from a trillion on, in milliseconds.
pub(super) fn epoch_number(epoch: f64) -> Option<i64> {
    let millis = if epoch.abs() < FIRST_MILLIS { epoch * 1_000.0 } else { epoch };
    // Rounded, as the product of a fraction lies beside the integer that it stands for.
    let is_date = millis.is_finite() && millis.abs() < 8.0e15;
    #[expect(clippy::cast_possible_truncation, reason = "it is far within the range of an i64")]
    is_date.then(|| millis.round() as i64)
}

/// Days since the epoch of `yyyy-MM-dd`, or of the date in a longer text.
pub(super) fn date_text(text: &str) -> Option<i32> {
    let text = text.trim();
    let date = text.split(['T', ' ']).next()?;
    let days = (plain_date(date)? - NaiveDate::default()).num_days();
    i32::try_from(days).ok()
}

fn plain_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || !(1..=2).contains(&month.len()) || !(1..=2).contains(&day.len()) {
        return None;
    }
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Format, date_text, timestamp_text};

    #[test]
    fn timestamps_are_read() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(timestamp_text(text, &[]), expected, "{text}");
        check("1518033528", Some(1_518_033_528_000));
        check("1518033528123", Some(1_518_033_528_123));
        check("1518033528.123", Some(1_518_033_528_123));
        check("-1000", Some(-1_000_000));
        check("1e300", None);
        check("2018-02-07T20:38:48Z", Some(1_518_035_928_000));
        check("2018-02-07T20:38:48.5Z", Some(1_518_035_928_500));
        check("2018-02-07T21:38:48+01:00", Some(1_518_035_928_000));
        check("2018-02-07 20:38:48", Some(1_518_035_928_000));
        check("2018-2-7 20:38:48.25", Some(1_518_035_928_250));
        check("2018-2-07T20:38:48Z", None);
        check("yesterday", None);
        check("2018-02-30 00:00:00", None);
    }

    #[test]
    fn formats_of_the_hive_serde() {
        let check = |format: &str, text: &str, expected: Option<i64>| {
            let found = Format::read(format).and_then(|format| format.parse(text));
            assert_eq!(found, expected, "{text} as {format}");
        };
        check("millis", "5", Some(5));
        check("yyyy-MM-dd'T'HH:mm:ss.SSSZ", "2018-02-07T20:38:48.500+0000", Some(1_518_035_928_500));
        check("dd/MM/yyyy HH:mm:ss", "07/02/2018 20:38:48", Some(1_518_035_928_000));
        check("yyyyMMdd", "20180207", Some(1_517_961_600_000));
        check("yyyy-MM-dd", "07/02/2018", None);
        check("GG", "AD", None);
    }

    #[test]
    fn dates_are_read() {
        let check = |text: &str, expected: Option<i32>| assert_eq!(date_text(text), expected, "{text}");
        check("1970-01-02", Some(1));
        check("1970-1-2", Some(1));
        check("1969-12-31 10:00:00", Some(-1));
        check("1970-13-01", None);
        check("70-01-01", None);
        check("", None);
    }
}
