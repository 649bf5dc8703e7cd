//! What a delivery stream takes a second: requests, records and bytes, all three.

use shard_limits::Tank;

use crate::limits::LimitUse;
use crate::meter::{Rate, Sizes, count};

use super::operations::{MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_RECORD_BYTES};

/// Of a stream with direct puts in us-east-1.
const REQUESTS_PER_S: i64 = 2_000;
const RECORDS_PER_S: i64 = 500_000;
const BYTES_PER_S: i64 = 5 << 20;

const QUOTAS: &str = "firehose/latest/dev/limits.html";

/// The sizes and number of what one request brings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Put {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) largest: usize,
}

/// The rates of one stream, and what it was sent.
#[derive(Debug, Clone)]
pub(super) struct Limiter {
    requests: Tank,
    records: Tank,
    bytes: Tank,
    used: Used,
}

#[derive(Debug, Clone, Default)]
struct Used {
    requests: Rate,
    records: Rate,
    bytes: Rate,
    /// Requests, and their records.
    throttled: u64,
    records_throttled: u64,
    batch_records: Sizes,
    batch_bytes: Sizes,
    record_bytes: Sizes,
}

impl Limiter {
    /// A stream that nobody has sent anything until `now_ms`. A second's worth may come at once.
    pub(super) fn new(now_ms: i64) -> Self {
        let tank = |rate: i64| Tank::full(rate, rate, now_ms);
        let used = Used::default();
        Self { requests: tank(REQUESTS_PER_S), records: tank(RECORDS_PER_S), bytes: tank(BYTES_PER_S), used }
    }

    /// Notes the sizes of a request, also of one that is refused for them.
    pub(super) fn note(&mut self, put: Put, now_ms: i64) {
        self.used.batch_records.note(put.records, MAX_BATCH_RECORDS, now_ms);
        self.used.batch_bytes.note(put.bytes, MAX_BATCH_BYTES, now_ms);
        self.used.record_bytes.note(put.largest, MAX_RECORD_BYTES, now_ms);
    }

    /// Takes a request if there is room for all of it.
    pub(super) fn admit(&mut self, put: Put, now_ms: i64) -> bool {
        let (records, bytes) = (units(put.records), units(put.bytes));
        for tank in [&mut self.requests, &mut self.records, &mut self.bytes] {
            tank.refill(now_ms);
        }
        let has_room = self.requests.holds(1) && self.records.holds(records) && self.bytes.holds(bytes);
        if !has_room {
            self.used.throttled += 1;
            self.used.records_throttled += count(put.records);
            return false;
        }
        self.requests.take(1);
        self.records.take(records);
        self.bytes.take(bytes);
        self.used.requests.add(1, now_ms);
        self.used.records.add(count(put.records), now_ms);
        self.used.bytes.add(count(put.bytes), now_ms);
        true
    }

    /// Records and bytes that came in, and records that were throttled, since the start.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (self.used.records.total(), self.used.bytes.total(), self.used.records_throttled)
    }

    /// The limits of the stream of this name.
    pub(super) fn limits(&self, stream: &str, now_ms: i64) -> Vec<LimitUse> {
        let used = &self.used;
        let rate = |limit: &str, (allowed, unit): (i64, &str), rate: &Rate| {
            let allowed = (u64::try_from(allowed).unwrap_or(0), unit);
            LimitUse::new(("firehose", limit), stream, allowed, rate.read(now_ms), QUOTAS).refused(used.throttled)
        };
        let size = |limit: &str, (allowed, unit): (usize, &str), sizes: &Sizes| {
            let allowed = (count(allowed), unit);
            LimitUse::new(("firehose", limit), stream, allowed, sizes.read(now_ms), QUOTAS).refused(sizes.over())
        };
        vec![
            rate("requests a second", (REQUESTS_PER_S, "requests/s"), &used.requests),
            rate("records a second", (RECORDS_PER_S, "records/s"), &used.records),
            rate("bytes a second", (BYTES_PER_S, "bytes/s"), &used.bytes),
            size("records of a batch", (MAX_BATCH_RECORDS, "records"), &used.batch_records),
            size("bytes of a batch", (MAX_BATCH_BYTES, "bytes"), &used.batch_bytes),
            size("bytes of a record", (MAX_RECORD_BYTES, "bytes"), &used.record_bytes),
        ]
    }
}

fn units(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_the_three_rates_holds() {
        let check = |put: Put, admitted: usize| {
            let mut limiter = Limiter::new(0);
            let found = (0..10_000).filter(|_| limiter.admit(put, 0)).count();
            assert_eq!(found, admitted, "{put:?}");
            assert!(limiter.admit(put, 1_000), "a second later there is room");
        };
        check(Put { records: 1, bytes: 1, largest: 1 }, 2_000);
        check(Put { records: 500, bytes: 500, largest: 1 }, 1_000);
        check(Put { records: 1, bytes: 1 << 20, largest: 1 << 20 }, 5);
    }

    #[test]
    fn use_is_told() {
        let mut limiter = Limiter::new(0);
        let put = Put { records: 2, bytes: 4 << 20, largest: 600_000 };
        limiter.note(put, 0);
        assert!(limiter.admit(put, 0) && !limiter.admit(put, 0));
        let limits = limiter.limits("s", 0);
        let find = |name: &str| limits.iter().find(|limit| limit.limit == name).unwrap();
        assert_eq!((find("bytes a second").used_permille, find("bytes a second").refused), (800, Some(1)));
        assert_eq!(limiter.totals(), (2, 4 << 20, 2));
        assert_eq!((find("bytes of a record").peak, find("records of a batch").peak), (600_000, 2));
    }
}
