//! The read limits of a shard.

use crate::tank::Tank;

/// Read calls a shard answers per second, all readers together.
pub const READ_CALLS_PER_S: i64 = 5;
/// Bytes a shard gives per second, all readers together: 2 MiB, so that a full answer of 10 MiB pauses reads for 5 s.
pub const READ_BYTES_PER_S: i64 = 2 * 1024 * 1024;

/// The read limits of one shard, shared by all who call `GetRecords` on it.
#[derive(Debug, Clone)]
pub struct ReadLimiter {
    calls: Tank,
    bytes: Tank,
}

impl ReadLimiter {
    /// A shard that nobody has read until `now_ms`.
    pub fn new(now_ms: i64) -> Self {
        Self {
            calls: Tank::full(READ_CALLS_PER_S, READ_CALLS_PER_S, now_ms),
            bytes: Tank::full(READ_BYTES_PER_S, READ_BYTES_PER_S, now_ms),
        }
    }

    /// Takes one call if there is room for it and the bytes given before are paid off.
    pub fn admit(&mut self, now_ms: i64) -> bool {
        self.calls.refill(now_ms);
        self.bytes.refill(now_ms);
        let has_room = self.calls.holds(1) && !self.bytes.is_in_debt();
        if has_room {
            self.calls.take(1);
        }
        has_room
    }

    /// Counts what an admitted call gave. More than a second's worth is owed in full, whatever was saved up before.
    pub fn gave(&mut self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if bytes > READ_BYTES_PER_S {
            self.bytes.empty();
        }
        self.bytes.take(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::ReadLimiter;

    #[test]
    fn ten_mebibytes_pause_reads_for_five_seconds() {
        let mut limiter = ReadLimiter::new(0);
        assert!(limiter.admit(0));
        limiter.gave(10 * 1024 * 1024);
        assert!(!limiter.admit(4_999));
        assert!(limiter.admit(5_000));
        let calls = (0..10).filter(|_| limiter.admit(5_000)).count();
        assert_eq!(calls, 4, "five calls a second in all");
    }
}
