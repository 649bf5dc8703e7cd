//! How often screens ask, by the hour of their own clock and the kind of their place.

use std::collections::HashMap;

use chrono::{DateTime, Timelike};
use chrono_tz::Tz;
use events::screen::Screen;

/// The chance of the busiest hour.
pub(super) const PEAK: u32 = 100;

/// Chances of the hours 0 to 23, of [`PEAK`].
type Hours = [u32; 24];

/// Trains, buses and the streets on the way: two peaks.
const COMMUTE: Hours = [6, 4, 3, 3, 6, 22, 55, 92, 100, 78, 58, 55, 60, 58, 57, 64, 80, 98, 95, 70, 48, 36, 24, 12];
/// Airports: from early to late.
const TRAVEL: Hours = [18, 12, 10, 16, 45, 80, 96, 100, 92, 84, 78, 76, 78, 80, 82, 86, 90, 92, 88, 78, 64, 50, 36, 24];
/// Shops and malls: afternoon, and nothing at night.
const SHOPS: Hours = [2, 1, 1, 1, 2, 6, 16, 30, 44, 58, 70, 82, 90, 86, 80, 84, 92, 100, 96, 78, 52, 26, 10, 4];
/// Offices, waiting rooms: working hours.
const WORK: Hours = [1, 1, 1, 1, 2, 6, 24, 62, 96, 100, 92, 88, 84, 86, 90, 88, 80, 62, 34, 16, 8, 4, 2, 1];
/// Cinemas, gyms, bars: the evening.
const EVENING: Hours = [22, 12, 6, 3, 3, 14, 30, 36, 32, 28, 28, 32, 38, 36, 36, 42, 58, 82, 98, 100, 96, 84, 62, 38];
/// Homes: mornings and evenings.
const HOME: Hours = [12, 6, 4, 3, 6, 20, 58, 88, 76, 44, 34, 32, 38, 36, 34, 46, 66, 90, 100, 92, 74, 54, 36, 22];

fn hours(venuetype_id: i32) -> &'static Hours {
    // The first tier, and where a kind of place differs from its tier, the second.
    match (venuetype_id, first_tier(venuetype_id)) {
        (10_101 | 10_105, _) => &TRAVEL,
        (_, 1 | 3) => &COMMUTE,
        (_, 2) => &SHOPS,
        (_, 5 | 7) => &WORK,
        (_, 4 | 8) => &EVENING,
        (_, 10 | 11) => &HOME,
        _ => &COMMUTE,
    }
}

fn first_tier(venuetype_id: i32) -> i32 {
    match venuetype_id {
        id @ ..100 => id,
        id @ 100..10_000 => id / 100,
        id => id / 10_000,
    }
}

/// The curves of a set of screens.
#[derive(Debug)]
pub(super) struct Curves {
    /// By the name of the zone.
    zones: HashMap<String, Tz>,
    mean: u32,
}

impl Curves {
    pub(super) fn of(screens: &[Screen]) -> Self {
        let zones = screens.iter().filter_map(|screen| Some((screen.tz.clone(), screen.tz.parse().ok()?))).collect();
        let sum: u64 = screens.iter().flat_map(|screen| hours(screen.venuetype_id)).copied().map(u64::from).sum();
        let count = u64::try_from(screens.len()).unwrap_or(u64::MAX).saturating_mul(24).max(1);
        Self { zones, mean: u32::try_from(sum / count).unwrap_or(PEAK) }
    }

    /// The chance of a middling screen over a whole day: each sees all of its hours, wherever it stands.
    pub(super) fn mean(&self) -> u32 {
        self.mean
    }

    /// The chance of a screen at a time; that of noon for one whose zone is unknown.
    pub(super) fn chance(&self, screen: &Screen, at_ms: i64) -> u32 {
        let local = self.zones.get(&screen.tz).zip(DateTime::from_timestamp_millis(at_ms));
        let hour = local.map_or(12, |(tz, time)| time.with_timezone(tz).hour());
        let hour = usize::try_from(hour).unwrap_or(12);
        hours(screen.venuetype_id).get(hour).copied().unwrap_or(PEAK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::screens;
    use crate::venue::VENUES;

    #[test]
    fn every_place_has_a_busiest_hour_and_quiet_ones() {
        for venue in VENUES {
            let hours = hours(venue.id);
            assert_eq!(hours.iter().max(), Some(&PEAK), "{}", venue.name);
            assert!(hours.iter().min() < Some(&20), "{}", venue.name);
        }
    }

    #[test]
    fn the_hour_is_that_of_the_screens_clock() {
        let mut screens = screens(1, 2);
        let curves = Curves::of(&screens);
        assert!((20..80).contains(&curves.mean()));
        // 2026-11-22 08:30 UTC: half past eight in London, half past seventeen in Tokyo.
        let at_ms = 1_795_336_200_000;
        for (screen, tz) in screens.iter_mut().zip(["Europe/London", "Asia/Tokyo"]) {
            screen.venuetype_id = 70_101;
            screen.tz = tz.to_owned();
        }
        let curves = Curves::of(&screens);
        assert_eq!(screens.iter().map(|screen| curves.chance(screen, at_ms)).collect::<Vec<_>>(), [WORK[8], WORK[17]]);
    }
}
