//! What kinds of places screens stand in: venue types of the `OpenOOH` taxonomy 1.1, with screens as they are found there.

/// A kind of place.
#[derive(Debug, Clone, Copy)]
pub struct Venue {
    /// Enumeration id of the taxonomy.
    pub id: i32,
    /// What people call such a screen.
    pub name: &'static str,
    /// How many of 1,000 screens are of this kind (our choice: shops and streets lead).
    pub share: u32,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// Seconds of one slot of the loop.
    pub slot_s: i32,
    /// Impressions that a play counts for, at a middling screen (our choice, in the order of published examples).
    pub multiplier: f64,
}

const fn venue(
    id: i32,
    name: &'static str,
    share: u32,
    (width, height, slot_s): (i32, i32, i32),
    multiplier: f64,
) -> Venue {
    Venue { id, name, share, width, height, slot_s, multiplier }
}

/// The kinds of places; their shares add up to 1,000.
pub const VENUES: [Venue; 20] = [
    venue(10101, "arrivals hall", 20, (1920, 1080, 10), 18.5),
    venue(10105, "gate", 30, (1920, 1080, 10), 9.4),
    venue(10203, "bus side", 40, (1280, 320, 8), 6.2),
    venue(104, "taxi top", 30, (960, 320, 8), 4.1),
    venue(10502, "subway platform", 80, (1080, 1920, 10), 14.2),
    venue(10602, "station platform", 60, (1080, 1920, 10), 11.7),
    venue(20101, "fuel pump", 90, (1024, 768, 15), 1.3),
    venue(202, "convenience store", 110, (1080, 1920, 8), 1.8),
    venue(20302, "check-out", 90, (1280, 720, 8), 1.1),
    venue(20501, "mall concourse", 70, (1080, 1920, 10), 5.6),
    venue(207, "pharmacy", 40, (1080, 1920, 8), 0.9),
    venue(30101, "roadside billboard", 60, (1400, 400, 8), 42.0),
    venue(30103, "spectacular", 10, (3840, 2160, 15), 128.0),
    venue(302, "urban panel", 70, (1080, 1920, 10), 8.8),
    venue(303, "bus shelter", 50, (1080, 1920, 10), 7.5),
    venue(40102, "gym floor", 30, (1920, 1080, 15), 1.4),
    venue(501, "waiting room", 30, (1920, 1080, 15), 0.8),
    venue(70101, "office elevator", 50, (1080, 1920, 10), 2.1),
    venue(802, "cinema lobby", 20, (1920, 1080, 15), 3.3),
    venue(110_102, "apartment elevator", 20, (1080, 1920, 10), 0.7),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_and_values_plausible() {
        assert_eq!(VENUES.iter().map(|venue| venue.share).sum::<u32>(), 1_000);
        for venue in VENUES {
            assert!(venue.multiplier > 0.0 && venue.slot_s >= 5 && venue.width > 0 && venue.height > 0);
        }
    }
}
