//! The partition key of a record that waits. Short ones, which most are, lie in the queue itself: a key that was allocated
//! long before it is read costs more to fetch than all else that is done with it.

use std::ops::Deref;

/// Enough for a UUID as text.
const SHORT_BYTES_MAX: usize = 38;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Short { length: u8, bytes: [u8; SHORT_BYTES_MAX] },
    Long(String),
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        let mut bytes = [0; SHORT_BYTES_MAX];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Key::Short { length, bytes }
            }
            (_, _) => Key::Long(text),
        }
    }
}

impl Key {
    /// Bytes of memory beside its own place.
    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        match self {
            Key::Short { .. } => 0,
            Key::Long(text) => text.capacity(),
        }
    }
}

impl Deref for Key {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Key::Short { length, bytes } => {
                let bytes = bytes.get(..usize::from(*length)).unwrap_or_default();
                std::str::from_utf8(bytes).expect("it was copied from a string")
            }
            Key::Long(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Key, SHORT_BYTES_MAX};

    #[test]
    fn short_and_long_keys_are_what_they_were() {
        for text in
            ["", "k", "screen-000017", "\u{e9}\u{1F4FA}", &"x".repeat(38), &"x".repeat(39), &"\u{e9}".repeat(256)]
        {
            let key = Key::from(text.to_owned());
            assert_eq!(&*key, text);
            assert_eq!(matches!(key, Key::Short { .. }), text.len() <= SHORT_BYTES_MAX, "{text}");
        }
    }
}
