//! The screens table in memory, keyed by ad unit.

use std::collections::HashMap;

use chrono::{DateTime, Offset, TimeZone, Timelike};
use chrono_tz::Tz;
use events::screen::Screen;

/// Reference data of all screens; read once, replaced as a whole.
#[derive(Debug, Default)]
pub struct Screens {
    by_adunit: HashMap<String, Entry>,
}

/// A screen with its zone ready to use.
#[derive(Debug)]
pub struct Entry {
    /// The reference data.
    pub screen: Screen,
    /// Its time zone.
    pub tz: Tz,
    /// Its multiplier in ten-thousandths.
    pub multiplier_e4: i64,
}

/// The wall clock at a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// Milliseconds since 1970-01-01 of that clock.
    pub ts: i64,
    /// 0 to 23.
    pub hour: i32,
}

/// Why a file is no screens table. Lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum ScreensError {
    /// A line is not a screen.
    #[error("line {line} of the screens table is not a screen")]
    Line {
        /// Which line.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A screen's zone is not in the IANA data base.
    #[error("line {line} of the screens table names the unknown time zone {tz:?}")]
    TimeZone {
        /// Which line.
        line: usize,
        /// The name.
        tz: String,
    },
    /// A multiplier that is negative or no number.
    #[error("line {line} of the screens table has the multiplier {multiplier}, which is no multiplier")]
    Multiplier {
        /// Which line.
        line: usize,
        /// The value.
        multiplier: f64,
    },
}

impl Screens {
    /// Reads a table of one JSON object a line. Of two lines with the same ad unit the later one counts.
    ///
    /// # Errors
    /// The first line that is not a screen: half a table would silently turn known screens into unknown ones.
    pub fn from_ndjson(text: &[u8]) -> Result<Self, ScreensError> {
        let mut by_adunit = HashMap::new();
        for (index, text) in text.split(|byte| *byte == b'\n').enumerate() {
            if text.trim_ascii().is_empty() {
                continue;
            }
            let line = index + 1;
            let screen: Screen = serde_json::from_slice(text).map_err(|source| ScreensError::Line { line, source })?;
            let Ok(tz) = screen.tz.parse::<Tz>() else {
                return Err(ScreensError::TimeZone { line, tz: screen.tz });
            };
            let Some(multiplier_e4) = events::money::multiplier_e4(screen.multiplier) else {
                return Err(ScreensError::Multiplier { line, multiplier: screen.multiplier });
            };
            by_adunit.insert(screen.adunit_id.clone(), Entry { screen, tz, multiplier_e4 });
        }
        Ok(Self { by_adunit })
    }

    /// The screen of an ad unit.
    pub fn get(&self, adunit_id: &str) -> Option<&Entry> {
        self.by_adunit.get(adunit_id)
    }

    /// Number of ad units.
    pub fn len(&self) -> usize {
        self.by_adunit.len()
    }

    /// Whether there is no ad unit.
    pub fn is_empty(&self) -> bool {
        self.by_adunit.is_empty()
    }
}

impl Entry {
    /// The wall clock at the screen at a time in milliseconds since the epoch; `None` beyond the calendar.
    pub fn local_time(&self, ts: i64) -> Option<LocalTime> {
        let utc = DateTime::from_timestamp_millis(ts)?;
        let local = utc.with_timezone(&self.tz);
        let offset_s = self.tz.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc();
        let local_ts = ts.checked_add(i64::from(offset_s) * 1000)?;
        Some(LocalTime { ts: local_ts, hour: i32::try_from(local.hour()).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(adunit_id: &str, tz: &str, multiplier: &str) -> String {
        format!(
            r#"{{"adunit_id":"{adunit_id}","publisher_id":"p","name":"n","venuetype_id":301,"city":"c","country":"DEU","lat":1,"lon":2,"tz":"{tz}","width":1,"height":1,"slot_s":8,"multiplier":{multiplier}}}"#
        )
    }

    #[test]
    fn local_time_through_summer_time_and_odd_offsets() {
        // 2026-03-29 01:00 UTC is when Berlin's clocks go from 2:00 to 3:00.
        const BERLIN_CHANGE: i64 = 1_774_746_000_000;
        for (tz, ts, hour, offset_min) in [
            ("Europe/Berlin", BERLIN_CHANGE - 1, 1, 60),
            ("Europe/Berlin", BERLIN_CHANGE, 3, 120),
            ("Asia/Kathmandu", 1_774_746_000_000, 6, 345),
            ("America/New_York", 1_774_746_000_000, 21, -240),
            ("Australia/Lord_Howe", 1_774_746_000_000, 12, 660),
            ("UTC", 0, 0, 0),
        ] {
            let screens = Screens::from_ndjson(line("a", tz, "1").as_bytes()).unwrap();
            let local = screens.get("a").unwrap().local_time(ts).unwrap();
            assert_eq!(local, LocalTime { ts: ts + offset_min * 60_000, hour }, "{tz}");
        }
    }

    #[test]
    fn a_damaged_table_is_refused_with_its_line() {
        let good = line("a", "UTC", "1.5");
        let check = |second: &str, expect: &str| {
            let error = Screens::from_ndjson(format!("{good}\n{second}\n").as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expect), "{error}");
        };
        check("{}", "line 2 of the screens table is not a screen");
        check(&line("b", "Mars/Olympus", "1"), "unknown time zone \"Mars/Olympus\"");
        check(&line("b", "UTC", "-1"), "multiplier -1");
    }

    #[test]
    fn later_lines_win_and_blank_lines_do_not_count() {
        let text = format!("{}\n\n{}\n", line("a", "UTC", "1"), line("a", "UTC", "14.2"));
        let screens = Screens::from_ndjson(text.as_bytes()).unwrap();
        assert_eq!(screens.len(), 1);
        assert_eq!(screens.get("a").unwrap().multiplier_e4, 142_000);
    }
}
