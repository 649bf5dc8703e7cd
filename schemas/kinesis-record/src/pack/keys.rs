//! The tables of an aggregate: partition keys and explicit hash keys, each written once.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, BuildHasherDefault, Hasher},
};

use crate::wire::delimited_len;

/// Partition keys, each written once. The texts lie in one string; the index maps a text's hash to its place.
#[derive(Debug)]
pub(super) struct KeyTable {
    text: String,
    /// Where each key ends in `text`.
    ends: Vec<usize>,
    /// Two keys of one hash merely cost a second table entry: a found place is always compared.
    index: HashMap<u64, usize, BuildHasherDefault<Hashed>>,
    /// Differs from table to table, so that nobody can choose keys that fall together.
    seed: u64,
    /// Bytes of the fields in the message.
    pub(super) bytes: usize,
}

impl Default for KeyTable {
    fn default() -> Self {
        let seed = RandomState::new().hash_one(0);
        KeyTable { text: String::new(), ends: Vec::new(), index: HashMap::default(), seed, bytes: 0 }
    }
}

impl KeyTable {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.index.clear();
        self.bytes = 0;
    }

    fn get(&self, index: usize) -> Option<&str> {
        let start = match index.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.text.get(start..*self.ends.get(index)?)
    }

    /// How many keys are in it.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|index| self.get(index))
    }

    /// Eight bytes a step. Weaker than the standard library's hash, and several times cheaper: whoever finds keys that fall
    /// together, in spite of the seed, slows down one aggregate of some hundred keys.
    pub(super) fn hash(&self, key: &str) -> u64 {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let step = |hash: u64, word: u64| (hash ^ word).wrapping_mul(FACTOR).rotate_left(29);
        let (words, rest) = key.as_bytes().as_chunks::<8>();
        let hash = words.iter().fold(self.seed, |hash, word| step(hash, u64::from_le_bytes(*word)));
        let tail = rest.iter().fold(1_u64, |tail, byte| tail << 8 | u64::from(*byte));
        step(step(hash, tail), self.seed)
    }

    pub(super) fn find(&self, key: &str) -> Option<usize> {
        self.find_hashed(self.hash(key), key)
    }

    pub(super) fn find_hashed(&self, hash: u64, key: &str) -> Option<usize> {
        let index = *self.index.get(&hash)?;
        (self.get(index) == Some(key)).then_some(index)
    }

    pub(super) fn insert(&mut self, key: &str) -> usize {
        let hash = self.hash(key);
        if let Some(index) = self.find_hashed(hash, key) {
            return index;
        }
        self.append(hash, key)
    }

    /// Adds a key that is not in the table.
    pub(super) fn append(&mut self, hash: u64, key: &str) -> usize {
        let index = self.ends.len();
        self.text.push_str(key);
        self.ends.push(self.text.len());
        self.index.insert(hash, index);
        self.bytes += delimited_len(key.len());
        index
    }
}

/// The keys of the index are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[derive(Debug, Default)]
pub(super) struct HashKeyTable {
    pub(super) keys: Vec<u128>,
    index: HashMap<u128, usize>,
    /// Bytes of the fields in the message.
    pub(super) bytes: usize,
}

impl HashKeyTable {
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.index.clear();
        self.bytes = 0;
    }

    pub(super) fn find(&self, hash_key: u128) -> Option<usize> {
        // Most aggregates use one hash key for all records, or the same as the record before.
        match self.keys.last() {
            Some(last) if *last == hash_key => Some(self.keys.len() - 1),
            Some(_) => self.index.get(&hash_key).copied(),
            None => None,
        }
    }

    pub(super) fn insert(&mut self, hash_key: u128) -> usize {
        if let Some(index) = self.find(hash_key) {
            return index;
        }
        let index = self.keys.len();
        self.keys.push(hash_key);
        self.index.insert(hash_key, index);
        self.bytes += delimited_len(decimal_len(hash_key));
        index
    }
}

pub(super) fn decimal_len(value: u128) -> usize {
    value.checked_ilog10().map_or(1, |log| usize::try_from(log).expect("at most 38") + 1)
}
