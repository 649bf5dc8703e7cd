//! Where a record belongs: partition key → 128-bit hash key → the shard whose range holds it.

use md5::{Digest, Md5};

use crate::md5::digests;

/// The hash key of a partition key: its MD5 digest read as a big-endian number, as Kinesis computes it.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The hash keys of several partition keys, in their order. Of sixteen at a time each costs about a fifth of one alone.
pub fn hash_keys(partition_keys: &[&str]) -> Vec<u128> {
    let keys: Vec<&[u8]> = partition_keys.iter().map(|key| key.as_bytes()).collect();
    digests(&keys).into_iter().map(u128::from_be_bytes).collect()
}

/// The hash keys of one shard, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashRange {
    /// The lowest hash key of the shard.
    pub start: u128,
    /// The highest hash key of the shard.
    pub end: u128,
}

impl HashRange {
    /// The range of a stream with a single shard.
    pub const FULL: HashRange = HashRange { start: 0, end: u128::MAX };

    /// Whether `hash_key` falls into this range.
    pub fn contains(&self, hash_key: u128) -> bool {
        self.start <= hash_key && hash_key <= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::{HashRange, hash_key, hash_keys};

    #[test]
    fn partition_keys_hash_as_big_endian_md5() {
        // RFC 1321, appendix A.5.
        for (key, digest) in [
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128),
            ("a", 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661),
            ("abc", 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72),
        ] {
            assert_eq!(hash_key(key), digest, "{key:?}");
        }
        for count in [0, 1, 2, 15, 40] {
            let keys: Vec<String> = (0..count).map(|number| "key-".repeat(number)).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            assert_eq!(hash_keys(&keys), keys.iter().map(|key| hash_key(key)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn both_ends_belong_to_a_range() {
        let range = HashRange { start: 10, end: 20 };
        for (hash_key, inside) in [(9, false), (10, true), (20, true), (21, false)] {
            assert_eq!(range.contains(hash_key), inside, "{hash_key}");
        }
        assert!(HashRange::FULL.contains(u128::MAX) && HashRange::FULL.contains(0));
    }
}
