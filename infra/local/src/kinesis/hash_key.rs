//! The 128-bit hash keys by which records find their shard.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in `0 ..= 2^128 - 1`. On the wire and on disk it is a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(pub u128);

/// The text is not a decimal number below 2^128 without leading zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAHashKey {
    /// Not `0` or up to 39 digits that start with another one.
    #[error("not a decimal number of up to 39 digits without leading zeros")]
    Shape,
    /// 2^128 or above.
    #[error("not below 2^128")]
    Range,
}

impl HashKey {
    /// The hash key of a partition key: its MD5, read as a big-endian number.
    pub fn of(partition_key: &str) -> Self {
        Self(u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into()))
    }
}

impl FromStr for HashKey {
    type Err = NotAHashKey;

    fn from_str(text: &str) -> Result<Self, NotAHashKey> {
        let is_canonical = text == "0" || (!text.is_empty() && !text.starts_with('0'));
        if text.len() > 39 || !is_canonical || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAHashKey::Shape);
        }
        text.parse().map(Self).map_err(|_too_large| NotAHashKey::Range)
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Serialize for HashKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The hash keys of one shard, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HashKeyRange {
    /// The lowest.
    pub starting_hash_key: HashKey,
    /// The highest.
    pub ending_hash_key: HashKey,
}

impl HashKeyRange {
    /// From the lowest to the highest.
    pub fn new(start: u128, end: u128) -> Self {
        Self { starting_hash_key: HashKey(start), ending_hash_key: HashKey(end) }
    }

    /// Cuts the whole space into `count` ranges, the way the service does: all of one size, and the last takes the
    /// remainder.
    pub fn even(count: u32) -> Vec<Self> {
        if count <= 1 {
            return vec![Self::new(0, u128::MAX)];
        }
        let parts = u128::from(count);
        // 2^128 does not fit: floor(2^128 / n) from floor((2^128 - 1) / n).
        let size = u128::MAX / parts + u128::from(u128::MAX % parts == parts - 1);
        (0..parts)
            .map(|part| {
                let start = part * size;
                let end = if part == parts - 1 { u128::MAX } else { start + (size - 1) };
                Self::new(start, end)
            })
            .collect()
    }

    /// Where the upper half begins.
    pub fn middle(self) -> HashKey {
        let (start, end) = (self.starting_hash_key.0, self.ending_hash_key.0);
        HashKey(start + (end - start) / 2 + (end - start) % 2)
    }

    /// Cuts the range in two, the second starting at `at`; `None` when either would be empty.
    pub fn split(self, at: HashKey) -> Option<(Self, Self)> {
        let (start, end) = (self.starting_hash_key.0, self.ending_hash_key.0);
        if at.0 <= start || at.0 > end {
            return None;
        }
        Some((Self::new(start, at.0 - 1), Self::new(at.0, end)))
    }

    /// Joins two ranges that touch; `None` when they do not.
    pub fn merge(self, other: Self) -> Option<Self> {
        let (low, high) = if self.starting_hash_key <= other.starting_hash_key { (self, other) } else { (other, self) };
        let is_adjacent = low.ending_hash_key.0.checked_add(1) == Some(high.starting_hash_key.0);
        is_adjacent.then(|| Self::new(low.starting_hash_key.0, high.ending_hash_key.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partition_key_hashes_as_its_md5() {
        // md5("a") = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(HashKey::of("a").0, 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
    }

    #[test]
    fn hash_key_texts() {
        let check = |text: &str, expected: Result<u128, NotAHashKey>| {
            assert_eq!(text.parse::<HashKey>().map(|key| key.0), expected, "{text}");
        };
        check("0", Ok(0));
        check("340282366920938463463374607431768211455", Ok(u128::MAX));
        check("340282366920938463463374607431768211456", Err(NotAHashKey::Range));
        for text in ["", "00", "01", "-1", "+1", "1.0", "1e3", "9999999999999999999999999999999999999999", "١"] {
            check(text, Err(NotAHashKey::Shape));
        }
    }

    #[test]
    fn four_even_ranges_are_golden() {
        let ends: Vec<String> = HashKeyRange::even(4).iter().map(|range| range.ending_hash_key.to_string()).collect();
        assert_eq!(
            ends,
            [
                "85070591730234615865843651857942052863",
                "170141183460469231731687303715884105727",
                "255211775190703847597530955573826158591",
                "340282366920938463463374607431768211455",
            ]
        );
    }

    proptest! {
        #[test]
        fn even_ranges_cover_everything_once(count in 1_u32..3_000) {
            let ranges = HashKeyRange::even(count);
            prop_assert_eq!(ranges.len(), usize::try_from(count).unwrap());
            prop_assert_eq!(ranges[0].starting_hash_key.0, 0);
            prop_assert_eq!(ranges[ranges.len() - 1].ending_hash_key.0, u128::MAX);
            for pair in ranges.windows(2) {
                prop_assert_eq!(pair[0].ending_hash_key.0 + 1, pair[1].starting_hash_key.0);
            }
        }

        #[test]
        fn a_split_merges_back(start in any::<u128>(), end in any::<u128>(), at in any::<u128>()) {
            let range = HashKeyRange::new(start.min(end), start.max(end));
            if let Some((low, high)) = range.split(HashKey(at)) {
                prop_assert_eq!(low.merge(high), Some(range));
                prop_assert_eq!(high.merge(low), Some(range));
            } else {
                prop_assert!(at <= start.min(end) || at > start.max(end));
            }
        }
    }
}
