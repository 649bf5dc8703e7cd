//! Screens: the reference data that requests are made from and that the enrichment looks up.

use events::screen::Screen;

use crate::city::{CITIES, City};
use crate::random::Random;
use crate::venue::{VENUES, Venue};

/// How far from a city's centre its screens stand, in degrees: about 10 km.
const SPREAD_DEGREES: f64 = 0.09;

/// Owners of screens; each city has screens of five of them.
const PUBLISHERS: u32 = 24;

/// Screens over all cities and kinds of places. The same seed and count give the same screens, and a larger count only
/// adds to a smaller one.
pub fn screens(seed: u64, count: usize) -> Vec<Screen> {
    (0..u64::try_from(count).unwrap_or(u64::MAX)).map(|index| screen(seed, index)).collect()
}

fn screen(seed: u64, index: u64) -> Screen {
    let mut random = Random::new(seed, index);
    let city = random.pick(&CITIES).unwrap_or(&CITIES[0]);
    let venue = venue(&mut random);
    let city_index = CITIES.iter().position(|other| other.code == city.code).unwrap_or(0);
    let publisher = (u32::try_from(city_index).unwrap_or(0) * 5 + random.below(5)) % PUBLISHERS + 1;
    // Between half and one and a half of what is usual, in hundredths, as exchanges write it.
    let multiplier = (venue.multiplier * f64::from(50 + random.below(101))).round() / 100.0;
    Screen {
        adunit_id: format!("{}-{}-{index:06}", city.code, venue.id),
        publisher_id: format!("pub-{publisher:02}"),
        name: format!("{} {} {index}", city.name, venue.name),
        venuetype_id: venue.id,
        city: city.name.to_owned(),
        country: city.country.to_owned(),
        lat: near(city, |city| city.lat, &mut random),
        lon: near(city, |city| city.lon, &mut random),
        tz: city.tz.to_owned(),
        width: venue.width,
        height: venue.height,
        slot_s: venue.slot_s,
        multiplier: multiplier.max(0.1),
    }
}

fn venue(random: &mut Random) -> &'static Venue {
    let mut left = random.below(1_000);
    for venue in &VENUES {
        match left.checked_sub(venue.share) {
            Some(rest) => left = rest,
            None => return venue,
        }
    }
    &VENUES[0]
}

/// A coordinate near a city's, denser towards the centre, with the six decimals that a fixed receiver gives.
fn near(city: &City, coordinate: fn(&City) -> f64, random: &mut Random) -> f64 {
    let offset = (f64::from(random.below(2_001)) + f64::from(random.below(2_001)) - 2_000.0) / 2_000.0;
    ((coordinate(city) + offset * SPREAD_DEGREES) * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_screens_and_more_only_add() {
        assert_eq!(screens(1, 100), screens(1, 1_000)[..100]);
        assert_ne!(screens(1, 100), screens(2, 100));
    }

    #[test]
    fn forty_thousand_screens_are_distinct_and_everywhere() {
        let screens = screens(1, 40_000);
        let distinct = |of: fn(&Screen) -> &str| screens.iter().map(of).collect::<HashSet<_>>().len();
        assert_eq!(distinct(|screen| &screen.adunit_id), 40_000);
        assert_eq!(distinct(|screen| &screen.city), CITIES.len());
        assert_eq!(distinct(|screen| &screen.publisher_id), 24);
        assert_eq!(screens.iter().map(|screen| screen.venuetype_id).collect::<HashSet<_>>().len(), VENUES.len());
        for screen in &screens {
            let city = CITIES.iter().find(|city| city.name == screen.city).unwrap();
            let is_near = (screen.lat - city.lat).abs() < 0.1 && (screen.lon - city.lon).abs() < 0.1;
            assert!(is_near && screen.tz == city.tz && screen.multiplier > 0.0, "{screen:?}");
        }
    }
}
