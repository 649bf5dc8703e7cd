//! The identity of an event, fixed at the door.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// 128 bits, written as a UUID.
///
/// Where the sender gave an identity it is a hash (UUID version 8) over tenant, event type, that identity and the
/// body's bytes: a client's retry is the same event, and the same id with another body is another one. Otherwise
/// it is a UUID of version 7.
///
/// The hash is BLAKE3: as with SHA-256, nobody can make two bodies of one id, and every event passes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

/// Why a text is not an [`EventId`].
#[derive(Debug, thiserror::Error)]
#[error("an event id is a UUID")]
pub struct EventIdError(#[source] uuid::Error);

impl EventId {
    /// The id of an event whose sender named it.
    pub fn of_content(tenant_id: &str, event_type: &str, sender_id: &str, body: &[u8]) -> Self {
        let mut hash = blake3::Hasher::new();
        for part in [tenant_id.as_bytes(), event_type.as_bytes(), sender_id.as_bytes(), body] {
            // The length before each part keeps ("ab", "c") and ("a", "bc") apart.
            hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 16];
        hash.finalize_xof().fill(&mut bytes);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The 16 bytes, big endian.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        Uuid::parse_str(text).map(Self).map_err(EventIdError)
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_the_same_event() {
        let id = EventId::of_content("demo", "ad_request", "a", b"{}");
        assert_eq!(id, EventId::of_content("demo", "ad_request", "a", b"{}"));
        // Golden: the id of an event must not change between versions, or a retry across a deployment doubles it.
        assert_eq!(id.to_string(), "12260b9d-90b5-8142-9562-fa6358c6915e");
    }

    #[test]
    fn any_difference_is_another_event() {
        let id = EventId::of_content("demo", "ad_request", "a", b"{}");
        for other in [
            EventId::of_content("other", "ad_request", "a", b"{}"),
            EventId::of_content("demo", "auction", "a", b"{}"),
            EventId::of_content("demo", "ad_request", "b", b"{}"),
            EventId::of_content("demo", "ad_request", "a", b"{ }"),
            EventId::of_content("demoa", "d_request", "a", b"{}"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn text_round_trip() {
        let id = EventId::of_content("demo", "ad_request", "a", b"{}");
        assert_eq!(id.to_string().parse::<EventId>().unwrap(), id);
        assert!("not-an-id".parse::<EventId>().is_err());
    }
}
