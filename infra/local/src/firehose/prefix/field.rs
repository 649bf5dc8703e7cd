//! Fields of time in prefixes: the patterns of Java's `DateTimeFormatter`, with English names and American weeks.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, Offset as _, Timelike as _};
use chrono_tz::{OffsetName as _, Tz};

/// One run of the same letter in a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    letter: char,
    width: usize,
}

impl Field {
    /// The field that a run of `width` letters stands for; `None` for those that are not read here.
    pub(super) fn read(letter: char, width: usize) -> Option<Self> {
        let widest = match letter {
            'y' | 'u' | 'Y' => 9,
            'M' | 'L' | 'Q' | 'q' | 'E' | 'G' => 4,
            'D' | 'Z' => 3,
            'd' | 'H' | 'h' | 'k' | 'K' | 'm' | 's' | 'w' | 'x' | 'X' | 'V' => 2,
            'S' => 9,
            'n' | 'N' | 'A' => 19,
            'a' | 'z' => 1,
            _ => return None,
        };
        let is_read = width <= widest && (letter != 'V' || width == 2);
        is_read.then_some(Self { letter, width })
    }

    /// What it says of an instant.
    pub(super) fn of(self, at: &DateTime<Tz>) -> String {
        let Self { letter, width } = self;
        let padded = |number: i64| format!("{number:0width$}");
        match letter {
            'y' | 'u' => year(at.year(), width),
            'Y' => year(week(at).0, width),
            'w' => padded(week(at).1),
            'M' | 'L' => month(at, width),
            'Q' | 'q' => quarter(i64::from(at.month0() / 3 + 1), width),
            'D' => padded(i64::from(at.ordinal())),
            'd' => padded(i64::from(at.day())),
            'E' => at.format(if width == 4 { "%A" } else { "%a" }).to_string(),
            'G' => if width == 4 { "Anno Domini" } else { "AD" }.to_owned(),
            'a' => if at.hour() < 12 { "AM" } else { "PM" }.to_owned(),
            'H' => padded(i64::from(at.hour())),
            'k' => padded(i64::from(if at.hour() == 0 { 24 } else { at.hour() })),
            'K' => padded(i64::from(at.hour() % 12)),
            'h' => padded(i64::from(at.hour12().1)),
            'm' => padded(i64::from(at.minute())),
            's' => padded(i64::from(at.second())),
            'S' => format!("{:09}", at.nanosecond()).chars().take(width).collect(),
            'n' => padded(i64::from(at.nanosecond())),
            'N' => padded(i64::from(at.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(at.nanosecond())),
            'A' => padded(i64::from(at.num_seconds_from_midnight()) * 1_000 + i64::from(at.timestamp_subsec_millis())),
            'V' => at.timezone().name().to_owned(),
            'z' => at.offset().abbreviation().unwrap_or("UTC").to_owned(),
            'Z' => offset(at, "", true),
            'x' => offset_short(at, width, false),
            'X' => offset_short(at, width, true),
            other => std::iter::repeat_n(other, width).collect(),
        }
    }
}

/// Two letters are the last two digits; otherwise as many digits as there are, and at least as many as letters.
fn year(year: i32, width: usize) -> String {
    if width == 2 { format!("{:02}", year.rem_euclid(100)) } else { format!("{year:0width$}") }
}

fn month(at: &DateTime<Tz>, width: usize) -> String {
    match width {
        1 | 2 => format!("{:0width$}", at.month()),
        3 => at.format("%b").to_string(),
        _ => at.format("%B").to_string(),
    }
}

fn quarter(number: i64, width: usize) -> String {
    let ordinal = match number {
        1 => "1st",
        2 => "2nd",
        3 => "3rd",
        _ => "4th",
    };
    match width {
        1 | 2 => format!("{number:0width$}"),
        3 => format!("Q{number}"),
        _ => format!("{ordinal} quarter"),
    }
}

/// Year and number of the week: weeks begin on Sunday, and that of the first of January is a year's first.
fn week(at: &DateTime<Tz>) -> (i32, i64) {
    let date = at.date_naive();
    let saturday = date.checked_add_days(Days::new(u64::from(6 - date.weekday().num_days_from_sunday())));
    let year = saturday.map_or(at.year(), |saturday| saturday.year());
    let first = NaiveDate::from_ymd_opt(year, 1, 1).unwrap_or(date);
    let begins = i64::from(first.weekday().num_days_from_sunday());
    (year, ((date - first).num_days() + begins).div_euclid(7) + 1)
}

/// `+0530`, or with a colon `+05:30`; without minutes where they are zero and not wanted.
fn offset(at: &DateTime<Tz>, colon: &str, with_minutes: bool) -> String {
    let seconds = at.offset().fix().local_minus_utc();
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    if with_minutes || minutes % 60 != 0 {
        format!("{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    } else {
        format!("{sign}{:02}", minutes / 60)
    }
}

fn offset_short(at: &DateTime<Tz>, width: usize, is_zero_named: bool) -> String {
    if is_zero_named && at.offset().fix().local_minus_utc() == 0 {
        return "Z".to_owned();
    }
    offset(at, "", width > 1)
}
