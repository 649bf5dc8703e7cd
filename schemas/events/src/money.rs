//! Money and multipliers as integers: prices per thousand in micros, multipliers in ten-thousandths.
//!
//! The product is exact in 128 bits and rounded once, half to even, so that no sum depends on the order of its parts.

/// Micros in one unit of a currency.
pub const MICROS: f64 = 1_000_000.0;
/// Steps of a multiplier in one.
pub const MULTIPLIER_STEPS: f64 = 10_000.0;

/// A price per thousand in micros. `None` when it is negative, not a number, or beyond 63 bits.
pub fn cpm_micros(cpm: f64) -> Option<i64> {
    scaled(cpm, MICROS)
}

/// An impression multiplier in ten-thousandths. `None` when it is negative, not a number, or beyond 63 bits.
pub fn multiplier_e4(multiplier: f64) -> Option<i64> {
    scaled(multiplier, MULTIPLIER_STEPS)
}

/// What one play costs, in micros of the price's currency: `cpm / 1000 × multiplier`.
///
/// `None` when it is beyond 63 bits.
pub fn play_cost_micros(cpm_micros: i64, multiplier_e4: i64) -> Option<i64> {
    /// 1,000 (per thousand) × 10,000 (steps of the multiplier).
    const DIVISOR: i128 = 10_000_000;
    let product = i128::from(cpm_micros) * i128::from(multiplier_e4);
    let (quotient, rest) = (product.div_euclid(DIVISOR), product.rem_euclid(DIVISOR));
    let round_up = match (rest * 2).cmp(&DIVISOR) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => quotient % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    i64::try_from(quotient + i128::from(round_up)).ok()
}

fn scaled(value: f64, steps: f64) -> Option<i64> {
    let scaled = (value * steps).round_ties_even();
    let fits = (0.0..9.2e18).contains(&scaled);
    #[expect(clippy::cast_possible_truncation, reason = "checked to be within 63 bits, and whole")]
    fits.then_some(scaled as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_arithmetic() {
        // OpenRTB 2.6 implementation guide 7.9.4: 2.50 / 1000 × 30.3 = 0.07575.
        let cost = play_cost_micros(cpm_micros(2.50).unwrap(), multiplier_e4(30.3).unwrap());
        assert_eq!(cost, Some(75_750));
        // BidSwitch: 1.50 / 1000 × 4, three thousand times, is 18.
        assert_eq!(play_cost_micros(1_500_000, 40_000).map(|micros| micros * 3000), Some(18_000_000));
    }

    #[test]
    fn rounds_half_to_even() {
        for (product, expect) in [(4_999_999, 0), (5_000_000, 0), (5_000_001, 1), (15_000_000, 2), (25_000_000, 2)] {
            assert_eq!(play_cost_micros(product, 1), Some(expect), "{product}");
        }
    }

    #[test]
    fn what_is_no_price_is_none() {
        for value in [-0.01, f64::NAN, f64::INFINITY, 1e13] {
            assert_eq!(cpm_micros(value), None, "{value}");
        }
        assert_eq!(play_cost_micros(i64::MAX, i64::MAX), None);
    }
}
