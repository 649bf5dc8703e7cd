//! Where the screens stand: cities with their time zones.

/// A city.
#[derive(Debug, Clone, Copy)]
pub struct City {
    /// Three letters that start the ids of its ad units.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// ISO 3166 alpha-3.
    pub country: &'static str,
    /// Whether the General Data Protection Regulation, or the United Kingdom's, holds there.
    pub gdpr: bool,
    /// Degrees north of its centre.
    pub lat: f64,
    /// Degrees east of its centre.
    pub lon: f64,
    /// IANA time zone.
    pub tz: &'static str,
}

const fn city(
    (code, name, country): (&'static str, &'static str, &'static str),
    gdpr: bool,
    (lat, lon): (f64, f64),
    tz: &'static str,
) -> City {
    City { code, name, country, gdpr, lat, lon, tz }
}

/// Thirty cities on six continents, in sixteen different offsets from UTC, some of a half or three quarters of an hour.
pub const CITIES: [City; 30] = [
    city(("nyc", "New York", "USA"), false, (40.7128, -74.0060), "America/New_York"),
    city(("chi", "Chicago", "USA"), false, (41.8781, -87.6298), "America/Chicago"),
    city(("den", "Denver", "USA"), false, (39.7392, -104.9903), "America/Denver"),
    city(("phx", "Phoenix", "USA"), false, (33.4484, -112.0740), "America/Phoenix"),
    city(("lax", "Los Angeles", "USA"), false, (34.0522, -118.2437), "America/Los_Angeles"),
    city(("hnl", "Honolulu", "USA"), false, (21.3069, -157.8583), "Pacific/Honolulu"),
    city(("yyz", "Toronto", "CAN"), false, (43.6532, -79.3832), "America/Toronto"),
    city(("yyt", "St. John's", "CAN"), false, (47.5615, -52.7126), "America/St_Johns"),
    city(("mex", "Mexico City", "MEX"), false, (19.4326, -99.1332), "America/Mexico_City"),
    city(("sao", "São Paulo", "BRA"), false, (-23.5505, -46.6333), "America/Sao_Paulo"),
    city(("bue", "Buenos Aires", "ARG"), false, (-34.6037, -58.3816), "America/Argentina/Buenos_Aires"),
    city(("lon", "London", "GBR"), true, (51.5074, -0.1278), "Europe/London"),
    city(("man", "Manchester", "GBR"), true, (53.4808, -2.2426), "Europe/London"),
    city(("dub", "Dublin", "IRL"), true, (53.3498, -6.2603), "Europe/Dublin"),
    city(("par", "Paris", "FRA"), true, (48.8566, 2.3522), "Europe/Paris"),
    city(("ber", "Berlin", "DEU"), true, (52.5200, 13.4050), "Europe/Berlin"),
    city(("muc", "Munich", "DEU"), true, (48.1351, 11.5820), "Europe/Berlin"),
    city(("mad", "Madrid", "ESP"), true, (40.4168, -3.7038), "Europe/Madrid"),
    city(("mil", "Milan", "ITA"), true, (45.4642, 9.1900), "Europe/Rome"),
    city(("hel", "Helsinki", "FIN"), true, (60.1699, 24.9384), "Europe/Helsinki"),
    city(("ist", "Istanbul", "TUR"), false, (41.0082, 28.9784), "Europe/Istanbul"),
    city(("jnb", "Johannesburg", "ZAF"), false, (-26.2041, 28.0473), "Africa/Johannesburg"),
    city(("dxb", "Dubai", "ARE"), false, (25.2048, 55.2708), "Asia/Dubai"),
    city(("bom", "Mumbai", "IND"), false, (19.0760, 72.8777), "Asia/Kolkata"),
    city(("ktm", "Kathmandu", "NPL"), false, (27.7172, 85.3240), "Asia/Kathmandu"),
    city(("sin", "Singapore", "SGP"), false, (1.3521, 103.8198), "Asia/Singapore"),
    city(("hkg", "Hong Kong", "HKG"), false, (22.3193, 114.1694), "Asia/Hong_Kong"),
    city(("tyo", "Tokyo", "JPN"), false, (35.6762, 139.6503), "Asia/Tokyo"),
    city(("syd", "Sydney", "AUS"), false, (-33.8688, 151.2093), "Australia/Sydney"),
    city(("akl", "Auckland", "NZL"), false, (-36.8509, 174.7645), "Pacific/Auckland"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_places_are_on_earth() {
        let codes: HashSet<_> = CITIES.iter().map(|city| city.code).collect();
        assert_eq!(codes.len(), CITIES.len());
        for city in CITIES {
            assert!(city.lat.abs() < 85.0 && city.lon.abs() < 179.0, "{}", city.name);
            assert!(city.country.len() == 3 && city.tz.contains('/'), "{}", city.name);
        }
    }
}
