//! The screens table: reference data, one JSON object a line, keyed by ad unit.

use serde::{Deserialize, Serialize};

/// One ad unit of one screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Screen {
    /// The key: what requests carry as `imp.tagid` or `dooh.id`.
    pub adunit_id: String,
    /// Who owns it.
    pub publisher_id: String,
    /// For people.
    pub name: String,
    /// `OpenOOH` 1.1 venue type, the finest known tier: 1, 101 or 10101 for the three tiers.
    pub venuetype_id: i32,
    /// City.
    pub city: String,
    /// ISO 3166 alpha-3.
    pub country: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// IANA time zone.
    pub tz: String,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// Length of one slot of the loop, in seconds.
    pub slot_s: i32,
    /// Impressions that one play counts for, where a request does not say.
    pub multiplier: f64,
}

impl Screen {
    /// The first tier of the venue type.
    pub fn venuetype_parent(&self) -> i32 {
        match self.venuetype_id {
            id @ ..100 => id,
            id @ 100..10_000 => id / 100,
            id => id / 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_tier_of_a_venue_type() {
        let screen = |venuetype_id| Screen {
            adunit_id: "a".into(),
            publisher_id: "p".into(),
            name: "n".into(),
            venuetype_id,
            city: "c".into(),
            country: "DEU".into(),
            lat: 0.0,
            lon: 0.0,
            tz: "Europe/Berlin".into(),
            width: 1,
            height: 1,
            slot_s: 8,
            multiplier: 1.0,
        };
        for (id, parent) in [(1, 1), (10, 10), (101, 1), (1002, 10), (10101, 1), (100_101, 10)] {
            assert_eq!(screen(id).venuetype_parent(), parent, "{id}");
        }
    }
}
