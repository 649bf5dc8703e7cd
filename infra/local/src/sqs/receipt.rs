//! Receipt handles: which message was received, and for the how-manieth time.

use super::Queue;

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) number: u64,
    pub(super) received: u32,
}

impl Receipt {
    /// The handle: of this queue alone, and of no other that had its name before.
    pub(super) fn write(self, queue: &Queue) -> String {
        let text = format!("{} {} {} {}", queue.name, queue.created_ms, self.number, self.received);
        base64_simd::STANDARD.encode_to_string(text)
    }

    /// Reads a handle; none where it is not one of this queue.
    pub(super) fn read(handle: &str, queue: &Queue) -> Option<Self> {
        let text = String::from_utf8(base64_simd::STANDARD.decode_to_vec(handle).ok()?).ok()?;
        let mut parts = text.split(' ');
        let (name, created, number, received) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_of_queue = name == queue.name && created.parse() == Ok(queue.created_ms) && parts.next().is_none();
        if !is_of_queue {
            return None;
        }
        Some(Self { number: number.parse().ok()?, received: received.parse().ok()? })
    }
}
