//! Sequence numbers: 56 decimal digits that grow within a shard, and from a parent shard to its children.
//!
//! `49` · shard epoch (10 digits) · counter (32 digits) · shard number (12 digits). The shard's epoch is its creation
//! second, moved past its parents' where a reshard follows within the same second. All have one length, so that
//! comparing them as text, as numbers or as values gives the same order.

use std::fmt;

use serde::{Serialize, Serializer};

const PREFIX: &[u8; 2] = b"49";
const EPOCH_DIGITS: usize = 10;
const COUNTER_DIGITS: usize = 32;
const SHARD_DIGITS: usize = 12;
const DIGITS: usize = PREFIX.len() + EPOCH_DIGITS + COUNTER_DIGITS + SHARD_DIGITS;

/// The largest shard epoch and shard number that fit their digits.
const EPOCH_MAX: u64 = 9_999_999_999;
const SHARD_MAX: u64 = 999_999_999_999;

/// The position of a record within its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber {
    epoch_s: u64,
    counter: u64,
    shard: u64,
}

/// The text is not a sequence number of this stream store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a sequence number of 56 digits")]
pub struct NotASequenceNumber;

impl SequenceNumber {
    /// The number of the `counter`-th record of a shard. Parts beyond their digits are held at the largest that fits.
    pub fn new(epoch_s: u64, shard: u64, counter: u64) -> Self {
        Self { epoch_s: epoch_s.min(EPOCH_MAX), counter, shard: shard.min(SHARD_MAX) }
    }

    /// Reads the 56 digits back.
    ///
    /// # Errors
    /// [`NotASequenceNumber`] for any other shape.
    pub fn parse(text: &str) -> Result<Self, NotASequenceNumber> {
        let digits = text.as_bytes().strip_prefix(PREFIX).ok_or(NotASequenceNumber)?;
        if text.len() != DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            return Err(NotASequenceNumber);
        }
        let (epoch, rest) = digits.split_at_checked(EPOCH_DIGITS).ok_or(NotASequenceNumber)?;
        let (counter, shard) = rest.split_at_checked(COUNTER_DIGITS).ok_or(NotASequenceNumber)?;
        Ok(Self { epoch_s: number(epoch)?, counter: number(counter)?, shard: number(shard)? })
    }

    /// The record's index within its shard; the first is 1.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// The number of the shard.
    pub fn shard(&self) -> u64 {
        self.shard
    }

    /// The shard's epoch, in seconds.
    pub fn epoch_s(&self) -> u64 {
        self.epoch_s
    }

    /// The 56 digits, without an allocation.
    fn digits(&self) -> [u8; DIGITS] {
        let mut digits = [b'0'; DIGITS];
        let (prefix, rest) = digits.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX);
        let (epoch, rest) = rest.split_at_mut(EPOCH_DIGITS);
        let (counter, shard) = rest.split_at_mut(COUNTER_DIGITS);
        write_number(epoch, self.epoch_s);
        write_number(counter, self.counter);
        write_number(shard, self.shard);
        digits
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(std::str::from_utf8(&self.digits()).map_err(|_not_ascii| fmt::Error)?)
    }
}

impl Serialize for SequenceNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits = self.digits();
        serializer.serialize_str(std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
    }
}

/// Writes `value` right-aligned; the slots to its left keep their zeros.
fn write_number(slots: &mut [u8], mut value: u64) {
    for slot in slots.iter_mut().rev() {
        if value == 0 {
            return;
        }
        *slot = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

fn number(digits: &[u8]) -> Result<u64, NotASequenceNumber> {
    digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10).and_then(|value| value.checked_add(u64::from(digit - b'0'))).ok_or(NotASequenceNumber)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_is_golden() {
        let sequence = SequenceNumber::new(1_700_000_000, 7, 42);
        assert_eq!(sequence.to_string(), "49170000000000000000000000000000000000000042000000000007");
        assert_eq!(serde_json::to_string(&sequence).unwrap(), format!("\"{sequence}\""));
    }

    #[test]
    fn other_shapes_are_refused() {
        let good = SequenceNumber::new(1_700_000_000, 7, 42).to_string();
        let too_large = format!("491700000000{}000000000007", "9".repeat(32));
        for text in
            ["", "0", "49", good.get(1..).unwrap(), &format!("{good}0"), &good.replace("49", "50"), &too_large, "49é"]
        {
            assert_eq!(SequenceNumber::parse(text), Err(NotASequenceNumber), "{text}");
        }
        assert!(SequenceNumber::parse(&good.replace("42", "4x")).is_err());
    }

    proptest! {
        #[test]
        fn text_and_value_have_one_order(
            a in (0..=EPOCH_MAX, 0..=SHARD_MAX, any::<u64>()),
            b in (0..=EPOCH_MAX, 0..=SHARD_MAX, any::<u64>()),
        ) {
            let a = SequenceNumber::new(a.0, a.1, a.2);
            let b = SequenceNumber::new(b.0, b.1, b.2);
            prop_assert_eq!(SequenceNumber::parse(&a.to_string()), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
